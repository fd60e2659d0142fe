//! What is fuzzed: functions of any bytes, which may refuse them, but neither panic nor allocate more than 16 times as much.
//! `tests/fuzz.rs` calls them with random bytes, the targets of `fuzz/` with those that libFuzzer finds.

#![allow(dead_code, reason = "each binary uses its part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::OnceLock;

use gradus::graph::{ConvolutionOptions, Graph, Init, Padding, Parameters, Plan, Stage, Var, Window, layers, losses};
use gradus::optim::{AdamW, LossScale, Optimizer, Options, Param};
use gradus::poisson::dcdm::{Architecture, Weights};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::{DType, Gpu, Result, Tensor};
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::Value;

// ---- memory

/// The system's allocator, which counts what each thread has.
pub struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // a thread that ends has no counters
    _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: all is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // both may be there for a while
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a function of an input did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Whether it was accepted.
    pub accepted: bool,
    /// The length of the input.
    pub bytes: usize,
    /// The most bytes that were allocated at once on the way.
    pub peak: usize,
}

/// The result, and the bytes that it had allocated at most.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before) as usize)
}

/// An outcome, whose peak must be within 16 times the input and what is there whatever the input.
fn outcome(accepted: bool, bytes: usize, peak: usize, target: usize) -> Outcome {
    assert!(peak <= 16 * bytes + target, "{peak} bytes are allocated for an input of {bytes}");
    Outcome { accepted, bytes, peak }
}

/// A device that computes nothing.
fn noop() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        Gpu::new(&device, &queue).unwrap()
    })
}

/// Lets the device have done what was written, so that nothing adds up.
fn settle(gpu: &Gpu) {
    gpu.queue().submit([]);
    _ = gpu.device().poll(wgpu::PollType::wait_indefinitely());
}

// ---- bytes as numbers

/// Bytes taken one after another; zeros after the last.
pub struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn below(&mut self, n: usize) -> usize {
        if n > 256 { (usize::from(self.byte()) << 8 | usize::from(self.byte())) % n } else { usize::from(self.byte()) % n.max(1) }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Mostly a small number, sometimes one at the edge of a type.
    fn size(&mut self) -> usize {
        let byte = self.byte();
        match byte {
            0..200 => usize::from(byte % 6),
            200..230 => usize::from(byte),
            _ => {
                let edge = self.pick(&[0, 1 << 8, 1 << 16, 1 << 24, 1 << 31, 1 << 32, 1 << 47, 1 << 62, 1 << 63, usize::MAX]);
                edge.wrapping_add(usize::from(self.byte() % 3)).wrapping_sub(1)
            }
        }
    }

    fn sizes(&mut self) -> Vec<usize> {
        (0..self.below(6)).map(|_| self.size()).collect()
    }

    fn pairs(&mut self) -> Vec<(usize, usize)> {
        (0..self.below(6)).map(|_| (self.size(), self.size())).collect()
    }

    fn float(&mut self) -> f64 {
        let some = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 1e-40, 1e-320, 3.4e38, 1e39, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        self.pick(&some)
    }
}

// ---- files

