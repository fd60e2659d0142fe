//! States as safetensors, with PyTorch's names.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};

use super::algorithm::Update;
use super::optimizer::Optimizer;
use super::options::{Group, LossScale, Rounding};
use crate::gpu::{DType, File, Tensor, floats, read_all};
use crate::shaders::layout::GradientStatus;
use crate::{Error, Result};

/// The value of the metadata key `format`.
const FORMAT: &str = "gradus.optim.1";

/// The loss scale, `growth_tracker` and the count of skipped steps, as u32 words (the scale's bits).
const LOSS_SCALE: &str = "loss_scaler";

/// A state of one parameter: its name in the file, its shape, and where it is on the device.
struct Entry {
    name: String,
    /// The number of the parameter, and the name of the state.
    param: usize,
    state: String,
    dtype: DType,
    shape: Vec<usize>,
    pieces: Vec<Tensor>,
}

/// What a tensor of a file is written from.
enum Part {
    Bytes(Vec<u8>),
    Tensors(Vec<Tensor>),
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Tensors(pieces) => pieces.iter().map(Tensor::bytes).sum(),
        }
    }
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
        for Entry { name, dtype, shape, pieces, .. } in entries {
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
        self.differences_of(&groups).into_iter().for_each(&mut differ);

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
        let mut status = self.options.status();
        if let Some(saved) = file.tensor(LOSS_SCALE).and_then(|view| bytemuck::try_pod_read_unaligned::<GradientStatus>(view.data()).ok()) {
            let wrong;
            (status, wrong) = self.restored(&saved);
            wrong.into_iter().for_each(&mut differ);
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

    /// Restores what the bytes of a safetensors file have of the states, step counts, loss scale and groups that [`Optimizer::state_dict`]
    /// saves, whatever else is in it and whatever is missing, and returns the names of what is missing: as PyTorch does with
    /// `strict=False`. The algorithm and its configuration are not compared. States of f32 are read from any float type.
    ///
    /// # Errors
    /// [`Error::StateMismatch`] with every tensor that has the name of a state and another shape or type, or is not a number of steps;
    /// [`Error::SafeTensors`]. Nothing has changed then.
    pub fn load_state_dict_lenient(&mut self, bytes: &[u8]) -> Result<Vec<String>> {
        let file = File::read(bytes)?;
        let groups = file.metadata.get("groups").and_then(|text| parse_groups(text));
        let groups = groups.filter(|groups| self.differences_of(groups).is_empty());
        let names: Vec<String> = self.params.iter().map(|param| param.name.clone()).collect();
        let mut missing = self.load_some(&file, &names)?;
        match file.tensor(LOSS_SCALE).filter(|view| view.dtype() == Dtype::U32 && view.shape() == [6]) {
            Some(view) => {
                let (status, _) = self.restored(&bytemuck::pod_read_unaligned(view.data()));
                self.loss_scaler()?.write(&self.gpu, bytemuck::cast_slice::<GradientStatus, u32>(&[status]))?;
            }
            None => missing.push(LOSS_SCALE.to_owned()),
        }
        match groups {
            Some(groups) => self.set_groups(groups)?,
            None => missing.push("groups".to_owned()),
        }
        Ok(missing)
    }

    /// Restores states and step counts from a state dictionary of PyTorch's that was saved as safetensors, and returns the names of what
    /// is missing. Its tensors are called `state.{i}.{state}`, with the number i of the parameter in the order of the list:
    ///
    /// ```python
    /// states = optimizer.state_dict()["state"]
    /// save_file({f"state.{i}.{k}": v for i, s in states.items() for k, v in s.items() if torch.is_tensor(v)}, "optimizer.safetensors")
    /// ```
    ///
    /// Learning rates are not in it.
    ///
    /// # Errors
    /// As [`Optimizer::load_state_dict_lenient`].
    pub fn load_pytorch_state_dict(&mut self, bytes: &[u8]) -> Result<Vec<String>> {
        let file = File::read(bytes)?;
        let names: Vec<String> = (0..self.params.len()).map(|i| format!("state.{i}")).collect();
        self.load_some(&file, &names)
    }

    /// What is wrong with groups of a file.
    fn differences_of(&self, groups: &[Group]) -> Vec<String> {
        let mut differences = Vec::new();
        if groups.len() != self.groups.len() {
            differences.push(format!("{} groups, expected {}", groups.len(), self.groups.len()));
        }
        for (i, (group, update)) in groups.iter().zip(&self.updates).enumerate() {
            for (name, value) in [("lr", group.lr), ("weight_decay", group.weight_decay)] {
                if super::algorithm::not_negative(name, value).is_err() {
                    differences.push(format!("groups[{i}].{name} is {value}"));
                }
            }
            if update.decay.check(group).is_err() {
                differences.push(format!("groups[{i}].lr · weight_decay is not finite"));
            }
        }
        differences
    }

    /// What goes on of a saved status, and what is wrong with its loss scale, which does not go on then. What the options say is not the
    /// file's to change, nor whether the last step was skipped.
    fn restored(&self, saved: &GradientStatus) -> (GradientStatus, Option<String>) {
        let status = GradientStatus { norm: saved.norm, skipped: saved.skipped, ..self.options.status() };
        if !matches!(self.options.loss_scale, LossScale::Dynamic { .. }) {
            return (status, None);
        }
        match saved.loss_scale.is_finite() && saved.loss_scale >= f32::MIN_POSITIVE {
            true => (GradientStatus { loss_scale: saved.loss_scale, growth_tracker: saved.growth_tracker, ..status }, None),
            false => (status, Some(format!("the loss scale is {}", saved.loss_scale))),
        }
    }

    /// Restores what the file has of each parameter's states and its step count, by the parameters' names in the file.
    fn load_some(&mut self, file: &File, names: &[String]) -> Result<Vec<String>> {
        let (mut missing, mut differences) = (Vec::new(), Vec::new());
        let mut writes = Vec::new();
        for entry in self.entries()? {
            let name = format!("{}.{}", names[entry.param], entry.state);
            let Some(view) = file.tensor(&name) else {
                missing.push(name);
                continue;
            };
            // numbers that are kept of a parameter may have an axis
            let scalar = entry.shape.is_empty() && view.shape().iter().product::<usize>() == 1;
            if view.shape() != entry.shape && !scalar {
                differences.push(format!("`{name}` has shape {:?}, expected {:?}", view.shape(), entry.shape));
                continue;
            }
            let bytes = match (entry.dtype, floats(view)) {
                (DType::F32, Some(values)) => values.flat_map(f32::to_le_bytes).collect(),
                (DType::Bf16, _) if view.dtype() == Dtype::BF16 => view.data().to_vec(),
                _ => {
                    differences.push(format!("`{name}` is {:?}, expected {}", view.dtype(), entry.dtype));
                    continue;
                }
            };
            writes.push((entry, bytes));
        }
        let mut counts = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let name = format!("{name}.step");
            let Some(view) = file.tensor(&name) else {
                missing.push(name);
                continue;
            };
            let single = view.shape().iter().product::<usize>() == 1;
            let number = match view.dtype() {
                Dtype::I64 if single => view.data().try_into().ok().map(|bytes| i64::from_le_bytes(bytes) as f64),
                _ if single => floats(view).and_then(|mut values| values.next()).map(f64::from),
                _ => None,
            };
            match number.filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number)) {
                Some(number) => counts.push((i, number as u32)),
                None => differences.push(format!("`{name}` is not a number of steps")),
            }
        }
        if !differences.is_empty() {
            return Err(Error::StateMismatch { differences });
        }
        for (entry, bytes) in &writes {
            upload(self, entry, bytes)?;
        }
        for (i, count) in counts {
            Tensor::from_buffer(&self.tables.counts, 4 * i as u64, &[1], DType::U32)?.write(&self.gpu, &[count])?;
        }
        Ok(missing)
    }

    /// Writes what [`Optimizer::state_dict`] returns, a tensor at a time, so that no more than one is in memory. No step may be submitted
    /// before the future is done.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`]; [`Error::Write`] with the error of `writer`, which may have been given a part then.
    pub async fn write_state_dict(&self, writer: &mut impl std::io::Write) -> Result<()> {
        let counts: Vec<u32> = self.steps().await?;
        let status: Vec<u32> = self.loss_scaler()?.read(&self.gpu).await?;
        // wide elements first, so that each tensor is aligned
        let mut parts: Vec<(String, Dtype, Vec<usize>, Part)> = Vec::new();
        for (param, count) in self.params.iter().zip(counts) {
            parts.push((format!("{}.step", param.name), Dtype::I64, vec![], Part::Bytes(i64::from(count).to_le_bytes().to_vec())));
        }
        parts.push((LOSS_SCALE.to_owned(), Dtype::U32, vec![6], Part::Bytes(bytemuck::cast_slice(&status).to_vec())));
        let mut entries = self.entries()?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.dtype.size()));
        parts.extend(entries.into_iter().map(|entry| (entry.name, in_file(entry.dtype), entry.shape, Part::Tensors(entry.pieces))));

        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::json!(self.metadata()));
        let mut end = 0;
        for (name, dtype, shape, part) in &parts {
            let start = end;
            end += part.len();
            header.insert(name.clone(), serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut write = |bytes: &[u8]| writer.write_all(bytes).map_err(Error::Write);
        write(&(header.len() as u64).to_le_bytes())?;
        write(&header)?;
        for (.., part) in &parts {
            match part {
                Part::Bytes(bytes) => write(bytes)?,
                Part::Tensors(pieces) => {
                    for piece in pieces {
                        for bytes in read_all(&self.gpu, std::slice::from_ref(piece)).await? {
                            write(&bytes)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let update = &self.updates[0];
        let words = update.members().len();
        let mut entries = Vec::new();
        for (i, param) in self.params.iter().enumerate() {
            let mut push = |name: &str, dtype, shape: &[usize], pieces| {
                entries.push(Entry {
                    name: format!("{}.{name}", param.name),
                    param: i,
                    state: name.to_owned(),
                    dtype,
                    shape: shape.to_vec(),
                    pieces,
                });
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
