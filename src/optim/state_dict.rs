//! States as safetensors, with PyTorch's names.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};

use super::algorithm::Update;
use super::optimizer::Optimizer;
use super::options::{Group, LossScale, Rounding};
use crate::gpu::{DType, File, Tensor, read_all};
use crate::shaders::layout::GradientStatus;
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.optim.1";

/// The loss scale, `growth_tracker` and the count of skipped steps, as u32 words (the scale's bits).
const LOSS_SCALE: &str = "loss_scaler";

/// A state of one parameter: its name in the file, its shape, and where it is on the device.
struct Entry {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    pieces: Vec<Tensor>,
}

impl Optimizer {
    /// The states of all parameters, as the bytes of a safetensors file, as they are after all that
    /// was submitted so far.
    ///
    /// The tensors are called `{parameter}.{state}`, with PyTorch's names of states (`exp_avg`,
    /// `exp_avg_sq`, `momentum_buffer`, ...), f32, of the parameter's shape; `{parameter}.step`, an
    /// i64; `{parameter}.master`, the f32 copy of a parameter of 16 bits; and `loss_scaler`. The
    /// metadata (in no particular order) hold the algorithm, its configuration, and the groups' learning rates and decays. The
    /// parameters themselves are the caller's to save.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`].
    pub async fn state_dict(&self) -> Result<Vec<u8>> {
        let entries = self.entries()?;
        let counts = self.step_counts()?;
        let status = self.loss_scaler()?;
        let pieces = entries.iter().flat_map(|entry| entry.pieces.iter().cloned());
        let tensors: Vec<Tensor> = pieces.chain([counts, status]).collect();
        let mut bytes = read_all(&self.gpu, &tensors).await?.into_iter();

        let mut views: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for Entry { name, dtype, shape, pieces } in entries {
            let data = bytes.by_ref().take(pieces.len()).flatten().collect();
            views.insert(name, (in_file(dtype), shape, data));
        }
        let steps: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes.next().unwrap_or_default());
        for (param, step) in self.params.iter().zip(steps) {
            views.insert(format!("{}.step", param.name), (Dtype::I64, vec![], i64::from(step).to_le_bytes().to_vec()));
        }
        views.insert(LOSS_SCALE.to_owned(), (Dtype::U32, vec![6], bytes.next().unwrap_or_default()));

