//! Sampling of images at computed places: grids, regions, deformed kernels.
//!
//! Places become flat positions in the spatial axes and weights; a sample is a sum of gathers.

use super::conv::spatial_ints;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("AffineGrid", &[20], "places of a regular grid moved by affine matrices", affine_grid),
    onnx("DeformConv", &[19, 22], "convolution whose kernel is moved place by place", deform_conv),
    onnx("GridSample", &[16, 20, 22], "an image sampled at places between -1 and 1", grid_sample),
];

/// How pixels outside the image are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    /// Mirrored at the centers of the outermost pixels (aligned) or at their edges.
    Reflection {
        aligned: bool,
    },
}

/// Interpolation between pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// One pixel near a place along an axis: its index and weight.
struct Tap {
    index: ValueId,
    weight: Option<ValueId>,
    inside: Option<ValueId>,
}

/// Samples `x [B, C, D1, …]` at `places`, one `[B, P]` an axis in pixels, to `[B, C, P]`.
fn sample(cx: &mut Cx, x: ValueId, places: &[ValueId], mode: Mode, outside: Outside) -> Lowered<ValueId> {
    let shape = cx.shape(x);
    let mut taps = Vec::new();
    for (place, size) in places.iter().zip(&shape[2..]) {
        taps.push(axis_taps(cx, *place, size, mode, outside)?);
    }
    let flat = cx.reshape(x, &[shape[0].clone(), shape[1].clone(), Dim::product(&shape[2..])])?;
    let dtype = cx.dtype(x);
    let mut sum: Option<ValueId> = None;
    for corner in corners(&taps) {
        let mut position: Option<ValueId> = None;
        let (mut weight, mut inside): (Option<ValueId>, Option<ValueId>) = (None, None);
        for (tap, size) in corner.iter().zip(&shape[2..]) {
            position = Some(match position {
                Some(p) => {
                    let size = cx.size_scalar(size, DType::I64)?;
                    let row = cx.binary(ScalarOp::Mul, p, size)?;
                    cx.binary(ScalarOp::Add, row, tap.index)?
                }
                None => tap.index,
            });
            weight = joined(cx, ScalarOp::Mul, weight, tap.weight)?;
            inside = joined(cx, ScalarOp::And, inside, tap.inside)?;
        }
        let Some(position) = position else { unsupported!("the image must have a spatial axis") };
        let mut part = pixels(cx, flat, position)?;
        if let Some(inside) = inside {
            let inside = cx.unsqueeze(inside, &[1])?;
            let zero = cx.scalar(dtype, 0.0)?;
            part = cx.select(inside, part, zero)?;
        }
        if let Some(weight) = weight {
            let weight = cx.unsqueeze(weight, &[1])?;
            let weight = cx.cast(weight, dtype)?;
            part = cx.binary(ScalarOp::Mul, part, weight)?;
        }
        sum = joined(cx, ScalarOp::Add, sum, Some(part))?;
    }
    match sum {
        Some(sum) => Ok(sum),
        None => unsupported!("the image must have a spatial axis"),
    }
}

/// `op(a, b)` of those that are there.
fn joined(cx: &mut Cx, op: ScalarOp, a: Option<ValueId>, b: Option<ValueId>) -> Lowered<Option<ValueId>> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some(cx.binary(op, a, b)?)),
        (a, b) => Ok(a.or(b)),
    }
}

/// Every choice of one tap an axis.
fn corners(taps: &[Vec<Tap>]) -> Vec<Vec<&Tap>> {
    taps.iter().fold(vec![Vec::new()], |corners, axis| {
        corners.iter().flat_map(|c| axis.iter().map(|t| [c.as_slice(), &[t]].concat())).collect()
    })
}

/// Pixels of `[B, C, S]` at flat positions `[B, P]`.
fn pixels(cx: &mut Cx, flat: ValueId, position: ValueId) -> Lowered<ValueId> {
    let (shape, places) = (cx.shape(flat), cx.shape(position));
    let position = cx.unsqueeze(position, &[1])?;
    let position = cx.broadcast(position, &[places[0].clone(), shape[1].clone(), places[1].clone()])?;
    Ok(cx.one("gather_elements", attrs! { axis: Attr::Int(2) }, &[flat, position])?)
}

