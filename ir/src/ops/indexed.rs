//! Movement by run-time indices: gathers and scatters. Negative indices count from the end.

use super::check::{same_dtype, show};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{Dim, Kind, ScalarOp, Tensor, Type, Value, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[GATHER, GATHER_ELEMENTS, GATHER_ND, SCATTER_ELEMENTS, SCATTER_ND];

const REDUCTIONS: &[&str] = &["none", "add", "mul", "min", "max"];

const GATHER: OpRow = OpRow {
    name: "gather",
    doc: "numpy.take: `axis` of x is replaced by the axes of the indices",
    attrs: &[spec::int("axis")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(2)?;
        let (x, indices) = (cx.tensor(0)?, cx.integers(1, "indices")?);
        let axis = cx.axis("axis", x.rank())?;
        let shape = [&x.shape[..axis], &indices.shape, &x.shape[axis + 1..]].concat();
        Ok(vec![Type::tensor(x.dtype, shape)])
    },
    content: Some(|cx| {
        let content = cx.content(0)?;
        let at = |d: &Dim| {
            let i = d.as_const()?;
            let i = if i < 0 { i + content.len() as i64 } else { i };
            content.get(usize::try_from(i).ok()?).cloned()
        };
        cx.content(1)?.iter().map(at).collect()
    }),
    eval: |cx| {
        let indices = cx.i64s(1)?;
        let shape = cx.tensor(1)?.shape();
        Ok(vec![movers::gather(cx.tensor(0)?, cx.attrs.index("axis"), &indices, shape)?.into()])
    },
    scalar: None,
    decompose: None,
};

const GATHER_ELEMENTS: OpRow = OpRow {
    name: "gather_elements",
    doc: "y[i, j, k] = x[i, indices[i, j, k], k] for axis 1, and so on; y has the indices' shape",
    attrs: &[spec::int("axis")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(2)?;
        let shape = infer_element_indices(cx)?;
        Ok(vec![Type::tensor(cx.tensor(0)?.dtype, shape)])
    },
    content: None,
    eval: |cx| {
        let (x, shape) = (cx.tensor(0)?, cx.tensor(1)?.shape());
        let at = element_positions(cx)?;
        Ok(vec![movers::gather(&flat(x)?, 0, &at, shape)?.into()])
    },
    scalar: None,
    decompose: None,
};

const GATHER_ND: OpRow = OpRow {
    name: "gather_nd",
    doc: "the last axis of the indices holds coordinates in x's axes after `batch_dims` common ones",
    attrs: &[spec::int("batch_dims")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(2)?;
        let (x, indices) = (cx.tensor(0)?, cx.integers(1, "indices")?);
        let depth = coordinates(&indices.shape)?;
        let batch = cx.axis("batch_dims", x.rank().min(indices.rank()))?;
        if batch + depth > x.rank() {
            refuse!("{depth} coordinates after {batch} batch axes exceed the rank of {x}");
        }
        cx.same_shape("the indices' batch", &x.shape[..batch], &indices.shape[..batch])?;
        let shape = [&indices.shape[..indices.rank() - 1], &x.shape[batch + depth..]].concat();
        Ok(vec![Type::tensor(x.dtype, shape)])
    },
    content: None,
    eval: |cx| {
        let x = cx.tensor(0)?;
        let (rows, at) = coordinate_rows(cx, cx.attrs.index("batch_dims"))?;
        let indices = cx.tensor(1)?.shape();
        let depth = x.rank() + 1 - rows.rank();
        let shape = [&indices[..indices.len() - 1], &x.shape()[depth..]].concat();
        Ok(vec![movers::gather(&rows, 0, &at, &[at.len()])?.reshaped(shape)?.into()])
    },
    scalar: None,
    decompose: None,
};

const SCATTER_ELEMENTS: OpRow = OpRow {
    name: "scatter_elements",
    doc: "x with the updates put where gather_elements would read, combined by `reduction`",
    attrs: &[spec::int("axis"), spec::text("reduction")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(3)?;
        let shape = infer_element_indices(cx)?;
        infer_scatter(cx, &shape)
    },
    content: None,
    eval: |cx| scatter(cx, &element_positions(cx)?),
    scalar: None,
    decompose: None,
};

const SCATTER_ND: OpRow = OpRow {
    name: "scatter_nd",
    doc: "x with the updates put where gather_nd would read, combined by `reduction`",
    attrs: &[spec::text("reduction")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(3)?;
        let (x, indices) = (cx.tensor(0)?, cx.integers(1, "indices")?);
        let depth = coordinates(&indices.shape)?;
        if depth > x.rank() {
            refuse!("{depth} coordinates exceed the rank of {x}");
        }
        let shape = [&indices.shape[..indices.rank() - 1], &x.shape[depth..]].concat();
        infer_scatter(cx, &shape)
    },
    content: None,
    eval: |cx| {
        let (rows, starts) = coordinate_rows(cx, 0)?;
        let (n_rows, width) = (rows.shape()[0], rows.shape()[1..].iter().product::<usize>() as i64);
        let mut at = Vec::with_capacity(starts.len() * width as usize);
        for row in starts {
            if usize::try_from(row).is_ok_and(|r| r < n_rows) {
                at.extend(row * width..(row + 1) * width);
            }
        }
        scatter(cx, &at)
    },
    scalar: None,
    decompose: None,
};

/// The shape of the indices of gather_elements and scatter_elements.
fn infer_element_indices(cx: &InferCx) -> Result<Vec<Dim>, OpError> {
    let (x, indices) = (cx.tensor(0)?, cx.integers(1, "indices")?);
    let axis = cx.axis("axis", x.rank())?;
    let inside = |a: usize| match (indices.shape[a].as_const(), x.shape[a].as_const()) {
        (Some(i), Some(n)) => i <= n || a == axis,
        _ => true,
    };
    if indices.rank() != x.rank() || !(0..x.rank()).all(inside) {
        refuse!(
            "indices must have at most the shape {} but along axis {axis}, found {indices}",
            show(&x.shape)
        );
    }
    Ok(indices.shape.clone())
}

fn infer_scatter(cx: &InferCx, updates: &[Dim]) -> Result<Vec<Type>, OpError> {
    let x = cx.tensor(0)?;
    let reduction = cx.choice("reduction", REDUCTIONS)?;
    if reduction != "none" && matches!(x.dtype.kind(), Kind::Str | Kind::Complex) {
        refuse!("reduction {reduction:?} has no meaning on {}", x.dtype);
    }
    same_dtype("the updates", x.dtype, cx.tensor(2)?.dtype)?;
    cx.same_shape("the updates", updates, &cx.tensor(2)?.shape)?;
    Ok(vec![x.clone().into()])
}

/// The number of coordinates, which has to be fixed.
fn coordinates(indices: &[Dim]) -> Result<usize, OpError> {
    match indices.last().map(|d| (d, d.as_len())) {
        Some((_, Some(n))) => Ok(n),
        Some((d, None)) => refuse!("the number of coordinates must be fixed, found {d}"),
        None => refuse!("indices must have an axis of coordinates, found a scalar"),
    }
}

fn flat(x: &Tensor) -> Result<Tensor, OpError> {
    Ok(x.reshaped(vec![x.len()])?)
}

fn wrap(index: i64, size: usize) -> Result<usize, OpError> {
    let i = if index < 0 { index.saturating_add(size as i64) } else { index };
    match usize::try_from(i) {
        Ok(i) if i < size => Ok(i),
        _ => refuse!("index {index} lies outside of an axis of size {size}"),
    }
}

/// Positions in x, flat, that gather_elements reads.
fn element_positions(cx: &EvalCx) -> Result<Vec<i64>, OpError> {
    let (x, shape) = (cx.tensor(0)?.shape(), cx.tensor(1)?.shape());
    let axis = cx.attrs.index("axis");
    if shape.len() != x.len() || (0..x.len()).any(|a| a != axis && shape[a] > x[a]) {
        refuse!("indices of shape {shape:?} exceed {x:?}");
    }
    let mut at = Vec::new();
    let mut index = vec![0; x.len()];
    for i in cx.i64s(1)? {
        let entry = wrap(i, x[axis])?;
        let position = (0..x.len()).fold(0, |p, a| p * x[a] + if a == axis { entry } else { index[a] });
        at.push(position as i64);
        for a in (0..x.len()).rev() {
            index[a] += 1;
            if index[a] < shape[a] {
                break;
            }
            index[a] = 0;
        }
    }
    Ok(at)
}

/// x as rows below the coordinates, and the number of the row that each coordinate tuple means.
fn coordinate_rows(cx: &EvalCx, batch: usize) -> Result<(Tensor, Vec<i64>), OpError> {
    let (x, indices) = (cx.tensor(0)?, cx.tensor(1)?.shape());
    let depth = indices[indices.len() - 1];
    if x.shape()[..batch] != indices[..batch] {
        refuse!("batch axes of {:?} and {indices:?} differ", x.shape());
    }
    let inner = &x.shape()[batch..batch + depth];
    let (n_batches, n_inner) =
        (x.shape()[..batch].iter().product::<usize>(), inner.iter().product::<usize>());
    let mut shape = vec![n_batches * n_inner];
    shape.extend(&x.shape()[batch + depth..]);
    let values = cx.i64s(1)?;
    let n_tuples: usize = indices[..indices.len() - 1].iter().product();
    let tuples_per_batch = n_tuples.checked_div(n_batches).unwrap_or(0);
    let mut rows = Vec::with_capacity(n_tuples);
    for t in 0..n_tuples {
        let tuple = &values[t * depth..(t + 1) * depth];
        let start = t.checked_div(tuples_per_batch).unwrap_or(0);
        let row =
            tuple.iter().zip(inner).try_fold(start, |r, (i, n)| Ok::<_, OpError>(r * n + wrap(*i, *n)?))?;
        rows.push(row as i64);
    }
    Ok((x.reshaped(shape)?, rows))
}

/// x with `updates[i]` combined into flat position `at[i]`.
fn scatter(cx: &EvalCx, at: &[i64]) -> Result<Vec<Value>, OpError> {
    let (x, updates) = (cx.tensor(0)?, cx.tensor(2)?);
    if at.len() != updates.len() {
        refuse!("expected {} updates, found {}", at.len(), updates.len());
    }
    let op = match cx.attrs.str("reduction") {
        "add" => ScalarOp::Add,
        "mul" => ScalarOp::Mul,
        "min" => ScalarOp::Min,
        "max" => ScalarOp::Max,
        _ => {
            let mut from: Vec<i64> = (0..x.len() as i64).collect();
            for (i, to) in at.iter().enumerate() {
                from[*to as usize] = (x.len() + i) as i64;
            }
            let all = movers::concat(&[&flat(x)?, &flat(updates)?], 0)?;
            return Ok(vec![movers::gather(&all, 0, &from, x.shape())?.into()]);
        }
    };
    let t = if x.dtype().is_float() {
        let Some(f) = op.on_floats() else { refuse!("{} has no meaning on floats", op.name()) };
        let mut y = x.to_f64s();
        at.iter().zip(updates.to_f64s()).for_each(|(to, u)| y[*to as usize] = f(y[*to as usize], u));
        Tensor::from_f64s(x.dtype(), x.shape(), &y)?
    } else {
        let Some(f) = op.on_ints() else { refuse!("{} has no meaning on integers", op.name()) };
        let (mut y, bits) = (x.to_ints(), x.dtype().bits() as u32);
        at.iter().zip(updates.to_ints()).for_each(|(to, u)| y[*to as usize] = f(y[*to as usize], u, bits));
        Tensor::from_ints(x.dtype(), x.shape(), &y)?
    };
    Ok(vec![t.into()])
}
