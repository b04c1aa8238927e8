//! Resizing, one axis after the other: each output element is a weighted sum of a few input elements.
//!
//! Places and weights are computed in the graph from the index along the axis, so that sizes may be
//! symbols; where they are numbers, everything folds to constants. A scale is kept as a fraction of two
//! numbers, since a rounded quotient would move places that lie exactly on an element.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Resize", &[10, 11, 13, 18, 19], "resized by nearest, linear or cubic interpolation", resize),
    onnx("Upsample", &[1, 7, 9, 10], "older form of Resize: asymmetric, nearest or linear", |cx| {
        let scales = match cx.version {
            1 => {
                let (h, w) = (cx.attrs.float("height_scale")?, cx.attrs.float("width_scale")?);
                vec![1.0, 1.0, h.unwrap_or(1.0), w.unwrap_or(1.0)]
            }
            7 => cx.attrs.required("scales", cx.attrs.floats("scales"))?.to_vec(),
            _ => known_scales(cx, 1)?,
        };
        let mode = match cx.attrs.string_or("mode", "nearest")? {
            "linear" | "bilinear" => Mode::Linear,
            "nearest" => Mode::Nearest,
            other => unsupported!("attribute \"mode\" is unknown: \"{other}\""),
        };
        let x = cx.required(0)?;
        let style = Style { mode, ..Style::old() };
        let y = by_scales(cx, x, &scales, &style)?;
        cx.done(y)
    }),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// Everything about the interpolation that is the same for all axes.
struct Style<'a> {
    mode: Mode,
    coordinates: &'a str,
    nearest: &'a str,
    cubic_a: f64,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f64,
}

impl Style<'_> {
    /// What the operators before version 11 mean.
    fn old() -> Style<'static> {
        Style {
            mode: Mode::Nearest,
            coordinates: "asymmetric",
            nearest: "floor",
            cubic_a: -0.75,
            antialias: false,
            exclude_outside: false,
            extrapolation: 0.0,
        }
    }
}

/// One axis to be resized.
struct Axis {
    axis: usize,
    input: Dim,
    output: Dim,
    /// The scale as a fraction.
    scale: (Dim, Dim),
    /// The same as a number, where known.
    factor: Option<f64>,
    /// Start and end of the region, as fractions of the axis.
    roi: Option<(f64, f64)>,
}

fn style<'m>(cx: &Cx<'_, '_, 'm>) -> Lowered<Style<'m>> {
    let mode = match cx.attrs.string_or("mode", "nearest")? {
        "nearest" => Mode::Nearest,
        "linear" => Mode::Linear,
        "cubic" => Mode::Cubic,
        other => unsupported!("attribute \"mode\" is unknown: \"{other}\""),
    };
    if cx.version < 11 {
        return Ok(Style { mode, ..Style::old() });
    }
    Ok(Style {
        mode,
        coordinates: cx.attrs.string_or("coordinate_transformation_mode", "half_pixel")?,
        nearest: cx.attrs.string_or("nearest_mode", "round_prefer_floor")?,
        cubic_a: cx.number("cubic_coeff_a", -0.75)?,
        antialias: cx.attrs.flag_or("antialias", false)?,
        exclude_outside: cx.attrs.flag_or("exclude_outside", false)?,
        extrapolation: cx.number("extrapolation_value", 0.0)?,
    })
}

fn known_scales(cx: &mut Cx, i: usize) -> Lowered<Vec<f32>> {
    match cx.const_numbers(i)? {
        Some(numbers) => Ok(numbers.into_iter().map(|v| v as f32).collect()),
        None => unsupported!("input {i} (scales) is missing"),
    }
}

