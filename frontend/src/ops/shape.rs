//! Shapes as values, and the same elements under another shape.

use super::axes::{over_axes, over_some_axes};
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axes, normal_axis};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "Dropout",
        &[1, 6, 7, 10, 12, 13, 22],
        "the input itself; in training a random part of it, scaled up",
        dropout,
    ),
    onnx("Expand", &[8, 13], "broadcast against a shape", |cx| {
        let (x, to) = (cx.required(0)?, cx.required(1)?);
        let to = cx.dims_of(to)?;
        let shape = broadcast_shape(cx, &cx.shape(x), &to)?;
        let y = cx.broadcast(x, &shape)?;
        cx.done(y)
    }),
    onnx("Flatten", &[1, 9, 11, 13, 21, 23, 24, 25], "a matrix of the axes before and from an axis", |cx| {
        let x = cx.required(0)?;
        let rank = cx.rank(x);
        let axis = cx.attrs.int_or("axis", 1)?;
        let axis = if usize::try_from(axis) == Ok(rank) { rank } else { normal_axis(axis, rank)? };
        let y = flattened(cx, x, axis)?;
        cx.done(y)
    }),
    onnx("Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25], "the input itself", |cx| {
        let x = cx.value(0)?;
        cx.done(x)
    }),
    onnx("Reshape", &[1, 5, 13, 14, 19, 21, 23, 24, 25], "the same elements under another shape", reshape),
    onnx(
        "Shape",
        &[1, 13, 15, 19, 21, 23, 24, 25],
        "the sizes of a tensor, all or from start to end",
        |cx| {
            let x = cx.required(0)?;
            let shape = cx.shape(x);
            let (start, end) = (cx.attrs.int_or("start", 0)?, cx.attrs.int("end")?);
            let start = clamped(start, shape.len());
            let end = end.map_or(shape.len(), |e| clamped(e, shape.len()));
            let v = cx.dims(shape[start..end.max(start)].to_vec())?;
            cx.done(v)
        },
    ),
    onnx("Size", &[1, 13, 19, 21, 23, 24, 25], "the number of elements", |cx| {
        let x = cx.required(0)?;
        let elems = cx.graph.tensor_ty(x).elems();
        let v = cx.one("dims", attrs! { values: Attr::Dims(vec![elems]), scalar: Attr::Int(1) }, &[])?;
        cx.done(v)
    }),
    onnx("Squeeze", &[1, 11, 13, 21, 23, 24, 25], "without axes of size 1", squeeze),
    onnx("Unsqueeze", &[1, 11, 13, 21, 23, 24, 25], "with new axes of size 1", |cx| {
        let x = cx.required(0)?;
        let y = match axes_operand(cx, 13)? {
            Axes::Known(axes) => {
                let axes = normal_axes(&axes, cx.rank(x) + axes.len())?;
                cx.unsqueeze(x, &axes)?
            }
            Axes::Found(axes) => {
                let n = cx.graph.tensor_ty(axes).elems();
                let rank = cx.rank(x) + cx.fixed("the number of axes", &n)?;
                over_axes(cx, axes, rank, &mut |cx, axes| cx.unsqueeze(x, axes))?
            }
            Axes::Absent => unsupported!("axes are required"),
        };
        cx.done(y)
    }),
];

/// Axes of a node.
pub(super) enum Axes {
    /// None are given.
    Absent,
    /// Numbers, negative ones counted from the end.
    Known(Vec<i64>),
    /// A tensor that only run time can tell.
    Found(ValueId),
}

/// Axes from an attribute before version `from`, from the second input since.
pub(super) fn axes_operand(cx: &mut Cx, from: i64) -> Lowered<Axes> {
    if cx.version < from {
        return Ok(cx.attrs.ints("axes")?.map_or(Axes::Absent, |a| Axes::Known(a.to_vec())));
    }
    let Some(v) = cx.input(1)? else { return Ok(Axes::Absent) };
    let known = cx.content_of(v).and_then(|c| c.iter().map(Dim::as_const).collect());
    Ok(known.map_or(Axes::Found(v), Axes::Known))
}

