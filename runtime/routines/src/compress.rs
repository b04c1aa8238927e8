//! `compress`: the slices that a condition chooses.

use crate::inputs::{Inputs, axis_of, wrong};
use crate::nonzero::true_positions;
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, Value, movers};

/// Inputs `input`, `condition` (booleans, may be shorter than the axis); attribute `axis` (none:
/// all elements in a row); output the chosen slices.
pub(crate) fn compress(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let (x, condition) = (inputs.tensor(0, "input")?, inputs.tensor(1, "condition")?);
    if condition.dtype() != DType::Bool || condition.rank() != 1 {
        return Err(wrong("condition", "a list of booleans", condition));
    }
    let chosen: Vec<i64> = true_positions(condition).into_iter().map(|i| i as i64).collect();
    let y = match attrs.int("axis")? {
        Some(axis) => movers::gather(x, axis_of(axis, x.rank())?, &chosen, &[chosen.len()])?,
        None => movers::gather(&x.reshaped(vec![x.len()])?, 0, &chosen, &[chosen.len()])?,
    };
    Ok(vec![y.into()])
}
