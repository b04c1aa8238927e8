//! Relations of `setp` and `set`: ordered ones are false where a number is NaN, unordered ones true.

use super::float::{Brain, Half, Single, input};
use super::int::sign_extend;
use crate::program::{Compare, Lanes, Mode};
use crate::types::Type;
use std::cmp::Ordering;

fn gather(a: &Lanes, b: &Lanes, holds: impl Fn(u64, u64) -> bool) -> u32 {
    let mut mask = 0;
    for i in 0..32 {
        mask |= u32::from(holds(a[i], b[i])) << i;
    }
    mask
}

macro_rules! relation {
    ($read:ident, |$a:ident, $b:ident| $body:expr) => {{
        fn compare(m: &Mode, a: &Lanes, b: &Lanes) -> u32 {
            gather(a, b, |x, y| {
                let ($a, $b) = ($read(m, x), $read(m, y));
                $body
            })
        }
        compare as Compare
    }};
}

fn signed(m: &Mode, x: u64) -> i64 {
    sign_extend(m.bits, x)
}

fn unsigned(_: &Mode, x: u64) -> u64 {
    x
}

fn single(m: &Mode, x: u64) -> f64 {
    input::<Single>(m, x)
}

fn half(m: &Mode, x: u64) -> f64 {
    input::<Half<false>>(m, x)
}

fn brain(m: &Mode, x: u64) -> f64 {
    input::<Brain<false>>(m, x)
}

fn double(_: &Mode, x: u64) -> f64 {
    f64::from_bits(x)
}

macro_rules! floats {
    ($name:expr, $read:ident) => {
        Some(match $name {
            "eq" => relation!($read, |a, b| a == b),
            "ne" => relation!($read, |a, b| a.partial_cmp(&b).is_some_and(Ordering::is_ne)),
            "lt" => relation!($read, |a, b| a < b),
            "le" => relation!($read, |a, b| a <= b),
            "gt" => relation!($read, |a, b| a > b),
            "ge" => relation!($read, |a, b| a >= b),
            "equ" => relation!($read, |a, b| a.partial_cmp(&b).is_none_or(Ordering::is_eq)),
            "neu" => relation!($read, |a, b| a != b),
            "ltu" => relation!($read, |a, b| !(a >= b)),
            "leu" => relation!($read, |a, b| !(a > b)),
            "gtu" => relation!($read, |a, b| !(a <= b)),
            "geu" => relation!($read, |a, b| !(a < b)),
            "num" => relation!($read, |a, b| !a.is_nan() && !b.is_nan()),
            "nan" => relation!($read, |a, b| a.is_nan() || b.is_nan()),
            _ => return None,
        })
    };
}

fn integers(name: &str, is_signed: bool) -> Option<Compare> {
    Some(match (name, is_signed) {
        ("eq", _) => relation!(unsigned, |a, b| a == b),
        ("ne", _) => relation!(unsigned, |a, b| a != b),
        ("lt", true) => relation!(signed, |a, b| a < b),
        ("le", true) => relation!(signed, |a, b| a <= b),
        ("gt", true) => relation!(signed, |a, b| a > b),
        ("ge", true) => relation!(signed, |a, b| a >= b),
        ("lt" | "lo", false) => relation!(unsigned, |a, b| a < b),
        ("le" | "ls", false) => relation!(unsigned, |a, b| a <= b),
        ("gt" | "hi", false) => relation!(unsigned, |a, b| a > b),
        ("ge" | "hs", false) => relation!(unsigned, |a, b| a >= b),
        _ => return None,
    })
}

/// The relation of a name on a type.
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "the negation is what makes a relation unordered")]
pub(crate) fn relation(name: &str, ty: Type) -> Option<Compare> {
    match ty {
        Type::F32 => floats!(name, single),
        Type::F64 => floats!(name, double),
        Type::F16 => floats!(name, half),
        Type::Bf16 => floats!(name, brain),
        _ if ty.is_bits() && !matches!(name, "eq" | "ne") => None,
        _ if ty.is_bits() || ty.is_integer() => integers(name, ty.is_signed()),
        _ => None,
    }
}

/// The class of a number that `testp` asks for.
pub(crate) fn class(name: &str, ty: Type) -> Option<Compare> {
    macro_rules! classes {
        ($read:ident, $low:expr) => {
            Some(match name {
                "finite" => relation!($read, |a, _b| a.is_finite()),
                "infinite" => relation!($read, |a, _b| a.is_infinite()),
                "number" => relation!($read, |a, _b| !a.is_nan()),
                "notanumber" => relation!($read, |a, _b| a.is_nan()),
                "normal" => relation!($read, |a, _b| a.is_finite() && a.abs() >= $low),
                "subnormal" => relation!($read, |a, _b| a != 0.0 && a.abs() < $low),
                _ => return None,
            })
        };
    }
    match ty {
        Type::F32 => classes!(single, f64::from(f32::MIN_POSITIVE)),
        Type::F64 => classes!(double, f64::MIN_POSITIVE),
        _ => None,
    }
}
