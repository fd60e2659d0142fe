//! Vector operations on tensors of f32, f16 or bf16: one shape, one element type a call, arithmetic
//! in f32, results to nearest even.
//!
//! Each function appends to a [`Recording`](crate::Recording) and runs nothing. The scalar comes
//! first and the tensor that is written last, as in BLAS. Tensors may begin anywhere in their
//! buffers and be longer than a binding.
//!
//! Infinities and NaN go through as IEEE 754 says; subnormal numbers of f32 may count as 0, depending on the device. Numbers of
//! the host are rounded to f32: beyond 3.4e38 they are infinite. An empty tensor takes no dispatch, and a reduction of one is 0.
//!
//! Besides the errors that each function names, [`Error::OutOfMemory`](crate::Error::OutOfMemory) and
//! [`Error::Pipeline`](crate::Error::Pipeline) are possible wherever a buffer or a pipeline is made, and
//! [`Error::ForeignDevice`](crate::Error::ForeignDevice) wherever a tensor is taken.

mod gemv;
mod map;
mod reduce;

pub(crate) use gemv::{Rows, tiles};
pub use gemv::{gemv, gemv_transposed};
pub use map::{Scalar, axpy, cast, copy, fill, random_normal, random_rademacher, random_uniform, scale};
pub use reduce::{dot, max_magnitude, norm};