/// A Python slice bound: counted from the end where negative, then clamped.
fn clamped(at: i64, rank: usize) -> usize {
    let signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let at = if at < 0 { at.saturating_add(signed) } else { at };
    usize::try_from(at.clamp(0, signed)).unwrap_or(0)
}

fn dropout(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    cx.attrs.float("ratio")?;
    if cx.version < 7 {
        // Training was the default once; every file in use means inference all the same.
        cx.attrs.int("is_test")?;
    }
    let mode = if cx.version < 12 { None } else { cx.input(2)? };
    let known = mode.and_then(|m| cx.constant_of(m)).map(|t| t.to_ints().iter().any(|v| *v != 0));
    match (mode, known) {
        (None, _) | (_, Some(false)) => {
            cx.attrs.int("seed")?;
            cx.output(0, x);
            if cx.wants(1) {
                let dtype = if cx.version < 10 { cx.dtype(x) } else { DType::Bool };
                let shape = cx.shape(x);
                let mask = cx.splat(dtype, 1.0, &shape)?;
                cx.output(1, mask);
            }
            Ok(())
        }
        (Some(mode), _) => training_dropout(cx, x, mode),
    }
}

/// `x * mask / (1 - ratio)` with a random mask where the mode says training, else x.
fn training_dropout(cx: &mut Cx, x: ValueId, mode: ValueId) -> Lowered {
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let ratio = match cx.input(1)? {
        Some(r) => cx.reshape(r, &[])?,
        None => cx.scalar(DType::F32, 0.5)?,
    };
    let params = super::routine::params(cx, &["seed"])?;
    let ty = nnc_ir::Type::tensor(DType::Bool, shape.clone());
    let drawn = super::routine::call(cx, "dropout_mask", params, vec![ty], &[Some(x), Some(ratio)])?[0];
    let mode = cx.reshape(mode, &[])?;
    let all = cx.splat(DType::Bool, 1.0, &shape)?;
    let mask = cx.select(mode, drawn, all)?;
    let ratio = cx.cast(ratio, dtype)?;
    let (zero, one) = (cx.scalar(dtype, 0.0)?, cx.scalar(dtype, 1.0)?);
    let kept = cx.binary(ScalarOp::Sub, one, ratio)?;
    let kept = cx.select(mode, kept, one)?;
    let scaled = cx.binary(ScalarOp::Div, x, kept)?;
    let y = cx.select(mask, scaled, zero)?;
    cx.output(0, y);
    cx.output(1, mask);
    Ok(())
}

/// Elements as a matrix: axes before `axis`, axes from `axis`.
pub(super) fn flattened(cx: &mut Cx, x: ValueId, axis: usize) -> Lowered<ValueId> {
    let shape = cx.shape(x);
    let (outer, inner) = shape.split_at(axis);
    Ok(cx.reshape(x, &[Dim::product(outer), Dim::product(inner)])?)
}

/// What a tensor of shape `x` becomes when it is broadcast against `to`.
pub(super) fn broadcast_shape(cx: &Cx, x: &[Dim], to: &[Dim]) -> Lowered<Vec<Dim>> {
    let rank = x.len().max(to.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::ONE, |j| s[j].clone());
    let join = |(a, b): (Dim, Dim)| match (a.as_const(), b.as_const()) {
        _ if a == b => Ok(a),
        (Some(1), _) => Ok(b),
        (_, Some(1)) => Ok(a),
        (Some(x), Some(y)) => Err(Refusal::Because(format!("size {x} cannot be broadcast to {y}"))),
        (Some(_), None) => Ok(a),
        (None, Some(_)) => Ok(b),
        (None, None) => Ok(cx.simplify(&a.max_with(&b))),
    };
    (0..rank).map(|i| join((at(x, i), at(to, i)))).collect()
}

fn reshape(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let wanted: Vec<Dim> = if cx.version < 5 {
        let ints = cx.attrs.required("shape", cx.attrs.ints("shape"))?;
        ints.iter().map(|v| Dim::int(*v)).collect()
    } else {
        let shape = cx.required(1)?;
        match cx.content_of(shape) {
            Some(content) => content,
            None => found_sizes(cx, x, shape)?,
        }
    };
    let copy_zeros = !cx.attrs.flag_or("allowzero", false)?;
    let shape = reshaped(cx, x, &wanted, copy_zeros)?;
    let y = cx.reshape(x, &shape)?;
    cx.done(y)
}