/// A file made of bytes: of one input in eight these very bytes, else a valid file with a few changes that they say.
fn file(valid: &[u8], bytes: &[u8]) -> Vec<u8> {
    let (&first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    if first % 8 == 0 {
        return rest.to_vec();
    }
    let mut source = Source(rest);
    let length = u64::from_le_bytes(valid[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&valid[8..8 + length]).unwrap();
    let mut text = None;
    let mut data = valid[8 + length..].to_vec();
    for _ in 0..first / 8 % 8 {
        if source.is_empty() {
            break;
        }
        match source.below(16) {
            0..7 => change(&mut header, &mut source),
            7 => {
                // a name that is given twice, or any other piece of the header
                let own = text.get_or_insert_with(|| header.to_string());
                let parts: Vec<&str> = own.split_inclusive(',').collect();
                let (part, at) = (parts[source.below(parts.len())].to_owned(), source.below(parts.len()));
                let parts: Vec<&str> = [&parts[..at], &[part.as_str()], &parts[at..]].concat();
                *own = parts.concat();
            }
            8 => {
                // much of something short
                let own = text.get_or_insert_with(|| header.to_string());
                let at = source.below(own.len() + 1);
                let at = (0..=at).rev().find(|&at| own.is_char_boundary(at)).unwrap_or_default();
                let piece = source.pick(&["[", "0,", "{}", "[],", "\"\":0,", "{\"a\":", "\\u0000", "\"a\":\"\",", " ", "1e9", "-"]);
                own.insert_str(at, &piece.repeat(1 + source.below(400)));
            }
            9..11 => {
                let at = source.below(data.len().max(1));
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= source.byte();
                }
            }
            11 => data.truncate(source.below(data.len() + 1)),
            12 => data.resize(data.len() + source.below(300), source.byte()),
            13 => {
                // NaN, infinity, and the largest number
                let word = source.pick(&[0x7fc0_0000u32, 0x7f80_0000, 0xff80_0000, 0x7f7f_ffff, 1, 0xffff_ffff]);
                let words = data.len() / 4;
                let at = 4 * source.below(words.max(1));
                if let Some(place) = data.get_mut(at..at + 4) {
                    place.copy_from_slice(&word.to_le_bytes());
                }
            }
            14 => {
                // a tensor of another length, with all others where they then are
                stretch(&mut header, &mut data, &mut source);
            }
            _ => {
                let own = text.get_or_insert_with(|| header.to_string());
                let (at, byte) = (source.below(own.len().max(1)), source.byte());
                let mut all = std::mem::take(own).into_bytes();
                if let Some(place) = all.get_mut(at) {
                    *place ^= byte;
                }
                *own = String::from_utf8_lossy(&all).into_owned();
            }
        }
    }
    let text = text.unwrap_or_else(|| header.to_string());
    let length = match source.byte() {
        _ if !rest.ends_with(&[255]) => text.len() as u64,
        _ => rest.iter().fold(0u64, |n, &byte| n.rotate_left(8) ^ u64::from(byte)),
    };
    [&length.to_le_bytes(), text.as_bytes(), &data].concat()
}

/// Another value somewhere in the header.
fn change(header: &mut Value, source: &mut Source) {
    let Some(entries) = header.as_object_mut() else { return };
    let names: Vec<String> = entries.keys().cloned().collect();
    if names.is_empty() {
        return;
    }
    let name = names[source.below(names.len())].clone();
    let other = names[source.below(names.len())].clone();
    let how = source.below(10);
    let value = any_value(source);
    match how {
        0 => drop(entries.remove(&name)),
        1 => {
            let moved = entries.remove(&name).unwrap_or_default();
            entries.insert(format!("{other}x"), moved);
        }
        2 => drop(entries.insert(name, value)),
        3 => {
            let copied = entries[&other].clone();
            entries.insert(name, copied);
        }
        _ => {
            let Some(fields) = entries.get_mut(&name).and_then(Value::as_object_mut) else { return };
            let keys: Vec<String> = fields.keys().cloned().collect();
            if keys.is_empty() {
                return;
            }
            let key = keys[source.below(keys.len())].clone();
            match how {
                4 => drop(fields.remove(&key)),
                5 => drop(fields.insert(format!("{key}x"), value)),
                6 if name == "__metadata__" => drop(fields.insert(key, Value::String(value.to_string()))),
                // a number in a text, or in an array
                _ => match fields.get_mut(&key) {
                    Some(Value::Array(numbers)) if !numbers.is_empty() => {
                        let at = source.below(numbers.len());
                        numbers[at] = value;
                    }
                    Some(Value::String(text)) => {
                        let digits: Vec<usize> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(i, _)| i).collect();
                        if !digits.is_empty() {
                            let at = digits[source.below(digits.len())];
                            text.replace_range(at..=at, &value.to_string());
                        } else {
                            *text = source.pick(&["F64", "F16", "BF16", "I64", "U8", "BOOL", "F32", "C64", "F4", ""]).to_owned();
                        }
                    }
                    _ => drop(fields.insert(key, value)),
                },
            }
        }
    }
}

