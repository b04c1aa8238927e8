//! The narrow floating-point formats: from and to `f64`, with the special values that ONNX's `Cast` gives them.
//!
//! Every format is a row of numbers, and one pair of functions serves all of them. Rounding is to
//! the nearest, ties to even. E8M0 has no significand and functions of its own.

use crate::DType;

/// Which codes are not finite numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    /// IEEE 754: the largest exponent holds infinities and NaN.
    Ieee,
    /// "FN": all ones is NaN, there are no infinities.
    OnesNan,
    /// "FNUZ": the code of minus zero is the only NaN, there are no infinities.
    MinusZeroNan,
    /// Every code is a finite number.
    Finite,
}

/// A sign bit, an exponent and a significand.
struct Format {
    mantissa_bits: u32,
    bias: i32,
    /// The code of the largest finite number.
    max: u32,
    width: u32,
    special: Special,
}

/// How [`encode_e8m0`] treats numbers between two powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Round {
    /// Towards the larger power.
    #[default]
    Up,
    /// Towards the smaller power.
    Down,
    /// To the nearer power, halfway upwards.
    Nearest,
}

impl Round {
    /// The value of `Cast`'s attribute `round_mode`.
    pub fn from_name(name: &str) -> Option<Round> {
        match name {
            "up" => Some(Round::Up),
            "down" => Some(Round::Down),
            "nearest" => Some(Round::Nearest),
            _ => None,
        }
    }
}

fn format(dtype: DType) -> Option<Format> {
    let (width, mantissa_bits, bias, max, special) = match dtype {
        DType::F16 => (16, 10, 15, 0x7bff, Special::Ieee),
        DType::BF16 => (16, 7, 127, 0x7f7f, Special::Ieee),
        DType::F8E4M3FN => (8, 3, 7, 0x7e, Special::OnesNan),
        DType::F8E4M3FNUZ => (8, 3, 8, 0x7f, Special::MinusZeroNan),
        DType::F8E5M2 => (8, 2, 15, 0x7b, Special::Ieee),
        DType::F8E5M2FNUZ => (8, 2, 16, 0x7f, Special::MinusZeroNan),
        DType::F4E2M1 => (4, 1, 1, 0x7, Special::Finite),
        _ => return None,
    };
    Some(Format { mantissa_bits, bias, max, width, special })
}

/// `2^e` for exponents of normal numbers.
fn exp2(e: i32) -> f64 {
    f64::from_bits(u64::from((e + 1023).unsigned_abs()) << 52)
}

/// `⌊log2 x⌋` of a positive normal number, −1023 below.
fn exponent(x: f64) -> i32 {
    i32::try_from((x.to_bits() >> 52) & 0x7ff).map_or(0, |e| e - 1023)
}

/// The number that a code stands for; `None` if `dtype` is not a float of at most 16 bits.
///
/// Bits above the type's width are ignored.
pub fn decode(dtype: DType, code: u16) -> Option<f64> {
    if dtype == DType::F8E8M0 {
        return Some(decode_e8m0(code & 0xff));
    }
    let f = format(dtype)?;
    let sign_bit = 1u32 << (f.width - 1);
    let code = u32::from(code) & (2 * sign_bit - 1);
    let (negative, magnitude) = (code & sign_bit != 0, code & (sign_bit - 1));
    let nan = match f.special {
        Special::Ieee => magnitude > f.max + 1,
        Special::OnesNan => magnitude > f.max,
        Special::MinusZeroNan => negative && magnitude == 0,
        Special::Finite => false,
    };
    let infinite = f.special == Special::Ieee && magnitude == f.max + 1;
    let (e, m) = (magnitude >> f.mantissa_bits, magnitude & ((1 << f.mantissa_bits) - 1));
    let quantum = exp2(e.max(1).cast_signed() - f.bias - f.mantissa_bits.cast_signed());
    let significand = f64::from(if e == 0 { m } else { m + (1 << f.mantissa_bits) });
    let value = match (nan, infinite) {
        (true, _) => f64::NAN,
        (_, true) => f64::INFINITY,
        _ => significand * quantum,
    };
    Some(if negative { -value } else { value })
}

/// The code nearest to a number, ties to even; `None` if `dtype` is not a float of at most 16 bits.
///
/// `saturate` has the meaning of the attribute of ONNX's `Cast` for float8 types: numbers out of
/// range and infinities become the largest finite number, else NaN or infinity as the type has
/// them. f16 and bf16 overflow to infinity and f4e2m1 to its largest number in either case; NaN
/// becomes minus zero in f4e2m1, which has no NaN. f8e8m0 is rounded up.
pub fn encode(dtype: DType, x: f64, saturate: bool) -> Option<u16> {
    if dtype == DType::F8E8M0 {
        return Some(encode_e8m0(x, saturate, Round::Up));
    }
    let f = format(dtype)?;
    let sign = if x.is_sign_negative() { 1u32 << (f.width - 1) } else { 0 };
    let saturate = f.special == Special::Finite || (saturate && f.width == 8);
    let code = if x.is_nan() { nan_code(&f, sign) } else { number_code(&f, x.abs(), sign, saturate) };
    u16::try_from(code).ok()
}

fn nan_code(f: &Format, sign: u32) -> u32 {
    match f.special {
        Special::Ieee => sign | (f.max + 1) | (1 << (f.mantissa_bits - 1)),
        Special::OnesNan => sign | (f.max + 1),
        Special::MinusZeroNan | Special::Finite => 1 << (f.width - 1),
    }
}

fn number_code(f: &Format, magnitude: f64, sign: u32, saturate: bool) -> u32 {
    // Beyond 2^128 every format overflows; the limit keeps the shift below in range.
    let a = magnitude.min(exp2(129));
    let (mantissa, lowest) = (f.mantissa_bits.cast_signed(), 1 - f.bias);
    let e = exponent(a).max(lowest);
    // In units of the last place; both factors keep the quotient exact down to numbers that
    // round to zero anyway.
    let units = (a * exp2(mantissa - e)).round_ties_even();
    // A significand that rounded up to the next power carries into the exponent by itself.
    let code = ((e - lowest).unsigned_abs() << f.mantissa_bits) + units as u32;
    if code > f.max {
        return match f.special {
            _ if saturate => sign | f.max,
            Special::Ieee => sign | (f.max + 1),
            _ => nan_code(f, sign),
        };
    }
    if code == 0 && f.special == Special::MinusZeroNan { 0 } else { sign | code }
}

fn decode_e8m0(code: u16) -> f64 {
    if code == 0xff { f64::NAN } else { exp2(i32::from(code) - 127) }
}

/// The f8e8m0 code of a number: its power of two, the sign dropped.
///
/// NaN stays NaN. With `saturate`, numbers out of range (infinities and zero too) become the
/// largest or smallest power, else NaN. (For infinities and zero ONNX's text and its reference
/// implementation differ in some cases; this is the text.)
pub fn encode_e8m0(x: f64, saturate: bool, round: Round) -> u16 {
    const NAN: u16 = 0xff;
    let a = x.abs();
    if a.is_nan() {
        return NAN;
    }
    let power = if a < exp2(-1022) { -1022 } else { exponent(a) };
    let fraction = if power == -1022 || a.is_infinite() { 0.0 } else { a / exp2(power) - 1.0 };
    let up = match round {
        Round::Up => fraction > 0.0,
        Round::Down => false,
        Round::Nearest => fraction >= 0.5,
    };
    match u16::try_from(power + i32::from(up) + 127) {
        Ok(code) if code < NAN => code,
        _ if !saturate => NAN,
        Ok(_) => NAN - 1,
        Err(_) => 0,
    }
}