fn resize(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let style = style(cx)?;
    let policy = cx.attrs.string_or("keep_aspect_ratio_policy", "stretch")?;
    if cx.version < 11 {
        let scales = known_scales(cx, 1)?;
        let y = by_scales(cx, x, &scales, &style)?;
        return cx.done(y);
    }
    let axes = match cx.attrs.ints("axes")? {
        Some(axes) => axes.iter().map(|a| normal_axis(*a, rank)).collect::<Lowered<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    // Exporters leave out scales by an empty tensor.
    let given = |cx: &Cx, v: Option<ValueId>| v.filter(|v| !cx.graph.tensor_ty(*v).elems().is(0));
    let (scales, sizes) = (given(cx, cx.input(2)?), given(cx, cx.input(3)?));
    let mut plan = match (scales, sizes) {
        (_, Some(sizes)) => {
            let sizes = cx.dims_of(sizes)?;
            axes_by_sizes(cx, x, &axes, &sizes, policy)?
        }
        (Some(scales), None) => axes_by_scale_value(cx, x, &axes, scales)?,
        (None, None) => unsupported!("neither scales nor sizes are given"),
    };
    if style.coordinates == "tf_crop_and_resize" {
        let Some(roi) = cx.const_numbers(1)?.filter(|r| r.len() == 2 * axes.len()) else {
            unsupported!("input 1 (roi) must be constant with two numbers per axis");
        };
        for (i, axis) in plan.iter_mut().enumerate() {
            axis.roi = Some((roi[i], roi[axes.len() + i]));
        }
    }
    let y = resized(cx, x, plan, &style)?;
    cx.done(y)
}

/// The axes as output sizes given outright, stretched or at one ratio.
fn axes_by_sizes(cx: &Cx, x: ValueId, axes: &[usize], sizes: &[Dim], policy: &str) -> Lowered<Vec<Axis>> {
    if sizes.len() != axes.len() {
        unsupported!("{} sizes for {} axes", sizes.len(), axes.len());
    }
    let pairs = || axes.iter().zip(sizes).map(|(a, s)| (*a, cx.dim(x, *a), s.clone()));
    if policy == "stretch" {
        return Ok(pairs()
            .map(|(axis, input, output)| {
                let scale = (output.clone(), input.clone());
                let factor = output.as_const().zip(input.as_const()).map(|(o, i)| o as f64 / i as f64);
                Axis { axis, input, output, scale, factor, roi: None }
            })
            .collect());
    }
    let larger = match policy {
        "not_larger" => false,
        "not_smaller" => true,
        other => unsupported!("attribute \"keep_aspect_ratio_policy\" is unknown: \"{other}\""),
    };
    let mut best: Option<(i64, i64)> = None;
    for (_, input, output) in pairs() {
        let (Some(i), Some(o)) = (input.as_const(), output.as_const()) else {
            unsupported!("keeping the aspect ratio needs sizes that are known at compile time");
        };
        let better = best.is_none_or(|(n, d)| if larger { o * d > n * i } else { o * d < n * i });
        best = if better { Some((o, i)) } else { best };
    }
    let (n, d) = best.unwrap_or((1, 1));
    Ok(pairs()
        .map(|(axis, input, _)| {
            // Rounded, halves up.
            let two = Dim::int(2);
            let output = (input.clone() * Dim::int(2 * n) + Dim::int(d)).floor_div(&(two * Dim::int(d)));
            let factor = Some(n as f64 / d as f64);
            Axis { axis, input, output, scale: (Dim::int(n), Dim::int(d)), factor, roi: None }
        })
        .collect())
}

fn axes_by_scale_value(cx: &mut Cx, x: ValueId, axes: &[usize], scales: ValueId) -> Lowered<Vec<Axis>> {
    if let Some(t) = cx.constant_of(scales) {
        let scales: Vec<f32> = t.to_f64s().into_iter().map(|v| v as f32).collect();
        return axes_by_scales(cx, x, axes, &scales);
    }
    // Sizes are found at run time; places follow from the quotient of sizes.
    let shape = cx.shape(x);
    let dims = cx.dims(axes.iter().map(|a| shape[*a].clone()).collect())?;
    let dtype = cx.dtype(scales);
    let dims = cx.cast(dims, dtype)?;
    let sizes = cx.binary(ScalarOp::Mul, dims, scales)?;
    let sizes = cx.unary(ScalarOp::Floor, sizes)?;
    let sizes = cx.cast(sizes, DType::I64)?;
    let sizes = cx.dims_of(sizes)?;
    axes_by_sizes(cx, x, axes, &sizes, "stretch")
}

fn axes_by_scales(cx: &Cx, x: ValueId, axes: &[usize], scales: &[f32]) -> Lowered<Vec<Axis>> {
    if scales.len() != axes.len() {
        unsupported!("{} scales for {} axes", scales.len(), axes.len());
    }
    let mut plan = Vec::new();
    for (axis, scale) in axes.iter().zip(scales) {
        if !scale.is_finite() || *scale <= 0.0 {
            unsupported!("scales must be positive, found {scale}");
        }
        let (n, d) = fraction(*scale);
        let input = cx.dim(x, *axis);
        let output = (input.clone() * Dim::int(n)).floor_div(&Dim::int(d));
        let scale = (Dim::int(n), Dim::int(d));
        plan.push(Axis { axis: *axis, input, output, scale, factor: Some(n as f64 / d as f64), roi: None });
    }
    Ok(plan)
}

/// The simplest fraction that rounds to the number, else one over a power of two.
fn fraction(x: f32) -> (i64, i64) {
    for d in 1..=4096i64 {
        let n = (f64::from(x) * d as f64).round();
        if n >= 1.0 && n < 1e15 && (n / d as f64) as f32 == x {
            return (n as i64, d);
        }
    }
    let d = 1i64 << 32;
    (((f64::from(x) * d as f64).round() as i64).max(1), d)
}

fn by_scales(cx: &mut Cx, x: ValueId, scales: &[f32], style: &Style) -> Lowered<ValueId> {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let plan = axes_by_scales(cx, x, &axes, scales)?;
    resized(cx, x, plan, style)
}

fn resized(cx: &mut Cx, x: ValueId, plan: Vec<Axis>, style: &Style) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    let averaged = style.mode != Mode::Nearest;
    let mut y = if averaged && !dtype.is_float() { cx.cast(x, DType::F32)? } else { x };
    for axis in plan {
        let same = axis.input == axis.output && axis.scale.0 == axis.scale.1 && axis.roi.is_none();
        if same {
            continue;
        }
        y = match repeats(&axis, style) {
            Some(k) => repeat(cx, y, axis.axis, k)?,
            None => resize_axis(cx, y, &axis, style)?,
        };
    }
    Ok(cx.cast(y, dtype)?)
}

