//! The narrow float formats as both backends compute with them.

use nnc_ir::DType;

/// Which codes are not finite numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Ieee,
    OnesNan,
    MinusZeroNan,
    Finite,
}

/// A sign bit, an exponent and a significand.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub(crate) width: i64,
    pub(crate) mantissa: i64,
    pub(crate) bias: i64,
    /// The code of the largest finite number.
    pub(crate) max: i64,
    pub(crate) special: Special,
    /// Numbers out of range become the largest finite one, else infinity.
    pub(crate) saturate: bool,
}

/// The format of a float of at most 16 bits.
pub(crate) fn format(dtype: DType) -> Option<Format> {
    let (width, mantissa, bias, max, special, saturate) = match dtype {
        DType::F16 => (16, 10, 15, 0x7bff, Special::Ieee, false),
        DType::BF16 => (16, 7, 127, 0x7f7f, Special::Ieee, false),
        DType::F8E4M3FN => (8, 3, 7, 0x7e, Special::OnesNan, true),
        DType::F8E4M3FNUZ => (8, 3, 8, 0x7f, Special::MinusZeroNan, true),
        DType::F8E5M2 => (8, 2, 15, 0x7b, Special::Ieee, false),
        DType::F8E5M2FNUZ => (8, 2, 16, 0x7f, Special::MinusZeroNan, true),
        DType::F4E2M1 => (4, 1, 1, 0x7, Special::Finite, true),
        _ => return None,
    };
    Some(Format { width, mantissa, bias, max, special, saturate })
}

/// `2^e` for exponents of normal numbers.
pub(crate) fn exp2(e: i64) -> f64 {
    2f64.powi(e as i32)
}
