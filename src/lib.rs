//! WGSL compute kernels on wgpu for first- and second-order optimization, on any GPU that wgpu
//! reaches.
//!
//! - [`gpu`]: the device, tensors as ranges of buffers, and recordings of dispatches.
//! - [`vector`]: axpy, dot, norms, random fill, on a reduction tree of fixed shape.
//! - [`krylov`]: conjugate gradients, Lanczos and eigenpairs of anything that can be recorded.
//! - [`optim`]: fused optimizer steps, SGD to AdamP.
//! - [`curvature`]: traces, diagonals and spectra of matrices known by their products.
//! - [`poisson`]: the Laplacian of cells that are fluid, solid or air.
//! - [`mod@reference`]: the same mathematics in plain f64 loops, the oracle of every kernel.
//!
//! Each but the first two is a Cargo feature of its name, on by default: `curvature` brings `graph` and `krylov` with it, `poisson`
//! brings `krylov`. What reads and writes files is the feature `weights`.
//!
//! ```
//! # #[cfg(feature = "optim")]
//! # {
//! use gradus::optim::{AdamW, Optimizer, Param};
//! use gradus::{DType, Gpu, Tensor};
//!
//! # async fn train() -> gradus::Result<()> {
//! let gpu = Gpu::headless().await?; // or Gpu::new(&device, &queue)?
//! let weight = Tensor::from_slice(&gpu, &[64, 32], &vec![0.1f32; 64 * 32])?;
//! let grad = Tensor::zeros(&gpu, &[64, 32], DType::F32)?;
//!
//! let adamw = AdamW { lr: 1e-3, ..Default::default() };
//! let mut optimizer = Optimizer::new(&gpu, &adamw, &[Param::new("weight", &weight, &grad)])?;
//!
//! let mut encoder = gpu.device().create_command_encoder(&Default::default());
//! // ... the caller's own passes write `grad` ...
//! optimizer.step(&mut encoder); // records; the caller submits
//! gpu.queue().submit([encoder.finish()]);
//! # Ok(())
//! # }
//! # if let Err(error) = pollster::block_on(train()) {
//! #     assert!(matches!(error, gradus::Error::NoAdapter { .. }), "{error}");
//! # }
//! # }
//! ```

#![cfg_attr(
    not(all(feature = "optim", feature = "curvature", feature = "poisson", feature = "weights")),
    allow(dead_code, unused_imports, reason = "what a module that is left out would use")
)]

#[cfg(feature = "curvature")]
pub mod curvature;
mod error;
pub mod gpu;
#[cfg(feature = "graph")]
pub mod graph;
#[cfg(feature = "krylov")]
pub mod krylov;
#[cfg(feature = "optim")]
pub mod optim;
#[cfg(feature = "poisson")]
pub mod poisson;
pub mod reference;
pub mod vector;

pub use error::{Error, Result};
pub use gpu::{DType, Gpu, Recording, Tensor};

/// What the build script makes of `shaders/`.
mod shaders {
    #![allow(missing_docs, reason = "generated, private; the WGSL sources hold the documentation")]
    include!(concat!(env!("OUT_DIR"), "/shaders.rs"));
}
