//! `array_feature_extractor`: entries of the last axis.

use crate::inputs::{Inputs, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{Value, movers};

/// Inputs `X` and `Y`, the indices (any shape, read in a row); output `[…, n]`, or `[1, n]` where `X`
/// has one dimension.
pub(crate) fn array_feature_extractor(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let (x, y) = (inputs.tensor(0, "X")?, inputs.tensor(1, "Y")?);
    if !y.dtype().is_int() {
        return Err(wrong("Y", "integers", y));
    }
    let Some(axis) = x.rank().checked_sub(1) else {
        return Err(wrong("X", "of at least one dimension", x));
    };
    let indices: Vec<i64> = y.to_ints().into_iter().map(|v| i64::try_from(v).unwrap_or(i64::MAX)).collect();
    let z = movers::gather(x, axis, &indices, &[indices.len()])?;
    Ok(vec![if axis == 0 { z.reshaped(vec![1, indices.len()])? } else { z }.into()])
}
