use crate::gpu::DType;

/// What can go wrong. Every variant names the tensor, option or limit it is about, what was
/// expected and what was found. After an error in what was asked for nothing is half done: no
/// buffer was written and no object changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter matches the environment (`WGPU_BACKEND`, `WGPU_ADAPTER_NAME`).
    #[error("no GPU adapter was found: {reason}")]
    NoAdapter {
        /// What wgpu says of the back ends that it tried.
        reason: String,
    },
    /// The adapter refused to make a device.
    #[error("the device could not be made: {0}")]
    Device(#[from] wgpu::RequestDeviceError),
    /// The device lacks a feature of [`required_features`](crate::gpu::required_features) or one
    /// that was asked for.
    #[error("the device lacks the features {missing:?}")]
    MissingFeatures {
        /// The features that are missing.
        missing: wgpu::Features,
    },
    /// A limit of the device is below what is needed. [`recommended_limits`](crate::gpu::recommended_limits) are the highest that
    /// are of use.
    #[error("the device's limit `{limit}` is {found}, and {needed} is needed{}; see gradus::gpu::recommended_limits", context(.what))]
    LimitTooSmall {
        /// The name of the limit, as in `wgpu::Limits`.
        limit: &'static str,
        /// What needs it; empty for the crate as a whole.
        what: String,
        /// The smallest value that would do (for alignments the largest).
        needed: u64,
        /// The value of the device.
        found: u64,
    },
    /// A tensor's shape is not the expected one.
    #[error("tensor `{tensor}` has shape {found:?}, and {expected:?} was expected")]
    Shape {
        /// The name of the tensor.
        tensor: String,
        /// The shape expected.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// The element type is not one that the operation takes.
    #[error("tensor `{tensor}` is {found}, and one of {expected:?} was expected")]
    DType {
        /// The name of the tensor.
        tensor: String,
        /// The types accepted.
        expected: Vec<DType>,
        /// The type given.
        found: DType,
    },
    /// A tensor does not begin at a multiple of four bytes.
    #[error("tensor `{tensor}` begins at byte {offset}, which is not a multiple of {alignment}")]
    Misaligned {
        /// The name of the tensor.
        tensor: String,
        /// The offset in bytes from the start of its buffer.
        offset: u64,
        /// The alignment expected, in bytes.
        alignment: u64,
    },
    /// A tensor does not fit in its buffer.
    #[error("tensor `{tensor}` ends at byte {needed} of a buffer of {found} bytes")]
    OutOfBounds {
        /// The name of the tensor.
        tensor: String,
        /// Where the tensor would end, in bytes.
        needed: u64,
        /// The size of the buffer in bytes.
        found: u64,
    },
    /// A buffer was made without a usage that is needed.
    #[error("the buffer of tensor `{tensor}` lacks the usages {missing:?}")]
    BufferUsage {
        /// The name of the tensor.
        tensor: String,
        /// The usages that are missing.
        missing: wgpu::BufferUsages,
    },
    /// A tensor is on another device than the one that is to use it.
    #[error("tensor `{tensor}` is on another device")]
    ForeignDevice {
        /// The name of the tensor.
        tensor: String,
    },
    /// Two tensors that must be distinct share memory.
    #[error("tensors `{first}` and `{second}` overlap in memory")]
    Overlap {
        /// The name of one of them.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// Data has another number of elements, or of bytes, than the tensor it is meant for.
    #[error("tensor `{tensor}` takes {expected} {unit}, and {found} were given")]
    Length {
        /// The name of the tensor.
        tensor: String,
        /// What is counted.
        unit: &'static str,
        /// The number expected.
        expected: usize,
        /// The number given.
        found: usize,
    },
    /// An operation of a graph does not take values of these shapes.
    #[error("{operation}: {reason}; the shapes are {shapes:?}")]
    Operation {
        /// The operation.
        operation: &'static str,
        /// The shapes given, in the order of the arguments.
        shapes: Vec<Vec<usize>>,
        /// What does not fit.
        reason: String,
    },
    /// An option is out of its range.
    #[error("{option} = {found} is not valid: {expected}")]
    Option {
        /// The option, as it is spelled in the configuration.
        option: String,
        /// The value given.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// No parameter, group or state of that name is there.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// What kind of thing was looked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two things that must have distinct names have the same one.
    #[error("the name `{name}` is given to more than one {what}")]
    DuplicateName {
        /// What kind of thing it is.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A state dictionary belongs to another model or optimizer.
    #[error("the state dictionary does not fit: {}", .differences.join("; "))]
    StateMismatch {
        /// Every difference found, a sentence each.
        differences: Vec<String>,
    },
    /// A writer of the caller's failed.
    #[cfg(feature = "weights")]
    #[error("a file could not be written: {0}")]
    Write(#[source] std::io::Error),
    /// A file is not safetensors.
    #[cfg(feature = "weights")]
    #[error("not a safetensors file: {0}")]
    SafeTensors(#[from] safetensors::SafeTensorError),
    /// Something computed is infinite or not a number, and nothing can be made of it.
    #[error("{what} is not finite")]
    NonFinite {
        /// What was computed.
        what: String,
    },
    /// The device has no memory left for a buffer.
    #[error("out of memory: {what} needs {bytes} bytes")]
    OutOfMemory {
        /// What the memory was for.
        what: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The device is lost, or was destroyed, while something was read from it.
    #[error("the device is lost: {reason}")]
    DeviceLost {
        /// What wgpu says of it.
        reason: String,
    },
    /// A buffer of the caller's was destroyed, or is of another device.
    #[error("a buffer cannot be used: {reason}")]
    InvalidBuffer {
        /// What wgpu says of it.
        reason: String,
    },
    /// A pipeline could not be made: a bug of this crate or of the driver.
    #[error("kernel `{kernel}` could not be made: {reason}")]
    Pipeline {
        /// The kernel's name and permutation.
        kernel: String,
        /// What wgpu says of it.
        reason: String,
    },
}

fn context(what: &str) -> String {
    match what {
        "" => String::new(),
        _ => format!(" for {what}"),
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
