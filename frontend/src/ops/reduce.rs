//! Reductions over axes, positions of extremes, running sums.

use super::axes::over_axes;
use super::shape::Axes;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axes};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Kind, ScalarOp, ValueId, attrs};

type Step = fn(&mut Cx, ValueId, &[usize]) -> Lowered<ValueId>;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("ArgMax", &[1, 11, 12, 13], "position of the largest along an axis", |cx| arg_reduce(cx, "max")),
    onnx("ArgMin", &[1, 11, 12, 13], "position of the smallest along an axis", |cx| arg_reduce(cx, "min")),
    onnx("CumProd", &[26], "running product along an axis", |cx| cumulative(cx, "prod")),
    onnx("CumSum", &[11, 14], "running sum along an axis", |cx| cumulative(cx, "sum")),
    onnx("ReduceL1", &[1, 11, 13, 18], "sum of magnitudes", |cx| {
        reduce(cx, 18, |cx, x, axes| {
            let x = cx.unary(ScalarOp::Abs, x)?;
            cx.reduce_keep("sum", x, axes)
        })
    }),
    onnx("ReduceL2", &[1, 11, 13, 18], "root of the sum of squares", |cx| {
        reduce(cx, 18, |cx, x, axes| {
            on_floats(cx, x, axes, |cx, x, axes| {
                let sum = sum_of_squares(cx, x, axes)?;
                Ok(cx.unary(ScalarOp::Sqrt, sum)?)
            })
        })
    }),
    onnx("ReduceLogSum", &[1, 11, 13, 18, 28], "logarithm of the sum", |cx| {
        reduce(cx, 18, |cx, x, axes| {
            on_floats(cx, x, axes, |cx, x, axes| {
                let sum = cx.reduce_keep("sum", x, axes)?;
                Ok(cx.unary(ScalarOp::Log, sum)?)
            })
        })
    }),
    onnx("ReduceLogSumExp", &[1, 11, 13, 18, 28], "logarithm of the sum of exponentials", |cx| {
        reduce(cx, 18, |cx, x, axes| on_floats(cx, x, axes, log_sum_exp))
    }),
    onnx("ReduceMax", &[1, 11, 12, 13, 18, 20], "largest", |cx| {
        reduce(cx, 18, |cx, x, axes| cx.reduce_keep("max", x, axes))
    }),
    onnx("ReduceMean", &[1, 11, 13, 18], "mean", |cx| reduce(cx, 18, super::pool::mean_keep)),
    onnx("ReduceMin", &[1, 11, 12, 13, 18, 20], "smallest", |cx| {
        reduce(cx, 18, |cx, x, axes| cx.reduce_keep("min", x, axes))
    }),
    onnx("ReduceProd", &[1, 11, 13, 18], "product", |cx| {
        reduce(cx, 18, |cx, x, axes| cx.reduce_keep("prod", x, axes))
    }),
    onnx("ReduceSum", &[1, 11, 13], "sum", |cx| reduce(cx, 13, |cx, x, axes| cx.reduce_keep("sum", x, axes))),
    onnx("ReduceSumSquare", &[1, 11, 13, 18], "sum of squares", |cx| reduce(cx, 18, sum_of_squares)),
];

/// A reduction by the node's attributes; axes are an input since version `from`.
fn reduce(cx: &mut Cx, from: i64, step: Step) -> Lowered {
    let keep = cx.attrs.flag_or("keepdims", true)?;
    let nothing = cx.attrs.flag_or("noop_with_empty_axes", false)?;
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let mut build = |cx: &mut Cx<'_, '_, '_>, axes: &[usize]| {
        let kept = step(cx, x, axes)?;
        if keep { Ok(kept) } else { cx.squeeze(kept, axes) }
    };
    let all: Vec<usize> = (0..rank).collect();
    let given = super::shape::axes_operand(cx, from)?;
    let y = match given {
        Axes::Known(axes) if !axes.is_empty() => build(cx, &normal_axes(&axes, rank)?)?,
        Axes::Found(axes) => over_axes(cx, axes, rank, &mut build)?,
        // Without axes the elements are still mapped, each on its own.
        _ if nothing => build(cx, &[])?,
        _ => build(cx, &all)?,
    };
    cx.done(y)
}

/// Runs a step on integers as floats.
fn on_floats(cx: &mut Cx, x: ValueId, axes: &[usize], step: Step) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    if dtype.kind() == Kind::Float {
        return step(cx, x, axes);
    }
    let wide = cx.cast(x, DType::F64)?;
    let y = step(cx, wide, axes)?;
    Ok(cx.cast(y, dtype)?)
}

fn sum_of_squares(cx: &mut Cx, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
    let squares = cx.binary(ScalarOp::Mul, x, x)?;
    cx.reduce_keep("sum", squares, axes)
}

/// The largest is taken out first, so that no exponential overflows.
fn log_sum_exp(cx: &mut Cx, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
    let most = cx.reduce_keep("max", x, axes)?;
    let infinite = cx.unary(ScalarOp::IsInf, most)?;
    let dtype = cx.dtype(x);
    let zero = cx.scalar(dtype, 0.0)?;
    let shift = cx.select(infinite, zero, most)?;
    let shifted = cx.binary(ScalarOp::Sub, x, shift)?;
    let exponentials = cx.unary(ScalarOp::Exp, shifted)?;
    let sum = cx.reduce_keep("sum", exponentials, axes)?;
    let logs = cx.unary(ScalarOp::Log, sum)?;
    Ok(cx.binary(ScalarOp::Add, logs, shift)?)
}

fn arg_reduce(cx: &mut Cx, kind: &str) -> Lowered {
    let x = cx.required(0)?;
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let keep = cx.attrs.flag_or("keepdims", true)?;
    let last = cx.attrs.flag_or("select_last_index", false)?;
    let attrs = attrs! {
        kind: Attr::Str(kind.into()), axis: Attr::Int(axis as i64), last: Attr::Int(i64::from(last))
    };
    let at = cx.one("arg_reduce", attrs, &[x])?;
    let y = if keep { cx.unsqueeze(at, &[axis])? } else { at };
    cx.done(y)
}

fn cumulative(cx: &mut Cx, kind: &str) -> Lowered {
    let (exclusive, reverse) = (cx.attrs.int_or("exclusive", 0)?, cx.attrs.int_or("reverse", 0)?);
    let (x, axis) = (cx.required(0)?, cx.required(1)?);
    let y = over_axes(cx, axis, cx.rank(x), &mut |cx, axes| {
        let [axis] = axes else { unsupported!("input 1 (axis) must be one number") };
        let attrs = attrs! {
            kind: Attr::Str(kind.into()), axis: Attr::Int(*axis as i64), exclusive: Attr::Int(exclusive),
            reverse: Attr::Int(reverse)
        };
        Ok(cx.one("cumulative", attrs, &[x])?)
    })?;
    cx.done(y)
}
