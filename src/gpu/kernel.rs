//! A WGSL file, and the pipeline of one of its permutations.

use std::fmt;
use std::sync::Arc;

use super::{Checks, Gpu, preprocess, trace};
use crate::{Error, Result};

/// A kernel of `shaders/`, as the build script wrote it.
pub(crate) struct KernelSource {
    /// `module/kernel`, the path below `shaders/` without its extension.
    pub name: &'static str,
    /// The text with imports pasted, and conditionals and axes of permutations still in it.
    pub source: &'static str,
}

impl fmt::Debug for KernelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A buffer of group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BindingLayout {
    pub index: u32,
    pub name: &'static str,
    pub access: Access,
}

/// What a kernel does with a buffer, by its WGSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A small block of constants.
    Uniform,
    /// Read once.
    Read,
    /// Written once.
    Write,
    /// Read once and written once.
    ReadWrite,
}

/// What makes two pipelines the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    source: ByAddress,
    defines: Vec<&'static str>,
    constants: Vec<(&'static str, u32)>,
    generated: String,
}

/// Sources are statics: their address tells them apart.
#[derive(Clone, Copy)]
struct ByAddress(&'static KernelSource);

impl PartialEq for ByAddress {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for ByAddress {}

impl std::hash::Hash for ByAddress {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl Key {
    pub fn new(source: &'static KernelSource, defines: &[&'static str], constants: &[(&'static str, u32)]) -> Self {
        let mut defines = defines.to_vec();
        defines.sort_unstable();
        Self { source: ByAddress(source), defines, constants: constants.to_vec(), generated: String::new() }
    }

    pub fn name(&self) -> &'static str {
        self.source.0.name
    }

    /// The bindings are those that the text declares.
    pub fn completed_by(self, generated: &Generated) -> Self {
        Self { generated: generated.wgsl.clone(), ..self }
    }
}

/// WGSL made at run time that completes a template of `shaders/`: appended to it, in place of what the
/// template holds under `#ifndef GENERATED`, a stand-in that lets a test validate it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generated {
    pub wgsl: String,
    pub bindings: Vec<BindingLayout>,
    /// What the kernel is called in place of its template's name, within the template's module.
    pub name: Option<String>,
    /// Whether the text is not the crate's own alone, and so is compiled with checks whatever the device's other kernels are.
    pub checked: bool,
}

/// A compiled pipeline. Clones share it.
#[derive(Clone)]
pub(crate) struct Kernel {
    inner: Arc<Inner>,
}

struct Inner {
    /// `gradus.<module>.<kernel>`
    label: String,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    bindings: Vec<BindingLayout>,
}

impl Kernel {
    pub fn new(gpu: &Gpu, key: &Key, generated: Option<&Generated>) -> Result<Self> {
        let source = key.source.0;
        let mut label = format!("gradus.{}", source.name.replace('/', "."));
        if let (Some(name), Some((module, _))) = (generated.and_then(|generated| generated.name.as_ref()), source.name.split_once('/')) {
            label = format!("gradus.{module}.{name}");
        }
        let failed = |reason: String| Error::Pipeline { kernel: format!("{label} {:?} {:?}", key.defines, key.constants), reason };
        if !preprocess::permutations(source.source).contains(&key.defines) {
            return Err(failed("its text declares no such permutation".into()));
        }
        let generated_define = generated.map(|_| "GENERATED");
        let defines: Vec<&str> = key.defines.iter().copied().chain(generated_define).collect();
        let lines = preprocess::conditionals(source.source, &defines).map_err(failed)?;
        let mut bindings = preprocess::bindings(&lines).map_err(failed)?;
        let mut wgsl = lines.join("\n") + "\n";
        if let Some(generated) = generated {
            bindings.extend(&generated.bindings);
            wgsl.push_str(&generated.wgsl);
        }
        let mut overrides = key.constants.clone();
        // of shared/runs.wgsl
        overrides.extend(wgsl.contains("override RUN:").then(|| ("RUN", gpu.target().run())));
        let constants: Vec<(&str, f64)> = overrides.iter().map(|&(name, value)| (name, f64::from(value))).collect();
        trace::dump(&label, &wgsl, &overrides, &bindings);
        let device = gpu.device();
        let checks = if generated.is_some_and(|generated| generated.checked) { Checks::Checked } else { gpu.checks() };
        let begun = trace::now();
        let filters = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
        let ((pipeline, layout), error) = gpu.scoped(&filters, || {
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Wgsl(wgsl.as_str().into()) };
            let runtime_checks = match checks {
                Checks::Checked => wgpu::ShaderRuntimeChecks::checked(),
                Checks::Unchecked => wgpu::ShaderRuntimeChecks::unchecked(),
            };
            // SAFETY: unless it is checked, the WGSL is this crate's own, validated by a test, or generated from a graph
            // whose shapes have been checked. Every index stays in its binding because the host sizes the
            // bindings and the tables of ranges from tensors whose extent it has checked, every loop is
            // bounded by such a range, and divisors are lengths of axes, which are not zero.
            let module = unsafe { device.create_shader_module_trusted(descriptor, runtime_checks) };
            let layout = bind_group_layout(device, &label, &bindings);
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(&label),
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    // every kernel writes what it reads of workgroup memory
                    zero_initialize_workgroup_memory: checks == Checks::Checked,
                },
                cache: gpu.inner.options.pipeline_cache.as_ref(),
            });
            (pipeline, layout)
        });
        log::trace!("{label} {:?} {:?}: {:.3} s", key.defines, key.constants, trace::since(begun));
        match error {
            Some(error) => Err(failed(format!("{error}\n{}", numbered(&wgsl)))),
            None => Ok(Self { inner: Arc::new(Inner { label, pipeline, layout, bindings }) }),
        }
    }

    pub fn label(&self) -> &str {
        &self.inner.label
    }

    pub fn pipeline(&self) -> &wgpu::ComputePipeline {
        &self.inner.pipeline
    }

    pub fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.inner.layout
    }

    pub fn bindings(&self) -> &[BindingLayout] {
        &self.inner.bindings
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

fn bind_group_layout(device: &wgpu::Device, label: &str, bindings: &[BindingLayout]) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = bindings
        .iter()
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding: binding.index,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match binding.access {
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::Write | Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

/// The source with line numbers, for error messages.
fn numbered(wgsl: &str) -> String {
    wgsl.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(|(i, line)| format!("{:4} {line}\n", i + 1)).collect()
}