fn any_value(source: &mut Source) -> Value {
    match source.below(10) {
        0 => Value::Null,
        1 => Value::from(-1),
        2 => Value::from(1e300),
        3 => Value::from(""),
        4 => Value::from(vec![source.size(), source.size()]),
        5 => Value::from(vec![Vec::<u8>::new(); source.below(9)]),
        6 => Value::from(source.pick(&["F64", "F16", "BF16", "I64", "U8", "BOOL", "F32", "C64", "F4"])),
        _ => Value::from(source.size()),
    }
}

/// A tensor of another type or shape, and offsets that are right.
fn stretch(header: &mut Value, data: &mut Vec<u8>, source: &mut Source) {
    let Some(entries) = header.as_object_mut() else { return };
    let mut start = 0;
    let (chosen, count) = (source.below(entries.len().max(1)), source.below(40));
    let (dtype, size) = source.pick(&[("F32", 4), ("F64", 8), ("F16", 2), ("BF16", 2), ("I64", 8), ("U8", 1)]);
    for (i, (name, entry)) in entries.iter_mut().enumerate() {
        let Some(fields) = entry.as_object_mut().filter(|_| name != "__metadata__") else { continue };
        if i == chosen {
            fields.insert("dtype".into(), dtype.into());
            fields.insert("shape".into(), vec![count].into());
        }
        let size = if i == chosen { size } else { 4 };
        let shape = fields.get("shape").and_then(Value::as_array).cloned().unwrap_or_default();
        let elements = shape.iter().filter_map(Value::as_u64).fold(1u64, u64::wrapping_mul) % 4096;
        let end = start + elements * size;
        fields.insert("data_offsets".into(), vec![start, end].into());
        start = end;
    }
    data.resize(start as usize, 1);
}

/// What is allocated for the target whatever the file says: the names of its tensors, the bytes that wgpu stages.
const TARGET: usize = 16 << 10;

/// [`Weights::from_safetensors`].
pub fn weights(bytes: &[u8]) -> Outcome {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    let gpu = noop();
    let valid = VALID.get_or_init(|| {
        let architecture = Architecture { dim: 2, channels: 2, levels: 1, before: 1, coarse: 1, after: 1 };
        let weights = Weights::initial(gpu, &architecture, 0).unwrap();
        block_on(weights.to_safetensors(gpu)).unwrap()
    });
    let file = file(valid, bytes);
    let (result, peak) = measured(|| Weights::from_safetensors(gpu, &file));
    if result.is_ok() {
        settle(gpu);
    }
    outcome(result.is_ok(), file.len(), peak, TARGET)
}

/// [`Parameters::load`], which changes nothing if it fails.
pub fn parameters(bytes: &[u8]) -> Outcome {
    static TARGET_AND_FILE: OnceLock<(Parameters, Vec<u8>)> = OnceLock::new();
    let gpu = noop();
    let (target, valid) = TARGET_AND_FILE.get_or_init(|| {
        let mut graph = Graph::new();
        for (name, shape) in [("weight", &[3, 5][..]), ("bias", &[5]), ("scalar", &[])] {
            graph.parameter(name, shape, Init::Normal(1.0)).unwrap();
        }
        let parameters = Parameters::new(gpu, &graph, 0).unwrap();
        let valid = block_on(parameters.save(gpu)).unwrap();
        (parameters, valid)
    });
    let file = file(valid, bytes);
    let values = || block_on(target.flat().read::<f32>(gpu)).unwrap().into_iter().map(f32::to_bits).collect::<Vec<u32>>();
    let before = is_compared(bytes).then(values);
    let (result, peak) = measured(|| target.load(gpu, &file));
    match (&result, before) {
        (Ok(()), _) => settle(gpu),
        (Err(_), Some(before)) => assert_eq!(values(), before),
        _ => {}
    }
    outcome(result.is_ok(), file.len(), peak, TARGET)
}

