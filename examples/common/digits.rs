//! Handwritten digits of 8 by 8 pixels.

use crate::Result;

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
/// Of an image.
pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;
/// The share of the digits that is trained on; the rest is the test.
const TRAIN_SHARE: f64 = 0.8;

pub struct Digits {
    /// 64 an image, scaled to [0, 1].
    pub pixels: Vec<f32>,
    pub labels: Vec<u32>,
    /// How many, from the first on, are trained on.
    #[allow(dead_code, reason = "each example uses its part")]
    pub train: usize,
}

impl Digits {
    pub fn load() -> Result<Self> {
        let text = flate2::read::GzDecoder::new(DIGITS);
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
        let lines = reader.into_deserialize().collect::<csv::Result<Vec<Vec<u32>>>>()?;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for line in &lines {
            match line.split_last() {
                Some((&label, image)) if image.len() == PIXELS && label < CLASSES as u32 => {
                    pixels.extend(image.iter().map(|&pixel| pixel as f32 / 16.0));
                    labels.push(label);
                }
                _ => return Err("digits.csv: a line is not 64 pixels and a label".into()),
            }
        }
        let train = (TRAIN_SHARE * labels.len() as f64) as usize;
        Ok(Self { pixels, labels, train })
    }
}
