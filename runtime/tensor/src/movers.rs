//! Movers: rearranging elements of any data type without looking at their values.
//!
//! All of them are strided copies or runs of bytes. Packed types are unpacked to a byte an element
//! first and packed again after. Every size and index is checked; a wrong one is an error value.

use crate::numbers::{pack_codes, unpack};
use crate::tensor::elem_count;
use crate::{DType, Tensor, TensorError};

fn bad(message: impl Into<String>) -> TensorError {
    TensorError::Argument(message.into())
}

/// Elements that can be moved: strings, or bytes with a fixed width.
enum Elems<'a> {
    Strings(&'a [Vec<u8>]),
    Bytes { bytes: std::borrow::Cow<'a, [u8]>, size: usize },
}

impl<'a> Elems<'a> {
    fn of(t: &'a Tensor) -> Elems<'a> {
        match t.dtype() {
            DType::Str => Elems::Strings(t.strings()),
            d if d.is_packed() => Elems::Bytes { bytes: unpack(d, t.bytes(), t.len()).into(), size: 1 },
            d => Elems::Bytes { bytes: t.bytes().into(), size: d.size() },
        }
    }
}

/// Elements being collected, in the width of [`Elems`].
struct Output {
    dtype: DType,
    bytes: Vec<u8>,
    strings: Vec<Vec<u8>>,
}

impl Output {
    /// Room for `shape`, or an error where there is no such memory.
    fn new(dtype: DType, shape: &[usize]) -> Result<Output, TensorError> {
        let len = elem_count(shape)?;
        let mut out = Output { dtype, bytes: Vec::new(), strings: Vec::new() };
        let reserved = match dtype {
            DType::Str => out.strings.try_reserve_exact(len),
            d => out.bytes.try_reserve_exact(len.saturating_mul(d.size())),
        };
        reserved.map_err(|_| TensorError::TooLarge(shape.to_vec()))?;
        Ok(out)
    }

    /// Appends `len` elements from `start` on, which lie inside.
    fn push(&mut self, from: &Elems, start: usize, len: usize) {
        match from {
            Elems::Strings(s) => self.strings.extend_from_slice(&s[start..start + len]),
            Elems::Bytes { bytes, size } => {
                self.bytes.extend_from_slice(&bytes[start * size..(start + len) * size]);
            }
        }
    }

    fn finish(self, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        match self.dtype {
            DType::Str => Tensor::from_strings(&shape, self.strings),
            d if d.is_packed() => Tensor::from_bytes(d, shape, &pack_codes(d, &self.bytes)),
            d => Tensor::from_bytes(d, shape, &self.bytes),
        }
    }
}

/// Row-major strides in elements.
fn strides_of(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for i in (1..shape.len()).rev() {
        // Sizes of zero leave nothing to address.
        strides[i - 1] = strides[i].saturating_mul(shape[i].max(1).cast_signed());
    }
    strides
}

/// The element `offset + Σ indexᵢ·stridesᵢ` of `src` at every index of `out_shape`.
pub fn strided_copy(
    src: &Tensor,
    offset: usize,
    strides: &[isize],
    out_shape: &[usize],
) -> Result<Tensor, TensorError> {
    let len = elem_count(out_shape)?;
    if strides.len() != out_shape.len() {
        return Err(bad(format!("expected {} strides, found {}", out_shape.len(), strides.len())));
    }
    check_inside(src, len, offset, strides, out_shape)?;
    let mut out = Output::new(src.dtype(), out_shape)?;
    if len > 0 {
        let (strides, sizes) = merge_axes(strides, out_shape);
        copy_rows(&Elems::of(src), offset.cast_signed(), &strides, &sizes, &mut out);
    }
    out.finish(out_shape.to_vec())
}

/// Fails if something to copy lies outside the source.
fn check_inside(
    src: &Tensor,
    len: usize,
    offset: usize,
    strides: &[isize],
    shape: &[usize],
) -> Result<(), TensorError> {
    if len == 0 {
        return Ok(());
    }
    let (mut lo, mut hi) = (offset as i128, offset as i128);
    for (stride, size) in strides.iter().zip(shape) {
        let reach = *stride as i128 * (*size as i128 - 1);
        lo = lo.saturating_add(reach.min(0));
        hi = hi.saturating_add(reach.max(0));
    }
    if lo < 0 || hi >= src.len() as i128 {
        return Err(bad(format!("elements {lo}..={hi} lie outside of {} elements", src.len())));
    }
    Ok(())
}

/// Drops axes of size one and joins neighbors that step as one.
fn merge_axes(strides: &[isize], shape: &[usize]) -> (Vec<isize>, Vec<usize>) {
    let (mut out_strides, mut out_shape): (Vec<isize>, Vec<usize>) = (Vec::new(), Vec::new());
    for (&stride, &size) in strides.iter().zip(shape).filter(|(_, size)| **size != 1) {
        match (out_strides.last_mut(), out_shape.last_mut()) {
            (Some(s), Some(n)) if Some(*s) == stride.checked_mul(size.cast_signed()) => {
                *s = stride;
                *n *= size;
            }
            _ => {
                out_strides.push(stride);
                out_shape.push(size);
            }
        }
    }
    (out_strides, out_shape)
}

fn copy_rows(from: &Elems, offset: isize, strides: &[isize], shape: &[usize], out: &mut Output) {
    let (Some((&stride, outer_strides)), Some((&size, outer_shape))) =
        (strides.split_last(), shape.split_last())
    else {
        return out.push(from, offset.unsigned_abs(), 1);
    };
    let mut index = vec![0usize; outer_shape.len()];
    let mut at = offset;
    loop {
        copy_row(from, at, stride, size, out);
        // Count up like an odometer; `at` follows the index.
        let mut axis = index.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            at += outer_strides[axis];
            if index[axis] < outer_shape[axis] {
                break;
            }
            at -= outer_strides[axis] * outer_shape[axis].cast_signed();
            index[axis] = 0;
        }
    }
}

fn copy_row(from: &Elems, at: isize, stride: isize, len: usize, out: &mut Output) {
    match from {
        _ if stride == 1 => out.push(from, at.unsigned_abs(), len),
        Elems::Bytes { bytes, size: 4 } => copy_fixed::<4>(bytes, at, stride, len, out),
        Elems::Bytes { bytes, size: 2 } => copy_fixed::<2>(bytes, at, stride, len, out),
        Elems::Bytes { bytes, size: 1 } => copy_fixed::<1>(bytes, at, stride, len, out),
        Elems::Bytes { bytes, size: 8 } => copy_fixed::<8>(bytes, at, stride, len, out),
        _ => (0..len.cast_signed()).for_each(|i| out.push(from, (at + i * stride).unsigned_abs(), 1)),
    }
}

/// [`copy_row`] for a width known here, which is several times as fast.
fn copy_fixed<const N: usize>(bytes: &[u8], at: isize, stride: isize, len: usize, out: &mut Output) {
    let elems = bytes.as_chunks::<N>().0;
    out.bytes.extend((0..len.cast_signed()).flat_map(|i| elems[(at + i * stride).unsigned_abs()]));
}

/// Axis `i` of the result is axis `perm[i]` of the source.
pub fn transpose(src: &Tensor, perm: &[usize]) -> Result<Tensor, TensorError> {
    let mut seen = vec![false; src.rank()];
    for &axis in perm {
        match seen.get_mut(axis) {
            Some(s) if !*s => *s = true,
            _ => return Err(bad(format!("{perm:?} is no permutation of {} axes", src.rank()))),
        }
    }
    if perm.len() != src.rank() {
        return Err(bad(format!("{perm:?} is no permutation of {} axes", src.rank())));
    }
    let strides = strides_of(src.shape());
    let shape: Vec<usize> = perm.iter().map(|&p| src.shape()[p]).collect();
    strided_copy(src, 0, &perm.iter().map(|&p| strides[p]).collect::<Vec<_>>(), &shape)
}

/// Repeats axes of size one, and adds leading ones, as NumPy does.
pub fn broadcast_to(src: &Tensor, shape: &[usize]) -> Result<Tensor, TensorError> {
    let wrong = || bad(format!("{:?} cannot be broadcast to {shape:?}", src.shape()));
    let added = shape.len().checked_sub(src.rank()).ok_or_else(wrong)?;
    let mut strides = vec![0isize; shape.len()];
    let own = strides_of(src.shape());
    for (axis, &size) in src.shape().iter().enumerate() {
        if size == shape[added + axis] {
            strides[added + axis] = own[axis];
        } else if size != 1 {
            return Err(wrong());
        }
    }
    strided_copy(src, 0, &strides, shape)
}

/// `out_shape[i]` elements of axis `i` from `starts[i]` on, `steps[i]` apart; steps may be
/// negative.
pub fn slice(
    src: &Tensor,
    starts: &[i64],
    steps: &[i64],
    out_shape: &[usize],
) -> Result<Tensor, TensorError> {
    let rank = src.rank();
    if [starts.len(), steps.len(), out_shape.len()] != [rank; 3] {
        return Err(bad(format!("expected a start, step and size for each of {rank} axes")));
    }
    if elem_count(out_shape)? == 0 {
        return Output::new(src.dtype(), out_shape)?.finish(out_shape.to_vec());
    }
    let (mut offset, mut strides) = (0usize, strides_of(src.shape()));
    for axis in 0..rank {
        let (start, step, size) = (starts[axis], steps[axis], src.shape()[axis]);
        let last = i128::from(start) + i128::from(step) * (out_shape[axis] as i128 - 1);
        let inside = |i: i128| i >= 0 && i < size as i128;
        if !inside(start.into()) || !inside(last) {
            return Err(bad(format!("elements {start}..={last} lie outside of axis {axis} of size {size}")));
        }
        offset += start.unsigned_abs() as usize * strides[axis].unsigned_abs();
        // A single element needs no step, and one beyond the axis could overflow.
        let step = if out_shape[axis] == 1 { 0 } else { step as isize };
        strides[axis] *= step;
    }
    strided_copy(src, offset, &strides, out_shape)
}

/// Turns the listed axes around.
pub fn reverse(src: &Tensor, axes: &[usize]) -> Result<Tensor, TensorError> {
    let (mut starts, mut steps) = (vec![0i64; src.rank()], vec![1i64; src.rank()]);
    for &axis in axes {
        check_axis(src, axis)?;
        starts[axis] = src.shape()[axis].saturating_sub(1) as i64;
        steps[axis] = -1;
    }
    slice(src, &starts, &steps, src.shape())
}

fn check_axis(src: &Tensor, axis: usize) -> Result<(), TensorError> {
    if axis < src.rank() {
        return Ok(());
    }
    Err(bad(format!("axis {axis} does not exist in {} dimensions", src.rank())))
}

/// Product of the sizes before an axis, and after it.
fn around(shape: &[usize], axis: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

/// Joins tensors of one type along an axis; the other sizes are equal.
pub fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor, TensorError> {
    let first = *parts.first().ok_or_else(|| bad("nothing to concatenate"))?;
    check_axis(first, axis)?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in parts {
        if part.dtype() != first.dtype() {
            return Err(TensorError::Type { expected: first.dtype(), found: part.dtype() });
        }
        let others =
            |t: &Tensor| (0..t.rank()).filter(|i| *i != axis).map(|i| t.shape()[i]).collect::<Vec<_>>();
        if part.rank() != first.rank() || others(part) != others(first) {
            let (a, b) = (first.shape(), part.shape());
            return Err(bad(format!("{a:?} and {b:?} cannot be joined along axis {axis}")));
        }
        let joined = shape[axis].checked_add(part.shape()[axis]);
        shape[axis] = joined.ok_or_else(|| TensorError::TooLarge(part.shape().to_vec()))?;
    }
    let mut out = Output::new(first.dtype(), &shape)?;
    let (outer, inner) = around(&shape, axis);
    let sources: Vec<(Elems, usize)> =
        parts.iter().map(|p| (Elems::of(p), p.shape()[axis] * inner)).collect();
    // An empty inner part would make `outer` turns of nothing.
    for row in 0..if inner == 0 { 0 } else { outer } {
        sources.iter().for_each(|(elems, run)| out.push(elems, row * run, *run));
    }
    out.finish(shape)
}

/// Replaces an axis by `indices_shape`, taking the listed entries of it; −1 is the last entry.
pub fn gather(
    src: &Tensor,
    axis: usize,
    indices: &[i64],
    indices_shape: &[usize],
) -> Result<Tensor, TensorError> {
    check_axis(src, axis)?;
    let found = indices.len();
    let expected = elem_count(indices_shape)?;
    if expected != found {
        return Err(TensorError::Count { shape: indices_shape.to_vec(), expected, found });
    }
    let size = src.shape()[axis];
    let resolve = |&i: &i64| {
        let from_start = if i < 0 { i.checked_add(size as i64) } else { Some(i) };
        let entry = from_start.and_then(|i| usize::try_from(i).ok()).filter(|i| *i < size);
        entry.ok_or_else(|| bad(format!("index {i} lies outside of axis {axis} of size {size}")))
    };
    let entries: Vec<usize> = indices.iter().map(resolve).collect::<Result<_, _>>()?;
    let shape = [&src.shape()[..axis], indices_shape, &src.shape()[axis + 1..]].concat();
    let mut out = Output::new(src.dtype(), &shape)?;
    let (outer, inner) = around(src.shape(), axis);
    let elems = Elems::of(src);
    for row in 0..if inner == 0 || entries.is_empty() { 0 } else { outer } {
        entries.iter().for_each(|e| out.push(&elems, (row * size + e) * inner, inner));
    }
    out.finish(shape)
}

/// Adds `before[i]` and `after[i]` elements of `value` (a scalar of the same type) at the ends of
/// axis `i`; negative numbers cut elements off.
pub fn pad_constant(
    src: &Tensor,
    before: &[i64],
    after: &[i64],
    value: &Tensor,
) -> Result<Tensor, TensorError> {
    if value.dtype() != src.dtype() {
        return Err(TensorError::Type { expected: src.dtype(), found: value.dtype() });
    }
    if before.len() != src.rank() || after.len() != src.rank() || value.len() != 1 {
        return Err(bad(format!("expected one value and two pads for each of {} axes", src.rank())));
    }
    let mut out = src.clone();
    for axis in 0..src.rank() {
        out = pad_axis(&out, axis, before[axis], after[axis], value)?;
    }
    Ok(out)
}

fn pad_axis(
    src: &Tensor,
    axis: usize,
    before: i64,
    after: i64,
    value: &Tensor,
) -> Result<Tensor, TensorError> {
    let size = src.shape()[axis];
    let cut = |n: i64| usize::try_from(n.min(0).unsigned_abs()).unwrap_or(usize::MAX);
    let kept = size.checked_sub(cut(before)).and_then(|n| n.checked_sub(cut(after)));
    let mut shape = src.shape().to_vec();
    shape[axis] = kept.ok_or_else(|| bad(format!("axis {axis} of size {size} is cut below zero")))?;
    let mut starts = vec![0i64; src.rank()];
    starts[axis] = before.min(0).saturating_neg();
    let kept = slice(src, &starts, &vec![1; src.rank()], &shape)?;
    let scalar = value.reshaped(Vec::new())?;
    let mut filled = |n: i64| {
        shape[axis] = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
        broadcast_to(&scalar, &shape)
    };
    if before <= 0 && after <= 0 {
        return Ok(kept);
    }
    let (low, high) = (filled(before)?, filled(after)?);
    concat(&[&low, &kept, &high], axis)
}

#[cfg(test)]
mod tests;
