//! The checks that every change must pass. Builds come first, one by one; then all programs that run on a device, as many at a
//! time as there are cores, since a software driver compiles the kernels of a process one after another.

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
    /// The crate compiles for the web.
    Wasm,
    /// The tests and the self-test on the Vulkan driver at hand, Mesa's llvmpipe where there is no GPU.
    Test,
    /// The tests on SwiftShader, another Vulkan driver, which Chromium brings, but for those that take minutes there.
    Swiftshader,
    /// Those. Their kernels run in the self-test as well.
    SwiftshaderLong,
    /// The self-test under the Khronos validation layer, of core and of synchronization, which must have nothing to say.
    Validation,
    /// The self-test on OpenGL.
    Gl,
    /// The self-test and golden cases in headless Chromium.
    Browser,
    /// Burn's modules: `crates/gradus-burn`, with and without fusion. Burn takes ten minutes to compile.
    Burn,
    /// The self-test on SwiftShader, and every text that it compiles through every translator.
    Translate,
}

/// SwiftShader's manifest, where Debian's Chromium has it; `SWIFTSHADER` names another.
const SWIFTSHADER: &str = "/usr/lib/chromium/vk_swiftshader_icd.json";
const LAYER: &str = "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json";
/// Where the self-test on SwiftShader leaves the texts of its pipelines.
const SHADERS: &str = "target/shaders";

/// Tests that take SwiftShader more than a minute of a quiet core, the longest first.
const LONG: &[&str] = &["weights", "scenes", "reports", "newton", "flexible_cg", "spectrum", "dcdm", "krylov", "train_dcdm", "vector"];

/// How `crates/gradus-burn` is built, as features.
const FUSION: [&str; 2] = ["", "--features fusion"];

/// With OpenGL besides, so that one build serves all steps; which back end is used, they say.
const BUILD: [&str; 3] = ["--release", "--features", "gles"];

pub fn run(steps: &[Step]) -> Result {
    let all: Vec<Step> = Step::value_variants().iter().copied().filter(|step| !step.is_long()).collect();
    let steps = if steps.is_empty() { &all } else { steps };
    let begun = Instant::now();
    let lap = |what: &str| println!("--- {what}, after {} s", begun.elapsed().as_secs());
    for step in steps {
        lap(&format!("{step:?}"));
        step.build().map_err(|error| format!("{step:?}: {error}"))?;
    }
    // installs a driver once, not twice at a time
    execute(Command::new("./with-vulkan").arg("true"))?;
    let mut jobs = Vec::new();
    for step in steps {
        jobs.extend(step.jobs()?);
    }
    lap(&format!("{} programs", jobs.len()));
    let failed: Vec<String> = translate::in_threads(&jobs, Job::run).into_iter().flatten().collect();
    if !failed.is_empty() {
        return Err(failed.join("\n").into());
    }
    if steps.contains(&Step::Translate) {
        lap("translators");
        translate::run(&fs::canonicalize(SHADERS)?, swiftshader()?.as_os_str())?;
    }
    lap("all passed");
    Ok(())
}

impl Step {
    /// Whether it runs only when it is named.
    fn is_long(self) -> bool {
        matches!(self, Step::SwiftshaderLong | Step::Browser | Step::Burn)
    }

