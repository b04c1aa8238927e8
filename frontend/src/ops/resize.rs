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
            _ => {
                let (x, scales) = (cx.required(0)?, cx.required(1)?);
                let style = Style { mode: upsample_mode(cx)?, ..Style::old() };
                let y = by_scale_value(cx, x, scales, &style)?;
                return cx.done(y);
            }
        };
        let x = cx.required(0)?;
        let style = Style { mode: upsample_mode(cx)?, ..Style::old() };
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

/// A scale.
#[derive(Clone, PartialEq, Eq)]
enum Scale {
    /// A fraction of sizes.
    Fraction(Dim, Dim),
    /// A scalar found at run time.
    Value(ValueId),
}

impl Scale {
    /// The scale as a number, where it is known.
    fn known(&self) -> Option<f64> {
        match self {
            Scale::Fraction(n, d) => n.as_const().zip(d.as_const()).map(|(n, d)| n as f64 / d as f64),
            Scale::Value(_) => None,
        }
    }

    /// Whether nothing is scaled.
    fn is_one(&self) -> bool {
        matches!(self, Scale::Fraction(n, d) if n == d)
    }

    /// Numerator and denominator as scalars of f64.
    fn scalars(&self, cx: &mut Cx) -> Lowered<(ValueId, ValueId)> {
        match self {
            Scale::Fraction(n, d) => Ok((cx.size_scalar(n, DType::F64)?, cx.size_scalar(d, DType::F64)?)),
            Scale::Value(v) => Ok((cx.cast(*v, DType::F64)?, cx.scalar(DType::F64, 1.0)?)),
        }
    }
}

/// One axis to be resized.
struct Axis {
    axis: usize,
    input: Dim,
    output: Dim,
    scale: Scale,
    /// Start and end of the region as scalars, in fractions of the axis.
    roi: Option<[ValueId; 2]>,
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

fn upsample_mode(cx: &Cx) -> Lowered<Mode> {
    Ok(match cx.attrs.string_or("mode", "nearest")? {
        "linear" | "bilinear" => Mode::Linear,
        "nearest" => Mode::Nearest,
        other => unsupported!("attribute \"mode\" is unknown: \"{other}\""),
    })
}

fn resize(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let style = style(cx)?;
    let policy = cx.attrs.string_or("keep_aspect_ratio_policy", "stretch")?;
    if cx.version < 11 {
        let scales = cx.required(1)?;
        let y = by_scale_value(cx, x, scales, &style)?;
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
        let roi = cx.required(1)?;
        let roi = cx.cast(roi, DType::F64)?;
        for (i, axis) in plan.iter_mut().enumerate() {
            let mut bound = |at: usize| -> Lowered<ValueId> {
                let one = cx.slice_axis(roi, 0, Dim::len(at), Dim::ONE)?;
                Ok(cx.reshape(one, &[])?)
            };
            axis.roi = Some([bound(i)?, bound(axes.len() + i)?]);
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
                let scale = Scale::Fraction(output.clone(), input.clone());
                Axis { axis, input, output, scale, roi: None }
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
            Axis { axis, input, output, scale: Scale::Fraction(Dim::int(n), Dim::int(d)), roi: None }
        })
        .collect())
}

fn axes_by_scale_value(cx: &mut Cx, x: ValueId, axes: &[usize], scales: ValueId) -> Lowered<Vec<Axis>> {
    if let Some(t) = cx.constant_of(scales) {
        let scales: Vec<f32> = t.to_f64s().into_iter().map(|v| v as f32).collect();
        return axes_by_scales(cx, x, axes, &scales);
    }
    // Sizes are found at run time.
    let shape = cx.shape(x);
    let dims = cx.dims(axes.iter().map(|a| shape[*a].clone()).collect())?;
    let dtype = cx.dtype(scales);
    let dims = cx.cast(dims, dtype)?;
    let sizes = cx.binary(ScalarOp::Mul, dims, scales)?;
    let sizes = cx.unary(ScalarOp::Floor, sizes)?;
    let sizes = cx.cast(sizes, DType::I64)?;
    let sizes = cx.dims_of(sizes)?;
    let mut plan = axes_by_sizes(cx, x, axes, &sizes, "stretch")?;
    for (i, axis) in plan.iter_mut().enumerate() {
        let scale = cx.slice_axis(scales, 0, Dim::len(i), Dim::ONE)?;
        axis.scale = Scale::Value(cx.reshape(scale, &[])?);
    }
    Ok(plan)
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
        let scale = Scale::Fraction(Dim::int(n), Dim::int(d));
        plan.push(Axis { axis: *axis, input, output, scale, roi: None });
    }
    Ok(plan)
}

