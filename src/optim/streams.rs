//! The WGSL of a step: the buffers of its streams, how four elements of each are loaded, rounded and stored, and the call of the
//! algorithm's text. It completes the templates `optim/prepare.wgsl`, `optim/elements.wgsl` and `optim/rows.wgsl`.

use super::algorithm::{Decay, GROUP, STEP, Update};
use crate::gpu::{Access, BindingLayout, DType, Generated};

/// A pass over the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    /// `update`, in the template `elements`.
    Elements,
    /// `advance`, in the template `rows`.
    Advance,
    /// `update` with the rows' coefficients, in the template `elements`.
    Apply { reads_gradient: bool, writes_states: bool },
}

impl Pass {
    pub fn reads_gradient(self) -> bool {
        !matches!(self, Self::Apply { reads_gradient: false, .. })
    }
}

/// How cells are loaded and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cells {
    /// They begin at multiples of four elements in every buffer.
    #[default]
    Aligned,
    /// They do but for the gradient, which is loaded element by element.
    GradScattered,
    /// They begin anywhere, and may have fewer than four elements.
    Scattered,
}

/// What the elements of a dispatch are, and how they lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Types {
    pub param: DType,
    pub grad: DType,
    pub state: DType,
    /// The parameter is the rounded image of an f32 copy.
    pub master: bool,
    /// The parameter is rounded stochastically.
    pub stochastic: bool,
    pub cells: Cells,
    /// Parameter and gradient are ranges of one buffer, which is bound once, as the parameter's: WebGPU refuses ranges that
    /// overlap, and ranges begin at multiples of 256 bytes.
    pub shared: bool,
}

/// The names of the states' bindings; there are no more states than that.
pub(super) const STATES: [&str; 6] = ["state_0", "state_1", "state_2", "state_3", "state_4", "state_5"];

const STEPS: u32 = 1;
const PARAM: u32 = 3;
const GRAD: u32 = 4;
const MASTER: u32 = 5;
const STATE: u32 = 6;

/// A struct of one-word members, and of `vec2<u32>`s.
fn structure<'a>(name: &str, members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, ty)| format!("    {name}: {ty},\n")).collect();
    format!("struct {name} {{\n{}}}\n\n", members.concat())
}

/// Completes `optim/prepare.wgsl`.
pub(super) fn prepare(update: &Update) -> Generated {
    let mut wgsl = structure("Step", update.members());
    let exact = update.exact.iter().map(|(name, _)| (name.as_str(), "vec2<u32>"));
    let constants = update.constants.iter().map(|(name, _)| (name.as_str(), "f32"));
    wgsl += &structure("Group", GROUP.into_iter().chain(exact).chain(constants));
    wgsl += "@group(0) @binding(3) var<storage, read> groups: array<Group>;\n";
    wgsl += "@group(0) @binding(4) var<storage, read_write> steps: array<Step>;\n\n";
    wgsl += update.prepare.as_deref().unwrap_or_default();
    let standard = [
        "1u",
        "t",
        "g.seed_low",
        "g.seed_high",
        "g.sign * factor",
        "g.lr * lr_factor",
        "g.weight_decay",
        "g.decay * lr_factor",
        "g.projected_decay * lr_factor",
        "dither",
    ];
    let mut values: Vec<String> = standard.map(str::to_owned).to_vec();
    values.extend(update.constants.iter().map(|(name, _)| format!("g.{name}")));
    values.extend(update.prepared.iter().map(|_| "0.0".to_owned()));
    values.extend(update.kept.iter().map(|(name, _)| format!("before.{name}")));
    let call = if update.prepare.is_some() { "    prepare(g, &k);\n" } else { "" };
    wgsl += &format!(
        "fn step_of(g: Group, before: Step, lr_factor: f32, t: u32, factor: f32, dither: f32) -> Step {{\n    var k = Step({});\n{call}    return k;\n}}\n",
        values.join(", ")
    );
    let bindings = vec![
        BindingLayout { index: 3, name: "groups", access: Access::Read },
        BindingLayout { index: 4, name: "steps", access: Access::ReadWrite },
    ];
    Generated { wgsl, bindings, name: None, checked: !update.own }
}

