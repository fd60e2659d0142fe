//! Resolves the imports of every kernel in `shaders/`, parses and validates it with naga in every
//! permutation that it declares, against WebGPU's default limits and no optional capability, and
//! writes `shaders.rs`: the sources, the bindings of each permutation by reflection, and a Rust
//! struct for each WGSL struct that a buffer holds.

#[path = "src/gpu/preprocess.rs"]
mod preprocess;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ScalarKind, StorageAccess, TypeInner};

/// WebGPU's default limits, which every permutation must keep.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
const MAX_INVOCATIONS: u32 = 256;
/// What is no option in WebGPU: that 16-bit floats are packed and unpacked.
const CAPABILITIES: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("shaders");
    println!("cargo::rerun-if-changed=shaders");
    println!("cargo::rerun-if-changed=src/gpu/preprocess.rs");
    let mut structs = BTreeMap::new();
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Vec::new();
    for folder in folders(&root) {
        // shared snippets are imported, not compiled on their own
        if folder.ends_with("shared") {
            continue;
        }
        let module = file_stem(&folder);
        for file in files(&folder) {
            let name = format!("{module}/{}", file_stem(&file));
            let text = kernel(&root, &name, &mut structs);
            modules.entry(module.clone()).or_default().push_str(&text);
            names.push(name);
        }
    }
    let mut out = format!("pub const NAMES: &[&str] = &{names:?};\n");
    let statics: Vec<String> = names.iter().map(|name| format!("&{}", path_of(name))).collect();
    writeln!(out, "#[cfg(test)]\npub const ALL: &[&crate::gpu::KernelSource] = &[{}];", statics.join(", ")).unwrap();
    for (module, kernels) in &modules {
        write!(
            out,
            "pub mod {module} {{\nuse crate::gpu::kernel::{{Access, BindingLayout, KernelSource, Needs, Permutation}};\n{kernels}}}\n"
        )
        .unwrap();
    }
    out.push_str("/// Structs shared with WGSL, laid out by reflection.\npub mod layout {\n");
    for text in structs.values() {
        out.push_str(text);
    }
    out.push_str("}\n");
    let path = PathBuf::from(env::var("OUT_DIR").unwrap()).join("shaders.rs");
    fs::write(path, out).unwrap();
}

fn folders(root: &Path) -> Vec<PathBuf> {
    sorted(root, |path| path.is_dir())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    sorted(folder, |path| path.extension().is_some_and(|e| e == "wgsl"))
}

fn sorted(folder: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|p| keep(p)).collect();
    paths.sort();
    paths
}

