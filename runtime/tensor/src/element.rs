//! Rust types that stand for elements in memory.

use crate::DType;

/// A plain Rust type whose bytes are those of one element of [`Element::DTYPE`].
pub trait Element: bytemuck::Pod + PartialEq + std::fmt::Debug {
    /// The data type it stands for.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($t:ty => $d:ident),* $(,)?) => { $(impl Element for $t { const DTYPE: DType = DType::$d; })* };
}

elements! {
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    f32 => F32, f64 => F64, half::f16 => F16, half::bf16 => BF16,
}