/// Completes `optim/elements.wgsl` or `optim/rows.wgsl`.
pub(super) fn pass(update: &Update, types: &Types, pass: Pass) -> Generated {
    let mut writer = Writer { types, wgsl: structure("Step", update.members()), bindings: Vec::new() };
    writer.bind(STEPS, "steps", "Step", Access::Read);
    let advance = pass == Pass::Advance;
    let reads_gradient = pass.reads_gradient();
    let writes_states = !matches!(pass, Pass::Apply { writes_states: false, .. });
    let param_access = match (advance, types.master) {
        (true, true) if !(types.shared && reads_gradient) => None,
        (true, _) => Some(Access::Read),
        // the neighbours of 16 bits at ragged ends are read
        (false, true) if !(types.shared && reads_gradient) && types.cells != Cells::Scattered => Some(Access::Write),
        (false, _) => Some(Access::ReadWrite),
    };
    if let Some(access) = param_access {
        writer.stream(PARAM, "param", types.param, access);
    }
    if types.master {
        writer.stream(MASTER, "master", DType::F32, if advance { Access::Read } else { Access::ReadWrite });
        writer.load("load_param", "master", "state", DType::F32);
    } else {
        writer.load("load_param", "param", "param", types.param);
    }
    if reads_gradient {
        if !types.shared {
            writer.stream(GRAD, "grad", types.grad, Access::Read);
        }
        writer.load_grad();
    }
    if !advance {
        writer.store_param();
    }
    // the average of the parameter is written where the parameter is
    let states = if advance { update.own_states() } else { update.states.len() };
    for (i, name) in STATES.iter().take(states).enumerate() {
        let dtype = update.state_dtype(i, types.state);
        let writes = (writes_states || i >= update.own_states()) && !update.states[i].input;
        writer.stream(STATE + i as u32, name, dtype, if writes { Access::ReadWrite } else { Access::Read });
        writer.load(&format!("load_{name}"), name, "state", dtype);
        if writes {
            writer.store_state(i, dtype);
        }
    }
    writer.wgsl += &update.wgsl;
    writer.visit(update, pass);
    Generated { wgsl: writer.wgsl, bindings: writer.bindings, name: Some(update.name.clone()), checked: !update.own }
}

struct Writer<'a> {
    types: &'a Types,
    wgsl: String,
    bindings: Vec<BindingLayout>,
}