/// Sizes found at run time, where 0 and -1 have their meanings still to be applied, as symbols.
fn found_sizes(cx: &mut Cx, x: ValueId, shape: ValueId) -> Lowered<Vec<Dim>> {
    let mut list = cx.cast(shape, DType::I64)?;
    cx.expect_rank("the shape", list, 1)?;
    let len = cx.dim(list, 0);
    let len = cx.fixed("the number of sizes", &len)?;
    let elems = cx.graph.tensor_ty(x).elems();
    if !cx.attrs.flag_or("allowzero", false)? {
        let mut given = cx.shape(x);
        given.resize(len, Dim::ZERO);
        let given = cx.dims(given)?;
        let zero = cx.with_const(ScalarOp::Eq, list, 0.0)?;
        list = cx.select(zero, given, list)?;
    }
    let open = cx.with_const(ScalarOp::Lt, list, 0.0)?;
    let one = cx.size_scalar(&Dim::ONE, DType::I64)?;
    let known = cx.select(open, one, list)?;
    let known = cx.reduce("prod", known, &[0])?;
    let elems = cx.size_scalar(&elems, DType::I64)?;
    let rest = cx.binary(ScalarOp::Div, elems, known)?;
    let list = cx.select(open, rest, list)?;
    cx.sizes_of(list)
}

/// The sizes meant by a list in which 0 stands for the input's size and -1 for what is left.
fn reshaped(cx: &Cx, x: ValueId, wanted: &[Dim], copy_zeros: bool) -> Lowered<Vec<Dim>> {
    let given = cx.shape(x);
    let mut shape = wanted.to_vec();
    for (i, d) in shape.iter_mut().enumerate() {
        if copy_zeros && d.is(0) {
            let Some(same) = given.get(i) else { unsupported!("size 0 at axis {i} has no counterpart") };
            *d = same.clone();
        }
    }
    let is_rest = |d: &Dim| d.is(-1);
    if shape.iter().filter(|d| is_rest(d)).count() > 1 {
        unsupported!("more than one size is -1");
    }
    // A number found at run time may be -1; alone it is implied by the others in either case.
    let unsure = |d: &Dim| d.as_const().is_none() && !matches!(cx.bounds(d), (Some(lo), _) if lo >= 0);
    let rest = shape.iter().position(is_rest).or_else(|| {
        let mut unsure = shape.iter().enumerate().filter(|(_, d)| unsure(d)).map(|(i, _)| i);
        unsure.next().filter(|_| unsure.next().is_none())
    });
    if let Some(rest) = rest {
        let others = Dim::product(shape.iter().enumerate().filter(|(i, _)| *i != rest).map(|(_, d)| d));
        let elems = Dim::product(&given);
        shape[rest] = if others.is(0) { Dim::ZERO } else { cx.simplify(&elems.floor_div(&others)) };
    }
    Ok(shape)
}

fn squeeze(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let shape = cx.shape(x);
    let axes = match axes_operand(cx, 13)? {
        Axes::Known(axes) => normal_axes(&axes, shape.len())?,
        Axes::Found(axes) => {
            let ones: Vec<usize> =
                (0..shape.len()).filter(|a| shape[*a].as_const().is_none_or(|d| d == 1)).collect();
            let y = over_some_axes(cx, axes, shape.len(), &ones, &mut |cx, axes| cx.squeeze(x, axes))?;
            return cx.done(y);
        }
        Axes::Absent => {
            if let Some(d) = shape.iter().find(|d| d.as_const().is_none()) {
                unsupported!("without axes, every size must be known at compile time, found {d}");
            }
            (0..shape.len()).filter(|a| shape[*a].is(1)).collect()
        }
    };
    if let Some(a) = axes.iter().find(|a| shape[**a].as_const().is_some_and(|d| d != 1)) {
        unsupported!("axis {a} must have size 1, found {}", shape[*a]);
    }
    let y = cx.squeeze(x, &axes)?;
    cx.done(y)
}
