//! Pools over regions of interest, and the inverses of pools and of cutting into columns.

use super::conv::{extent, pads, spatial_ints, zeros};
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Col2Im", &[18], "columns of blocks added up to an image", col2im),
    onnx("MaxRoiPool", &[1, 22], "largest in each cell of regions of whole pixels", max_roi_pool),
    onnx("MaxUnpool", &[9, 11, 22], "elements put back where a pool found them, zeros elsewhere", max_unpool),
    onnx("RoiAlign", &[10, 16, 22], "mean or maximum of samples in each cell of regions", roi_align),
];

/// A transposed convolution whose kernel puts each column's element in its place.
fn col2im(cx: &mut Cx) -> Lowered {
    let (x, image, block) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    cx.expect_rank("the input", x, 3)?;
    let (image, block) = (cx.sizes_of(image)?, cx.sizes_of(block)?);
    let n = image.len();
    if block.len() != n {
        unsupported!("{} block sizes for {n} image sizes", block.len());
    }
    let (strides, dilations) = (spatial_ints(cx, "strides", n)?, spatial_ints(cx, "dilations", n)?);
    let (low, high) = pads(cx, n)?;
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let taps = Dim::product(&block);
    let channels = cx.simplify(&shape[1].floor_div(&taps));
    let groups = cx.fixed("the number of channels", &channels)?;
    let mut split = vec![shape[0].clone(), shape[1].clone()];
    for i in 0..n {
        let free = image[i].clone() + low[i].clone() + high[i].clone() - extent(&block[i], dilations[i]);
        split.push(free.floor_div(&Dim::int(strides[i])) + Dim::ONE);
    }
    let x = cx.reshape(x, &split)?;
    let square = [channels.clone(), taps.clone(), taps.clone()];
    let (row, column) = (cx.iota(&square, 1, DType::I64)?, cx.iota(&square, 2, DType::I64)?);
    let hit = cx.binary(ScalarOp::Eq, row, column)?;
    let hit = cx.cast(hit, dtype)?;
    let weight = cx.reshape(hit, &[&[channels.clone() * taps, Dim::ONE], block.as_slice()].concat())?;
    let bias = zeros(cx, dtype, &[channels])?;
    let attrs = attrs! {
        strides: Attr::Ints(strides), dilations: Attr::Ints(dilations), pads_low: Attr::Dims(low),
        output: Attr::Dims(image), groups: Attr::Int(groups as i64), channels_last: Attr::Int(0)
    };
    let y = cx.one("conv_transpose", attrs, &[x, weight, bias])?;
    cx.done(y)
}

fn max_unpool(cx: &mut Cx) -> Lowered {
    let (x, indices) = (cx.required(0)?, cx.required(1)?);
    let kernel = cx.attrs.required("kernel_shape", cx.attrs.ints("kernel_shape"))?;
    let (shape, dtype, n) = (cx.shape(x), cx.dtype(x), kernel.len());
    if shape.len() != n + 2 {
        unsupported!("attribute \"kernel_shape\" does not fit {}", cx.graph.ty(x));
    }
    let strides = spatial_ints(cx, "strides", n)?;
    let (low, high) = pads(cx, n)?;
    let mut whole = shape[..2].to_vec();
    for i in 0..n {
        let span = (shape[i + 2].clone() - Dim::ONE) * Dim::int(strides[i]) + Dim::int(kernel[i]);
        whole.push(span - low[i].clone() - high[i].clone());
    }
    let blank = cx.splat(dtype, 0.0, &[Dim::product(&whole)])?;
    let count = [Dim::product(&shape)];
    let (values, places) = (cx.reshape(x, &count)?, cx.reshape(indices, &count)?);
    let attrs = attrs! { axis: Attr::Int(0), reduction: Attr::Str("none".into()) };
    let y = cx.one("scatter_elements", attrs, &[blank, places, values])?;
    let y = cx.reshape(y, &whole)?;
    let Some(wanted) = cx.input(2)? else { return cx.done(y) };
    let wanted = cx.sizes_of(wanted)?;
    let high = wanted.iter().zip(&whole).map(|(w, h)| cx.simplify(&(w.clone() - h.clone()))).collect();
    let zero = cx.scalar(dtype, 0.0)?;
    let attrs = attrs! {
        low: Attr::Dims(vec![Dim::ZERO; n + 2]), high: Attr::Dims(high), mode: Attr::Str("constant".into())
    };
    let y = cx.one("pad", attrs, &[y, zero])?;
    cx.done(y)
}

/// A column of a matrix `[R, k]`, as `[R]`.
fn column(cx: &mut Cx, x: ValueId, i: usize) -> Lowered<ValueId> {
    let (rows, part) = (cx.dim(x, 0), cx.slice_axis(x, 1, Dim::len(i), Dim::ONE)?);
    Ok(cx.reshape(part, &[rows])?)
}

