use std::fmt;

use half::{bf16, f16};

/// The type of a tensor's elements, little endian and packed without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16. Kernels unpack it by integer arithmetic, so the device needs no feature,
    /// and denormals keep their values everywhere.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 8 bits.
    U8,
}

impl DType {
    /// The types that hold real numbers.
    pub const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

    /// The size of an element in bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }

    /// The name in safetensors files: `F32`, `F16`, `BF16`, `U32`, `U8`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::Bf16 => "BF16",
            DType::U32 => "U32",
            DType::U8 => "U8",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type of a tensor's elements: `f32`, `half::f16`, `half::bf16`, `u32` or `u8`.
pub trait Element: bytemuck::Pod + private::Sealed {
    /// The matching type on the device.
    const DTYPE: DType;
}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {
        $(impl private::Sealed for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements!(f32 => F32, f16 => F16, bf16 => Bf16, u32 => U32, u8 => U8);
