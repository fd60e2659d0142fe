//! The checks that every change must pass, in the order in which they run. Each is a few commands of what a developer would type.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::ValueEnum;

use crate::{Result, translate};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// rustfmt.
    Format,
    /// clippy, with warnings denied.
    Clippy,
    /// rustdoc, with warnings denied.
    Docs,
    /// Each module's feature alone compiles.
    Features,
    /// The tests and the self-test on the Vulkan driver at hand, Mesa's llvmpipe where there is no GPU.
    Test,
    /// The tests and the self-test on SwiftShader, another Vulkan driver, which Chromium brings.
    Swiftshader,
    /// The self-test under the Khronos validation layer, of core and of synchronization, which must have nothing to say.
    Validation,
    /// The self-test on OpenGL.
    Gl,
    /// Every text that the self-test compiles, through every translator.
    Translate,
    /// The crate compiles for the web.
    Wasm,
    /// The self-test and golden cases in headless Chromium.
    Browser,
}

/// SwiftShader's manifest, where Debian's Chromium has it; `SWIFTSHADER` names another.
const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";

pub fn run(steps: &[Step]) -> Result {
    let steps = if steps.is_empty() { Step::value_variants() } else { steps };
    let mut times = Vec::new();
    for &step in steps {
        let begun = Instant::now();
        println!("--- {step:?}");
        step.run().map_err(|error| format!("{step:?}: {error}"))?;
        times.push((step, begun.elapsed().as_secs()));
    }
    for (step, seconds) in times {
        println!("{step:?}: {seconds} s");
    }
    Ok(())
}

impl Step {
    fn run(self) -> Result {
        match self {
            Step::Format => cargo("fmt --all --check"),
            Step::Clippy => cargo("clippy --release --workspace --all-targets -- -D warnings"),
            Step::Docs => execute(Command::new("cargo").args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")),
            Step::Features => ["optim", "graph", "krylov", "curvature", "poisson", "weights"].iter().try_for_each(|feature| {
                cargo(&format!(
                    "clippy --release --lib --tests --no-default-features --features vulkan,metal,dx12,{feature} -- -D warnings"
                ))
            }),
            Step::Test => {
                tests(&[])?;
                selftest(&[])
            }
            Step::Swiftshader => {
                let driver = swiftshader()?;
                let driver = [("VK_DRIVER_FILES", driver.as_os_str())];
                tests(&driver)?;
                selftest(&driver)
            }
            Step::Validation => validation(),
            Step::Gl => selftest(&[("WGPU_BACKEND", OsStr::new("gl"))]),
            Step::Translate => {
                let driver = swiftshader()?;
                let folder = PathBuf::from("target/shaders");
                _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(&folder)?;
                let folder = fs::canonicalize(folder)?;
                selftest(&[("VK_DRIVER_FILES", driver.as_os_str()), ("GRADUS_SHADERS", folder.as_os_str())])?;
                translate::run(&folder, driver.as_os_str())
            }
            Step::Wasm => cargo("build --target wasm32-unknown-unknown --no-default-features --features webgpu"),
            Step::Browser => cargo("run --release -p gradus-browser"),
        }
    }
}

type Environment<'a> = &'a [(&'static str, &'a OsStr)];

fn execute(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

fn cargo(arguments: &str) -> Result {
    execute(Command::new("cargo").args(arguments.split(' ')))
}

/// Under `with-vulkan`, which finds or installs a driver.
fn with_vulkan(environment: Environment<'_>) -> Command {
    let mut command = Command::new("./with-vulkan");
    command.envs(environment.iter().copied());
    command
}

fn swiftshader() -> Result<PathBuf> {
    let path = std::env::var_os("SWIFTSHADER").map_or_else(|| PathBuf::from(SWIFTSHADER), PathBuf::from);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{}: SwiftShader is not there; Debian's package chromium has it", path.display()).into())
    }
}

/// The README's test command, `./with-vulkan cargo test --release`, with as many test binaries at a time as there are cores: a
/// software driver compiles the kernels of a process one after another.
fn tests(environment: Environment<'_>) -> Result {
    cargo("test --release --no-run")?;
    let mut names: Vec<String> = fs::read_dir("tests")?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_test = path.extension().is_some_and(|extension| extension == "rs");
            is_test.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
        })
        .collect();
    names.sort();
    let runs: Vec<Vec<String>> = names.iter().map(|name| vec!["--test".into(), name.clone()]).chain([vec!["--lib".into()]]).collect();
    let failed = translate::in_threads(&runs, |arguments| {
        let begun = Instant::now();
        let output = with_vulkan(environment).args(["cargo", "test", "--release", "--quiet"]).args(arguments).output();
        let name = arguments.join(" ");
        match output {
            Ok(output) if output.status.success() => {
                println!("{name}: {} s", begun.elapsed().as_secs());
                None
            }
            Ok(output) => Some(format!("{name}\n{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))),
            Err(error) => Some(format!("{name}: {error}")),
        }
    });
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    if !failed.is_empty() {
        return Err(failed.join("\n").into());
    }
    execute(with_vulkan(environment).args(["cargo", "test", "--release", "--doc"]))
}

fn selftest(environment: Environment<'_>) -> Result {
    execute(with_vulkan(environment).args(["cargo", "run", "--release", "--example", "selftest"]))
}

/// wgpu's messages of the layer come by `log`, as errors and warnings.
fn validation() -> Result {
    const SETTINGS: [(&str, &str); 3] = [
        ("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation"),
        ("VK_LAYER_ENABLES", "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT"),
        ("RUST_LOG", "warn"),
    ];
    if !Path::new("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json").is_file() {
        return Err("the validation layer is not there; Debian's package vulkan-validationlayers has it".into());
    }
    let driver = swiftshader()?;
    let mut command = with_vulkan(&[("VK_DRIVER_FILES", driver.as_os_str())]);
    let output = command.envs(SETTINGS).args(["cargo", "run", "--release", "--quiet", "--example", "selftest"]).output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let messages: Vec<&str> =
        said.lines().filter(|line| line.contains("VUID") || line.contains("SYNC-HAZARD") || line.contains("Validation")).collect();
    if !output.status.success() || !messages.is_empty() {
        return Err(format!("{}\n{}", messages.join("\n"), said.lines().last().unwrap_or_default()).into());
    }
    println!("{}", said.lines().last().unwrap_or_default());
    Ok(())
}
