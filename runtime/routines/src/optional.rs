//! Optionals: a value or none.

use crate::inputs::Inputs;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};

/// `optional`: an optional of the input, or of nothing.
pub(crate) fn optional(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    Ok(vec![Value::Optional(Inputs(inputs).value(0).cloned().map(Box::new))])
}

/// `optional_has_element`: whether there is a value; true for anything but an empty optional.
pub(crate) fn has_element(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    Ok(vec![Tensor::from_bools(&[], &[Inputs(inputs).value(0).is_some()])?.into()])
}

/// `optional_get_element`: the value in an optional; tensors and sequences pass.
pub(crate) fn get_element(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    match Inputs(inputs).value(0).ok_or(RoutineError::MissingInput("input"))? {
        Value::Optional(Some(v)) => Ok(vec![(**v).clone()]),
        other => Ok(vec![other.clone()]),
    }
}
