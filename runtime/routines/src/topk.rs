//! `topk`: the largest or smallest elements along an axis. `sort`: all of them.

use crate::inputs::{Inputs, axis_of, room_for};
use crate::keys::Keys;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value, movers};
use std::cmp::Ordering;

/// Inputs `X`, `K` (or attribute `k`); attributes `axis` = −1, `largest` = 1; outputs values and
/// indices. The result is sorted whatever `sorted` says; the lower index goes first among equals,
/// NaN is the largest number.
pub(crate) fn topk(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let x = inputs.tensor(0, "X")?;
    let k = match inputs.int(1, "K")? {
        Some(k) => k,
        None => attrs.int("k")?.ok_or(RoutineError::MissingInput("K"))?,
    };
    let axis = axis_of(attrs.int_or("axis", -1)?, x.rank())?;
    let size = x.shape()[axis];
    let k = usize::try_from(k).ok().filter(|k| *k <= size);
    let k = k.ok_or_else(|| RoutineError::Mismatch(format!("k must lie in 0..={size}")))?;
    best(x, axis, k, attrs.flag_or("largest", true)?)
}

/// Input `X`; attributes `axis` = −1, `largest` = 0 (1: descending); outputs values and indices.
pub(crate) fn sort(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let axis = axis_of(attrs.int_or("axis", -1)?, x.rank())?;
    best(x, axis, x.shape()[axis], attrs.flag_or("largest", false)?)
}

fn best(x: &Tensor, axis: usize, k: usize, largest: bool) -> Result<Vec<Value>, RoutineError> {
    let size = x.shape()[axis];
    // The axis is made the last one, so that a run of elements is sorted at a time.
    let mut perm: Vec<usize> = (0..x.rank()).filter(|i| *i != axis).collect();
    perm.push(axis);
    let rows = movers::transpose(x, &perm)?;
    let keys = Keys::of(&rows)?;
    let mut shape = rows.shape().to_vec();
    shape[x.rank() - 1] = k;
    let (mut indices, mut flat) = (room_for::<i64>(&shape)?, room_for::<i64>(&shape)?);
    for start in (0..rows.len()).step_by(size.max(1)) {
        let chosen = choose(&keys, start, size, k, largest);
        indices.extend(chosen.iter().map(|i| (i - start) as i64));
        flat.extend(chosen.iter().map(|i| *i as i64));
    }
    let values = movers::gather(&rows.reshaped(vec![rows.len()])?, 0, &flat, &shape)?;
    let mut back = vec![0; x.rank()];
    perm.iter().enumerate().for_each(|(to, from)| back[*from] = to);
    let indices = movers::transpose(&Tensor::from_slice(&shape, &indices)?, &back)?;
    Ok(vec![movers::transpose(&values, &back)?.into(), indices.into()])
}

fn choose(keys: &Keys, start: usize, size: usize, k: usize, largest: bool) -> Vec<usize> {
    let order = |a: &usize, b: &usize| -> Ordering {
        let by_key = keys.compare(*a, *b);
        (if largest { by_key.reverse() } else { by_key }).then(a.cmp(b))
    };
    let mut row: Vec<usize> = (start..start + size).collect();
    if k == 0 {
        return Vec::new();
    }
    if k < size {
        row.select_nth_unstable_by(k - 1, order);
        row.truncate(k);
    }
    row.sort_unstable_by(order);
    row
}