/// [`Optimizer::load_state_dict`], which changes nothing if it fails.
pub fn optimizer(bytes: &[u8]) -> Outcome {
    thread_local! {
        static TARGET_AND_FILE: RefCell<(Optimizer, Vec<u8>)> = {
            let gpu = noop();
            let tensors = |dtype| [[3, 5].as_slice(), &[7]].map(|shape| Tensor::zeros(gpu, shape, dtype).unwrap());
            let (params, grads) = (tensors(DType::F16), tensors(DType::F32));
            let list = [Param::new("a", &params[0], &grads[0]), Param::new("b", &params[1], &grads[1])];
            let loss_scale = LossScale::Dynamic { initial: 1024.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 10 };
            let options = Options { master_weights: true, loss_scale, ..Default::default() };
            let optimizer = Optimizer::with_options(gpu, &AdamW::default(), &list, options).unwrap();
            let valid = block_on(optimizer.state_dict()).unwrap();
            RefCell::new((optimizer, valid))
        };
    }
    TARGET_AND_FILE.with_borrow_mut(|(target, valid)| {
        let file = file(valid, bytes);
        // tensors and metadata, which are in no order
        let state = |target: &Optimizer| {
            let bytes = block_on(target.state_dict()).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let tensors: BTreeMap<String, Vec<u8>> = file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
            (tensors, format!("{:?}", target.groups()))
        };
        let before = is_compared(bytes).then(|| state(target));
        let (result, peak) = measured(|| target.load_state_dict(&file));
        match (&result, before) {
            (Ok(()), _) => settle(noop()),
            (Err(_), Some(before)) => assert_eq!(state(target), before),
            _ => {}
        }
        outcome(result.is_ok(), file.len(), peak, TARGET)
    })
}

/// Whether the target is compared before and after: of one input in 16, for it takes longer than the loading.
fn is_compared(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte)) % 16 == 0
}

// ---- graphs

/// The most operations of a graph, and the most bytes that may be allocated on the way.
const OPERATIONS: usize = 48;
const GRAPH_MEMORY: usize = 64 << 20;

/// Operations with arguments of any kind, derivatives, and a plan.
pub fn graph(bytes: &[u8]) -> Outcome {
    let gpu = noop();
    let (accepted, peak) = measured(|| {
        let mut source = Source(bytes);
        let mut graph = Graph::new();
        let mut pool: Vec<Var> = Vec::new();
        for (i, shape) in [&[2, 3][..], &[2, 4, 6, 5], &[3]].into_iter().enumerate() {
            pool.push(graph.input(&format!("x{i}"), shape).unwrap());
        }
        pool.push(graph.indices("n", &[3]).unwrap());
        for i in 0..OPERATIONS {
            if source.is_empty() {
                break;
            }
            let before = graph.len();
            match operation(&mut graph, &pool, i, &mut source) {
                Ok(vars) => pool.extend(vars),
                // what layers are made of is there only if they are
                Err(_) => assert!(graph.len() >= before),
            }
        }
        for &var in &pool {
            // a foreign value has none
            if let Ok(shape) = graph.shape(var) {
                let elements = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
                assert!(elements.is_some_and(|n| (1..1 << 31).contains(&n)), "{shape:?}");
            }
        }
        let x = pool[source.below(pool.len())];
        let last = pool[pool.len() - 1];
        plan(gpu, &mut graph, x, last).is_ok()
    });
    assert!(peak < GRAPH_MEMORY, "{peak} bytes are allocated for a graph");
    Outcome { accepted, bytes: bytes.len(), peak }
}

