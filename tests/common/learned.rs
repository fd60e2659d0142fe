//! The coefficients of the learned multigrid that come with the crate.

use gradus::poisson::learned_multigrid::Coefficients;

pub fn coefficients(dim: usize) -> Coefficients {
    let path = format!("{}/weights/multigrid-{dim}d.safetensors", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read(path) {
        Ok(bytes) => Coefficients::from_safetensors(&bytes).unwrap(),
        Err(_) => Coefficients::initial(dim, 4 - dim).unwrap(),
    }
}
