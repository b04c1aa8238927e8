//! Checked access to a routine's inputs, and checked sizes of its results.

use crate::RoutineError;
use nnc_tensor::{DType, Tensor, Value};

/// The inputs of one step.
pub(crate) struct Inputs<'a>(pub(crate) &'a [Value]);

impl<'a> Inputs<'a> {
    /// An input that may have been left out.
    pub(crate) fn value(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index).filter(|v| !matches!(v, Value::Optional(None)))
    }

    /// A tensor, or `None` if it was left out.
    pub(crate) fn optional(
        &self,
        index: usize,
        name: &'static str,
    ) -> Result<Option<&'a Tensor>, RoutineError> {
        match self.value(index) {
            None => Ok(None),
            Some(Value::Tensor(t)) => Ok(Some(t)),
            Some(other) => {
                Err(RoutineError::Input { name, expected: "a tensor", found: kind_of(other).into() })
            }
        }
    }

    /// A tensor.
    pub(crate) fn tensor(&self, index: usize, name: &'static str) -> Result<&'a Tensor, RoutineError> {
        self.optional(index, name)?.ok_or(RoutineError::MissingInput(name))
    }

    /// A tensor of strings.
    #[cfg(feature = "text")]
    pub(crate) fn strings(&self, index: usize, name: &'static str) -> Result<&'a Tensor, RoutineError> {
        let t = self.tensor(index, name)?;
        if t.dtype() == DType::Str {
            return Ok(t);
        }
        Err(wrong(name, "a tensor of strings", t))
    }

    /// A sequence.
    pub(crate) fn sequence(&self, index: usize, name: &'static str) -> Result<&'a [Value], RoutineError> {
        match self.value(index).ok_or(RoutineError::MissingInput(name))? {
            Value::Sequence(s) => Ok(s),
            other => Err(RoutineError::Input { name, expected: "a sequence", found: kind_of(other).into() }),
        }
    }

    /// The one element of an integer tensor, or `None` if it was left out.
    pub(crate) fn int(&self, index: usize, name: &'static str) -> Result<Option<i64>, RoutineError> {
        let Some(t) = self.optional(index, name)? else { return Ok(None) };
        if t.len() != 1 || !(t.dtype().is_int() || t.dtype() == DType::Bool) {
            return Err(wrong(name, "one integer", t));
        }
        // Beyond 64 bits (u64) every use is out of range anyway.
        Ok(Some(i64::try_from(t.to_ints()[0]).unwrap_or(i64::MAX)))
    }

    /// The one element of a tensor of floats, or `None` if it was left out.
    pub(crate) fn float(&self, index: usize, name: &'static str) -> Result<Option<f64>, RoutineError> {
        let Some(t) = self.optional(index, name)? else { return Ok(None) };
        if t.len() != 1 || !t.dtype().is_float() {
            return Err(wrong(name, "one number", t));
        }
        Ok(Some(t.to_f64s()[0]))
    }
}

/// An error about an input that is a tensor, but not the right one.
pub(crate) fn wrong(name: &'static str, expected: &'static str, found: &Tensor) -> RoutineError {
    RoutineError::Input { name, expected, found: format!("{found:?}") }
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Tensor(_) => "a tensor",
        Value::Sequence(_) => "a sequence",
        Value::Optional(_) => "an optional",
        Value::Map(_) => "a map",
    }
}

/// An axis counted from either end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize, RoutineError> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    from_start
        .and_then(|a| usize::try_from(a).ok())
        .filter(|a| *a < rank)
        .ok_or(RoutineError::Axis { axis, rank })
}

/// The number of elements of a shape; the sizes other than zero have to be sane even if one is.
pub(crate) fn count_of(shape: &[usize]) -> Result<usize, RoutineError> {
    let mut sizes = shape.iter().filter(|d| **d != 0);
    let count = sizes.try_fold(1usize, |n, d| n.checked_mul(*d));
    let count = count.ok_or_else(|| RoutineError::TooLarge(shape.to_vec()))?;
    Ok(if shape.contains(&0) { 0 } else { count })
}

/// An empty vector with room for the elements of `shape`, or an error where there is no such memory.
pub(crate) fn room_for<T>(shape: &[usize]) -> Result<Vec<T>, RoutineError> {
    let mut out = Vec::new();
    out.try_reserve_exact(count_of(shape)?).map_err(|_| RoutineError::TooLarge(shape.to_vec()))?;
    Ok(out)
}

/// A one-dimensional tensor of positions.
pub(crate) fn index_tensor(indices: &[usize]) -> Result<Tensor, RoutineError> {
    let data: Vec<i64> = indices.iter().map(|i| *i as i64).collect();
    Ok(Tensor::from_slice(&[data.len()], &data)?)
}
