//! Elements in other places: transposes, slices, joins, padding.

use super::axes::over_axis_list;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("CenterCropPad", &[18], "cropped or zero-padded around the center to a shape", center_crop_pad),
    onnx("Concat", &[1, 4, 11, 13], "joined along an axis", |cx| {
        let xs = cx.variadic()?;
        let Some(first) = xs.first() else { unsupported!("at least one input is needed") };
        let rank = cx.rank(*first);
        // The axis had a default in the first version only.
        let axis = if cx.version == 1 { cx.axis("axis", 1, rank)? } else { cx.required_axis("axis", rank)? };
        let y = cx.concat(&xs, axis)?;
        cx.done(y)
    }),
    onnx("DepthToSpace", &[1, 11, 13, 28], "channels moved into blocks of pixels", depth_to_space),
    onnx(
        "Pad",
        &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25],
        "padded by a value, edges, reflection or wrapping",
        pad,
    ),
    onnx("Slice", &[1, 10, 11, 13], "part of some axes, every so many elements", slice),
    onnx("SpaceToDepth", &[1, 13, 28], "blocks of pixels moved into channels", space_to_depth),
    onnx("Split", &[1, 2, 11, 13, 18], "cut along an axis", split),
    onnx("Tile", &[1, 6, 13], "repeated along each axis", tile),
    onnx("Transpose", &[1, 13, 21, 23, 24, 25], "axes in another order", |cx| {
        let x = cx.required(0)?;
        let rank = cx.rank(x);
        let perm = match cx.attrs.ints("perm")? {
            Some(perm) => perm.iter().map(|p| normal_axis(*p, rank)).collect::<Lowered<Vec<_>>>()?,
            None => (0..rank).rev().collect(),
        };
        let y = cx.transpose(x, &perm)?;
        cx.done(y)
    }),
];

/// What `start : end : step` takes of an axis, as Python slices do.
struct Cut {
    start: Dim,
    size: Dim,
    step: i64,
}

fn cut(cx: &Cx, size: &Dim, start: &Dim, end: &Dim, step: i64) -> Lowered<Cut> {
    let (from, to) = (cx.wrap_index(start, size), cx.wrap_index(end, size));
    let stride = Dim::int(step.saturating_abs());
    let (start, span) = match step {
        0 => unsupported!("the step of a slice must not be 0"),
        1.. => {
            let from = cx.clamp_dim(&from, &Dim::ZERO, size);
            let to = cx.clamp_dim(&to, &Dim::ZERO, size);
            (from.clone(), to - from)
        }
        _ => {
            let last = size.clone() - Dim::ONE;
            let from = cx.clamp_dim(&from, &Dim::int(-1), &last);
            let to = cx.clamp_dim(&to, &Dim::int(-1), &last);
            (from.clone(), from - to)
        }
    };
    let taken = cx.simplify(&span.ceil_div(&stride).max_with(&Dim::ZERO));
    Ok(Cut { start, size: taken, step })
}

fn slice(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    if cx.version < 10 {
        let list = |ints: &[i64]| ints.iter().map(|v| Dim::int(*v)).collect::<Vec<_>>();
        let starts = list(cx.attrs.required("starts", cx.attrs.ints("starts"))?);
        let ends = list(cx.attrs.required("ends", cx.attrs.ints("ends"))?);
        let axes = match cx.attrs.ints("axes")? {
            Some(axes) => axes.iter().map(|a| normal_axis(*a, rank)).collect::<Lowered<Vec<_>>>()?,
            None => (0..starts.len()).collect(),
        };
        let steps = vec![1; starts.len()];
        let y = sliced(cx, x, &axes, &starts, &ends, &steps)?;
        return cx.done(y);
    }
    let (starts, ends) = (cx.required(1)?, cx.required(2)?);
    let known = |cx: &mut Cx, v| cx.content_of(v)?.iter().map(Dim::as_const).collect::<Option<Vec<_>>>();
    let steps = cx.input(4)?.map(|v| (v, known(cx, v)));
    let (from, to) = (cx.dims_of(starts)?, cx.dims_of(ends)?);
    let mut build = |cx: &mut Cx<'_, '_, '_>, axes: &[usize]| match &steps {
        None => sliced(cx, x, axes, &from, &to, &vec![1; from.len()]),
        Some((_, Some(steps))) => sliced(cx, x, axes, &from, &to, steps),
        Some((steps, None)) => stepped(cx, x, axes, [starts, ends, *steps]),
    };
    let y = match cx.input(3)? {
        Some(axes) => over_axis_list(cx, axes, rank, &mut build)?,
        None => build(cx, &(0..from.len()).collect::<Vec<_>>())?,
    };
    cx.done(y)
}

