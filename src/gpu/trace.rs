//! What pipelines are made, for whoever looks for slow compilers or translates the texts.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;

use super::kernel::{Access, BindingLayout};

/// The time, where the platform has a clock: a browser's is not the standard library's.
pub(super) fn now() -> Option<std::time::Instant> {
    (!cfg!(target_arch = "wasm32")).then(std::time::Instant::now)
}

/// The seconds since then; NaN without a clock.
pub(super) fn since(begun: Option<std::time::Instant>) -> f64 {
    begun.map_or(f64::NAN, |begun| begun.elapsed().as_secs_f64())
}

/// Names the folder that [`dump`] writes to. It must exist.
const FOLDER: &str = "GRADUS_SHADERS";

/// Writes the text of a pipeline to the folder that `GRADUS_SHADERS` names, if it is set. A file's first line states what the
/// text alone does not: the values of its override constants and how each binding is accessed.
pub(super) fn dump(label: &str, wgsl: &str, constants: &[(&str, u32)], bindings: &[BindingLayout]) {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let constants: Vec<String> = constants.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let access = |binding: &BindingLayout| match binding.access {
        Access::Uniform => "uniform",
        Access::Read => "read-only-storage",
        Access::Write | Access::ReadWrite => "storage",
    };
    let bindings: Vec<String> = bindings.iter().map(|binding| format!("{}:{}", binding.index, access(binding))).collect();
    let text = format!("// constants={} bindings={}\n{wgsl}", constants.join(","), bindings.join(","));
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let path = Path::new(&folder).join(format!("{label}.{:016x}.wgsl", hasher.finish()));
    if let Err(error) = std::fs::write(&path, text) {
        log::warn!("{}: {error}", path.display());
    }
}
