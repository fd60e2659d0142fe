//! Each WGSL text as SPIR-V, HLSL, MSL and GLSL ES, by naga with the options of wgpu's back ends, and what other programs say
//! of the results: spirv-val of the SPIR-V, glslang of the GLSL, Tint and Dawn of the WGSL
//! itself, whose pipelines a Vulkan driver makes in a few seconds at most. MSL has no compiler here: it
//! is searched for what Metal's fast math breaks.
//!
//! A check that cannot fail shows nothing. So `controls/` has a text for each, named after it, that it must refuse.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use naga::back::{PipelineConstants, glsl, hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};

use crate::Result;

/// The seconds that Dawn may take for a pipeline. Twice what is wanted of a quiet machine.
const SECONDS: &str = "6";

/// What fast math breaks: it takes it that there are no infinities and no NaN, and `tanh` gives NaN above 44. `exp` may lose
/// much, and is used where it need not be exact.
const FAST_MATH: &[&str] =
    &["INFINITY", "NAN", "tanh(", "isnan(", "isinf(", "isfinite(", "pow(", "metal::log(", "metal::sin(", "metal::cos("];

pub fn run(folder: &Path, driver: &OsStr) -> Result {
    let texts = texts(folder)?;
    if texts.is_empty() {
        return Err(format!("{}: no .wgsl files", folder.display()).into());
    }
    let out = folder.join("translated");
    _ = fs::remove_dir_all(&out);
    let failures = check(&texts, &out, driver)?;
    for (what, failure) in &failures {
        println!("{what}: {failure}");
    }
    controls(&out.join("controls"), driver)?;
    if !failures.is_empty() {
        return Err(format!("{} of {} texts were refused", failures.len(), texts.len()).into());
    }
    println!("{} texts, accepted by every translator", texts.len());
    Ok(())
}

/// Each control must be refused by the check that it is named after.
fn controls(out: &Path, driver: &OsStr) -> Result {
    for path in texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("controls"))? {
        let check_name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failures = check(std::slice::from_ref(&path), &out.join(&check_name), driver)?;
        let is_refused = failures.iter().any(|(what, _)| what.starts_with(&check_name));
        if !is_refused {
            return Err(format!("{} accepts {}, which it must refuse; it said {failures:?}", check_name, path.display()).into());
        }
    }
    Ok(())
}

fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    paths.sort();
    Ok(paths)
}

/// What is refused: `check: file`, and why.
fn check(texts: &[PathBuf], out: &Path, driver: &OsStr) -> Result<BTreeMap<String, String>> {
    for language in ["spv", "spv-checked", "hlsl", "msl", "glsl"] {
        fs::create_dir_all(out.join(language))?;
    }
    let failures = Mutex::new(BTreeMap::new());
    let fail = |check: &str, text: &Path, why: String| {
        let name = text.file_name().unwrap_or_default().to_string_lossy();
        failures.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{check}: {name}"), why);
    };
    in_threads(texts, |text| {
        if let Err(why) = translate(text, out, &|check, why| fail(check, text, why)) {
            fail("naga", text, why);
        }
    });
    for language in ["spv", "spv-checked"] {
        in_threads(&files(&out.join(language))?, |path| {
            verdict(Command::new("spirv-val").args(["--target-env", "vulkan1.2"]).arg(path), "spirv-tools", |why| {
                fail("spirv-val", path, why)
            });
        });
    }
    in_threads(&files(&out.join("glsl"))?, |path| {
        verdict(Command::new("glslangValidator").arg(path), "glslang-tools", |why| fail("glslang", path, why));
    });
    tint(texts, &out.join("tint"), driver, fail)?;
    Ok(failures.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

/// `work` of each item, as many at a time as there are cores; its results in no particular order.
pub fn in_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(item);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `fail` with what a program says if it refuses its input or is not there.
fn verdict(command: &mut Command, package: &str, fail: impl FnOnce(String)) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => fail(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))),
        Err(error) => fail(format!("{:?}: {error}; the package {package} has it", command.get_program())),
    }
}