    fn build(self) -> Result {
        match self {
            Step::Format => cargo("fmt --all --check"),
            Step::Clippy => cargo("clippy --release --features gles --workspace --exclude gradus-burn --all-targets -- -D warnings"),
            Step::Docs => execute(Command::new("cargo").args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")),
            Step::Features => ["optim", "graph", "krylov", "curvature", "poisson", "weights"].iter().try_for_each(|feature| {
                cargo(&format!(
                    "clippy --release --lib --tests --no-default-features --features vulkan,metal,dx12,{feature} -- -D warnings"
                ))
            }),
            Step::Wasm => cargo("build --target wasm32-unknown-unknown --no-default-features --features webgpu"),
            // the README's test command is `./with-vulkan cargo test --release`
            Step::Test | Step::Swiftshader | Step::SwiftshaderLong => execute(Command::new("cargo").args(["test", "--no-run"]).args(BUILD)),
            Step::Validation | Step::Gl | Step::Translate => {
                execute(Command::new("cargo").args(["build", "--example", "selftest"]).args(BUILD))
            }
            Step::Browser => cargo("build --release -p gradus-browser"),
            Step::Burn => FUSION.iter().try_for_each(|fusion| {
                cargo(&format!("clippy -p gradus-burn --all-targets {fusion} -- -D warnings"))?;
                cargo(&format!("test --no-run -p gradus-burn {fusion}"))
            }),
        }
    }

    fn jobs(self) -> Result<Vec<Job>> {
        Ok(match self {
            Step::Format | Step::Clippy | Step::Docs | Step::Features | Step::Wasm => Vec::new(),
            Step::Test => [vec![selftest("", &[])], tests("", &[])?].concat(),
            Step::Swiftshader | Step::SwiftshaderLong => {
                let mut jobs = tests("SwiftShader: ", &[("VK_DRIVER_FILES", swiftshader()?)])?;
                jobs.retain(|job| LONG.iter().any(|name| job.arguments.last().is_some_and(|last| last == name)) == self.is_long());
                jobs
            }
            Step::Validation => {
                if !Path::new(LAYER).is_file() {
                    return Err(format!("{LAYER} is not there; Debian's package vulkan-validationlayers has it").into());
                }
                // wgpu passes the layer's messages to `log` when both of its flags are set
                let environment = |enabled: &str| -> Result<Vec<(&'static str, PathBuf)>> {
                    Ok(vec![
                        ("VK_DRIVER_FILES", swiftshader()?),
                        ("VK_INSTANCE_LAYERS", "VK_LAYER_KHRONOS_validation".into()),
                        ("VK_LAYER_ENABLES", enabled.into()),
                        ("WGPU_VALIDATION", "1".into()),
                        ("WGPU_DEBUG", "1".into()),
                        ("RUST_LOG", "warn".into()),
                    ])
                };
                let silent = selftest("validation layer: ", &environment("VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT")?);
                // the control: of best practices it has something to say, which must be heard
                let mut control =
                    selftest("validation layer's control: ", &environment("VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT")?);
                control.arguments.extend(["--", "--filter", "vector/fill"].map(String::from));
                vec![Job { messages: Messages::None, ..silent }, Job { messages: Messages::Some, ..control }]
            }
            Step::Gl => vec![selftest("OpenGL: ", &[("WGPU_BACKEND", "gl".into())])],
            Step::Browser => {
                let arguments = ["run", "--release", "--quiet", "-p", "gradus-browser"].map(String::from).to_vec();
                vec![Job { name: "browser".into(), arguments, environment: Vec::new(), messages: Messages::Any }]
            }
            Step::Burn => FUSION
                .iter()
                .map(|fusion| {
                    job(
                        "Burn: ",
                        &["test", "--quiet", "-p", "gradus-burn"].into_iter().chain(fusion.split_whitespace()).collect::<Vec<_>>(),
                        &[],
                    )
                })
                .collect(),
            Step::Translate => {
                _ = fs::remove_dir_all(SHADERS);
                fs::create_dir_all(SHADERS)?;
                let environment = [("VK_DRIVER_FILES", swiftshader()?), ("GRADUS_SHADERS", fs::canonicalize(SHADERS)?)];
                vec![selftest("SwiftShader: ", &environment)]
            }
        })
    }
}

/// A program that runs on a device, by cargo.
#[derive(Clone)]
struct Job {
    name: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
    messages: Messages,
}

/// How many messages of the validation layer there may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Messages {
    Any,
    None,
    Some,
}

impl Job {
    /// What it said, if it failed.
    fn run(&self) -> Option<String> {
        let begun = Instant::now();
        // finds or installs a driver
        let mut command = Command::new("./with-vulkan");
        command.env("WGPU_BACKEND", "vulkan").envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = match command.arg("cargo").args(&self.arguments).output() {
            Ok(output) => output,
            Err(error) => return Some(format!("{}: {error}", self.name)),
        };
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // layers older than WGSL call its number as the source language inconsistent; spirv-val sees each text elsewhere
        let has_messages = said.lines().any(|line| line.contains("VALIDATION [") && !line.contains("Shader-InconsistentSpirv"));
        let is_heard = match self.messages {
            Messages::Any => true,
            Messages::None => !has_messages,
            Messages::Some => has_messages,
        };
        if !output.status.success() || !is_heard {
            return Some(format!("{} failed\n{said}", self.name));
        }
        let last = output.stdout.split(|&byte| byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
        println!("{}: {} s: {}", self.name, begun.elapsed().as_secs(), String::from_utf8_lossy(last));
        None
    }
}

/// Every test binary, the unit tests and the examples in the documentation.
fn tests(on: &str, environment: &[(&'static str, PathBuf)]) -> Result<Vec<Job>> {
    let mut names: Vec<String> = fs::read_dir("tests")?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_test = path.extension().is_some_and(|extension| extension == "rs");
            is_test.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
        })
        .collect();
    // the longest first, so that no core waits for them in the end
    names.sort_by_key(|name| (LONG.iter().position(|long| long == name).unwrap_or(LONG.len()), name.clone()));
    let selections = names.iter().map(|name| vec!["--test", name]).chain([vec!["--lib"], vec!["--doc"]]);
    Ok(selections.map(|selection| job(on, &[&["test", "--quiet"], &BUILD[..], &selection].concat(), environment)).collect())
}

fn selftest(on: &str, environment: &[(&'static str, PathBuf)]) -> Job {
    job(on, &[&["run", "--quiet"], &BUILD[..], &["--example", "selftest"]].concat(), environment)
}

fn job(on: &str, arguments: &[&str], environment: &[(&'static str, PathBuf)]) -> Job {
    Job {
        name: format!("{on}{}", arguments.last().unwrap_or(&"")),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: environment.to_vec(),
        messages: Messages::Any,
    }
}

fn swiftshader() -> Result<PathBuf> {
    let path = std::env::var_os("SWIFTSHADER").map_or_else(|| PathBuf::from(SWIFTSHADER), PathBuf::from);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{}: SwiftShader is not there; Debian's package chromium has it", path.display()).into())
    }
}

fn execute(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

fn cargo(arguments: &str) -> Result {
    execute(Command::new("cargo").args(arguments.split(' ')))
}
