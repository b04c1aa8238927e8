//! `nonzero`: where elements are not zero.

use crate::inputs::{Inputs, room_for};
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, Kind, Tensor, Value};

/// Input `X`; output the coordinates, one column an element in row-major order (shape `[rank, n]`).
/// NaN is not zero, empty text is.
pub(crate) fn nonzero(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let found = true_positions(x);
    let shape = [x.rank(), found.len()];
    let mut out = room_for::<i64>(&shape)?;
    let mut stride = x.len();
    for &size in x.shape() {
        let outer = stride.max(1);
        stride /= size.max(1);
        out.extend(found.iter().map(|i| (i % outer / stride.max(1)) as i64));
    }
    Ok(vec![Tensor::from_slice(&shape, &out)?.into()])
}

/// The positions of elements that are not zero, in row-major order.
pub(crate) fn true_positions(x: &Tensor) -> Vec<usize> {
    fn keep(flags: impl Iterator<Item = bool>) -> Vec<usize> {
        flags.enumerate().filter(|(_, yes)| *yes).map(|(i, _)| i).collect()
    }
    match x.dtype().kind() {
        Kind::Str => keep(x.strings().iter().map(|s| !s.is_empty())),
        Kind::Complex => keep(x.to_f64s().chunks_exact(2).map(|c| c[0] != 0.0 || c[1] != 0.0)),
        Kind::Float => keep(x.to_f64s().into_iter().map(|v| v != 0.0)),
        Kind::Bool => keep(x.bytes().iter().map(|b| *b != 0)),
        _ if x.dtype() == DType::U8 => keep(x.bytes().iter().map(|b| *b != 0)),
        _ => keep(x.to_ints().into_iter().map(|v| v != 0)),
    }
}