/// A vector placed along one axis of a tensor of some rank.
fn spread(cx: &mut Cx, v: ValueId, axis: usize, rank: usize) -> Lowered<ValueId> {
    let mut shape = vec![Dim::ONE; rank];
    shape[axis] = cx.dim(v, 0);
    Ok(cx.reshape(v, &shape)?)
}

/// The largest over an axis where a mask holds; `x` and the mask are broadcast.
fn masked_max(cx: &mut Cx, x: ValueId, mask: ValueId, axis: usize) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    let low = cx.scalar(dtype, f64::NEG_INFINITY)?;
    let kept = cx.select(mask, x, low)?;
    Ok(cx.reduce("max", kept, &[axis])?)
}

fn max_roi_pool(cx: &mut Cx) -> Lowered {
    let (x, rois) = (cx.required(0)?, cx.required(1)?);
    cx.expect_rank("the input", x, 4)?;
    cx.expect_rank("the regions", rois, 2)?;
    let scale = cx.number("spatial_scale", 1.0)?;
    let [ph, pw] = *cx.attrs.required("pooled_shape", cx.attrs.ints("pooled_shape"))? else {
        unsupported!("attribute \"pooled_shape\" must hold 2 numbers");
    };
    let batch = column(cx, rois, 0)?;
    let batch = cx.cast(batch, DType::I64)?;
    let images = cx.one("gather", attrs! { axis: Attr::Int(0) }, &[x, batch])?;
    // [R, C, H, 1, W] over the cells of the width, then [R, C, 1, H, PW] over those of the height.
    let across = roi_cells(cx, rois, [1, 3], scale, pw, &cx.dim(x, 3))?;
    let across = cx.unsqueeze(across, &[1, 2])?;
    let wide = cx.unsqueeze(images, &[3])?;
    let rows = masked_max(cx, wide, across, 4)?;
    let down = roi_cells(cx, rois, [2, 4], scale, ph, &cx.dim(x, 2))?;
    let down = cx.unsqueeze(down, &[1, 4])?;
    let tall = cx.unsqueeze(rows, &[2])?;
    let y = masked_max(cx, tall, down, 3)?;
    // Cells without pixels are zero.
    let empty = cx.with_const(ScalarOp::Eq, y, f64::NEG_INFINITY)?;
    let dtype = cx.dtype(y);
    let zero = cx.scalar(dtype, 0.0)?;
    let y = cx.select(empty, zero, y)?;
    cx.done(y)
}

/// Which pixels of an axis belong to each cell: `[R, cells, size]`.
fn roi_cells(
    cx: &mut Cx,
    rois: ValueId,
    [from, to]: [usize; 2],
    scale: f64,
    cells: i64,
    size: &Dim,
) -> Lowered<ValueId> {
    let mut ends = [rois; 2];
    for (end, i) in ends.iter_mut().zip([from, to]) {
        let c = column(cx, rois, i)?;
        let c = cx.cast(c, DType::F32)?;
        let c = cx.with_const(ScalarOp::Mul, c, scale)?;
        // Halves go away from zero; coordinates are not negative.
        let c = cx.with_const(ScalarOp::Add, c, 0.5)?;
        let c = cx.unary(ScalarOp::Floor, c)?;
        *end = spread(cx, c, 0, 3)?;
    }
    let span = cx.binary(ScalarOp::Sub, ends[1], ends[0])?;
    let span = cx.with_const(ScalarOp::Add, span, 1.0)?;
    let span = cx.with_const(ScalarOp::Max, span, 1.0)?;
    let bin = cx.with_const(ScalarOp::Div, span, cells as f64)?;
    let cell = cx.iota(&[Dim::int(cells)], 0, DType::F32)?;
    let cell = spread(cx, cell, 1, 3)?;
    let low = cx.binary(ScalarOp::Mul, cell, bin)?;
    let low = cx.unary(ScalarOp::Floor, low)?;
    let low = cx.binary(ScalarOp::Add, low, ends[0])?;
    let next = cx.with_const(ScalarOp::Add, cell, 1.0)?;
    let high = cx.binary(ScalarOp::Mul, next, bin)?;
    let high = cx.unary(ScalarOp::Ceil, high)?;
    let high = cx.binary(ScalarOp::Add, high, ends[0])?;
    let pixel = cx.iota(std::slice::from_ref(size), 0, DType::F32)?;
    let pixel = spread(cx, pixel, 2, 3)?;
    let (after, before) = (cx.binary(ScalarOp::Ge, pixel, low)?, cx.binary(ScalarOp::Lt, pixel, high)?);
    Ok(cx.binary(ScalarOp::And, after, before)?)
}