fn axis_taps(cx: &mut Cx, place: ValueId, size: &Dim, mode: Mode, outside: Outside) -> Lowered<Vec<Tap>> {
    let place = if mode == Mode::Nearest { cx.unary(ScalarOp::Round, place)? } else { place };
    let place = moved_inside(cx, place, size, outside)?;
    if mode == Mode::Nearest {
        return Ok(vec![tap(cx, place, None, size, outside)?]);
    }
    let whole = cx.unary(ScalarOp::Floor, place)?;
    let rest = cx.binary(ScalarOp::Sub, place, whole)?;
    let offsets: &[f64] = if mode == Mode::Cubic { &[-1.0, 0.0, 1.0, 2.0] } else { &[0.0, 1.0] };
    let mut taps = Vec::new();
    for offset in offsets {
        let at = cx.with_const(ScalarOp::Add, whole, *offset)?;
        let distance = cx.affine(rest, -1.0, *offset)?;
        let distance = cx.unary(ScalarOp::Abs, distance)?;
        let weight = if mode == Mode::Cubic {
            super::resize::cubic(cx, distance, -0.75)?
        } else {
            cx.affine(distance, -1.0, 1.0)?
        };
        taps.push(tap(cx, at, Some(weight), size, outside)?);
    }
    Ok(taps)
}

/// A whole place as an index; where zeros lie outside, whether it is inside.
fn tap(cx: &mut Cx, at: ValueId, weight: Option<ValueId>, size: &Dim, outside: Outside) -> Lowered<Tap> {
    let at = moved_inside(cx, at, size, outside)?;
    let dtype = cx.dtype(at);
    let last = cx.size_scalar(&(size.clone() - Dim::ONE), dtype)?;
    let inside = if outside == Outside::Zeros {
        let (low, high) = (cx.with_const(ScalarOp::Ge, at, 0.0)?, cx.binary(ScalarOp::Le, at, last)?);
        Some(cx.binary(ScalarOp::And, low, high)?)
    } else {
        None
    };
    // Also what is not used has to be a valid index.
    let at = cx.with_const(ScalarOp::Max, at, 0.0)?;
    let at = cx.binary(ScalarOp::Min, at, last)?;
    Ok(Tap { index: cx.cast(at, DType::I64)?, weight, inside })
}

/// A place moved to the border or mirrored until it lies inside.
fn moved_inside(cx: &mut Cx, place: ValueId, size: &Dim, outside: Outside) -> Lowered<ValueId> {
    let dtype = cx.dtype(place);
    let last = cx.size_scalar(&(size.clone() - Dim::ONE), dtype)?;
    let Outside::Reflection { aligned } = outside else {
        if outside == Outside::Zeros {
            return Ok(place);
        }
        let place = cx.with_const(ScalarOp::Max, place, 0.0)?;
        return Ok(cx.binary(ScalarOp::Min, place, last)?);
    };
    // A wave of twice the span: forth, then back.
    let (low, span) = if aligned { (0.0, last) } else { (-0.5, cx.size_scalar(size, dtype)?) };
    let period = cx.with_const(ScalarOp::Mul, span, 2.0)?;
    let period = cx.with_const(ScalarOp::Max, period, 1.0)?;
    let offset = cx.with_const(ScalarOp::Sub, place, low)?;
    let wave = cx.binary(ScalarOp::Mod, offset, period)?;
    let back = cx.binary(ScalarOp::Sub, period, wave)?;
    let folded = cx.binary(ScalarOp::Min, wave, back)?;
    cx.with_const(ScalarOp::Add, folded, low)
}