/// How often each element is repeated, where that is all there is to it.
fn repeats(axis: &Axis, style: &Style) -> Option<i64> {
    let (n, d) = &axis.scale;
    let k = n.floor_div(d).as_const().filter(|k| *k > 0 && d.clone() * Dim::int(*k) == *n)?;
    let rounded = style.nearest.starts_with("round");
    let plain = match style.coordinates {
        "asymmetric" | "tf_half_pixel_for_nn" => style.nearest == "floor",
        "half_pixel" | "half_pixel_symmetric" => rounded,
        "pytorch_half_pixel" => rounded && axis.output.as_const().is_none_or(|o| o > 1),
        _ => false,
    };
    (plain && style.mode == Mode::Nearest).then_some(k)
}

fn repeat(cx: &mut Cx, x: ValueId, axis: usize, k: i64) -> Lowered<ValueId> {
    let mut shape = cx.shape(x);
    let column = cx.unsqueeze(x, &[axis + 1])?;
    let mut wide = cx.shape(column);
    wide[axis + 1] = Dim::int(k);
    let wide = cx.broadcast(column, &wide)?;
    shape[axis] = shape[axis].clone() * Dim::int(k);
    Ok(cx.reshape(wide, &shape)?)
}

/// Where each output element lies among the input elements, as f64 along the axis.
fn places(cx: &mut Cx, axis: &Axis, style: &Style) -> Lowered<ValueId> {
    let at = cx.iota(std::slice::from_ref(&axis.output), 0, DType::F64)?;
    let one = Dim::ONE;
    let (input, output) = (axis.input.clone(), axis.output.clone());
    let single = output.is(1);
    match style.coordinates {
        "asymmetric" => unscaled(cx, at, axis),
        "tf_half_pixel_for_nn" => {
            let center = cx.with_const(ScalarOp::Add, at, 0.5)?;
            unscaled(cx, center, axis)
        }
        "pytorch_half_pixel" if single => cx.with_const(ScalarOp::Mul, at, 0.0),
        "half_pixel" | "pytorch_half_pixel" => half_pixel(cx, at, axis),
        "half_pixel_symmetric" => {
            let plain = half_pixel(cx, at, axis)?;
            // The center stays where it is: input/2 * (1 - output / (input * scale)).
            let exact = axis.scale.0.clone() * input.clone();
            let shown = cx.size_scalar(&(output * axis.scale.1.clone()), DType::F64)?;
            let exact = cx.size_scalar(&exact, DType::F64)?;
            let ratio = cx.binary(ScalarOp::Div, shown, exact)?;
            let rest = cx.affine(ratio, -1.0, 1.0)?;
            let half = cx.size_scalar(&input, DType::F64)?;
            let half = cx.with_const(ScalarOp::Mul, half, 0.5)?;
            let offset = cx.binary(ScalarOp::Mul, half, rest)?;
            Ok(cx.binary(ScalarOp::Add, plain, offset)?)
        }
        "align_corners" if single => cx.with_const(ScalarOp::Mul, at, 0.0),
        "align_corners" => ratio(cx, at, &(input - one.clone()), &(output - one)),
        "tf_crop_and_resize" => {
            let (start, end) = axis.roi.unwrap_or((0.0, 1.0));
            let last = cx.size_scalar(&(input - one.clone()), DType::F64)?;
            let unit = if single {
                cx.affine(at, 0.0, 0.5 * (start + end))?
            } else {
                let steps = cx.size_scalar(&(output - one), DType::F64)?;
                let unit = cx.with_const(ScalarOp::Mul, at, end - start)?;
                let unit = cx.binary(ScalarOp::Div, unit, steps)?;
                cx.with_const(ScalarOp::Add, unit, start)?
            };
            Ok(cx.binary(ScalarOp::Mul, unit, last)?)
        }
        other => unsupported!("attribute \"coordinate_transformation_mode\" is unknown: \"{other}\""),
    }
}

