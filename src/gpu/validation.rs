//! Every permutation of every kernel as naga sees it: valid with what every WebGPU device has, within [`required_limits`], with the
//! bindings that `preprocess` reads off its text, and with the structs that the build script wrote.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess, TypeInner};

use super::{Access, KERNELS, KernelSource, preprocess, required_limits};
use crate::shaders;

/// What is no option in WebGPU: that 16-bit floats are packed and unpacked.
const CAPABILITIES: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

#[test]
fn every_permutation_is_valid_and_what_is_read_off_its_text_is_true() {
    assert_eq!(shaders::ALL.len(), KERNELS.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut count, mut structs) = (0, HashSet::new());
        while let Some(source) = shaders::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            for defines in preprocess::permutations(source.source) {
                count += 1;
                check(source, &defines, &mut structs);
            }
        }
        (count, structs)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (count, structs) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).reduce(|(n, mut all), (m, more)| {
            all.extend(more);
            (n + m, all)
        })
    })
    .unwrap();
    // none of the structs is left that no permutation binds
    assert_eq!(structs.len(), shaders::layout::ALL.len());
    println!("{count} permutations of {} kernels, {} structs", KERNELS.len(), structs.len());
}

fn check(source: &'static KernelSource, defines: &[&str], structs: &mut HashSet<String>) {
    let what = format!("shaders/{}.wgsl {defines:?}", source.name);
    let lines = preprocess::conditionals(source.source, defines).unwrap_or_else(|e| panic!("{what}: {e}"));
    let scanned = preprocess::bindings(&lines).unwrap_or_else(|e| panic!("{what}: {e}"));
    let module = valid(&what, &lines.join("\n"), &scanned);
    for (_, variable) in module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()) {
        compare_structs(&what, &module, variable.ty, structs);
    }
}

/// A template completed by generated text.
#[cfg(feature = "optim")]
pub(crate) fn check_generated(source: &'static KernelSource, defines: &[&str], generated: &super::Generated, what: &str) {
    let defines: Vec<&str> = defines.iter().copied().chain(["GENERATED"]).collect();
    let lines = preprocess::conditionals(source.source, &defines).unwrap();
    let mut bindings = preprocess::bindings(&lines).unwrap();
    bindings.extend(&generated.bindings);
    bindings.sort_by_key(|binding| binding.index);
    valid(what, &(lines.join("\n") + "\n" + &generated.wgsl), &bindings);
}

/// The module of a text that is valid, within limits, and has the bindings that it is said to have.
fn valid(what: &str, wgsl: &str, expected: &[super::BindingLayout]) -> naga::Module {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(wgsl)));
    let validated = Validator::new(ValidationFlags::all(), CAPABILITIES).validate(&module);
    let info = validated.unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(wgsl)));
    let [entry] = module.entry_points.as_slice() else { panic!("{what}: one entry point is expected") };
    assert_eq!(entry.name, "main", "{what}");
    let bindings: Vec<(u32, String, Access)> =
        reflected(what, &module, &info).into_iter().map(|(index, name, access)| (index, name.to_owned(), access)).collect();
    assert_eq!(expected.iter().map(|b| (b.index, b.name.to_owned(), b.access)).collect::<Vec<_>>(), bindings, "{what}");

    let limits = required_limits();
    let [x, y, z] = entry.workgroup_size;
    assert!(x <= limits.max_compute_workgroup_size_x, "{what}: {x}");
    assert!(y <= limits.max_compute_workgroup_size_y, "{what}: {y}");
    assert!(z <= limits.max_compute_workgroup_size_z, "{what}: {z}");
    assert!(x * y * z <= limits.max_compute_invocations_per_workgroup, "{what}: {x} {y} {z}");
    let sizes = |space: AddressSpace| {
        let variables = module.global_variables.iter().filter(move |(_, variable)| variable.space == space);
        variables.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
    };
    let workgroup = sizes(AddressSpace::WorkGroup).sum::<u32>();
    assert!(workgroup <= limits.max_compute_workgroup_storage_size, "{what}: {workgroup} bytes of workgroup memory");
    let uniform = sizes(AddressSpace::Uniform).max().unwrap_or(0);
    assert!(u64::from(uniform) <= limits.max_uniform_buffer_binding_size, "{what}: {uniform} bytes of a uniform block");
    let uniforms = bindings.iter().filter(|(.., access)| *access == Access::Uniform).count();
    assert!(uniforms as u32 <= limits.max_uniform_buffers_per_shader_stage, "{what}: {uniforms} uniform blocks");
    let storage = bindings.len() - uniforms;
    assert!(storage as u32 <= limits.max_storage_buffers_per_shader_stage, "{what}: {storage} storage buffers");
    assert!(bindings.iter().all(|(index, ..)| *index < limits.max_bindings_per_bind_group), "{what}: {bindings:?}");
    module
}

/// Index, name and access of each buffer.
fn reflected<'a>(what: &str, module: &'a naga::Module, info: &ModuleInfo) -> Vec<(u32, &'a str, Access)> {
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        let Some(binding) = &variable.binding else { continue };
        assert_eq!(binding.group, 0, "{what}");
        let access = match variable.space {
            AddressSpace::Uniform => Access::Uniform,
            AddressSpace::Storage { access } if !access.contains(StorageAccess::STORE) => Access::Read,
            AddressSpace::Storage { .. } => match info.get_entry_point(0)[handle] {
                uses if uses == GlobalUse::WRITE => Access::Write,
                _ => Access::ReadWrite,
            },
            space => panic!("{what}: a binding in {space:?}"),
        };
        bindings.push((binding.binding, variable.name.as_deref().unwrap_or_default(), access));
    }
    bindings.sort_by_key(|&(index, ..)| index);
    bindings
}

/// Names, sizes and members of the structs in `ty` are those of the Rust structs.
fn compare_structs(what: &str, module: &naga::Module, ty: naga::Handle<naga::Type>, found: &mut HashSet<String>) {
    let ty = &module.types[ty];
    match &ty.inner {
        TypeInner::Array { base, .. } => compare_structs(what, module, *base, found),
        TypeInner::Struct { members, span } => {
            members.iter().for_each(|member| compare_structs(what, module, member.ty, found));
            let name = ty.name.clone().unwrap_or_default();
            let known = shaders::layout::ALL.iter().find(|(known, ..)| *known == name);
            let Some((_, size, offsets)) = known else { panic!("{what}: struct {name} is not in Rust") };
            assert_eq!(*size, *span as usize, "{what}: the size of {name}");
            let expected = members.iter().map(|member| (member.name.as_deref().unwrap_or_default(), member.offset as usize));
            assert!(offsets.iter().copied().eq(expected), "{what}: the members of {name}: {members:?}, {offsets:?}");
            found.insert(name);
        }
        _ => {}
    }
}
