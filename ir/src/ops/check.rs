//! What rows check in common: ranks, axes, lists of one entry an axis, sizes that must agree.
//!
//! Two sizes disagree here only if they differ for certain. Symbols may turn out equal: what is
//! assumed of them is noted, and the plan compares them when they are known.

use super::{EvalCx, InferCx, OpError};
use crate::{DType, Dim, TensorType, refuse};

/// One size for two that have to be equal, the more definite of them; `None` if they never are.
fn unify(a: &Dim, b: &Dim) -> Option<Dim> {
    if a == b {
        return Some(a.clone());
    }
    match (a.clone() - b.clone()).as_const() {
        Some(_) => None,
        None if b.as_const().is_some() => Some(b.clone()),
        None => Some(a.clone()),
    }
}

/// `[n, 3]`
pub(super) fn show(shape: &[Dim]) -> String {
    format!("{shape:?}")
}

/// Refuses shapes with a size that is negative for certain.
pub(super) fn not_negative(shape: &[Dim]) -> Result<(), OpError> {
    match shape.iter().find(|d| d.as_const().is_some_and(|v| v < 0)) {
        Some(d) => refuse!("sizes must not be negative, found {d} in {}", show(shape)),
        None => Ok(()),
    }
}

/// Refuses another element type.
pub(super) fn same_dtype(what: &str, expected: DType, found: DType) -> Result<(), OpError> {
    if expected != found {
        refuse!("{what} must have type {expected}, found {found}");
    }
    Ok(())
}

impl InferCx<'_> {
    /// One size for two that have to be equal, the more definite of them; `None` if they never are.
    pub(super) fn unify(&self, expected: &Dim, found: &Dim) -> Option<Dim> {
        let both = unify(expected, found)?;
        self.assume(found, expected, false);
        Some(both)
    }

    /// Refuses shapes that differ for certain.
    pub(super) fn same_shape(&self, what: &str, expected: &[Dim], found: &[Dim]) -> Result<(), OpError> {
        let same = |(a, b)| self.unify(a, b).is_some();
        if expected.len() != found.len() || !expected.iter().zip(found).all(same) {
            refuse!("{what} must have shape {}, found {}", show(expected), show(found));
        }
        Ok(())
    }

    /// An attribute that names an axis of a tensor of this rank.
    pub(super) fn axis(&self, name: &str, rank: usize) -> Result<usize, OpError> {
        let v = self.attrs.int(name);
        match usize::try_from(v) {
            Ok(a) if a < rank => Ok(a),
            _ => refuse!("attribute \"{name}\" must be below the rank {rank}, found {v}"),
        }
    }

    /// An attribute that lists different axes of a tensor of this rank.
    pub(super) fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, OpError> {
        let values = self.attrs.ints(name);
        let mut seen = vec![false; rank];
        for v in values {
            match usize::try_from(*v).ok().and_then(|a| seen.get_mut(a)) {
                Some(s) if !*s => *s = true,
                _ => refuse!(
                    "attribute \"{name}\" must list different axes below the rank {rank}, found {values:?}"
                ),
            }
        }
        Ok(self.attrs.indices(name))
    }

    /// An attribute of `n` sizes.
    pub(super) fn dims(&self, name: &str, n: usize) -> Result<&[Dim], OpError> {
        let dims = self.attrs.dims(name);
        if dims.len() != n {
            refuse!("attribute \"{name}\" must have {n} entries, found {}", show(dims));
        }
        Ok(dims)
    }

    /// An attribute of `n` positive integers.
    pub(super) fn positive(&self, name: &str, n: usize) -> Result<&[i64], OpError> {
        let ints = self.attrs.ints(name);
        if ints.len() != n || ints.iter().any(|v| *v < 1) {
            refuse!("attribute \"{name}\" must have {n} positive entries, found {ints:?}");
        }
        Ok(ints)
    }

    /// A positive integer.
    pub(super) fn positive_int(&self, name: &str) -> Result<i64, OpError> {
        match self.attrs.int(name) {
            v if v >= 1 => Ok(v),
            v => refuse!("attribute \"{name}\" must be positive, found {v}"),
        }
    }

    /// A text that is one of a few.
    pub(super) fn choice(&self, name: &str, known: &[&str]) -> Result<&str, OpError> {
        let found = self.attrs.str(name);
        if !known.contains(&found) {
            refuse!("attribute \"{name}\" must be one of {known:?}, found {found:?}");
        }
        Ok(found)
    }

    /// An integer that is one of 0 and 1.
    pub(super) fn flag(&self, name: &str) -> Result<bool, OpError> {
        match self.attrs.int(name) {
            0 => Ok(false),
            1 => Ok(true),
            v => refuse!("attribute \"{name}\" must be 0 or 1, found {v}"),
        }
    }

    /// Operand `i`, whose elements must be integers.
    pub(super) fn integers(&self, i: usize, what: &str) -> Result<&TensorType, OpError> {
        let t = self.tensor(i)?;
        if !t.dtype.is_int() {
            refuse!("{what} must be integers, found {t}");
        }
        Ok(t)
    }

    /// Operand `i`, whose elements must be floats.
    pub(super) fn floats(&self, i: usize, what: &str) -> Result<&TensorType, OpError> {
        let t = self.tensor(i)?;
        if !t.dtype.is_float() {
            refuse!("{what} must be floats, found {t}");
        }
        Ok(t)
    }

    /// Operand `i`, which must have this element type and shape.
    pub(super) fn expect(&self, i: usize, what: &str, dtype: DType, shape: &[Dim]) -> Result<(), OpError> {
        let t = self.tensor(i)?;
        same_dtype(what, dtype, t.dtype)?;
        self.same_shape(what, shape, &t.shape)
    }
}

impl EvalCx<'_> {
    /// Integers of an operand that are indices or counts.
    pub(super) fn i64s(&self, i: usize) -> Result<Vec<i64>, OpError> {
        let clamp = |v: i128| i64::try_from(v).unwrap_or(if v < 0 { i64::MIN } else { i64::MAX });
        Ok(self.tensor(i)?.to_ints().into_iter().map(clamp).collect())
    }
}
