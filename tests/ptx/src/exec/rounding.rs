//! Exact results rounded once, in any direction, to any format. An exact result is a double and the rest
//! that it leaves, of which only the sign counts.

use crate::program::Round;

/// A binary floating-point format.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    /// Bits of the significand, the hidden one included.
    pub(crate) precision: i32,
    /// Exponent of the smallest normal number.
    pub(crate) low: i32,
    pub(crate) max: f64,
}

pub(crate) const F32: Format = Format { precision: 24, low: -126, max: f32::MAX as f64 };
pub(crate) const F16: Format = Format { precision: 11, low: -14, max: 65504.0 };
pub(crate) const BF16: Format = Format { precision: 8, low: -126, max: 3.389_531_389_251_535_5e38 };
pub(crate) const TF32: Format = Format { precision: 11, low: -126, max: 3.401_162_134_214_653e38 };

/// A value and the sign of what is missing to the exact result.
#[derive(Clone, Copy)]
pub(crate) struct Exact {
    pub(crate) value: f64,
    pub(crate) rest: f64,
}

/// The sum of two doubles (Knuth's two-sum).
pub(crate) fn sum(a: f64, b: f64) -> Exact {
    let value = a + b;
    let c = value - a;
    let rest = (a - (value - c)) + (b - c);
    Exact { value, rest: if value.is_finite() { rest } else { 0.0 } }
}

/// `a / b`; both have at most 26 significant bits.
pub(crate) fn quotient(a: f64, b: f64) -> Exact {
    let value = a / b;
    let rest = if value.is_finite() && value != 0.0 { f64::mul_add(-value, b, a) * b.signum() } else { 0.0 };
    Exact { value, rest }
}

/// The square root of a value of at most 26 significant bits.
pub(crate) fn root(a: f64) -> Exact {
    let value = a.sqrt();
    let rest = if value.is_finite() { f64::mul_add(-value, value, a) } else { 0.0 };
    Exact { value, rest }
}

impl Exact {
    pub(crate) fn of(value: f64) -> Exact {
        Exact { value, rest: 0.0 }
    }

    /// The value with its last bit set where something is missing: rounding that to at most 51 bits is
    /// rounding the exact result.
    fn odd(self) -> f64 {
        let bits = self.value.to_bits();
        if self.rest == 0.0 || self.rest.is_nan() || !self.value.is_finite() || bits & 1 == 1 {
            return self.value;
        }
        let outward = (self.rest > 0.0) == (self.value > 0.0);
        f64::from_bits(if outward { bits + 1 } else { bits - 1 })
    }

    /// The value rounded to a format; the result is a double that the format holds.
    pub(crate) fn round(self, format: Format, mode: Round) -> f64 {
        let x = self.odd();
        if !x.is_finite() || x == 0.0 {
            return x;
        }
        let magnitude = x.abs();
        let exponent = ((magnitude.to_bits() >> 52) as i32 - 1023).max(format.low);
        let unit = exponent - (format.precision - 1);
        let scaled = scale(magnitude, -unit);
        let rounded = scale(integer(scaled, mode, x < 0.0), unit);
        let inward = match mode {
            Round::Zero => true,
            Round::Down => x > 0.0,
            Round::Up => x < 0.0,
            Round::Nearest | Round::Away => false,
        };
        let bounded = match rounded > format.max {
            true if inward => format.max,
            true => f64::INFINITY,
            false => rounded,
        };
        bounded.copysign(x)
    }
}

fn scale(x: f64, exponent: i32) -> f64 {
    let power = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
    let half = exponent / 2;
    x * power(half) * power(exponent - half)
}

/// A magnitude, of a negative number or not, rounded to an integer.
fn integer(magnitude: f64, mode: Round, negative: bool) -> f64 {
    match mode {
        Round::Nearest => magnitude.round_ties_even(),
        Round::Away => magnitude.round(),
        Round::Zero => magnitude.floor(),
        Round::Down if negative => magnitude.ceil(),
        Round::Down => magnitude.floor(),
        Round::Up if negative => magnitude.floor(),
        Round::Up => magnitude.ceil(),
    }
}

/// A value rounded to an integer, with its sign.
pub(crate) fn to_integer(x: f64, mode: Round) -> f64 {
    integer(x.abs(), mode, x < 0.0).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_nearest_is_the_machine_s() {
        let mut x = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..200_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // Exponents around those of f32, subnormal and too large ones included.
            let bits = x & 0x800f_ffff_ffff_ffff | (1023 - 160 + (x >> 52) % 320) << 52;
            let value = f64::from_bits(bits);
            let ours = Exact::of(value).round(F32, Round::Nearest);
            assert_eq!(ours.to_bits(), f64::from(value as f32).to_bits(), "{value:e}");
            // From f32: the crate drops bits of a double before it rounds.
            let single = value as f32;
            let value = f64::from(single);
            let ours = Exact::of(value).round(F16, Round::Nearest);
            assert_eq!(ours.to_bits(), half::f16::from_f32(single).to_f64().to_bits(), "{value:e}");
        }
    }

    #[test]
    fn a_rest_breaks_ties_and_directions_enclose() {
        let tie = 1.0 + f64::from(f32::EPSILON) / 2.0;
        let round = |rest, mode| Exact { value: tie, rest }.round(F32, mode);
        assert_eq!(round(0.0, Round::Nearest), 1.0);
        assert_eq!(round(1e-30, Round::Nearest), 1.0 + f64::from(f32::EPSILON));
        assert_eq!(round(0.0, Round::Away), 1.0 + f64::from(f32::EPSILON));
        let one = Exact { value: -1.0, rest: 1e-30 };
        assert_eq!(one.round(F32, Round::Up), f64::from(-(1.0f32.next_down())));
        assert_eq!(one.round(F32, Round::Down), -1.0);
        assert_eq!(Exact::of(1e300).round(F32, Round::Zero), F32.max);
        assert_eq!(Exact::of(-1e300).round(F32, Round::Up), -F32.max);
        assert_eq!(Exact::of(1e300).round(F32, Round::Up), f64::INFINITY);
    }
}