/// The gradient of the squares of `y` by `x`, its derivative along x, and plans of all.
fn plan(gpu: &Gpu, graph: &mut Graph, x: Var, y: Var) -> Result<()> {
    let squares = graph.mul(y, y)?;
    let loss = graph.sum(squares, &[])?;
    let gradient = graph.gradient(loss, &[x])?;
    let tangent = graph.input("tangent", graph.shape(x)?.to_vec().as_slice())?;
    let tangents = graph.jvp(&[y, gradient[0]], &[x], &[tangent])?;
    let product = graph.vjp(&[gradient[0]], &[tangent], &[x])?;
    let outputs = [&[y, loss], &gradient[..], &tangents, &product].concat();
    let plan = Plan::new(gpu, graph, &[Stage::new(&outputs[..3]), Stage::new(&outputs[3..]).after(&[tangent])])?;
    _ = (plan.peak_memory(), format!("{plan:?}"));
    Ok(())
}

fn operation(graph: &mut Graph, pool: &[Var], i: usize, source: &mut Source) -> Result<Vec<Var>> {
    let var = |source: &mut Source| pool[pool.len() - 1 - source.below(pool.len().min(6))];
    let code = source.byte();
    let (x, y) = (var(source), var(source));
    // one in eight is given to any value, foreign ones too
    let x = match code {
        255 => foreign(),
        _ => x,
    };
    let shape = graph.shape(x).map(<[usize]>::to_vec).unwrap_or_default();
    let rank = shape.len();
    // the shape with a change, or any
    let near = |source: &mut Source| {
        let mut near = shape.clone();
        match source.below(4) {
            0 => return source.sizes(),
            1 if rank > 0 => near[source.below(rank)] = source.size(),
            2 => near.insert(source.below(rank + 1), source.size()),
            _ => near.rotate_left(source.below(rank)),
        }
        near
    };
    let axis = |source: &mut Source| match source.byte() {
        byte @ 0..240 => usize::from(byte) % rank.max(1),
        _ => source.size(),
    };
    let axes = |source: &mut Source| (0..source.below(rank + 2)).map(|_| axis(source)).collect::<Vec<_>>();
    // as many as there are spatial axes, mostly
    let spatial = |source: &mut Source| match source.byte() {
        0..220 => (0..rank.saturating_sub(2)).map(|_| source.size()).collect::<Vec<_>>(),
        _ => source.sizes(),
    };
    let name = format!("v{}", if source.byte() < 250 { i } else { 0 });
    let one = |var: Result<Var>| var.map(|var| vec![var]);
    one(match code % 62 {
        0 => graph.input(&name, &near(source)),
        1 => graph.parameter(&name, &near(source), Init::Uniform(source.float())),
        2 => graph.indices(&name, &near(source)),
        3 => graph.constant(source.float(), &near(source)),
        4 => graph.iota(axis(source), &near(source)),
        5 => graph.exp(x),
        6 => graph.log(x),
        7 => graph.sqrt(x),
        8 => graph.reciprocal(x),
        9 => graph.tanh(x),
        10 => graph.relu(x),
        11 => graph.abs(x),
        12 => graph.softplus(x),
        13 => graph.sigmoid(x),
        14 => graph.sign(x),
        15 => graph.add(x, y),
        16 => graph.sub(x, y),
        17 => graph.mul(x, y),
        18 => graph.div(x, y),
        19 => graph.maximum(x, y),
        20 => graph.greater(x, y),
        21 => graph.mask(x, y),
        22 => graph.reshape(x, &near(source)),
        23 => graph.flatten(x, axis(source)),
        24 => {
            let mut all: Vec<usize> = (0..rank).collect();
            all.rotate_left(source.below(rank));
            graph.transpose(x, &if source.byte() < 200 { all } else { axes(source) })
        }
        25 => graph.broadcast_to(x, &near(source)),
        26 => graph.sum(x, &axes(source)),
        27 => graph.mean(x, &axes(source)),
        28 => {
            let padding: Vec<(usize, usize)> = (0..rank).map(|_| (source.size(), source.size())).collect();
            graph.pad(x, &if source.byte() < 220 { padding } else { source.pairs() })
        }
        29 => {
            let inside = |&size: &usize| {
                let start = source.below(size);
                start..start + 1 + source.below(size - start)
            };
            let ranges: Vec<_> = shape.iter().map(inside).collect();
            graph.slice(x, &if source.byte() < 200 { ranges } else { source.pairs().into_iter().map(|(a, b)| a..b).collect() })
        }
        30 => {
            graph.concat(&(0..source.below(5)).map(|_| if source.byte() < 128 { x } else { var(source) }).collect::<Vec<_>>(), axis(source))
        }
        31 => graph.scale(x, source.float()),
        32 => graph.add_scalar(x, source.float()),
        33 => graph.detach(x),
        34..38 => {
            let window = match source.byte() {
                0..100 => Window::tiles(source.size(), rank.saturating_sub(2)),
                _ => Window { size: spatial(source), stride: spatial(source), padding: spatial(source) },
            };
            if code.is_multiple_of(2) { graph.avg_pool(x, &window) } else { graph.max_pool(x, &window) }
        }
        38 => graph.upsample_nearest(x, source.size()),
        39 => graph.gather(x, y),
        40 => graph.one_hot(x, source.size()),
        41 => graph.matmul(x, y),
        42 => {
            let swapped: Vec<usize> = (0..rank.saturating_sub(2)).chain([rank.wrapping_sub(1), rank.wrapping_sub(2)]).collect();
            let transposed = graph.transpose(x, &swapped)?;
            graph.matmul(transposed, y)
        }
        43..47 => {
            let padding = match source.below(3) {
                0 => Padding::Same,
                1 => Padding::Valid,
                _ if source.byte() < 220 => Padding::Explicit(spatial(source).into_iter().map(|n| (n, source.size())).collect()),
                _ => Padding::Explicit(source.pairs()),
            };
            let stepped = source.byte();
            let steps = |source: &mut Source| if stepped < 128 { vec![] } else { spatial(source) };
            let options = ConvolutionOptions { stride: steps(source), dilation: steps(source), padding };
            match code % 2 {
                0 => graph.convolution(x, y, &options),
                _ => layers::convolution(graph, &name, x, source.size(), &spatial(source), &options),
            }
        }
        47 => graph.softmax(x, axis(source)),
        48 => graph.log_softmax(x, axis(source)),
        49 => graph.gelu(x),
        50 => layers::dense(graph, &name, x, source.size()),
        51 => layers::layer_norm(graph, &name, x, source.float()),
        52 => layers::group_norm(graph, &name, x, source.size(), source.float()),
        53 => layers::batch_norm(graph, &name, x, source.float()),
        54 => layers::embedding(graph, &name, x, source.size(), source.size()),
        55 => layers::self_attention(graph, &name, x, source.size(), source.byte() < 128),
        56 => layers::transformer_block(graph, &name, x, source.size(), source.size(), source.byte() < 128),
        57 => match source.below(3) {
            0 => losses::mean_squared_error(graph, x, y),
            1 => losses::cross_entropy(graph, x, y),
            _ => losses::binary_cross_entropy_with_logits(graph, x, y),
        },
        58 => return graph.vjp(&[x], &[y], &[var(source), x]),
        59 => return graph.jvp(&[x], &[y], &[var(source)]),
        60 => return graph.vjp(&[x], &[x], &[y]),
        _ => {
            let sizes = [source.size(), source.size(), source.below(4), source.below(4), source.below(3), source.below(3)];
            let [dim, channels, levels, before, coarse, after] = sizes;
            Architecture { dim, channels, levels, before, coarse, after }.build(graph, x)
        }
    })
}