fn grid_sample(cx: &mut Cx) -> Lowered {
    let mode = match cx.attrs.string_or("mode", if cx.version < 20 { "bilinear" } else { "linear" })? {
        "linear" | "bilinear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        "cubic" | "bicubic" => Mode::Cubic,
        other => unsupported!("attribute \"mode\" is unknown: \"{other}\""),
    };
    let aligned = cx.attrs.flag_or("align_corners", false)?;
    let outside = match cx.attrs.string_or("padding_mode", "zeros")? {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection { aligned },
        other => unsupported!("attribute \"padding_mode\" is unknown: \"{other}\""),
    };
    let (x, grid) = (cx.required(0)?, cx.required(1)?);
    let (shape, grid_shape, dtype) = (cx.shape(x), cx.shape(grid), cx.dtype(x));
    let n = shape.len().saturating_sub(2);
    if n == 0 || grid_shape.len() != n + 2 {
        unsupported!("a grid for {} must have rank {}, found {}", cx.graph.ty(x), n + 2, cx.graph.ty(grid));
    }
    let wide = if cx.dtype(grid) == DType::F64 { DType::F64 } else { DType::F32 };
    let grid = cx.cast(grid, wide)?;
    let count = Dim::product(&grid_shape[1..=n]);
    let mut places = Vec::new();
    for (i, size) in shape[2..].iter().enumerate() {
        // The last coordinate belongs to the first spatial axis.
        let part = cx.slice_axis(grid, n + 1, Dim::len(n - 1 - i), Dim::ONE)?;
        let part = cx.reshape(part, &[grid_shape[0].clone(), count.clone()])?;
        let up = cx.with_const(ScalarOp::Add, part, 1.0)?;
        let half = if aligned {
            let span = cx.size_scalar(&(size.clone() - Dim::ONE), wide)?;
            cx.binary(ScalarOp::Mul, up, span)?
        } else {
            let span = cx.size_scalar(size, wide)?;
            let scaled = cx.binary(ScalarOp::Mul, up, span)?;
            cx.with_const(ScalarOp::Sub, scaled, 1.0)?
        };
        places.push(cx.with_const(ScalarOp::Mul, half, 0.5)?);
    }
    let image = if dtype.is_float() { x } else { cx.cast(x, DType::F64)? };
    let y = sample(cx, image, &places, mode, outside)?;
    let out = [&shape[..2], &grid_shape[1..=n]].concat();
    let y = cx.reshape(y, &out)?;
    let y = cx.cast(y, dtype)?;
    cx.done(y)
}

fn affine_grid(cx: &mut Cx) -> Lowered {
    let aligned = cx.attrs.flag_or("align_corners", false)?;
    let (theta, size) = (cx.required(0)?, cx.required(1)?);
    let size = cx.sizes_of(size)?;
    let n = size.len().saturating_sub(2);
    cx.expect_rank("the matrices", theta, 3)?;
    let (batch, dtype) = (cx.dim(theta, 0), cx.dtype(theta));
    let columns = |cx: &mut Cx, i: usize| -> Lowered<ValueId> {
        let column = cx.slice_axis(theta, 2, Dim::len(i), Dim::ONE)?;
        let mut shape = vec![Dim::ONE; n + 2];
        shape[0] = batch.clone();
        shape[n + 1] = Dim::len(n);
        Ok(cx.reshape(column, &shape)?)
    };
    let mut sum = columns(cx, n)?;
    for i in 0..n {
        let axis = n - 1 - i;
        let line = &size[2 + axis];
        let at = cx.iota(std::slice::from_ref(line), 0, dtype)?;
        let length = cx.size_scalar(line, dtype)?;
        // Centers of pixels, or evenly from -1 to 1.
        let place = if aligned {
            let last = cx.with_const(ScalarOp::Sub, length, 1.0)?;
            let unit = cx.binary(ScalarOp::Div, at, last)?;
            cx.affine(unit, 2.0, -1.0)?
        } else {
            let center = cx.affine(at, 2.0, 1.0)?;
            let unit = cx.binary(ScalarOp::Div, center, length)?;
            cx.with_const(ScalarOp::Sub, unit, 1.0)?
        };
        let mut shape = vec![Dim::ONE; n + 2];
        shape[1 + axis] = line.clone();
        let place = cx.reshape(place, &shape)?;
        let column = columns(cx, i)?;
        let part = cx.binary(ScalarOp::Mul, place, column)?;
        sum = cx.binary(ScalarOp::Add, sum, part)?;
    }
    let shape = [&[batch], &size[2..], &[Dim::len(n)]].concat();
    let y = cx.broadcast(sum, &shape)?;
    cx.done(y)
}