impl Writer<'_> {
    fn bind(&mut self, index: u32, name: &'static str, element: &str, access: Access) {
        let space = if access == Access::Read { "read" } else { "read_write" };
        self.wgsl += &format!("@group(0) @binding({index}) var<storage, {space}> {name}: array<{element}>;\n");
        self.bindings.push(BindingLayout { index, name, access });
    }

    /// The buffer of a stream.
    fn stream(&mut self, index: u32, name: &'static str, dtype: DType, access: Access) {
        let scattered = if index == GRAD { self.types.cells != Cells::Aligned } else { self.scattered() };
        self.bind(index, name, Self::unit(dtype, scattered), access);
    }

    fn scattered(&self) -> bool {
        self.types.cells == Cells::Scattered
    }

    /// What a stream's buffer is an array of.
    fn unit(dtype: DType, scattered: bool) -> &'static str {
        match (dtype == DType::F32, scattered) {
            (true, true) => "f32",
            (true, false) => "vec4<f32>",
            (false, true) => "u32",
            (false, false) => "vec2<u32>",
        }
    }

    /// A function that loads a cell of the stream `name`, whose place is the member `at` of `Cell`.
    fn load(&mut self, function: &str, name: &str, at: &str, dtype: DType) {
        self.load_by(function, at, dtype, self.scattered(), &|index| format!("{name}[{index}]"));
    }

    fn load_by(&mut self, function: &str, at: &str, dtype: DType, scattered: bool, element: &dyn Fn(&str) -> String) {
        let each = |index: &dyn Fn(&str) -> String| ["i.x", "i.y", "i.z", "i.w"].map(|i| element(&index(i))).join(", ");
        let body = match (dtype == DType::F32, scattered) {
            (true, false) => format!("    return {};\n", element(&format!("cell.{at} >> 2u"))),
            (true, true) => format!("    let i = indices(cell.{at}, cell.count);\n    return vec4({});\n", each(&|i| i.to_owned())),
            (false, false) => format!("    return {}_to_f32(halves({}));\n", half(dtype), element(&format!("cell.{at} >> 2u"))),
            (false, true) => format!(
                "    let i = indices(cell.{at}, cell.count);\n    return {}_to_f32(half_of(vec4({}), i));\n",
                half(dtype),
                each(&|i| format!("{i} >> 1u"))
            ),
        };
        self.wgsl += &format!("\nfn {function}(cell: Cell) -> vec4<f32> {{\n{body}}}\n");
    }

    /// Gradients may be in the parameters' buffer, which has units of its own.
    fn load_grad(&mut self) {
        let Types { param, grad, shared, cells, .. } = *self.types;
        let scattered = cells != Cells::Aligned;
        if !shared {
            return self.load_by("load_grad", "grad", grad, scattered, &|index| format!("grad[{index}]"));
        }
        let (unit, wide) = (Self::unit(grad, scattered), |dtype| dtype == DType::F32);
        let body = match (cells, wide(param), wide(grad)) {
            (Cells::Scattered, ..) => format!("    return bitcast<{unit}>(param[i]);\n"),
            (Cells::GradScattered, true, _) => format!("    return bitcast<{unit}>(param[i >> 2u][i & 3u]);\n"),
            (Cells::GradScattered, false, _) => format!("    return bitcast<{unit}>(param[i >> 1u][i & 1u]);\n"),
            (Cells::Aligned, true, false) => {
                "    let two = bitcast<vec4<u32>>(param[i >> 1u]);\n    return select(two.xy, two.zw, (i & 1u) == 1u);\n".to_owned()
            }
            (Cells::Aligned, false, true) => "    return bitcast<vec4<f32>>(vec4(param[2u * i], param[2u * i + 1u]));\n".to_owned(),
            (Cells::Aligned, ..) => "    return param[i];\n".to_owned(),
        };
        self.wgsl +=
            &format!("\n// Gradient i, in its own units, of the one buffer that there is.\nfn grad_at(i: u32) -> {unit} {{\n{body}}}\n");
        self.load_by("load_grad", "grad", grad, scattered, &|index| format!("grad_at({index})"));
    }

    /// A scattered cell of f32.
    fn store_each(name: &str, at: &str) -> String {
        let stores = ["x", "y", "z", "w"].map(|i| format!("    {name}[i.{i}] = value.{i};\n")).concat();
        format!("    let i = indices(cell.{at}, cell.count);\n{stores}")
    }

    fn store_param(&mut self) {
        let Types { param, master, stochastic, .. } = *self.types;
        let scattered = self.scattered();
        // the state's place, for the master copy lies as the states do
        let f32s = |name: &str, at: &str| match scattered {
            true => format!("    {{\n{}    }}\n", Self::store_each(name, at)),
            false => format!("    {name}[cell.{at} >> 2u] = value;\n"),
        };
        let mut body = if master { f32s("master", "state") } else { String::new() };
        if param == DType::F32 {
            body += &f32s("param", "param");
        } else {
            body += &match stochastic {
                true => format!(
                    "    let bits = f32_to_{}_stochastic(value, random_cell(element, tensor, k.step, 0u, vec2(k.seed_low, k.seed_high)));\n",
                    half(param)
                ),
                false => format!("    let bits = f32_to_{}_nearest(value);\n", half(param)),
            };
            body += match scattered {
                false => "    param[cell.param >> 2u] = words(bits);\n",
                // a cell begins at an even element; the other half of an odd tensor's last word is not its own
                true => {
                    "    let word = cell.param >> 1u;
    let packed = words(bits);
    if cell.count > 1u { param[word] = packed.x; } else { param[word] = (param[word] & 0xffff0000u) | (packed.x & 0xffffu); }
    if cell.count > 3u { param[word + 1u] = packed.y; }
    if cell.count == 3u { param[word + 1u] = (param[word + 1u] & 0xffff0000u) | (packed.y & 0xffffu); }
"
                }
            };
        }
        self.wgsl += &format!(
            "\n// `element` is the index of the cell's first element in its tensor, `tensor` the tensor's number: with the step they key random bits.\nfn store_param(k: Step, cell: Cell, element: u32, tensor: u32, value: vec4<f32>) {{\n{body}}}\n"
        );
    }

    fn store_state(&mut self, index: usize, state: DType) {
        let (name, scattered) = (STATES[index], self.scattered());
        let mut body = String::new();
        if state == DType::F32 {
            body += &match scattered {
                true => Self::store_each(name, "state"),
                false => format!("    {name}[cell.state >> 2u] = value;\n"),
            };
        } else {
            body += &format!(
                "    let bits = f32_to_{}_stochastic(value, random_cell(element, tensor, k.step, {}u, vec2(k.seed_low, k.seed_high)));\n",
                half(state),
                index + 1
            );
            match scattered {
                false => body += &format!("    {name}[cell.state >> 2u] = words(bits);\n"),
                // no other tensor's state is in the words of this one's
                true => {
                    for i in 0..4 {
                        body += &format!(
                            "    if cell.count > {i}u {{
        let at = cell.state + {i}u;
        let shift = (at & 1u) << 4u;
        {name}[at >> 1u] = ({name}[at >> 1u] & ~(0xffffu << shift)) | (bits[{i}] << shift);
    }}
"
                        );
                    }
                }
            }
        }
        self.wgsl += &format!("\nfn store_{name}(k: Step, cell: Cell, element: u32, tensor: u32, value: vec4<f32>) {{\n{body}}}\n");
    }

    /// The cell's step.
    fn visit(&mut self, update: &Update, pass: Pass) {
        let states = &STATES[..update.own_states()];
        let loads: String = states.iter().map(|name| format!("    var {name} = load_{name}(cell);\n")).collect();
        let input = |i: usize| update.states[i].input;
        let pointers: String =
            states.iter().enumerate().map(|(i, name)| if input(i) { format!(", {name}") } else { format!(", &{name}") }).collect();
        let written = states.iter().enumerate().filter(|(i, _)| !input(*i));
        let stores: String = written.map(|(_, name)| format!("    store_{name}(k, cell, element, tensor, {name});\n")).collect();
        let found = if update.projection.is_some_and(|projection| projection.ratio) { "u, u" } else { "g, u" };
        let gradient = match update.clips {
            true => "clipped(k.grad_scale * load_grad(cell), k.clip_value)",
            false => "k.grad_scale * load_grad(cell)",
        };
        if update.clips {
            // a NaN is above all magnitudes
            self.wgsl += "
fn clipped(g: vec4<f32>, most: f32) -> vec4<f32> {
    let magnitude = bitcast<vec4<u32>>(g) & vec4(0x7fffffffu);
    let limit = bitcast<vec4<f32>>((bitcast<vec4<u32>>(g) & vec4(0x80000000u)) | vec4(bitcast<u32>(most)));
    return select(g, limit, (magnitude > vec4(bitcast<u32>(most))) & (magnitude <= vec4(0x7f800000u)));
}
";
        }
        let average = match STATES.get(update.own_states()).filter(|_| update.averages) {
            Some(ema) => format!(
                "    let ema = load_{ema}(cell);\n    store_{ema}(k, cell, element, tensor, ema + k.one_minus_ema_decay * (p - ema));\n"
            ),
            None => String::new(),
        };
        self.wgsl += &match pass {
            Pass::Advance => format!(
                "
fn visit(k: Step, element: u32, cell: Cell, tensor: u32) -> Found {{
    let p = load_param(cell);
    let g = {gradient};
{loads}    let u = advance(k, p, g{pointers});
{stores}    return Found(p, {found});
}}
"
            ),
            Pass::Elements => {
                let decay = match update.decay {
                    // 0 p would be NaN for an infinite p
                    Decay::Coupled => "    if k.weight_decay != 0.0 {\n        g += k.weight_decay * p;\n    }\n",
                    Decay::Own => "",
                    Decay::Decoupled { .. } => "    if k.decay != 0.0 {\n        p = decayed(p, k.decay, k.dither);\n    }\n",
                };
                format!(
                    "
fn visit(k: Step, chunk: Chunk, i: u32, cell: Cell) {{
    let element = chunk.element + i;
    let tensor = chunk.tensor;
    var p = load_param(cell);
    var g = {gradient};
{loads}{decay}    update(k, &p, g{pointers});
    store_param(k, cell, element, tensor, p);
{stores}{average}}}
"
                )
            }
            Pass::Apply { reads_gradient, writes_states } => {
                let gradient = if reads_gradient { gradient } else { "vec4(0.0)" };
                let stores = if writes_states { stores } else { String::new() };
                format!(
                    "
fn visit(k: Step, chunk: Chunk, i: u32, cell: Cell, coefficient: vec4<f32>) {{
    let element = chunk.element + i;
    let tensor = chunk.tensor;
    var p = load_param(cell);
    let g = {gradient};
{loads}    update(k, coefficient, &p, g{pointers});
    store_param(k, cell, element, tensor, p);
{stores}{average}}}
"
                )
            }
        };
    }
}