/// A value of another graph.
fn foreign() -> Var {
    static VAR: OnceLock<Var> = OnceLock::new();
    *VAR.get_or_init(|| Graph::new().input("elsewhere", &[1]).unwrap())
}

// ---- grids

/// The cells that are made; a grid of more is as good as any.
const CELLS: usize = 1 << 12;

/// Grids of any sizes and flags, and what is made of them.
pub fn grid(bytes: &[u8]) -> Outcome {
    let gpu = noop();
    let mut source = Source(bytes);
    let result: Result<()> = (|| {
        let axes = source.pick(&[2, 3, 2, 3, 2, 3, 1, 4, 0]);
        let size = |source: &mut Source| match source.byte() {
            byte @ 0..230 => 1 + usize::from(byte % 23),
            _ => source.size(),
        };
        let sizes: Vec<usize> = (0..axes).map(|_| size(&mut source)).collect();
        let cells = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if cells.is_some_and(|cells| (CELLS..1 << 31).contains(&cells)) {
            return Ok(());
        }
        let grid = Grid::new(&sizes)?;
        assert!(cells.is_some_and(|cells| cells < 1 << 31));
        let open: Vec<[bool; 2]> =
            (0..if source.byte() < 240 { axes } else { source.size() % 8 }).map(|_| [source.byte() % 2 == 0; 2]).collect();
        let cells = if source.byte() < 240 { grid.len() } else { source.below(CELLS) };
        // runs of one flag, of which few are none
        let mut flags = Vec::with_capacity(cells);
        while flags.len() < cells {
            let (flag, run) = (source.byte(), 1 + source.below(40));
            flags.extend(std::iter::repeat_n(if flag < 250 { flag % 3 } else { flag }, run.min(cells - flags.len())));
        }
        let grid = grid.with_open(&open)?.with_flags(&flags)?;
        Laplacian::new(gpu, &grid)?;
        Jacobi::new(gpu, &grid)?;
        IncompletePoisson::new(gpu, &grid)?;
        let degree = source.pick(&[0, 1, 2, 2, 3, 4, 9]);
        let options = MultigridOptions { degree, twice_from: source.pick(&[None, Some(0), Some(1), Some(2), Some(u32::MAX)]) };
        let multigrid = Multigrid::new(gpu, &grid, &options);
        assert!(multigrid.is_ok() || !(1..=4).contains(&degree) || options.twice_from == Some(0));
        drop(multigrid);
        // and all else, which is refused or taken
        let number = |source: &mut Source| if source.byte() < 200 { f64::from(source.byte()) / 16.0 } else { source.float() };
        let periodic: Vec<bool> = grid.open().iter().map(|open| !open[0] && source.byte() % 3 == 0).collect();
        let spacing: Vec<f64> = (0..axes).map(|_| number(&mut source)).collect();
        let mut weights = |axis: usize| -> Vec<f32> {
            let (some, others) = (number(&mut source) as f32, number(&mut source) as f32);
            (0..grid.len() / sizes[axis] * (sizes[axis] + 1)).map(|i| if i % 7 == 0 { some } else { others }).collect()
        };
        let faces: Vec<Vec<f32>> = (0..axes).map(&mut weights).collect();
        let faces: Vec<&[f32]> = faces.iter().map(Vec::as_slice).collect();
        let grid = grid.with_periodic(&periodic)?.with_spacing(&spacing)?.with_faces(&faces)?.with_mass(number(&mut source) as f32)?;
        Laplacian::new(gpu, &grid)?;
        Multigrid::new(gpu, &grid, &MultigridOptions::default())?;
        Ok(())
    })();
    settle(gpu);
    Outcome { accepted: result.is_ok(), bytes: bytes.len(), peak: 0 }
}