fn deform_conv(cx: &mut Cx) -> Lowered {
    let (x, w, offset) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let (bias, mask) = (cx.input(3)?, cx.input(4)?);
    let shape = cx.shape(x);
    let n = shape.len().saturating_sub(2);
    cx.expect_rank("the weight", w, n + 2)?;
    cx.expect_rank("the offset", offset, n + 2)?;
    cx.attrs.ints("kernel_shape")?;
    let (groups, parts) = (cx.attrs.int_or("group", 1)?, cx.attrs.int_or("offset_group", 1)?);
    let (weights, moved) = (cx.shape(w), cx.shape(offset));
    let (kernel, output) = (&weights[2..], &moved[2..]);
    let (taps, count) = (Dim::product(kernel), Dim::product(output));
    let (strides, dilations) = (spatial_ints(cx, "strides", n)?, spatial_ints(cx, "dilations", n)?);
    let (pads, _) = super::conv::pads(cx, n)?;
    // Offsets as [N, parts, taps, axis, places].
    let part = Dim::int(parts);
    let five = [shape[0].clone(), part.clone(), taps.clone(), Dim::len(n), count.clone()];
    let offset = cx.reshape(offset, &five)?;
    let batch = shape[0].clone() * part.clone();
    let mut places = Vec::new();
    for i in 0..n {
        let own = cx.slice_axis(offset, 3, Dim::len(i), Dim::ONE)?;
        let own = cx.reshape(own, &[shape[0].clone(), part.clone(), taps.clone(), count.clone()])?;
        let dtype = cx.dtype(own);
        let tap = cx.iota(kernel, i, dtype)?;
        let tap = cx.reshape(tap, &[taps.clone(), Dim::ONE])?;
        let tap = cx.with_const(ScalarOp::Mul, tap, dilations[i] as f64)?;
        let start = cx.iota(output, i, dtype)?;
        let start = cx.reshape(start, std::slice::from_ref(&count))?;
        let low = pads[i].as_const().unwrap_or(0) as f64;
        let start = cx.affine(start, strides[i] as f64, -low)?;
        let regular = cx.binary(ScalarOp::Add, tap, start)?;
        let place = cx.binary(ScalarOp::Add, own, regular)?;
        places.push(cx.reshape(place, &[batch.clone(), taps.clone() * count.clone()])?);
    }
    let per_part = shape[1].floor_div(&part);
    let image = cx.reshape(x, &[&[batch, per_part.clone()], &shape[2..]].concat())?;
    let samples = sample(cx, image, &places, Mode::Linear, Outside::Zeros)?;
    let split = [shape[0].clone(), part.clone(), per_part, taps.clone(), count.clone()];
    let mut samples = cx.reshape(samples, &split)?;
    if let Some(mask) = mask {
        let mask = cx.reshape(mask, &[shape[0].clone(), part, Dim::ONE, taps.clone(), count.clone()])?;
        samples = cx.binary(ScalarOp::Mul, samples, mask)?;
    }
    let g = Dim::int(groups);
    let inner = shape[1].floor_div(&g);
    let samples = cx.reshape(samples, &[shape[0].clone(), g.clone(), inner.clone(), taps.clone(), count])?;
    let w = cx.reshape(w, &[g.clone(), weights[0].floor_div(&g), inner, taps])?;
    let y = cx.contract("ngckp", "gdck", "ngdp", samples, w)?;
    let y = cx.reshape(y, &[&[shape[0].clone(), weights[0].clone()], output].concat())?;
    let y = match bias {
        Some(b) => {
            let b = super::conv::along(cx, b, 1, n + 2)?;
            cx.binary(ScalarOp::Add, y, b)?
        }
        None => y,
    };
    cx.done(y)
}