/// The simplest fraction that rounds to the number, else one over a power of two.
fn fraction(x: f32) -> (i64, i64) {
    for d in 1..=4096i64 {
        let n = (f64::from(x) * d as f64).round();
        if (1.0..1e15).contains(&n) && (n / d as f64) as f32 == x {
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

fn by_scale_value(cx: &mut Cx, x: ValueId, scales: ValueId, style: &Style) -> Lowered<ValueId> {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let plan = axes_by_scale_value(cx, x, &axes, scales)?;
    resized(cx, x, plan, style)
}

fn resized(cx: &mut Cx, x: ValueId, plan: Vec<Axis>, style: &Style) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    let averaged = style.mode != Mode::Nearest;
    let mut y = if averaged && !dtype.is_float() { cx.cast(x, DType::F32)? } else { x };
    for axis in plan {
        let same = axis.input == axis.output && axis.scale.is_one() && axis.roi.is_none();
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
    let Scale::Fraction(n, d) = &axis.scale else { return None };
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
    match style.coordinates {
        "asymmetric" => unscaled(cx, at, axis),
        "tf_half_pixel_for_nn" => {
            let center = cx.with_const(ScalarOp::Add, at, 0.5)?;
            unscaled(cx, center, axis)
        }
        "half_pixel" => half_pixel(cx, at, axis),
        "pytorch_half_pixel" => {
            let plain = half_pixel(cx, at, axis)?;
            unless_single(cx, plain, &axis.output)
        }
        "half_pixel_symmetric" => {
            let plain = half_pixel(cx, at, axis)?;
            // The center stays where it is: input/2 * (1 - output / (input * scale)).
            let shown = cx.size_scalar(&axis.output, DType::F64)?;
            let exact = exact_length(cx, axis)?;
            let ratio = cx.binary(ScalarOp::Div, shown, exact)?;
            let rest = cx.affine(ratio, -1.0, 1.0)?;
            let half = cx.size_scalar(&axis.input, DType::F64)?;
            let half = cx.with_const(ScalarOp::Mul, half, 0.5)?;
            let offset = cx.binary(ScalarOp::Mul, half, rest)?;
            Ok(cx.binary(ScalarOp::Add, plain, offset)?)
        }
        "align_corners" => {
            // The standard's reference takes the length before it is rounded down.
            let last = cx.size_scalar(&(axis.input.clone() - Dim::ONE), DType::F64)?;
            let length = exact_length(cx, axis)?;
            let steps = cx.with_const(ScalarOp::Sub, length, 1.0)?;
            let scaled = cx.binary(ScalarOp::Mul, at, last)?;
            let plain = cx.binary(ScalarOp::Div, scaled, steps)?;
            unless_single(cx, plain, &axis.output)
        }
        "tf_crop_and_resize" => cropped(cx, at, axis),
        other => unsupported!("attribute \"coordinate_transformation_mode\" is unknown: \"{other}\""),
    }
}

/// `input * scale`, which the output's length is the floor of.
fn exact_length(cx: &mut Cx, axis: &Axis) -> Lowered<ValueId> {
    if let Scale::Fraction(n, d) = &axis.scale
        && *d == axis.input
    {
        return cx.size_scalar(n, DType::F64);
    }
    let input = cx.size_scalar(&axis.input, DType::F64)?;
    let (n, d) = axis.scale.scalars(cx)?;
    let product = cx.binary(ScalarOp::Mul, input, n)?;
    Ok(cx.binary(ScalarOp::Div, product, d)?)
}

/// The places, or the first element where the output has but one.
fn unless_single(cx: &mut Cx, at: ValueId, output: &Dim) -> Lowered<ValueId> {
    if output.as_const().is_some_and(|o| o != 1) {
        return Ok(at);
    }
    let length = cx.size_scalar(output, DType::F64)?;
    let single = cx.with_const(ScalarOp::Eq, length, 1.0)?;
    let zero = cx.scalar(DType::F64, 0.0)?;
    Ok(cx.select(single, zero, at)?)
}

/// Places inside the region of interest; a single one lies in its middle.
fn cropped(cx: &mut Cx, at: ValueId, axis: &Axis) -> Lowered<ValueId> {
    let Some([start, end]) = axis.roi else { unsupported!("the region of interest is missing") };
    let last = cx.size_scalar(&(axis.input.clone() - Dim::ONE), DType::F64)?;
    let length = cx.size_scalar(&axis.output, DType::F64)?;
    let steps = cx.with_const(ScalarOp::Sub, length, 1.0)?;
    let span = cx.binary(ScalarOp::Sub, end, start)?;
    let offset = cx.binary(ScalarOp::Mul, at, span)?;
    let offset = cx.binary(ScalarOp::Div, offset, steps)?;
    let several = cx.binary(ScalarOp::Add, offset, start)?;
    let both = cx.binary(ScalarOp::Add, start, end)?;
    let middle = cx.with_const(ScalarOp::Mul, both, 0.5)?;
    let single = cx.with_const(ScalarOp::Eq, length, 1.0)?;
    let unit = cx.select(single, middle, several)?;
    Ok(cx.binary(ScalarOp::Mul, unit, last)?)
}

fn unscaled(cx: &mut Cx, at: ValueId, axis: &Axis) -> Lowered<ValueId> {
    // The product comes first: it is exact, so that one rounding is all.
    let (n, d) = axis.scale.scalars(cx)?;
    let product = cx.binary(ScalarOp::Mul, at, d)?;
    Ok(cx.binary(ScalarOp::Div, product, n)?)
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
    let squeeze = match (style.antialias, axis.scale.known()) {
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
    cubic(cx, d, style.cubic_a)
}

/// Keys' cubic convolution kernel at a distance.
pub(super) fn cubic(cx: &mut Cx, d: ValueId, a: f64) -> Lowered<ValueId> {
    let dtype = cx.dtype(d);
    let near = polynomial(cx, d, &[a + 2.0, -(a + 3.0), 0.0, 1.0])?;
    let far = polynomial(cx, d, &[a, -5.0 * a, 8.0 * a, -4.0 * a])?;
    let zero = cx.scalar(dtype, 0.0)?;
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
