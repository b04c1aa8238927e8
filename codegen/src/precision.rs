//! Precision classes: how near a node's results come to those in double precision.
//!
//! Backends may compute more exactly than a class asks for. The CPU does: its kernels are plain f32
//! arithmetic in every class.

use std::fmt;

/// A class, by the greatest relative L2 error of a node against double precision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Precision {
    /// f32 arithmetic alone: no products of split operands.
    F32Strict,
    /// 1e-5; operands keep their 24 bits.
    #[default]
    F32,
    /// 5e-5.
    F32Fast,
    /// Operands of products are rounded to bf16, sums are f32.
    Bf16,
    /// Operands of products are rounded to f16, whose greatest number is 65504; sums are f32.
    F16,
}

impl Precision {
    /// Every class.
    pub const ALL: [Precision; 5] =
        [Precision::F32Strict, Precision::F32, Precision::F32Fast, Precision::Bf16, Precision::F16];

    /// Its name: `f32-fast`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32Strict => "f32-strict",
            Precision::F32 => "f32",
            Precision::F32Fast => "f32-fast",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Products round their operands to 16 bits.
    pub fn is_coarse(self) -> bool {
        matches!(self, Precision::Bf16 | Precision::F16)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
