//! The interface between the kernels of `shaders/graph/`, each of which computes one primitive, and the
//! code generator, which decides what becomes of their values.

use crate::gpu::{KernelSource, Work};

/// A kernel of `shaders/graph/` for given shapes, still without its output. It calls
///
/// - `store(i: u32, value: f32)` once for each element of its result, row-major index `i`, or
/// - `store4(i: u32, value: vec4<f32>)` for four consecutive ones, `i` being a multiple of four, or
/// - `store_pair(i: u32, values: vec2<f32>)` once for each word of a result of 16-bit floats (`shaders/shared/pairs.wgsl`).
///
/// The generator supplies them, with whatever pointwise operations follow fused in, and the buffers they
/// use, at bindings from [`FIRST_GENERATED`] on. A template declares its uniform block `constants` at
/// binding 0 and its operands, at most four, from binding 1 on, and a stand-in for the generated part:
///
/// ```wgsl
/// #ifndef GENERATED
/// @group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;
/// fn store(i: u32, value: f32) { stand_in[i] = value; }
/// fn store4(i: u32, value: vec4<f32>) { store(i, value.x); store(i + 1u, value.y); store(i + 2u, value.z); store(i + 3u, value.w); }
/// #endif
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub source: &'static KernelSource,
    pub defines: Vec<&'static str>,
    pub overrides: Vec<(&'static str, u32)>,
    /// The bytes of `constants`.
    pub uniform: Vec<u8>,
    /// The names under which the operands are bound, in the order of the primitive's.
    pub operands: &'static [&'static str],
    /// The kernel strides if it needs more workgroups than a dispatch may have.
    pub work: Work,
    /// How many partial results there are of each element. If more than one, the kernel stores those of
    /// part p at `p * elements + i`, and they are summed by another.
    pub parts: u32,
}

/// The first binding of the generated part; its uniform block has the one before.
pub(crate) const FIRST_GENERATED: u32 = 6;

/// Where an operand is: its binding holds f32s, and element 0 of the operand is element `offset` of it.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    /// In elements.
    pub offset: u32,
    /// In elements, for each axis of the primitive's operand as the template's constructor lists them.
    pub strides: Vec<u32>,
    /// Whether the binding can be declared `array<vec4<f32>>`: it begins at a multiple of 16 bytes of its
    /// buffer and its size is a multiple of 16 bytes. (Whether `offset` and strides are multiples of four
    /// is another question.)
    pub vec4: bool,
    /// Whether it holds 16-bit floats, two channels a word (`shaders/shared/pairs.wgsl`): of operands that are gathered by
    /// convolutions, and of sums over windows.
    pub halves: bool,
}
