//! Pastes the imports of every file in `shaders/` whose module is built, and writes `shaders.rs`: the kernels, the texts that
//! complete a kernel, and a Rust struct for each WGSL struct that a buffer holds. Nothing is validated here: the test `gpu::validation` holds that naga accepts every
//! permutation, and finds in it what this and `src/gpu/preprocess.rs` do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("shaders");
    println!("cargo::rerun-if-changed=shaders");
    let mut structs = BTreeMap::new();
    let mut modules = String::new();
    let mut names = Vec::new();
    for folder in sorted(&root, Path::is_dir) {
        let module = file_stem(&folder);
        // `vector` belongs to no feature; snippets in `shared` are imported, not compiled on their own
        let feature = format!("CARGO_FEATURE_{}", module.to_uppercase());
        if module == "shared" || (module != "vector" && env::var_os(feature).is_none()) {
            continue;
        }
        writeln!(modules, "pub mod {module} {{\nuse crate::gpu::KernelSource;").unwrap();
        for file in sorted(&folder, |path| path.extension().is_some_and(|e| e == "wgsl")) {
            let kernel = file_stem(&file);
            let name = format!("{module}/{kernel}");
            let mut source = String::new();
            imports(&root, &name, &mut BTreeSet::new(), &mut source);
            let constant = kernel.to_uppercase();
            // a text that completes a template
            if !source.contains("@compute") {
                writeln!(modules, "pub const {constant}: &str = {source:?};").unwrap();
                continue;
            }
            collect_structs(&name, &source, &mut structs);
            writeln!(modules, "pub static {constant}: KernelSource = KernelSource {{ name: {name:?}, source: {source:?} }};").unwrap();
            names.push((name, format!("&{module}::{constant}")));
        }
        modules.push_str("}\n");
    }
    let (names, statics): (Vec<String>, Vec<String>) = names.into_iter().unzip();
    let mut out = format!("pub const NAMES: &[&str] = &{names:?};\n");
    writeln!(out, "#[cfg(test)]\npub const ALL: &[&crate::gpu::KernelSource] = &[{}];", statics.join(", ")).unwrap();
    out.push_str(&modules);
    out.push_str("/// Structs shared with WGSL.\npub mod layout {\n");
    let mut members = String::new();
    for (name, layout) in &structs {
        out.push_str(&layout.text);
        let offsets = layout.members.iter().map(|member| format!("({member:?}, std::mem::offset_of!({name}, {member}))"));
        writeln!(members, "({name:?}, size_of::<{name}>(), &[{}]),", offsets.collect::<Vec<_>>().join(", ")).unwrap();
    }
    out.push_str("#[cfg(test)]\n/// Name, size, and where members begin.\npub type Struct = (&'static str, usize, &'static [(&'static str, usize)]);\n");
    writeln!(out, "#[cfg(test)]\npub const ALL: &[Struct] = &[{members}];\n}}").unwrap();
    fs::write(PathBuf::from(env::var("OUT_DIR").unwrap()).join("shaders.rs"), out).unwrap();
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

/// A WGSL struct in Rust.
struct Layout {
    size: usize,
    align: usize,
    members: Vec<String>,
    text: String,
}

/// The structs that buffers of `source` hold, under whatever conditions: those named in the types of bindings, of aliases and of
/// members. `struct NAME {` is a line, and so is each `member: type,`.
fn collect_structs(kernel: &str, source: &str, structs: &mut BTreeMap<String, Layout>) {
    let lines: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap().trim()).collect();
    let bindings = lines.iter().filter(|line| line.contains("@binding")).map(|line| line.rsplit_once(": ").unwrap().1);
    for ty in bindings {
        collect_type(kernel, &lines, ty.trim_end_matches(';'), structs);
    }
}

fn collect_type(kernel: &str, lines: &[&str], ty: &str, structs: &mut BTreeMap<String, Layout>) {
    for name in ty.split(|c: char| !c.is_alphanumeric() && c != '_') {
        for alias in lines.iter().filter_map(|line| line.strip_prefix(&format!("alias {name} = "))) {
            collect_type(kernel, lines, alias.trim_end_matches(';'), structs);
        }
        let Some(start) = lines.iter().position(|line| *line == format!("struct {name} {{")) else { continue };
        let body = lines[start + 1..].iter().take_while(|line| **line != "}").filter(|line| !line.is_empty());
        let members: Vec<(&str, &str)> = body
            .map(|line| line.trim_end_matches(',').split_once(": ").unwrap_or_else(|| panic!("{kernel}: {name}: not a member: {line}")))
            .collect();
        members.iter().for_each(|(_, ty)| collect_type(kernel, lines, ty, structs));
        let layout = rust_struct(kernel, name, &members, structs);
        let text = layout.text.clone();
        let known = structs.insert(name.to_owned(), layout);
        assert!(known.is_none_or(|known| known.text == text), "{kernel}: struct {name} differs from the one of the same name elsewhere");
    }
}

fn rust_struct(kernel: &str, name: &str, members: &[(&str, &str)], structs: &BTreeMap<String, Layout>) -> Layout {
    let (mut fields, mut end, mut align) = (String::new(), 0usize, 1);
    let pad = |fields: &mut String, from: usize, to: usize| {
        if to > from {
            writeln!(fields, "    pub _pad{from}: [u32; {}],", (to - from) / 4).unwrap();
        }
    };
    for (member, ty) in members {
        let (rust, size, alignment) = rust_type(ty, structs).unwrap_or_else(|| panic!("{kernel}: {name}: a member of type {ty}"));
        let offset = end.next_multiple_of(alignment);
        pad(&mut fields, end, offset);
        writeln!(fields, "    pub {member}: {rust},").unwrap();
        end = offset + size;
        align = align.max(alignment);
    }
    let size = end.next_multiple_of(align);
    pad(&mut fields, end, size);
    let derived = "Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable";
    let text = format!("#[repr(C)]\n#[derive({derived})]\npub struct {name} {{\n{fields}}}\n");
    Layout { size, align, members: members.iter().map(|(member, _)| (*member).to_owned()).collect(), text }
}

/// The type in Rust, its size, and its alignment in WGSL.
fn rust_type(ty: &str, structs: &BTreeMap<String, Layout>) -> Option<(String, usize, usize)> {
    let within = |prefix: &str| ty.strip_prefix(prefix)?.strip_suffix('>');
    let vector = |n: usize, align: usize| Some((format!("[{}; {n}]", rust_type(within(&format!("vec{n}<"))?, structs)?.0), 4 * n, align));
    match ty {
        "f32" | "i32" | "u32" => Some((ty.to_owned(), 4, 4)),
        _ if ty.starts_with("vec2<") => vector(2, 8),
        _ if ty.starts_with("vec3<") => vector(3, 16),
        _ if ty.starts_with("vec4<") => vector(4, 16),
        _ if ty.starts_with("array<") => {
            let (element, count) = within("array<")?.rsplit_once(", ")?;
            let (element, size, align) = rust_type(element, structs)?;
            let count: usize = count.parse().ok()?;
            // elements that have no gaps between them
            size.is_multiple_of(align).then(|| (format!("[{element}; {count}]"), count * size, align))
        }
        _ => structs.get(ty).map(|layout| (ty.to_owned(), layout.size, layout.align)),
    }
}