/// `at * n / d`, with one rounding where the product is exact.
fn ratio(cx: &mut Cx, at: ValueId, n: &Dim, d: &Dim) -> Lowered<ValueId> {
    let (n, d) = (cx.size_scalar(n, DType::F64)?, cx.size_scalar(d, DType::F64)?);
    let product = cx.binary(ScalarOp::Mul, at, n)?;
    Ok(cx.binary(ScalarOp::Div, product, d)?)
}

fn unscaled(cx: &mut Cx, at: ValueId, axis: &Axis) -> Lowered<ValueId> {
    ratio(cx, at, &axis.scale.1, &axis.scale.0)
}

fn half_pixel(cx: &mut Cx, at: ValueId, axis: &Axis) -> Lowered<ValueId> {
    let center = cx.with_const(ScalarOp::Add, at, 0.5)?;
    let center = unscaled(cx, center, axis)?;
    cx.with_const(ScalarOp::Sub, center, 0.5)
}

fn resize_axis(cx: &mut Cx, x: ValueId, axis: &Axis, style: &Style) -> Lowered<ValueId> {
    let at = places(cx, axis, style)?;
    let y = match style.mode {
        Mode::Nearest => {
            let nearest = nearest(cx, at, style.nearest)?;
            take(cx, x, axis, nearest)?
        }
        Mode::Linear | Mode::Cubic => weighted(cx, x, axis, at, style)?,
    };
    if style.coordinates != "tf_crop_and_resize" {
        return Ok(y);
    }
    let last = cx.size_scalar(&(axis.input.clone() - Dim::ONE), DType::F64)?;
    let (before, after) = (cx.with_const(ScalarOp::Lt, at, 0.0)?, cx.binary(ScalarOp::Gt, at, last)?);
    let outside = cx.binary(ScalarOp::Or, before, after)?;
    let outside = line(cx, outside, axis.axis, cx.rank(x))?;
    let dtype = cx.dtype(y);
    let fill = cx.scalar(dtype, style.extrapolation)?;
    Ok(cx.select(outside, fill, y)?)
}

fn nearest(cx: &mut Cx, at: ValueId, mode: &str) -> Lowered<ValueId> {
    Ok(match mode {
        "round_prefer_floor" => {
            let low = cx.with_const(ScalarOp::Sub, at, 0.5)?;
            cx.unary(ScalarOp::Ceil, low)?
        }
        "round_prefer_ceil" => {
            let high = cx.with_const(ScalarOp::Add, at, 0.5)?;
            cx.unary(ScalarOp::Floor, high)?
        }
        "floor" => cx.unary(ScalarOp::Floor, at)?,
        "ceil" => cx.unary(ScalarOp::Ceil, at)?,
        other => unsupported!("attribute \"nearest_mode\" is unknown: \"{other}\""),
    })
}

/// Elements at whole places, those outside moved to the border.
fn take(cx: &mut Cx, x: ValueId, axis: &Axis, at: ValueId) -> Lowered<ValueId> {
    let at = cx.cast(at, DType::I64)?;
    let at = cx.with_const(ScalarOp::Max, at, 0.0)?;
    let last = cx.size_scalar(&(axis.input.clone() - Dim::ONE), DType::I64)?;
    let at = cx.binary(ScalarOp::Min, at, last)?;
    Ok(cx.one("gather", attrs! { axis: Attr::Int(axis.axis as i64) }, &[x, at])?)
}

/// A vector along an axis of a tensor of some rank.
fn line(cx: &mut Cx, v: ValueId, axis: usize, rank: usize) -> Lowered<ValueId> {
    let mut shape = vec![Dim::ONE; rank];
    shape[axis] = cx.dim(v, 0);
    Ok(cx.reshape(v, &shape)?)
}

