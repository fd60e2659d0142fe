//! Which of a family's candidates run, where somebody has measured them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The candidates that were the fastest on a device: a value, which a program gets from `Plan::tune` or `Gpu::tune`, keeps as text, and
/// gives to [`super::Target::with_tuning`]. Nothing is written unasked. Choices change speed, and no bit of a result.
///
/// The text has a line for the device and one for each family of kernels and class of shapes: the family, a checksum of its
/// candidates, the class, the name of the candidate. Lines of other candidates, those of an older version say, are without effect.
///
/// ```
/// use gradus::gpu::Tuning;
/// let text = "gradus tuning\ndevice Vulkan, Some GPU, driver 1.2\ngraph.product 0 rows7 columns7 depth9 batches0 terms1 = 64x64x16\n";
/// let tuning: Tuning = text.parse()?;
/// assert_eq!(tuning.to_string(), text);
/// assert_eq!(tuning.len(), 1);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Back end, adapter and driver; empty if nothing was measured.
    device: String,
    /// Names of candidates by family, checksum and class.
    choices: BTreeMap<(String, u32, String), String>,
}

/// A kernel's candidates: names that are kept in files, in an order that does not matter.
pub(crate) struct Family {
    pub name: &'static str,
    pub candidates: &'static [&'static str],
}

impl Family {
    /// Of the names (FNV-1a): other candidates are another family.
    fn checksum(&self) -> u32 {
        let bytes = self.candidates.iter().flat_map(|name| name.bytes().chain([0]));
        bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

const FIRST_LINE: &str = "gradus tuning";

impl Tuning {
    /// Without choices, for a device.
    pub(crate) fn of(adapter: &wgpu::AdapterInfo) -> Self {
        Self { device: name(adapter), choices: BTreeMap::new() }
    }

    /// How many choices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.choices.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// Adds the choices of `other`, which replace those for the same shapes.
    ///
    /// # Errors
    /// [`Error::Option`] if they are of different devices.
    pub fn merge(&mut self, other: Tuning) -> Result<()> {
        if other.is_empty() {
            return Ok(());
        }
        if self.device.is_empty() {
            self.device.clone_from(&other.device);
        }
        expect_device(&self.device, &other.device)?;
        self.choices.extend(other.choices);
        Ok(())
    }

    /// That choices, if there are any, were measured on this device.
    pub(crate) fn check(&self, adapter: &wgpu::AdapterInfo) -> Result<()> {
        if self.is_empty() { Ok(()) } else { expect_device(&name(adapter), &self.device) }
    }

    /// The number of the candidate for a class of shapes, if there is a choice.
    pub(crate) fn choice(&self, family: &Family, class: &str) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let chosen = self.choices.get(&(family.name.into(), family.checksum(), class.into()))?;
        family.candidates.iter().position(|name| name == chosen)
    }

    pub(crate) fn choose(&mut self, family: &Family, class: &str, candidate: usize) {
        if let Some(&name) = family.candidates.get(candidate) {
            self.choices.insert((family.name.into(), family.checksum(), class.into()), name.into());
        }
    }
}

/// Back end, adapter and driver, in a line.
fn name(info: &wgpu::AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    format!("{:?}, {}, {}", info.backend, info.name, driver.trim()).replace(['\n', '\r'], " ")
}

fn expect_device(expected: &str, found: &str) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::Option { option: "tuning".into(), found: format!("one of {found}"), expected: format!("one of {expected}") }),
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\ndevice {}", self.device)?;
        for ((family, checksum, class), candidate) in &self.choices {
            writeln!(f, "{family} {checksum:x} {class} = {candidate}")?;
        }
        Ok(())
    }
}

impl FromStr for Tuning {
    type Err = Error;

    /// # Errors
    /// [`Error::Option`] for a text that [`Tuning`] did not write, naming the line.
    fn from_str(text: &str) -> Result<Self> {
        let mut lines = text.lines().zip(1..);
        let wrong = |line: &str, number: usize, expected: &str| Error::Option {
            option: format!("line {number} of the tuning"),
            found: line.chars().take(100).collect(),
            expected: expected.into(),
        };
        let mut next = |prefix: &'static str| match lines.next() {
            Some((line, number)) => line.strip_prefix(prefix).ok_or_else(|| wrong(line, number, prefix)),
            None => Err(wrong("the end", text.lines().count() + 1, prefix)),
        };
        if !next(FIRST_LINE)?.is_empty() {
            return Err(wrong(text.lines().next().unwrap_or_default(), 1, FIRST_LINE));
        }
        let mut tuning = Self { device: next("device ")?.into(), choices: BTreeMap::new() };
        for (line, number) in lines {
            let parsed = || {
                let (key, candidate) = line.split_once(" = ")?;
                let (family, rest) = key.split_once(' ')?;
                let (checksum, class) = rest.split_once(' ')?;
                Some(((family.to_owned(), u32::from_str_radix(checksum, 16).ok()?, class.to_owned()), candidate.to_owned()))
            };
            let (key, candidate) = parsed().ok_or_else(|| wrong(line, number, "family checksum class = candidate"))?;
            tuning.choices.insert(key, candidate);
        }
        Ok(tuning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family { name: "graph.product", candidates: &["a", "b"] };

    #[test]
    fn choices_are_kept_as_text() {
        let mut tuning = Tuning { device: "Vulkan, a GPU, driver 1".into(), ..Default::default() };
        tuning.choose(&FAMILY, "rows3 columns4", 1);
        tuning.choose(&FAMILY, "rows3 columns5", 0);
        tuning.choose(&FAMILY, "rows3 columns6", 2);
        let read: Tuning = tuning.to_string().parse().unwrap();
        assert_eq!((&read, read.len()), (&tuning, 2));
        assert_eq!(read.choice(&FAMILY, "rows3 columns4"), Some(1));
        assert_eq!(read.choice(&FAMILY, "rows3 columns6"), None);
        // candidates of another version
        assert_eq!(read.choice(&Family { name: "graph.product", candidates: &["a", "b", "c"] }, "rows3 columns4"), None);
    }

    #[test]
    fn others_texts_and_devices_are_refused() {
        for text in
            ["", "gradus tuning", "gradus tunings\ndevice x", "gradus tuning\nadapter x", "gradus tuning\ndevice x\ngraph.product = 1"]
        {
            assert!(matches!(text.parse::<Tuning>(), Err(Error::Option { .. })), "{text:?}");
        }
        let [mut a, b] = ["x", "y"].map(|device| format!("gradus tuning\ndevice {device}\nf 0 c = 1").parse::<Tuning>().unwrap());
        assert!(matches!(a.merge(b), Err(Error::Option { .. })));
        assert_eq!(a.len(), 1);
    }
}
