// Four consecutive elements ("a cell") of a parameter, its gradient and its states.
//
// Two layouts. By default a cell begins at a multiple of four elements in every buffer and is one
// load (16 bytes of f32, 8 bytes of 16-bit floats). With SCALAR it begins anywhere, may have fewer
// than four elements, and is loaded one by one; elements past `count` are the last one again, which
// is read, and written with the same value, more than once.
//
// Bindings: 2 scalars, 3 param, 4 grad, 5 to 7 states, 8 master; traversals and optimizers add
// 0 constants, 1 ranges, 9 the projection.
//
// SUMS only reads the parameter; READ_STATES only reads the states; NO_GRAD has no gradient.
// SHARED: parameter and gradient are ranges of one buffer, which is bound once, as the parameter's:
// WebGPU refuses ranges that overlap, and ranges begin at multiples of 256 bytes.
// MASTER: the parameter's f32 copy is what the step reads and writes, and the parameter is the
// rounded copy of that.

#import shared/half
#import shared/philox
#import shared/scalars

#permute PARAM_F32 | PARAM_F16 | PARAM_BF16 | PARAM_F16 STOCHASTIC | PARAM_BF16 STOCHASTIC | PARAM_F16 MASTER | PARAM_BF16 MASTER | PARAM_F16 MASTER STOCHASTIC | PARAM_BF16 MASTER STOCHASTIC
#permute GRAD_F32 | GRAD_F16 | GRAD_BF16
#permute - | SCALAR
#permute - | SHARED

#ifdef SCALAR
alias Float = f32;
alias Halves = u32;
#else
alias Float = vec4<f32>;
alias Halves = vec2<u32>;
#endif

#ifdef PARAM_F32
alias Param = Float;
#else
alias Param = Halves;
#endif

#ifdef GRAD_F32
alias Grad = Float;
#else
alias Grad = Halves;
#endif

@group(0) @binding(2) var<storage, read> scalars: array<Scalars>;

#ifdef SUMS
#ifdef MASTER
@group(0) @binding(8) var<storage, read> master: array<Float>;
#ifdef SHARED
@group(0) @binding(3) var<storage, read> param: array<Param>;
#endif
#else
@group(0) @binding(3) var<storage, read> param: array<Param>;
#endif
#else
@group(0) @binding(3) var<storage, read_write> param: array<Param>;
#ifdef MASTER
@group(0) @binding(8) var<storage, read_write> master: array<Float>;
#endif
#endif

#ifndef NO_GRAD
#ifndef SHARED
@group(0) @binding(4) var<storage, read> grad: array<Grad>;
#endif
#endif

#ifdef STATE_0
#ifdef READ_STATES
@group(0) @binding(5) var<storage, read> state_0: array<Float>;
#else
@group(0) @binding(5) var<storage, read_write> state_0: array<Float>;
#endif
#endif
#ifdef STATE_1
#ifdef READ_STATES
@group(0) @binding(6) var<storage, read> state_1: array<Float>;
#else
@group(0) @binding(6) var<storage, read_write> state_1: array<Float>;
#endif
#endif
#ifdef STATE_2
@group(0) @binding(7) var<storage, read_write> state_2: array<Float>;
#endif

// Where a cell is: its first element's index in each binding, and how many elements it has.
struct Cell {
    param: u32,
    grad: u32,
    state: u32,
    count: u32,
}