        let views = views.iter().map(|(name, (dtype, shape, data))| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)));
        let views = views.collect::<Result<Vec<_>>>()?;
        Ok(safetensors::serialize(views, Some(self.metadata().into_iter().collect()))?)
    }

    /// Restores what [`Optimizer::state_dict`] saved: states, step counts, the loss scale, and the
    /// groups' learning rates and decays. It takes effect before the next submission, and continues
    /// bit for bit.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every difference if the file belongs to another model, algorithm
    /// or configuration; of states that are missing as many are listed as the file has tensors, or 16.
    /// [`Error::SafeTensors`] if it is not such a file, or gives a name twice. Nothing has changed then.
    pub fn load_state_dict(&mut self, bytes: &[u8]) -> Result<()> {
        let file = File::read(bytes)?;
        let mut differences = Vec::new();
        let mut differ = |what: String| differences.push(what);

        for (key, expected) in self.metadata() {
            if key == "groups" {
                continue;
            }
            match file.metadata.get(&key) {
                Some(found) if same(found, &expected) => {}
                Some(found) => differ(format!("{key} is {found}, expected {expected}")),
                None => differ(format!("{key} is missing, expected {expected}")),
            }
        }
        let groups = file.metadata.get("groups").and_then(|text| parse_groups(text)).unwrap_or_default();
        if groups.len() != self.groups.len() {
            differ(format!("{} groups, expected {}", groups.len(), self.groups.len()));
        }
        for (i, group) in groups.iter().enumerate().take(self.groups.len()) {
            for (name, value) in [("lr", group.lr), ("weight_decay", group.weight_decay)] {
                if super::algorithm::not_negative(name, value).is_err() {
                    differ(format!("groups[{i}].{name} is {value}"));
                }
            }
            if self.updates[i].decay.check(group).is_err() {
                differ(format!("groups[{i}].lr · weight_decay is not finite"));
            }
        }

        let entries = self.entries()?;
        let [f32, bf16, i64, u32]: [&'static [Dtype]; 4] = [&[Dtype::F32], &[Dtype::BF16], &[Dtype::I64], &[Dtype::U32]];
        let steps = self.params.iter().map(|param| (format!("{}.step", param.name), i64, vec![]));
        let states =
            entries.iter().map(|entry| (entry.name.clone(), if entry.dtype == DType::F32 { f32 } else { bf16 }, entry.shape.clone()));
        let status = (LOSS_SCALE.to_owned(), u32, vec![6]);
        file.differences(steps.chain(states).chain([status])).into_iter().for_each(&mut differ);

        let mut counts = Vec::with_capacity(self.params.len());
        for param in &self.params {
            let name = format!("{}.step", param.name);
            let count = file.tensor(&name).and_then(|view| Some(i64::from_le_bytes(view.data().try_into().ok()?)));
            match count.map(u32::try_from) {
                Some(Ok(count)) => counts.push(count),
                Some(Err(_)) => differ(format!("`{name}` is not a number of steps")),
                // said already
                None => {}
            }
        }
        // what the options say is not the file's to change, nor whether the last step was skipped
        let mut status = self.options.status();
        if let Some(saved) = file.tensor(LOSS_SCALE).and_then(|view| bytemuck::try_pod_read_unaligned::<GradientStatus>(view.data()).ok()) {
            status = GradientStatus { norm: saved.norm, skipped: saved.skipped, ..status };
            if matches!(self.options.loss_scale, LossScale::Dynamic { .. }) {
                status = GradientStatus { loss_scale: saved.loss_scale, growth_tracker: saved.growth_tracker, ..status };
                if !(saved.loss_scale.is_finite() && saved.loss_scale >= f32::MIN_POSITIVE) {
                    differ(format!("the loss scale is {}", saved.loss_scale));
                }
            }
        }
        if !differences.is_empty() {
            return Err(Error::StateMismatch { differences });
        }

        self.set_groups(groups)?;
        for entry in &entries {
            let data = file.tensor(&entry.name).map_or(&[][..], |view| view.data());
            upload(self, entry, data)?;
        }
        self.step_counts()?.write(&self.gpu, &counts)?;
        self.loss_scaler()?.write(&self.gpu, bytemuck::cast_slice::<GradientStatus, u32>(&[status]))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let update = &self.updates[0];
        let words = update.members().len();
        let mut entries = Vec::new();
        for (i, param) in self.params.iter().enumerate() {
            let mut push = |name: &str, dtype, shape: &[usize], pieces| {
                entries.push(Entry { name: format!("{}.{name}", param.name), dtype, shape: shape.to_vec(), pieces });
            };
            let shape = param.param.shape();
            for (state, stream) in update.states.iter().enumerate() {
                push(&stream.name, update.state_dtype(state, self.options.state_dtype), shape, self.pieces(i, Some(state))?);
            }
            for (kept, (name, _)) in update.kept.iter().enumerate() {
                let at = (i * words + update.kept_at(kept)) as u64 * 4;
                push(name, DType::F32, &[], vec![Tensor::from_buffer(&self.tables.steps, at, &[1], DType::F32)?]);
            }
            let pieces = self.pieces(i, None)?;
            if !pieces.is_empty() {
                push("master", DType::F32, shape, pieces);
            }
        }
        Ok(entries)
    }

    /// The configuration of all groups as JSON: a list, if they differ.
    fn config(&self) -> String {
        let configs: Vec<String> = self.updates.iter().map(Update::config).collect();
        match configs.iter().all(|config| *config == configs[0]) {
            true => configs[0].clone(),
            false => format!("[{}]", configs.join(",")),
        }
    }

    fn loss_scaler(&self) -> Result<Tensor> {
        Tensor::from_buffer(&self.tables.status, 0, &[6], crate::DType::U32)
    }

    fn metadata(&self) -> HashMap<String, String> {
        let groups: Vec<_> = self.groups.iter().map(|group| serde_json::json!([group.lr, group.weight_decay])).collect();
        let rounding = match self.options.rounding {
            Rounding::Nearest => "nearest".to_owned(),
            Rounding::Stochastic { seed } => format!("stochastic, seed {seed}"),
        };
        HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("optimizer".to_owned(), self.updates[0].name.clone()),
            ("config".to_owned(), self.config()),
            ("rounding".to_owned(), rounding),
            ("groups".to_owned(), serde_json::Value::from(groups).to_string()),
        ])
    }
}

/// Whether two texts are equal, or as JSON, whatever the order of keys.
fn same(a: &str, b: &str) -> bool {
    // equal values have as many parts; others are not read, which may be much larger in memory than as text
    let parts = |text: &str| text.matches(['[', '{', ',']).count();
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || (parts(a) == parts(b) && parse(a).is_some_and(|value| parse(b) == Some(value)))
}

/// `[[lr, weight_decay], ...]`
fn parse_groups(text: &str) -> Option<Vec<Group>> {
    let rows: Vec<[f64; 2]> = serde_json::from_str(text).ok()?;
    Some(rows.into_iter().map(|[lr, weight_decay]| Group { lr, weight_decay }).collect())
}

/// The type's name in a file.
fn in_file(dtype: DType) -> Dtype {
    if dtype == DType::F32 { Dtype::F32 } else { Dtype::BF16 }
}

/// Writes `bytes` to consecutive pieces.
fn upload(optimizer: &Optimizer, entry: &Entry, bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    for piece in &entry.pieces {
        let (now, later) = rest.split_at(piece.bytes() as usize);
        match entry.dtype {
            DType::F32 => piece.write(&optimizer.gpu, &bytemuck::pod_collect_to_vec::<u8, f32>(now))?,
            _ => piece.write(&optimizer.gpu, &bytemuck::pod_collect_to_vec::<u8, half::bf16>(now))?,
        }
        rest = later;
    }
    Ok(())
}