/// Some axes cut by known steps.
fn sliced(
    cx: &mut Cx,
    x: ValueId,
    axes: &[usize],
    starts: &[Dim],
    ends: &[Dim],
    steps: &[i64],
) -> Lowered<ValueId> {
    let shape = cx.shape(x);
    let (mut from, mut sizes, mut by) = (vec![Dim::ZERO; shape.len()], shape.clone(), vec![1; shape.len()]);
    if [starts.len(), ends.len(), steps.len()].iter().any(|n| *n != axes.len()) {
        unsupported!("starts, ends, axes and steps must be of one length");
    }
    for (i, axis) in axes.iter().enumerate() {
        let Some(size) = shape.get(*axis) else {
            unsupported!("axis {axis} lies outside rank {}", shape.len())
        };
        let cut = cut(cx, size, &starts[i], &ends[i], steps[i])?;
        (from[*axis], sizes[*axis], by[*axis]) = (cut.start, cut.size, cut.step);
    }
    Ok(cx.slice(x, from, sizes, by)?)
}

/// Some axes cut by steps that only run time tells: gathered at computed places.
fn stepped(cx: &mut Cx, mut x: ValueId, axes: &[usize], lists: [ValueId; 3]) -> Lowered<ValueId> {
    for (i, axis) in axes.iter().enumerate() {
        let mut numbers = lists;
        for v in &mut numbers {
            let one = cx.slice_axis(*v, 0, Dim::len(i), Dim::ONE)?;
            let one = cx.reshape(one, &[])?;
            *v = cx.cast(one, DType::I64)?;
        }
        let [start, end, step] = numbers;
        let size = cx.dim(x, *axis);
        let size = cx.size_scalar(&size, DType::I64)?;
        let (zero, minus) =
            (cx.size_scalar(&Dim::ZERO, DType::I64)?, cx.size_scalar(&Dim::int(-1), DType::I64)?);
        let back = cx.with_const(ScalarOp::Lt, step, 0.0)?;
        let last = cx.with_const(ScalarOp::Sub, size, 1.0)?;
        let (low, high) = (cx.select(back, minus, zero)?, cx.select(back, last, size)?);
        let mut bounds = [start, end];
        for v in &mut bounds {
            let negative = cx.with_const(ScalarOp::Lt, *v, 0.0)?;
            let from_end = cx.binary(ScalarOp::Add, *v, size)?;
            let at = cx.select(negative, from_end, *v)?;
            let at = cx.binary(ScalarOp::Max, at, low)?;
            *v = cx.binary(ScalarOp::Min, at, high)?;
        }
        let [start, end] = bounds;
        let (up, down) = (cx.binary(ScalarOp::Sub, end, start)?, cx.binary(ScalarOp::Sub, start, end)?);
        let span = cx.select(back, down, up)?;
        let stride = cx.unary(ScalarOp::Abs, step)?;
        let span = cx.binary(ScalarOp::Add, span, stride)?;
        let span = cx.with_const(ScalarOp::Sub, span, 1.0)?;
        let count = cx.binary(ScalarOp::Div, span, stride)?;
        let count = cx.with_const(ScalarOp::Max, count, 0.0)?;
        let count = cx.sizes_of(count)?;
        let at = cx.iota(&count, 0, DType::I64)?;
        let at = cx.binary(ScalarOp::Mul, at, step)?;
        let at = cx.binary(ScalarOp::Add, at, start)?;
        x = cx.one("gather", attrs! { axis: Attr::Int(*axis as i64) }, &[x, at])?;
    }
    Ok(x)
}

