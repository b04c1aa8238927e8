//! Sequences: making, changing, splitting and joining them.

use crate::inputs::{Inputs, axis_of, kind_of, room_for, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value, movers};

/// `sequence_empty`: no inputs; the element type is the model's business.
pub(crate) fn empty(_: &Attrs, _: &[Value]) -> Result<Vec<Value>, RoutineError> {
    Ok(vec![Value::Sequence(Vec::new())])
}

/// `sequence_construct`: all inputs as one sequence.
pub(crate) fn construct(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    Ok(vec![Value::Sequence(inputs.to_vec())])
}

/// `sequence_insert`: inputs the sequence, what to insert, and optionally before which position in
/// −n..=n (default: at the end).
pub(crate) fn insert(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let mut sequence = inputs.sequence(0, "input_sequence")?.to_vec();
    let element = inputs.value(1).ok_or(RoutineError::MissingInput("tensor"))?.clone();
    let at = match inputs.int(2, "position")? {
        Some(p) if p == sequence.len() as i64 => sequence.len(),
        Some(p) => position_of(p, sequence.len())?,
        None => sequence.len(),
    };
    sequence.insert(at, element);
    Ok(vec![Value::Sequence(sequence)])
}

/// `sequence_erase`: inputs the sequence and optionally a position (default: the last).
pub(crate) fn erase(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let mut sequence = inputs.sequence(0, "input_sequence")?.to_vec();
    let at = position_of(inputs.int(1, "position")?.unwrap_or(-1), sequence.len())?;
    sequence.remove(at);
    Ok(vec![Value::Sequence(sequence)])
}

/// `sequence_at`: inputs the sequence and a position.
pub(crate) fn at(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let sequence = inputs.sequence(0, "input_sequence")?;
    let position = inputs.int(1, "position")?.ok_or(RoutineError::MissingInput("position"))?;
    Ok(vec![sequence[position_of(position, sequence.len())?].clone()])
}

/// `sequence_length`: the number of elements, an i64 scalar.
pub(crate) fn length(_: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let sequence = Inputs(inputs).sequence(0, "input_sequence")?;
    Ok(vec![Tensor::scalar(sequence.len() as i64).into()])
}

fn position_of(position: i64, len: usize) -> Result<usize, RoutineError> {
    axis_of(position, len).map_err(|_| RoutineError::Position { position, len })
}

/// `split_to_sequence`: inputs a tensor and optionally the parts' lengths (a list) or length (a
/// scalar, the last part may be shorter; default 1); attributes `axis` = 0, `keepdims` = 1 (0 drops
/// the axis, only without lengths).
pub(crate) fn split_to_sequence(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let (x, split) = (inputs.tensor(0, "input")?, inputs.optional(1, "split")?);
    let axis = axis_of(attrs.int_or("axis", 0)?, x.rank())?;
    let size = x.shape()[axis];
    let lengths = match split {
        None => equal_parts(size, 1)?,
        Some(s) => part_lengths(s, size)?,
    };
    let squeeze = split.is_none() && !attrs.flag_or("keepdims", true)?;
    let (mut starts, steps) = (vec![0i64; x.rank()], vec![1i64; x.rank()]);
    let mut shape = x.shape().to_vec();
    let mut parts = Vec::with_capacity(lengths.len());
    for len in lengths {
        shape[axis] = len;
        let mut part = movers::slice(x, &starts, &steps, &shape)?;
        starts[axis] += len as i64;
        if squeeze {
            let others = shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, d)| *d);
            part = part.reshaped(others.collect())?;
        }
        parts.push(Value::Tensor(part));
    }
    Ok(vec![Value::Sequence(parts)])
}

fn part_lengths(split: &Tensor, size: usize) -> Result<Vec<usize>, RoutineError> {
    let bad = || wrong("split", "lengths that add up to the axis", split);
    if !split.dtype().is_int() || split.rank() > 1 {
        return Err(bad());
    }
    let lengths: Vec<usize> =
        split.to_ints().into_iter().map(usize::try_from).collect::<Result<_, _>>().map_err(|_| bad())?;
    if split.rank() == 1 {
        let sum = lengths.iter().try_fold(0usize, |a, n| a.checked_add(*n));
        return if sum == Some(size) { Ok(lengths) } else { Err(bad()) };
    }
    match lengths[0] {
        0 => Err(bad()),
        len => equal_parts(size, len),
    }
}

fn equal_parts(size: usize, len: usize) -> Result<Vec<usize>, RoutineError> {
    let mut lengths = room_for(&[size.div_ceil(len)])?;
    lengths.extend((0..size).step_by(len).map(|start| len.min(size - start)));
    Ok(lengths)
}

/// `concat_from_sequence`: attributes `axis`, `new_axis` = 0 (1: the elements are stacked along a
/// new axis).
pub(crate) fn concat_from_sequence(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let name = "input_sequence";
    let sequence = Inputs(inputs).sequence(0, name)?;
    let element = |v: &Value| match v {
        Value::Tensor(t) => Ok(t.clone()),
        other => {
            let found = format!("one with {}", kind_of(other));
            Err(RoutineError::Input { name, expected: "a sequence of tensors", found })
        }
    };
    let mut parts: Vec<Tensor> = sequence.iter().map(element).collect::<Result<_, _>>()?;
    let rank = parts.first().map_or(0, Tensor::rank);
    let axis = attrs.int("axis")?.ok_or(RoutineError::MissingAttr("axis"))?;
    let axis = if attrs.flag_or("new_axis", false)? {
        let axis = axis_of(axis, rank + 1)?;
        for part in &mut parts {
            let mut shape = part.shape().to_vec();
            shape.insert(axis.min(shape.len()), 1);
            *part = part.reshaped(shape)?;
        }
        axis
    } else {
        axis_of(axis, rank)?
    };
    Ok(vec![movers::concat(&parts.iter().collect::<Vec<_>>(), axis)?.into()])
}
