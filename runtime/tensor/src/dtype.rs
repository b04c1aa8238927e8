//! The one table of data types: every element type ONNX has, with its width, kind and numbers.

use serde::{Deserialize, Serialize};

/// What the bits of an element mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned integer.
    Uint,
    /// Two's complement integer.
    Int,
    /// Floating point of any width.
    Float,
    /// Pair of floats, real part first.
    Complex,
    /// UTF-8 text (bytes are kept as they came).
    Str,
}

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:literal $kind:ident $onnx:literal;)*) => {
        /// An element type.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum DType { $(#[doc = concat!("`", $name, "`, ", stringify!($bits), " bits")] $variant,)* }

        impl DType {
            /// Every type, in the order of declaration.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// The name used in the text form and in messages.
            pub const fn name(self) -> &'static str { match self { $(DType::$variant => $name,)* } }

            /// Width of one element in bits; 0 for strings.
            pub const fn bits(self) -> usize { match self { $(DType::$variant => $bits,)* } }

            /// What the bits mean.
            pub const fn kind(self) -> Kind { match self { $(DType::$variant => Kind::$kind,)* } }

            /// The number of this type in ONNX's `TensorProto.DataType`.
            pub const fn onnx(self) -> i32 { match self { $(DType::$variant => $onnx,)* } }
        }
    };
}

dtypes! {
    Bool "bool" 8 Bool 9;
    U8 "u8" 8 Uint 2;
    I8 "i8" 8 Int 3;
    U16 "u16" 16 Uint 4;
    I16 "i16" 16 Int 5;
    U32 "u32" 32 Uint 12;
    I32 "i32" 32 Int 6;
    U64 "u64" 64 Uint 13;
    I64 "i64" 64 Int 7;
    F16 "f16" 16 Float 10;
    BF16 "bf16" 16 Float 16;
    F32 "f32" 32 Float 1;
    F64 "f64" 64 Float 11;
    F8E4M3FN "f8e4m3fn" 8 Float 17;
    F8E4M3FNUZ "f8e4m3fnuz" 8 Float 18;
    F8E5M2 "f8e5m2" 8 Float 19;
    F8E5M2FNUZ "f8e5m2fnuz" 8 Float 20;
    F8E8M0 "f8e8m0" 8 Float 24;
    F4E2M1 "f4e2m1" 4 Float 23;
    U4 "u4" 4 Uint 21;
    I4 "i4" 4 Int 22;
    U2 "u2" 2 Uint 25;
    I2 "i2" 2 Int 26;
    C64 "c64" 64 Complex 14;
    C128 "c128" 128 Complex 15;
    Str "str" 0 Str 8;
}

impl DType {
    /// The type with this name in the text form.
    pub fn from_name(name: &str) -> Option<DType> {
        Self::ALL.iter().copied().find(|d| d.name() == name)
    }

    /// The type with this number in ONNX's `TensorProto.DataType`.
    pub fn from_onnx(number: i32) -> Option<DType> {
        Self::ALL.iter().copied().find(|d| d.onnx() == number)
    }

    /// Floating point of any width.
    pub fn is_float(self) -> bool {
        self.kind() == Kind::Float
    }

    /// Signed or unsigned integer (not bool).
    pub fn is_int(self) -> bool {
        matches!(self.kind(), Kind::Int | Kind::Uint)
    }

    /// Several elements share a byte.
    pub fn is_packed(self) -> bool {
        matches!(self.bits(), 2 | 4)
    }

    /// Bytes of one element; for packed types and strings see [`DType::bytes_for`].
    pub fn size(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Bytes that `len` elements take, or `None` if that overflows or the type is a string.
    pub fn bytes_for(self, len: usize) -> Option<usize> {
        if self == DType::Str { None } else { Some(len.checked_mul(self.bits())?.div_ceil(8)) }
    }

    /// The range of an integer type (bool: 0..=1), or `None` for other kinds.
    pub fn int_range(self) -> Option<(i128, i128)> {
        let bits = u32::try_from(self.bits()).ok()?;
        match self.kind() {
            Kind::Bool => Some((0, 1)),
            Kind::Uint => Some((0, (1i128 << bits) - 1)),
            Kind::Int => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
            _ => None,
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