fn split(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let size = cx.dim(x, axis);
    let given = if cx.version < 13 {
        // Version 1 took either the attribute or a second input.
        match cx.attrs.ints("split")? {
            Some(s) => Some(s.iter().map(|v| Dim::int(*v)).collect()),
            None => cx.input(1)?.map(|v| cx.dims_of(v)).transpose()?,
        }
    } else {
        cx.input(1)?.map(|v| cx.dims_of(v)).transpose()?
    };
    let n = cx.n_outputs();
    let sizes = match given {
        Some(sizes) => sizes,
        None => {
            let parts = cx.attrs.int_or("num_outputs", i64::try_from(n).unwrap_or(i64::MAX))?;
            equal_parts(cx, &size, parts)?
        }
    };
    if sizes.len() < n {
        unsupported!("{} parts for {n} outputs", sizes.len());
    }
    let mut start = Dim::ZERO;
    for (i, part) in sizes.into_iter().enumerate().take(n) {
        let y = cx.slice_axis(x, axis, start.clone(), part.clone())?;
        cx.output(i, y);
        start = start + part;
    }
    Ok(())
}

/// Parts of one size, rounded up, the last one smaller.
fn equal_parts(cx: &Cx, size: &Dim, n: i64) -> Lowered<Vec<Dim>> {
    if n < 1 {
        unsupported!("attribute \"num_outputs\" must be positive, found {n}");
    }
    let part = size.ceil_div(&Dim::int(n));
    let last = cx.simplify(&(size.clone() - part.clone() * Dim::int(n - 1)));
    let count = usize::try_from(n).unwrap_or(usize::MAX).min(1 << 16);
    let mut sizes = vec![part; count];
    sizes[count - 1] = last;
    Ok(sizes)
}

fn tile(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let shape = cx.shape(x);
    let repeats = cx.required(1)?;
    let repeats = if cx.version == 1 {
        let (times, axis) = (cx.dim_of(repeats)?, cx.required(2)?);
        let axis = match cx.dim_of(axis)?.as_const() {
            Some(axis) => normal_axis(axis, shape.len())?,
            None => unsupported!("input 2 (axis) must be constant"),
        };
        let mut repeats = vec![Dim::ONE; shape.len()];
        repeats[axis] = times;
        repeats
    } else {
        cx.dims_of(repeats)?
    };
    if repeats.len() != shape.len() {
        unsupported!("{} repeats for {} axes", repeats.len(), shape.len());
    }
    let y = repeated(cx, x, &repeats)?;
    cx.done(y)
}

/// Each axis repeated as a whole, as numpy's tile.
pub(super) fn repeated(cx: &mut Cx, x: ValueId, repeats: &[Dim]) -> Lowered<ValueId> {
    let shape = cx.shape(x);
    let (mut split, mut wide, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (d, r) in shape.iter().zip(repeats) {
        if !r.is(1) {
            split.push(Dim::ONE);
            wide.push(r.clone());
        }
        split.push(d.clone());
        wide.push(d.clone());
        joined.push(d.clone() * r.clone());
    }
    let split = cx.reshape(x, &split)?;
    let wide = cx.broadcast(split, &wide)?;
    Ok(cx.reshape(wide, &joined)?)
}

fn pad(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let mode = cx.attrs.string_or("mode", "constant")?;
    if !matches!(mode, "constant" | "reflect" | "edge" | "wrap") {
        unsupported!("attribute \"mode\" is unknown: \"{mode}\"");
    }
    let dtype = cx.dtype(x);
    let mut axes = None;
    let (pads, value) = if cx.version < 11 {
        let name = if cx.version == 1 { "paddings" } else { "pads" };
        let pads = cx.attrs.required(name, cx.attrs.ints(name))?;
        let value = cx.number("value", 0.0)?;
        (pads.iter().map(|v| Dim::int(*v)).collect::<Vec<_>>(), cx.scalar(dtype, value)?)
    } else {
        axes = cx.input(3)?;
        let pads = cx.required(1)?;
        let value = match cx.input(2)? {
            Some(v) => cx.reshape(v, &[])?,
            None => cx.constant(nnc_ir::Tensor::zeros(dtype, &[])?),
        };
        (cx.dims_of(pads)?, value)
    };
    let mut build = |cx: &mut Cx<'_, '_, '_>, axes: &[usize]| {
        let n = axes.len();
        if pads.len() != 2 * n {
            unsupported!("{} paddings for {n} axes", pads.len());
        }
        let (mut low, mut high) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
        for (i, a) in axes.iter().enumerate() {
            (low[*a], high[*a]) = (pads[i].clone(), pads[n + i].clone());
        }
        padded(cx, x, value, low, high, mode)
    };
    let y = match axes {
        Some(axes) => over_axis_list(cx, axes, rank, &mut build)?,
        None => build(cx, &(0..rank).collect::<Vec<_>>())?,
    };
    cx.done(y)
}

