//! One order for the elements of every type: numbers by value with NaN last, text by its bytes.

use crate::RoutineError;
use nnc_tensor::{DType, Kind, Tensor};
use std::cmp::Ordering;

/// Elements ready to be compared by position.
pub(crate) enum Keys<'a> {
    Numbers(Vec<i64>),
    Strings(&'a [Vec<u8>]),
}

impl<'a> Keys<'a> {
    /// Complex numbers have no order and are refused.
    pub(crate) fn of(t: &'a Tensor) -> Result<Keys<'a>, RoutineError> {
        Ok(match t.dtype().kind() {
            Kind::Str => Keys::Strings(t.strings()),
            Kind::Complex => return Err(RoutineError::Mismatch("complex numbers have no order".into())),
            Kind::Float if t.dtype() == DType::F32 => {
                Keys::Numbers(t.elems::<f32>()?.iter().map(|x| float_key(f64::from(*x))).collect())
            }
            Kind::Float => Keys::Numbers(t.to_f64s().into_iter().map(float_key).collect()),
            // The shift maps 0..2^64 onto the signed range.
            _ if t.dtype() == DType::U64 => {
                Keys::Numbers(t.elems::<u64>()?.iter().map(|v| (v ^ (1 << 63)).cast_signed()).collect())
            }
            _ => Keys::Numbers(t.to_ints().into_iter().map(|v| v as i64).collect()),
        })
    }

    pub(crate) fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Keys::Numbers(n) => n[a].cmp(&n[b]),
            Keys::Strings(s) => s[a].cmp(&s[b]),
        }
    }
}

/// An integer that orders as the number does: zeros equal, NaN above infinity.
pub(crate) fn float_key(x: f64) -> i64 {
    if x.is_nan() {
        return i64::MAX;
    }
    let bits = (x + 0.0).to_bits().cast_signed();
    // Negative numbers grow downwards: turn all bits but the sign.
    if bits < 0 { bits ^ i64::MAX } else { bits }
}