/// Samples along one axis of all regions, each `[R, cells, samples]`.
struct Line {
    low: ValueId,
    high: ValueId,
    /// Weights of the lower and the higher pixel, 0 where there is no sample.
    weights: [ValueId; 2],
    /// Number of samples of each region, `[R]`.
    count: ValueId,
    /// Whether a sample is one of the region's.
    used: ValueId,
}

fn roi_align(cx: &mut Cx) -> Lowered {
    let (x, rois, batch) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    cx.expect_rank("the input", x, 4)?;
    cx.expect_rank("the regions", rois, 2)?;
    let largest = match cx.attrs.string_or("mode", "avg")?.to_ascii_lowercase().as_str() {
        "avg" => false,
        "max" => true,
        other => unsupported!("attribute \"mode\" must be \"avg\" or \"max\", found \"{other}\""),
    };
    let default = if cx.version < 16 { "output_half_pixel" } else { "half_pixel" };
    let shifted = match cx.attrs.string_or("coordinate_transformation_mode", default)? {
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => unsupported!("attribute \"coordinate_transformation_mode\" is unknown: \"{other}\""),
    };
    let scale = cx.number("spatial_scale", 1.0)?;
    let ratio = cx.attrs.int_or("sampling_ratio", 0)?;
    let (oh, ow) = (cx.attrs.int_or("output_height", 1)?, cx.attrs.int_or("output_width", 1)?);
    let style = RoiStyle { scale, ratio, shifted };
    let down = line(cx, rois, [1, 3], &style, oh, &cx.dim(x, 2))?;
    let across = line(cx, rois, [0, 2], &style, ow, &cx.dim(x, 3))?;
    let last = cx.transpose(x, &[0, 2, 3, 1])?;
    let batch = cx.cast(batch, DType::I64)?;
    let batch = spread(cx, batch, 0, 5)?;
    // Corners of [R, PH, SH, PW, SW, C].
    let mut parts = Vec::new();
    for (h, h_weight) in [(down.low, down.weights[0]), (down.high, down.weights[1])] {
        for (w, w_weight) in [(across.low, across.weights[0]), (across.high, across.weights[1])] {
            let (h, hw) = (cx.unsqueeze(h, &[3, 4])?, cx.unsqueeze(h_weight, &[3, 4])?);
            let (w, ww) = (cx.unsqueeze(w, &[1, 2])?, cx.unsqueeze(w_weight, &[1, 2])?);
            let pixels = corner(cx, last, [batch, h, w])?;
            let weight = cx.binary(ScalarOp::Mul, hw, ww)?;
            let weight = cx.unsqueeze(weight, &[5])?;
            let dtype = cx.dtype(pixels);
            let weight = cx.cast(weight, dtype)?;
            parts.push(cx.binary(ScalarOp::Mul, pixels, weight)?);
        }
    }
    let y = if largest {
        largest_sample(cx, &parts, &down, &across)?
    } else {
        mean_sample(cx, &parts, &down, &across)?
    };
    let y = cx.transpose(y, &[0, 3, 1, 2])?;
    cx.done(y)
}

struct RoiStyle {
    scale: f64,
    ratio: i64,
    shifted: bool,
}

fn line(
    cx: &mut Cx,
    rois: ValueId,
    ends: [usize; 2],
    style: &RoiStyle,
    cells: i64,
    size: &Dim,
) -> Lowered<Line> {
    let offset = if style.shifted { 0.5 } else { 0.0 };
    let mut bounds = [rois; 2];
    for (bound, i) in bounds.iter_mut().zip(ends) {
        let c = column(cx, rois, i)?;
        let c = cx.cast(c, DType::F32)?;
        *bound = cx.affine(c, style.scale, -offset)?;
    }
    let mut span = cx.binary(ScalarOp::Sub, bounds[1], bounds[0])?;
    if !style.shifted {
        span = cx.with_const(ScalarOp::Max, span, 1.0)?;
    }
    let bin = cx.with_const(ScalarOp::Div, span, cells as f64)?;
    let (count, most) = sample_counts(cx, bin, style.ratio)?;
    let (start, wide, n) = (spread(cx, bounds[0], 0, 3)?, spread(cx, bin, 0, 3)?, spread(cx, count, 0, 3)?);
    let cell = cx.iota(&[Dim::int(cells)], 0, DType::F32)?;
    let cell = spread(cx, cell, 1, 3)?;
    let sample = cx.iota(&[most], 0, DType::F32)?;
    let sample = spread(cx, sample, 2, 3)?;
    let used = cx.binary(ScalarOp::Lt, sample, n)?;
    let center = cx.with_const(ScalarOp::Add, sample, 0.5)?;
    let center = cx.binary(ScalarOp::Mul, center, wide)?;
    let center = cx.binary(ScalarOp::Div, center, n)?;
    let base = cx.binary(ScalarOp::Mul, cell, wide)?;
    let base = cx.binary(ScalarOp::Add, start, base)?;
    let place = cx.binary(ScalarOp::Add, base, center)?;
    between(cx, place, size, count, used)
}