fn padded(
    cx: &mut Cx,
    x: ValueId,
    value: ValueId,
    low: Vec<Dim>,
    high: Vec<Dim>,
    mode: &str,
) -> Lowered<ValueId> {
    if low.iter().chain(&high).all(|d| d.is(0)) {
        return Ok(x);
    }
    let attrs = attrs! { low: Attr::Dims(low), high: Attr::Dims(high), mode: Attr::Str(mode.to_owned()) };
    Ok(cx.one("pad", attrs, &[x, value])?)
}

fn center_crop_pad(cx: &mut Cx) -> Lowered {
    let (x, shape) = (cx.required(0)?, cx.required(1)?);
    let rank = cx.rank(x);
    let target = cx.dims_of(shape)?;
    let axes = match cx.attrs.ints("axes")? {
        Some(axes) => axes.iter().map(|a| normal_axis(*a, rank)).collect::<Lowered<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if axes.len() != target.len() {
        unsupported!("{} sizes for {} axes", target.len(), axes.len());
    }
    let (mut low, mut high) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    for (axis, to) in axes.into_iter().zip(target) {
        // Both a crop and a pad put the smaller half before; as an excess, a crop is negative.
        let (crop, grow) = (
            (cx.dim(x, axis) - to.clone()).max_with(&Dim::ZERO),
            (to - cx.dim(x, axis)).max_with(&Dim::ZERO),
        );
        let two = Dim::int(2);
        low[axis] = cx.simplify(&(grow.floor_div(&two) - crop.floor_div(&two)));
        high[axis] = cx.simplify(&(grow.ceil_div(&two) - crop.ceil_div(&two)));
    }
    let dtype = cx.dtype(x);
    let zero = cx.constant(nnc_ir::Tensor::zeros(dtype, &[])?);
    let y = padded(cx, x, zero, low, high, "constant")?;
    cx.done(y)
}

/// Batch, channels, height and width of an image, and the block size.
fn blocks(cx: &Cx, x: ValueId) -> Lowered<([Dim; 4], Dim)> {
    cx.expect_rank("the input", x, 4)?;
    let block = cx.attrs.required("blocksize", cx.attrs.int("blocksize"))?;
    if block < 1 {
        unsupported!("attribute \"blocksize\" must be positive, found {block}");
    }
    let dims = [0, 1, 2, 3].map(|a| cx.dim(x, a));
    Ok((dims, Dim::int(block)))
}

fn depth_to_space(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let ([n, c, h, w], b) = blocks(cx, x)?;
    let out = c.floor_div(&(b.clone() * b.clone()));
    let (split, perm) = match cx.attrs.string_or("mode", "DCR")? {
        "DCR" => ([n.clone(), b.clone(), b.clone(), out.clone(), h.clone(), w.clone()], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n.clone(), out.clone(), b.clone(), b.clone(), h.clone(), w.clone()], [0, 1, 4, 2, 5, 3]),
        other => unsupported!("attribute \"mode\" must be \"DCR\" or \"CRD\", found \"{other}\""),
    };
    let y = cx.reshape(x, &split)?;
    let y = cx.transpose(y, &perm)?;
    let y = cx.reshape(y, &[n, out, h * b.clone(), w * b])?;
    cx.done(y)
}

fn space_to_depth(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let ([n, c, h, w], b) = blocks(cx, x)?;
    let mode = cx.attrs.string_or("mode", "DCR")?;
    let perm = match mode {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => unsupported!("attribute \"mode\" must be \"DCR\" or \"CRD\", found \"{other}\""),
    };
    let (oh, ow) = (h.floor_div(&b), w.floor_div(&b));
    let y = cx.reshape(x, &[n.clone(), c.clone(), oh.clone(), b.clone(), ow.clone(), b.clone()])?;
    let y = cx.transpose(y, &perm)?;
    let y = cx.reshape(y, &[n, c * b.clone() * b, oh, ow])?;
    cx.done(y)
}
