//! `string_concat`: two tensors of text joined element by element.

use crate::inputs::{Inputs, room_for};
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value, movers};

/// Inputs `X`, `Y`, broadcast to each other as NumPy does.
pub(crate) fn string_concat(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let (x, y) = (inputs.strings(0, "X")?, inputs.strings(1, "Y")?);
    let shape = common_shape(x.shape(), y.shape())?;
    let (x, y) = (movers::broadcast_to(x, &shape)?, movers::broadcast_to(y, &shape)?);
    let mut out = room_for(&shape)?;
    out.extend(x.strings().iter().zip(y.strings()).map(|(a, b)| [a.as_slice(), b].concat()));
    Ok(vec![Tensor::from_strings(&shape, out)?.into()])
}

fn common_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, RoutineError> {
    let rank = a.len().max(b.len());
    let size = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    let join = |i| match (size(a, i), size(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(RoutineError::Mismatch(format!("{a:?} and {b:?} cannot be broadcast to each other"))),
    };
    (0..rank).map(join).collect()
}