/// What the functions of `shared/half.wgsl` call a type of 16 bits.
fn half(dtype: DType) -> &'static str {
    if dtype == DType::F16 { "f16" } else { "bf16" }
}

/// Where the decays are in a `Step`, in words: the plain one, and that of a tensor that is projected.
pub(super) fn decays() -> [u32; 2] {
    ["decay", "projected_decay"].map(|name| STEP.iter().position(|(member, _)| *member == name).unwrap_or_default() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::validation::check_generated;
    use crate::optim::*;
    use crate::shaders::optim::{ELEMENTS, PREPARE, ROWS};

    fn all() -> Vec<Box<dyn Algorithm>> {
        vec![
            Box::new(Sgd::default()),
            Box::new(Sgd { momentum: 0.9, ..Default::default() }),
            Box::new(Sgd { momentum: 0.9, nesterov: true, ..Default::default() }),
            Box::new(Adagrad::default()),
            Box::new(Adadelta::default()),
            Box::new(RmsProp::default()),
            Box::new(RmsProp { momentum: 0.5, ..Default::default() }),
            Box::new(RmsProp { centered: true, ..Default::default() }),
            Box::new(RmsProp { momentum: 0.5, centered: true, ..Default::default() }),
            Box::new(Adam::default()),
            Box::new(AdamW { amsgrad: true, ..Default::default() }),
            Box::new(DiffGrad::default()),
            Box::new(Lion::default()),
            Box::new(RAdam::default()),
            Box::new(NAdam::default()),
            Box::new(Adamax::default()),
            Box::new(Rprop::default()),
            Box::new(Asgd::default()),
            Box::new(Adan::default()),
            Box::new(Adan { no_prox: true, ..Default::default() }),
            Box::new(ScheduleFreeAdamW::default()),
            Box::new(ScheduleFreeSgd::default()),
            Box::new(ExponentiatedGradient::default()),
            Box::new(AdaHessian::default()),
            Box::new(AdaHessian { hessian_power: 0.5, ..Default::default() }),
            Box::new(Sophia::default()),
            Box::new(Lamb::default()),
            Box::new(AdamP::default()),
            Box::new(AdamP { nesterov: true, ..Default::default() }),
            Box::new(SgdP { momentum: 0.5, ..Default::default() }),
            Box::new(SgdP { momentum: 0.5, nesterov: true, ..Default::default() }),
        ]
    }

    /// Every algorithm with f32, and one of each number of passes with all types and layouts.
    #[test]
    fn every_generated_kernel_is_valid() {
        let plain = Types {
            param: DType::F32,
            grad: DType::F32,
            state: DType::F32,
            master: false,
            stochastic: false,
            cells: Cells::Aligned,
            shared: false,
        };
        let mut types = Vec::new();
        for [param, grad] in [[DType::F32, DType::F16], [DType::F16, DType::F32], [DType::Bf16; 2]] {
            for cells in [Cells::Aligned, Cells::GradScattered, Cells::Scattered] {
                for state in [DType::F32, DType::Bf16] {
                    let narrow = param != DType::F32;
                    types.push(Types { param, grad, state, cells, master: narrow, stochastic: narrow, shared: true });
                    types.push(Types { param, grad, state, cells, master: narrow, ..plain });
                    types.push(Types { param, grad, state, cells, stochastic: narrow, ..plain });
                }
            }
        }
        let mut count = 0;
        for (i, algorithm) in all().iter().enumerate() {
            let update = algorithm.update().unwrap();
            check_generated(&PREPARE, &[], &prepare(&update), &update.name);
            let more = Options { clip_value: Some(1.0), ema_decay: Some(0.9), ..Default::default() };
            // with what options add, of those that have a buffer left
            let update = if i % 2 == 0 && update.states.len() < 4 { update.with_options(&more) } else { update };
            let one_of_each =
                matches!(update.name.as_str(), "adamw" | "schedule_free_adamw") || (update.name == "adamp" && i + 3 == all().len());
            for types in [plain].iter().chain(types.iter().filter(|_| one_of_each)) {
                let what = format!("{} {types:?}", update.name);
                // more buffers than WebGPU's default limits allow are refused
                if 4 + update.states.len() + usize::from(types.master) + usize::from(update.projection.is_some()) > 8 {
                    continue;
                }
                let Some(projection) = update.projection else {
                    check_generated(&ELEMENTS, &[], &pass(&update, types, Pass::Elements), &what);
                    count += 2;
                    continue;
                };
                if types.state != DType::F32 || types.cells == Cells::GradScattered {
                    continue;
                }
                let define: &[&str] = if types.cells == Cells::Scattered { &["SCATTERED"] } else { &["STRADDLE"] };
                check_generated(&ROWS, define, &pass(&update, types, Pass::Advance), &what);
                let apply = Pass::Apply { reads_gradient: projection.nesterov, writes_states: projection.writes_states };
                check_generated(&ELEMENTS, &["PROJECTION"], &pass(&update, types, apply), &what);
                count += 3;
            }
        }
        println!("{count} generated kernels");
    }
}