// The indices of the cell's elements; those past its end repeat the last.
fn indices(first: u32, count: u32) -> vec4<u32> {
    return vec4(first) + min(vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
}

// The low 16 bits of each element of `words`, at the element indices `i`.
#ifdef SCALAR
fn half_of(word: vec4<u32>, i: vec4<u32>) -> vec4<u32> {
    return (word >> ((i & vec4(1u)) << vec4(4u))) & vec4(0xffffu);
}
#endif

fn load_param(cell: Cell) -> vec4<f32> {
#ifdef MASTER
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    return vec4(master[i.x], master[i.y], master[i.z], master[i.w]);
#else
    return master[cell.state >> 2u];
#endif
#else
#ifdef SCALAR
    let i = indices(cell.param, cell.count);
#ifdef PARAM_F32
    return vec4(param[i.x], param[i.y], param[i.z], param[i.w]);
#else
    let bits = half_of(vec4(param[i.x >> 1u], param[i.y >> 1u], param[i.z >> 1u], param[i.w >> 1u]), i);
#endif
#else
#ifdef PARAM_F32
    return param[cell.param >> 2u];
#else
    let bits = halves(param[cell.param >> 2u]);
#endif
#endif
#ifdef PARAM_F16
    return f16_to_f32(bits);
#endif
#ifdef PARAM_BF16
    return bf16_to_f32(bits);
#endif
#endif
}

#ifndef NO_GRAD
// Gradient i in units of `Grad`, of the one buffer that there may be.
fn grad_at(i: u32) -> Grad {
#ifdef SHARED
#ifdef SCALAR
    return bitcast<Grad>(param[i]);
#else
#ifdef PARAM_F32
#ifdef GRAD_F32
    return param[i];
#else
    let two = bitcast<vec4<u32>>(param[i >> 1u]);
    return select(two.xy, two.zw, (i & 1u) == 1u);
#endif
#else
#ifdef GRAD_F32
    return bitcast<vec4<f32>>(vec4(param[2u * i], param[2u * i + 1u]));
#else
    return param[i];
#endif
#endif
#endif
#else
    return grad[i];
#endif
}

fn load_grad(cell: Cell) -> vec4<f32> {
#ifdef SCALAR
    let i = indices(cell.grad, cell.count);
#ifdef GRAD_F32
    return vec4(grad_at(i.x), grad_at(i.y), grad_at(i.z), grad_at(i.w));
#else
    let bits = half_of(vec4(grad_at(i.x >> 1u), grad_at(i.y >> 1u), grad_at(i.z >> 1u), grad_at(i.w >> 1u)), i);
#endif
#else
#ifdef GRAD_F32
    return grad_at(cell.grad >> 2u);
#else
    let bits = halves(grad_at(cell.grad >> 2u));
#endif
#endif
#ifdef GRAD_F16
    return f16_to_f32(bits);
#endif
#ifdef GRAD_BF16
    return bf16_to_f32(bits);
#endif
}
#endif

#ifndef SUMS
// `element` is the index of the cell's first element in its tensor, `tensor` the number of the
// tensor and `seed` the rounding's: together with the step they key the random bits.
fn store_param(cell: Cell, value: vec4<f32>, element: u32, tensor: u32, step: u32, seed: vec2<u32>) {
#ifdef MASTER
#ifdef SCALAR
    let m = indices(cell.state, cell.count);
    master[m.x] = value.x;
    master[m.y] = value.y;
    master[m.z] = value.z;
    master[m.w] = value.w;
#else
    master[cell.state >> 2u] = value;
#endif
#endif
#ifdef PARAM_F32
#ifdef SCALAR
    let i = indices(cell.param, cell.count);
    param[i.x] = value.x;
    param[i.y] = value.y;
    param[i.z] = value.z;
    param[i.w] = value.w;
#else
    param[cell.param >> 2u] = value;
#endif
#else
#ifdef STOCHASTIC
    let random = random_cell(element, tensor, step, seed);
#ifdef PARAM_F16
    let bits = f32_to_f16_stochastic(value, random);
#else
    let bits = f32_to_bf16_stochastic(value, random);
#endif
#else
#ifdef PARAM_F16
    let bits = f32_to_f16_nearest(value);
#else
    let bits = f32_to_bf16_nearest(value);
#endif
#endif
#ifdef SCALAR
    // a cell begins at an even element; the other half of an odd tensor's last word is not its own
    let word = cell.param >> 1u;
    let packed = words(bits);
    if cell.count > 1u { param[word] = packed.x; } else { param[word] = (param[word] & 0xffff0000u) | (packed.x & 0xffffu); }
    if cell.count > 3u { param[word + 1u] = packed.y; }
    if cell.count == 3u { param[word + 1u] = (param[word + 1u] & 0xffff0000u) | (packed.y & 0xffffu); }
#else
    param[cell.param >> 2u] = words(bits);
#endif
#endif
}
#endif

#ifdef STOCHASTIC
// The random words of four elements: word i % 4 of block i / 4 of the tensor belongs to element i,
// wherever the tensor lies in memory.
fn random_cell(element: u32, tensor: u32, step: u32, seed: vec2<u32>) -> vec4<u32> {
    let block = philox4x32(vec4(element >> 2u, tensor, step, 0u), seed);
    let phase = element & 3u;
    if phase == 0u {
        return block;
    }
    let next = philox4x32(vec4((element >> 2u) + 1u, tensor, step, 0u), seed);
    let tail = select(select(vec4(block.w, next.xyz), vec4(block.zw, next.xy), phase == 2u), vec4(block.yzw, next.x), phase == 1u);
    return tail;
}
#endif

#ifdef STATE_0
fn load_state_0(cell: Cell) -> vec4<f32> {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    return vec4(state_0[i.x], state_0[i.y], state_0[i.z], state_0[i.w]);
#else
    return state_0[cell.state >> 2u];
#endif
}

#ifndef READ_STATES
fn store_state_0(cell: Cell, value: vec4<f32>) {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    state_0[i.x] = value.x;
    state_0[i.y] = value.y;
    state_0[i.z] = value.z;
    state_0[i.w] = value.w;
#else
    state_0[cell.state >> 2u] = value;
#endif
}
#endif
#endif

#ifdef STATE_1
fn load_state_1(cell: Cell) -> vec4<f32> {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    return vec4(state_1[i.x], state_1[i.y], state_1[i.z], state_1[i.w]);
#else
    return state_1[cell.state >> 2u];
#endif
}

#ifndef READ_STATES
fn store_state_1(cell: Cell, value: vec4<f32>) {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    state_1[i.x] = value.x;
    state_1[i.y] = value.y;
    state_1[i.z] = value.z;
    state_1[i.w] = value.w;
#else
    state_1[cell.state >> 2u] = value;
#endif
}
#endif
#endif

#ifdef STATE_2
fn load_state_2(cell: Cell) -> vec4<f32> {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    return vec4(state_2[i.x], state_2[i.y], state_2[i.z], state_2[i.w]);
#else
    return state_2[cell.state >> 2u];
#endif
}

fn store_state_2(cell: Cell, value: vec4<f32>) {
#ifdef SCALAR
    let i = indices(cell.state, cell.count);
    state_2[i.x] = value.x;
    state_2[i.y] = value.y;
    state_2[i.z] = value.z;
    state_2[i.w] = value.w;
#else
    state_2[cell.state >> 2u] = value;
#endif
}
#endif