/// Tint and Dawn, of the npm package `webgpu`, on the Vulkan driver at hand.
fn tint(texts: &[PathBuf], work: &Path, driver: &OsStr, fail: impl Fn(&str, &Path, String)) -> Result {
    fs::create_dir_all(work)?;
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tint.mjs"), work.join("tint.mjs"))?;
    // a folder above may have it already
    if !work.ancestors().any(|folder| folder.join("node_modules/webgpu").is_dir()) {
        let installed = Command::new("npm").args(["install", "--silent", "--prefix"]).arg(work).arg("webgpu@0.4").status();
        if !installed.map_err(|e| format!("npm: {e}"))?.success() {
            return Err("npm install webgpu failed".into());
        }
    }
    let mut node = Command::new("node");
    node.env("VK_DRIVER_FILES", driver).arg(work.join("tint.mjs")).arg(SECONDS).args(texts);
    let output = node.output().map_err(|e| format!("node: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        match line.split_once(".wgsl: ") {
            Some((name, why)) => fail("tint", Path::new(&format!("{name}.wgsl")), why.to_owned()),
            None => println!("{line}"),
        }
    }
    match output.status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(format!("tint.mjs: {}{said}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// A setting of the first line, `// name=value name=value`.
fn setting<'a>(text: &'a str, name: &str) -> &'a str {
    let first = text.lines().next().unwrap_or_default();
    first.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

struct Slot {
    binding: u32,
    is_uniform: bool,
    is_written: bool,
}

/// Writes a text in every language.
fn translate(path: &Path, out: &Path, fail: &dyn Fn(&str, String)) -> std::result::Result<(), String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32);
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(&text))?;
    let mut constants = PipelineConstants::default();
    for pair in setting(&text, "constants").split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(':').ok_or("a constant without a value")?;
        constants.insert(name.to_owned(), value.parse().map_err(|e| format!("{pair}: {e}"))?);
    }
    let (module, info) = pipeline_constants::process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &constants)
        .map_err(|e| format!("{e:?}"))?;
    let mut slots: Vec<Slot> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| {
            let is_written = matches!(variable.space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
            Some(Slot { binding: variable.binding.as_ref()?.binding, is_uniform: variable.space == AddressSpace::Uniform, is_written })
        })
        .collect();
    slots.sort_by_key(|slot| slot.binding);
    for (language, is_checked) in [("spv", false), ("spv-checked", true)] {
        match spirv(&module, &info, &slots, is_checked) {
            Ok(bytes) => fs::write(out.join(language).join(format!("{stem}.spv")), bytes).map_err(|e| e.to_string())?,
            Err(why) => fail("spirv-val", why),
        }
    }
    let languages = [("hlsl", hlsl(&module, &info, &slots)), ("msl", msl(&module, &info, &slots)), ("glsl", glsl(&module, &info, &slots))];
    for (language, source) in languages {
        let source = match source {
            Ok(source) => source,
            Err(why) => {
                fail(language, why);
                continue;
            }
        };
        if language == "msl" {
            let mut found = String::new();
            for (i, line) in source.lines().enumerate() {
                for pattern in FAST_MATH.iter().filter(|pattern| line.contains(**pattern)) {
                    _ = write!(found, "line {}: {pattern} in `{}`; ", i + 1, line.trim());
                }
            }
            if !found.is_empty() {
                fail("msl", found);
            }
        }
        let extension = match language {
            "glsl" => "comp",
            "msl" => "metal",
            language => language,
        };
        fs::write(out.join(language).join(format!("{stem}.{extension}")), source).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn at(slot: &Slot) -> ResourceBinding {
    ResourceBinding { group: 0, binding: slot.binding }
}

fn policies(policy: BoundsCheckPolicy) -> BoundsCheckPolicies {
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: BoundsCheckPolicy::Unchecked }
}

fn spirv(module: &Module, info: &ModuleInfo, slots: &[Slot], is_checked: bool) -> std::result::Result<Vec<u8>, String> {
    let binding = |slot: &Slot| (at(slot), spv::BindingInfo { descriptor_set: 0, binding: slot.binding, binding_array_size: None });
    let options = spv::Options {
        lang_version: (1, 3),
        bounds_check_policies: policies(if is_checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked }),
        zero_initialize_workgroup_memory: match is_checked {
            true => spv::ZeroInitializeWorkgroupMemoryMode::Polyfill,
            false => spv::ZeroInitializeWorkgroupMemoryMode::None,
        },
        force_loop_bounding: is_checked,
        emit_int_div_checks: is_checked,
        binding_map: slots.iter().map(binding).collect(),
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|e| e.to_string())?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn hlsl(module: &Module, info: &ModuleInfo, slots: &[Slot]) -> std::result::Result<String, String> {
    // registers of constant buffers, buffers that are read, and buffers that are written
    let mut next = [0; 3];
    let mut binding_map = hlsl::BindingMap::default();
    for slot in slots {
        let register = &mut next[if slot.is_uniform { 0 } else { 1 + usize::from(slot.is_written) }];
        binding_map.insert(at(slot), hlsl::BindTarget { register: *register, ..Default::default() });
        *register += 1;
    }
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        binding_map,
        fake_missing_bindings: false,
        special_constants_binding: Some(hlsl::BindTarget { register: next[0], ..Default::default() }),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut source = String::new();
    hlsl::Writer::new(&mut source, &options, &pipeline).write(module, info, None).map_err(|e| e.to_string())?;
    Ok(source)
}

fn msl(module: &Module, info: &ModuleInfo, slots: &[Slot]) -> std::result::Result<String, String> {
    let target =
        |(i, slot): (usize, &Slot)| (at(slot), msl::BindTarget { buffer: Some(i as u8), mutable: slot.is_written, ..Default::default() });
    let resources = msl::EntryPointResources {
        resources: slots.iter().enumerate().map(target).collect(),
        sizes_buffer: Some(slots.len() as u8),
        ..Default::default()
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: msl::EntryPointResourceMap::from([("main".to_owned(), resources)]),
        bounds_check_policies: policies(BoundsCheckPolicy::Unchecked),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())), ..Default::default() };
    Ok(msl::write_string(module, info, &options, &pipeline).map_err(|e| e.to_string())?.0)
}

fn glsl(module: &Module, info: &ModuleInfo, slots: &[Slot]) -> std::result::Result<String, String> {
    // uniform blocks and buffers are counted apart
    let mut next = [0u8; 2];
    let mut binding_map = glsl::BindingMap::default();
    for slot in slots {
        let number = &mut next[usize::from(!slot.is_uniform)];
        binding_map.insert(at(slot), *number);
        *number += 1;
    }
    let options = glsl::Options {
        version: glsl::Version::Embedded { version: 310, is_webgl: false },
        writer_flags: glsl::WriterFlags::empty(),
        binding_map,
        zero_initialize_workgroup_memory: true,
    };
    let pipeline = glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
    let mut source = String::new();
    let writer = glsl::Writer::new(&mut source, module, info, &options, &pipeline, policies(BoundsCheckPolicy::Unchecked));
    writer.and_then(|mut writer| writer.write()).map_err(|e| e.to_string())?;
    Ok(source)
}
