//! Reductions along axes: to a number, to a position, and running.

use super::{Effects, EvalCx, OpError, OpRow, spec};
use crate::{DType, Kind, ScalarOp, Tensor, Type, Value, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[REDUCE, ARG_REDUCE, CUMULATIVE];

const REDUCE: OpRow = OpRow {
    name: "reduce",
    doc: "sum, prod, max or min over `axes`, which are dropped; of nothing: 0, 1, the lowest, the highest number",
    attrs: &[spec::ints("axes"), spec::text("kind")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.tensor(0)?;
        let axes = cx.axes("axes", x.rank())?;
        let kind = cx.choice("kind", &["sum", "prod", "max", "min"])?;
        let ordered = matches!(kind, "max" | "min");
        match x.dtype.kind() {
            Kind::Float | Kind::Int | Kind::Uint => {}
            Kind::Bool if ordered => {}
            _ => refuse!("reduction {kind:?} has no meaning on {}", x.dtype),
        }
        let kept = (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.shape[a].clone());
        Ok(vec![Type::tensor(x.dtype, kept.collect())])
    },
    content: Some(|cx| {
        let content = cx.content(0)?;
        if cx.attrs.ints("axes").is_empty() {
            return Some(content.to_vec());
        }
        let first = match cx.attrs.str("kind") {
            "sum" => crate::Dim::ZERO,
            "prod" => crate::Dim::ONE,
            _ => content.first()?.clone(),
        };
        Some(vec![content.iter().fold(first, |a, b| match cx.attrs.str("kind") {
            "sum" => a + b.clone(),
            "prod" => a * b.clone(),
            "max" => a.max_with(b),
            _ => a.min_with(b),
        })])
    }),
    eval: eval_reduce,
    scalar: None,
    decompose: None,
};

const ARG_REDUCE: OpRow = OpRow {
    name: "arg_reduce",
    doc: "position (i64) of the first, or last, maximum or minimum along `axis`, which is dropped",
    attrs: &[spec::int("axis"), spec::text("kind"), spec::int("last")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.tensor(0)?;
        let axis = cx.axis("axis", x.rank())?;
        cx.choice("kind", &["max", "min"])?;
        cx.flag("last")?;
        if !x.dtype.is_float() && !x.dtype.is_int() {
            refuse!("positions are found among floats or integers, found {x}");
        }
        if x.shape[axis].is(0) {
            refuse!("axis {axis} of {x} is empty: it has no maximum or minimum");
        }
        let mut shape = x.shape.clone();
        shape.remove(axis);
        Ok(vec![Type::tensor(DType::I64, shape)])
    },
    content: None,
    eval: eval_arg_reduce,
    scalar: None,
    decompose: None,
};

const CUMULATIVE: OpRow = OpRow {
    name: "cumulative",
    doc: "running sum or product along `axis`; without the element itself if `exclusive`, from the end if `reverse`",
    attrs: &[spec::int("axis"), spec::int("exclusive"), spec::text("kind"), spec::int("reverse")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.tensor(0)?;
        cx.axis("axis", x.rank())?;
        cx.choice("kind", &["sum", "prod"])?;
        cx.flag("exclusive")?;
        cx.flag("reverse")?;
        if !x.dtype.is_float() && !x.dtype.is_int() {
            refuse!("running sums are of floats or integers, found {x}");
        }
        Ok(vec![x.clone().into()])
    },
    content: None,
    eval: eval_cumulative,
    scalar: None,
    decompose: None,
};

/// The scalar function of a kind and its identity on floats.
fn function(kind: &str) -> (ScalarOp, f64) {
    match kind {
        "sum" => (ScalarOp::Add, 0.0),
        "prod" => (ScalarOp::Mul, 1.0),
        "max" => (ScalarOp::Max, f64::NEG_INFINITY),
        _ => (ScalarOp::Min, f64::INFINITY),
    }
}

/// The identity on integers.
fn identity(kind: &str, dtype: DType) -> i128 {
    let (lowest, highest) = dtype.int_range().unwrap_or((0, 0));
    match kind {
        "sum" => 0,
        "prod" => 1,
        "max" => lowest,
        _ => highest,
    }
}

fn eval_reduce(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (x, axes, kind) = (cx.tensor(0)?, cx.attrs.indices("axes"), cx.attrs.str("kind"));
    let kept: Vec<usize> = (0..x.rank()).filter(|a| !axes.contains(a)).collect();
    let shape: Vec<usize> = kept.iter().map(|a| x.shape()[*a]).collect();
    let n: usize = axes.iter().map(|a| x.shape()[*a]).product();
    let rows = movers::transpose(x, &[kept, axes].concat())?;
    let (op, start) = function(kind);
    let len: usize = shape.iter().product();
    let t = match (x.dtype().int_range(), op.on_ints(), op.on_floats()) {
        (Some(_), Some(f), _) => {
            let (data, bits, start) = (rows.to_ints(), x.dtype().bits() as u32, identity(kind, x.dtype()));
            let row = |i: usize| data[i * n..(i + 1) * n].iter().fold(start, |a, b| f(a, *b, bits));
            Tensor::from_ints(x.dtype(), &shape, &(0..len).map(row).collect::<Vec<_>>())?
        }
        (None, _, Some(f)) => {
            let data = rows.to_f64s();
            let row = |i: usize| data[i * n..(i + 1) * n].iter().fold(start, |a, b| f(a, *b));
            Tensor::from_f64s(x.dtype(), &shape, &(0..len).map(row).collect::<Vec<_>>())?
        }
        _ => refuse!("reduction {kind:?} has no meaning on {}", x.dtype()),
    };
    Ok(vec![t.into()])
}

/// x with `axis` last, and the sizes of the others.
fn axis_last(x: &Tensor, axis: usize) -> Result<(Tensor, Vec<usize>), OpError> {
    let mut perm: Vec<usize> = (0..x.rank()).filter(|a| *a != axis).collect();
    let shape = perm.iter().map(|a| x.shape()[*a]).collect();
    perm.push(axis);
    Ok((movers::transpose(x, &perm)?, shape))
}

fn eval_arg_reduce(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (x, axis) = (cx.tensor(0)?, cx.attrs.index("axis"));
    let (last, max) = (cx.attrs.flag("last"), cx.attrs.str("kind") == "max");
    let (rows, shape) = axis_last(x, axis)?;
    let n = x.shape()[axis];
    if n == 0 {
        refuse!("axis {axis} is empty: it has no maximum or minimum");
    }
    let found = if x.dtype().is_float() {
        // As in numpy, the first NaN wins.
        let better =
            |a: f64, b: f64| !b.is_nan() && (a.is_nan() || if max { a > b } else { a < b } || last && a == b);
        positions(&rows.to_f64s(), n, better)
    } else {
        positions(&rows.to_ints(), n, |a, b| if max { a > b } else { a < b } || last && a == b)
    };
    Ok(vec![Tensor::from_slice(&shape, &found)?.into()])
}

fn positions<T: Copy>(data: &[T], n: usize, better: impl Fn(T, T) -> bool) -> Vec<i64> {
    let best = |row: &[T]| (1..n).fold(0, |best, i| if better(row[i], row[best]) { i } else { best });
    data.chunks_exact(n).map(|row| best(row) as i64).collect()
}

fn eval_cumulative(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (x, axis, kind) = (cx.tensor(0)?, cx.attrs.index("axis"), cx.attrs.str("kind"));
    let (rows, _) = axis_last(x, axis)?;
    let n = x.shape()[axis].max(1);
    let (exclusive, reverse) = (cx.attrs.flag("exclusive"), cx.attrs.flag("reverse"));
    let (op, start) = function(kind);
    let t = match (x.dtype().int_range(), op.on_ints(), op.on_floats()) {
        (Some(_), Some(f), _) => {
            let (mut data, bits) = (rows.to_ints(), x.dtype().bits() as u32);
            let start = identity(kind, x.dtype());
            data.chunks_mut(n).for_each(|r| running(r, start, exclusive, reverse, |a, b| f(a, b, bits)));
            Tensor::from_ints(x.dtype(), rows.shape(), &data)?
        }
        (None, _, Some(f)) => {
            let mut data = rows.to_f64s();
            data.chunks_mut(n).for_each(|r| running(r, start, exclusive, reverse, f));
            Tensor::from_f64s(x.dtype(), rows.shape(), &data)?
        }
        _ => refuse!("running {kind:?} has no meaning on {}", x.dtype()),
    };
    let mut back: Vec<usize> = (0..x.rank() - 1).collect();
    back.insert(axis, x.rank() - 1);
    Ok(vec![movers::transpose(&t, &back)?.into()])
}

fn running<T: Copy>(row: &mut [T], start: T, exclusive: bool, reverse: bool, f: impl Fn(T, T) -> T) {
    let mut total = start;
    let mut step = |x: &mut T| {
        let before = total;
        total = f(total, *x);
        *x = if exclusive { before } else { total };
    };
    if reverse { row.iter_mut().rev().for_each(&mut step) } else { row.iter_mut().for_each(&mut step) }
}