/// Samples an axis of a cell: as many as asked for, or as its size rounded up; and the most of all regions.
fn sample_counts(cx: &mut Cx, bin: ValueId, ratio: i64) -> Lowered<(ValueId, Dim)> {
    if ratio > 0 {
        let rows = cx.dim(bin, 0);
        return Ok((cx.splat(DType::F32, ratio as f64, &[rows])?, Dim::int(ratio)));
    }
    let count = cx.unary(ScalarOp::Ceil, bin)?;
    let count = cx.with_const(ScalarOp::Max, count, 0.0)?;
    let most = cx.reduce("max", count, &[0])?;
    let most = cx.with_const(ScalarOp::Max, most, 0.0)?;
    let most = cx.cast(most, DType::I64)?;
    let most = cx.sizes_of(most)?.remove(0);
    Ok((count, most))
}

/// The two pixels around each place and their weights.
fn between(cx: &mut Cx, place: ValueId, size: &Dim, count: ValueId, used: ValueId) -> Lowered<Line> {
    let length = cx.size_scalar(size, DType::F32)?;
    let last = cx.with_const(ScalarOp::Sub, length, 1.0)?;
    let (after, before) =
        (cx.with_const(ScalarOp::Ge, place, -1.0)?, cx.binary(ScalarOp::Le, place, length)?);
    let inside = cx.binary(ScalarOp::And, after, before)?;
    let inside = cx.binary(ScalarOp::And, inside, used)?;
    let place = cx.with_const(ScalarOp::Max, place, 0.0)?;
    let place = cx.binary(ScalarOp::Min, place, last)?;
    let low = cx.unary(ScalarOp::Floor, place)?;
    let rest = cx.binary(ScalarOp::Sub, place, low)?;
    let high = cx.with_const(ScalarOp::Add, low, 1.0)?;
    let high = cx.binary(ScalarOp::Min, high, last)?;
    let zero = cx.scalar(DType::F32, 0.0)?;
    let near = cx.affine(rest, -1.0, 1.0)?;
    let weights = [cx.select(inside, near, zero)?, cx.select(inside, rest, zero)?];
    let (low, high) = (cx.cast(low, DType::I64)?, cx.cast(high, DType::I64)?);
    Ok(Line { low, high, weights, count, used })
}

/// Pixels `[R, PH, SH, PW, SW, C]` of images `[N, H, W, C]` at three coordinates.
fn corner(cx: &mut Cx, x: ValueId, at: [ValueId; 3]) -> Lowered<ValueId> {
    let shape = cx.common_shape(&at)?;
    let mut columns = Vec::new();
    for v in at {
        let v = cx.broadcast(v, &shape)?;
        columns.push(cx.unsqueeze(v, &[5])?);
    }
    let at = cx.concat(&columns, 5)?;
    Ok(cx.one("gather_nd", attrs! { batch_dims: Attr::Int(0) }, &[x, at])?)
}

fn mean_sample(cx: &mut Cx, parts: &[ValueId], down: &Line, across: &Line) -> Lowered<ValueId> {
    let mut sum = parts[0];
    for part in &parts[1..] {
        sum = cx.binary(ScalarOp::Add, sum, *part)?;
    }
    let sum = cx.reduce("sum", sum, &[2, 4])?;
    let count = cx.binary(ScalarOp::Mul, down.count, across.count)?;
    let count = cx.with_const(ScalarOp::Max, count, 1.0)?;
    let count = spread(cx, count, 0, 4)?;
    let dtype = cx.dtype(sum);
    let count = cx.cast(count, dtype)?;
    Ok(cx.binary(ScalarOp::Div, sum, count)?)
}

/// The largest weighted pixel of a cell, as the standard's reference takes it; 0 without samples.
fn largest_sample(cx: &mut Cx, parts: &[ValueId], down: &Line, across: &Line) -> Lowered<ValueId> {
    let mut most = parts[0];
    for part in &parts[1..] {
        most = cx.binary(ScalarOp::Max, most, *part)?;
    }
    let (h, w) = (cx.unsqueeze(down.used, &[3, 4, 5])?, cx.unsqueeze(across.used, &[1, 2, 5])?);
    let used = cx.binary(ScalarOp::And, h, w)?;
    let dtype = cx.dtype(most);
    let low = cx.scalar(dtype, f64::NEG_INFINITY)?;
    let most = cx.select(used, most, low)?;
    let y = cx.reduce("max", most, &[2, 4])?;
    let none = cx.with_const(ScalarOp::Eq, y, f64::NEG_INFINITY)?;
    let zero = cx.scalar(dtype, 0.0)?;
    Ok(cx.select(none, zero, y)?)
}
