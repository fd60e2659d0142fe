//! The coefficients of the learned multigrid that come with the crate.

use gradus::poisson::learned_multigrid::Coefficients;

pub fn coefficients(dim: usize) -> Coefficients {
    let bytes: &[u8] = match dim {
        2 => include_bytes!("../../weights/multigrid-2d.safetensors"),
        _ => include_bytes!("../../weights/multigrid-3d.safetensors"),
    };
    Coefficients::from_safetensors(bytes).unwrap()
}