fn file_stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Pastes imports depth first, each file once.
fn imports(root: &Path, name: &str, seen: &mut BTreeSet<String>, out: &mut String) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let path = root.join(format!("{name}.wgsl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for line in text.lines() {
        match line.strip_prefix("#import ") {
            Some(import) => imports(root, import.trim(), seen, out),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}

/// The product of the `#permute` axes: each permutation is a sorted set of names.
fn permutations(source: &str) -> Vec<Vec<String>> {
    let mut all = vec![vec![]];
    for line in source.lines() {
        let Some(axis) = line.trim_start().strip_prefix("#permute ") else { continue };
        let alternatives: Vec<Vec<&str>> = axis.split('|').map(|a| a.split_whitespace().filter(|&word| word != "-").collect()).collect();
        all = all
            .iter()
            .flat_map(|base: &Vec<String>| {
                alternatives.iter().map(|more| {
                    let mut names = base.clone();
                    names.extend(more.iter().map(|&name| name.to_owned()));
                    names.sort();
                    names
                })
            })
            .collect();
    }
    all
}

/// The static that holds the kernel `module/kernel`.
fn path_of(name: &str) -> String {
    let (module, kernel) = name.split_once('/').unwrap();
    format!("{module}::{}", kernel.to_uppercase())
}

fn kernel(root: &Path, name: &str, structs: &mut BTreeMap<String, String>) -> String {
    let mut source = String::new();
    imports(root, name, &mut BTreeSet::new(), &mut source);
    let mut permutation_text = String::new();
    for defines in permutations(&source) {
        let names: Vec<&str> = defines.iter().map(String::as_str).collect();
        let wgsl = preprocess::conditionals(&source, &names).unwrap_or_else(|e| panic!("shaders/{name}.wgsl: {e}"));
        let module =
            naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|e| panic!("shaders/{name}.wgsl {names:?}:\n{}", e.emit_to_string(&wgsl)));
        let info = Validator::new(ValidationFlags::all(), CAPABILITIES)
            .validate(&module)
            .unwrap_or_else(|e| panic!("shaders/{name}.wgsl {names:?}:\n{}", e.emit_to_string(&wgsl)));
        let bindings = reflect(name, &module, &info, structs);
        let needs = needs(&module);
        writeln!(permutation_text, "Permutation {{ defines: &{names:?}, bindings: &[{bindings}], needs: {needs} }},").unwrap();
    }
    let constant = file_stem(Path::new(name)).to_uppercase();
    format!(
        "pub static {constant}: KernelSource = KernelSource {{ name: {name:?}, source: {source:?}, permutations: &[\n{permutation_text}] }};\n"
    )
}

/// What a device must allow.
fn needs(module: &naga::Module) -> String {
    let size = |space: AddressSpace| {
        let variables = module.global_variables.iter().filter(move |(_, variable)| variable.space == space);
        variables.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
    };
    let (workgroup, uniform) = (size(AddressSpace::WorkGroup).sum::<u32>(), size(AddressSpace::Uniform).max().unwrap_or(0));
    format!(
        "Needs {{ workgroup_size: {:?}, workgroup_bytes: {workgroup}, uniform_bytes: {uniform} }}",
        module.entry_points[0].workgroup_size
    )
}

/// Checks the limits, collects the structs, and lists the bindings.
fn reflect(name: &str, module: &naga::Module, info: &ModuleInfo, structs: &mut BTreeMap<String, String>) -> String {
    let [entry] = module.entry_points.as_slice() else { panic!("{name}: one entry point expected") };
    assert_eq!(entry.name, "main", "{name}: the entry point");
    assert!(entry.workgroup_size.iter().product::<u32>() <= MAX_INVOCATIONS, "{name}: invocations");
    let mut bindings = Vec::new();
    let (mut storage, mut workgroup) = (0, 0);
    for (handle, variable) in module.global_variables.iter() {
        let access = match variable.space {
            AddressSpace::Uniform => "Uniform",
            AddressSpace::Storage { access } => {
                storage += 1;
                // WGSL has no write-only storage: what the entry point does decides
                let uses = info.get_entry_point(0)[handle];
                match access.contains(StorageAccess::STORE) {
                    false => "Read",
                    true if uses.contains(GlobalUse::READ) || !uses.contains(GlobalUse::WRITE) => "ReadWrite",
                    true => "Write",
                }
            }
            AddressSpace::WorkGroup => {
                workgroup += module.types[variable.ty].inner.size(module.to_ctx());
                continue;
            }
            _ => continue,
        };
        let binding = variable.binding.as_ref().unwrap_or_else(|| panic!("{name}: a buffer without a binding"));
        assert_eq!(binding.group, 0, "{name}: bindings are in group 0");
        let label = variable.name.as_deref().unwrap_or_default();
        bindings
            .push((binding.binding, format!("BindingLayout {{ index: {}, name: {label:?}, access: Access::{access} }},", binding.binding)));
        collect_structs(name, module, variable.ty, structs);
    }
    assert!(storage <= MAX_STORAGE_BUFFERS, "{name}: {storage} storage buffers");
    assert!(workgroup <= MAX_WORKGROUP_BYTES, "{name}: {workgroup} bytes of workgroup memory");
    bindings.sort();
    bindings.into_iter().map(|(_, text)| text).collect()
}

fn collect_structs(kernel: &str, module: &naga::Module, ty: naga::Handle<naga::Type>, structs: &mut BTreeMap<String, String>) {
    match &module.types[ty].inner {
        TypeInner::Array { base, .. } => collect_structs(kernel, module, *base, structs),
        TypeInner::Struct { members, span } => {
            members.iter().for_each(|member| collect_structs(kernel, module, member.ty, structs));
            let name = module.types[ty].name.clone().unwrap_or_default();
            let text = rust_struct(kernel, module, &name, members, *span);
            let known = structs.entry(name.clone()).or_insert_with(|| text.clone());
            assert_eq!(*known, text, "{kernel}: struct {name} differs from the one of the same name elsewhere");
        }
        _ => {}
    }
}

fn rust_struct(kernel: &str, module: &naga::Module, name: &str, members: &[naga::StructMember], span: u32) -> String {
    let mut fields = String::new();
    let mut end = 0;
    let pad = |fields: &mut String, from: u32, to: u32| {
        if to > from {
            writeln!(fields, "    pub _pad{from}: [u32; {}],", (to - from) / 4).unwrap();
        }
    };
    for member in members {
        pad(&mut fields, end, member.offset);
        let inner = &module.types[member.ty].inner;
        let ty = rust_type(module, member.ty).unwrap_or_else(|| panic!("{kernel}: {name}: a member of type {inner:?}"));
        writeln!(fields, "    pub {}: {ty},", member.name.as_deref().unwrap_or_default()).unwrap();
        end = member.offset + inner.size(module.to_ctx());
    }
    pad(&mut fields, end, span);
    format!(
        "#[repr(C)]\n#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\npub struct {name} {{\n{fields}}}\n\
         const _: () = assert!(size_of::<{name}>() == {span});\n"
    )
}

fn rust_type(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Option<String> {
    let ty = &module.types[ty];
    let scalar = |kind: ScalarKind| match kind {
        ScalarKind::Uint => Some("u32"),
        ScalarKind::Sint => Some("i32"),
        ScalarKind::Float => Some("f32"),
        _ => None,
    };
    match ty.inner {
        TypeInner::Struct { .. } => ty.name.clone(),
        TypeInner::Scalar(s) => scalar(s.kind).map(str::to_owned),
        TypeInner::Vector { size, scalar: s } => scalar(s.kind).map(|t| format!("[{t}; {}]", size as u8)),
        TypeInner::Array { base, size: naga::ArraySize::Constant(count), stride } => {
            assert_eq!(stride, module.types[base].inner.size(module.to_ctx()), "arrays without gaps");
            rust_type(module, base).map(|t| format!("[{t}; {count}]"))
        }
        _ => None,
    }
}
