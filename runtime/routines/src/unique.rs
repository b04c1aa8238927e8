//! `unique`: the distinct elements, or the distinct slices along an axis.

use crate::inputs::{Inputs, axis_of, index_tensor, room_for};
use crate::keys::Keys;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Value, movers};
use std::cmp::Ordering;

/// Input `X`; attributes `axis` (none: all elements), `sorted` = 1 (0: in order of first
/// occurrence); outputs the distinct ones, where each occurs first, which one each element is,
/// how often each occurs. All NaN count as one.
pub(crate) fn unique(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let (x, axis) = match attrs.int("axis")? {
        Some(axis) => (x.clone(), axis_of(axis, x.rank())?),
        None => (x.reshaped(vec![x.len()])?, 0),
    };
    let count = x.shape()[axis];
    let mut perm = vec![axis];
    perm.extend((0..x.rank()).filter(|i| *i != axis));
    let rows = movers::transpose(&x, &perm)?;
    let width = rows.len() / count.max(1);
    let keys = Keys::of(&rows)?;
    let compare = |a: usize, b: usize| {
        let columns = (0..width).map(|i| keys.compare(a * width + i, b * width + i));
        columns.into_iter().find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut order = room_for::<usize>(&[count])?;
    order.extend(0..count);
    // Stable: the first of equal ones stays the first.
    order.sort_by(|a, b| compare(*a, *b));
    let mut groups: Vec<&[usize]> = order.chunk_by(|a, b| compare(*a, *b).is_eq()).collect();
    if !attrs.flag_or("sorted", true)? {
        groups.sort_by_key(|g| g[0]);
    }
    let mut inverse = vec![0; count];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|i| inverse[*i] = number);
    }
    let firsts: Vec<usize> = groups.iter().map(|g| g[0]).collect();
    let counts: Vec<usize> = groups.iter().map(|g| g.len()).collect();
    let positions: Vec<i64> = firsts.iter().map(|i| *i as i64).collect();
    let y = movers::gather(&x, axis, &positions, &[positions.len()])?;
    let indices = [&firsts, &inverse, &counts].map(|v| index_tensor(v));
    let [firsts, inverse, counts] = indices;
    Ok(vec![y.into(), firsts?.into(), inverse?.into(), counts?.into()])
}