/// The weighted sum of the elements around each place.
fn weighted(cx: &mut Cx, x: ValueId, axis: &Axis, at: ValueId, style: &Style) -> Lowered<ValueId> {
    let whole = cx.unary(ScalarOp::Floor, at)?;
    let rest = cx.binary(ScalarOp::Sub, at, whole)?;
    let reach = if style.mode == Mode::Cubic { 2.0 } else { 1.0 };
    let squeeze = match (style.antialias, axis.factor) {
        (false, _) => 1.0,
        (true, Some(factor)) => factor.min(1.0),
        (true, None) => unsupported!("antialiasing needs a scale that is known at compile time"),
    };
    let first = (-reach / squeeze).floor() + 1.0;
    let n = 2.0 - 2.0 * first;
    if !(0.0..=1024.0).contains(&n) {
        unsupported!("a scale of {squeeze} is too small for antialiasing");
    }
    let mut taps = Vec::new();
    for k in 0..n as i64 {
        let offset = first + k as f64;
        let place = cx.with_const(ScalarOp::Add, whole, offset)?;
        let distance = cx.affine(rest, -squeeze, offset * squeeze)?;
        let distance = cx.unary(ScalarOp::Abs, distance)?;
        let mut weight = kernel(cx, distance, style)?;
        if style.exclude_outside {
            weight = inside(cx, weight, place, axis)?;
        }
        taps.push((place, weight));
    }
    if style.exclude_outside || style.antialias {
        taps = normalized(cx, taps)?;
    }
    let (dtype, rank) = (cx.dtype(x), cx.rank(x));
    let mut sum: Option<ValueId> = None;
    for (place, weight) in taps {
        let part = take(cx, x, axis, place)?;
        let weight = cx.cast(weight, dtype)?;
        let weight = line(cx, weight, axis.axis, rank)?;
        let part = cx.binary(ScalarOp::Mul, part, weight)?;
        sum = Some(match sum {
            Some(s) => cx.binary(ScalarOp::Add, s, part)?,
            None => part,
        });
    }
    Ok(sum.unwrap_or(x))
}

/// The weight at a distance: a triangle, or Keys' cubic.
fn kernel(cx: &mut Cx, d: ValueId, style: &Style) -> Lowered<ValueId> {
    if style.mode == Mode::Linear {
        let triangle = cx.affine(d, -1.0, 1.0)?;
        return cx.with_const(ScalarOp::Max, triangle, 0.0);
    }
    let a = style.cubic_a;
    let near = polynomial(cx, d, &[a + 2.0, -(a + 3.0), 0.0, 1.0])?;
    let far = polynomial(cx, d, &[a, -5.0 * a, 8.0 * a, -4.0 * a])?;
    let zero = cx.scalar(DType::F64, 0.0)?;
    let close = cx.with_const(ScalarOp::Le, d, 1.0)?;
    let within = cx.with_const(ScalarOp::Lt, d, 2.0)?;
    let far = cx.select(within, far, zero)?;
    Ok(cx.select(close, near, far)?)
}

/// Horner's rule, highest power first.
fn polynomial(cx: &mut Cx, x: ValueId, c: &[f64]) -> Lowered<ValueId> {
    let mut y = cx.affine(x, c[0], c[1])?;
    for next in &c[2..] {
        y = cx.binary(ScalarOp::Mul, y, x)?;
        y = cx.with_const(ScalarOp::Add, y, *next)?;
    }
    Ok(y)
}

/// The weight where the place lies inside the input, else 0.
fn inside(cx: &mut Cx, weight: ValueId, place: ValueId, axis: &Axis) -> Lowered<ValueId> {
    let last = cx.size_scalar(&(axis.input.clone() - Dim::ONE), DType::F64)?;
    let (low, high) = (cx.with_const(ScalarOp::Ge, place, 0.0)?, cx.binary(ScalarOp::Le, place, last)?);
    let both = cx.binary(ScalarOp::And, low, high)?;
    let zero = cx.scalar(DType::F64, 0.0)?;
    Ok(cx.select(both, weight, zero)?)
}

type Taps = Vec<(ValueId, ValueId)>;

/// Weights divided by their sum.
fn normalized(cx: &mut Cx, taps: Taps) -> Lowered<Taps> {
    let mut sum = cx.scalar(DType::F64, 0.0)?;
    for (_, weight) in &taps {
        sum = cx.binary(ScalarOp::Add, sum, *weight)?;
    }
    taps.into_iter().map(|(place, w)| Ok((place, cx.binary(ScalarOp::Div, w, sum)?))).collect()
}
