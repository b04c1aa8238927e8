//! Signals: Fourier transforms, windows, mel filters.

use super::axes::over_some_axes;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};
use std::f64::consts::TAU;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("BlackmanWindow", &[17], "0.42 - 0.5 cos(2πn/N) + 0.08 cos(4πn/N)", |cx| {
        window(cx, [0.42, 0.5, 0.08])
    }),
    onnx("DFT", &[17, 20], "discrete Fourier transform along an axis", |cx| {
        let x = cx.required(0)?;
        let rank = cx.rank(x);
        let (inverse, onesided) = (cx.attrs.flag_or("inverse", false)?, cx.attrs.flag_or("onesided", false)?);
        let length = cx.input(1)?.map(|v| cx.dim_of(v)).transpose()?;
        let mut build = |cx: &mut Cx<'_, '_, '_>, axes: &[usize]| match axes {
            [axis] if *axis + 1 < rank => dft(cx, x, *axis, length.clone(), inverse, onesided),
            _ => unsupported!("the axis must be one of the first {}, found {axes:?}", rank.saturating_sub(1)),
        };
        let y = match cx.input(2)? {
            Some(axis) if cx.version >= 20 => {
                let signal: Vec<usize> = (0..rank.saturating_sub(1)).collect();
                over_some_axes(cx, axis, rank, &signal, &mut build)?
            }
            _ if cx.version >= 20 => build(cx, &[normal_axis(-2, rank)?])?,
            _ => build(cx, &[cx.axis("axis", 1, rank)?])?,
        };
        cx.done(y)
    }),
    onnx("HammingWindow", &[17], "25/46 - 21/46 cos(2πn/N)", |cx| {
        window(cx, [25.0 / 46.0, 21.0 / 46.0, 0.0])
    }),
    onnx("HannWindow", &[17], "1/2 - 1/2 cos(2πn/N)", |cx| window(cx, [0.5, 0.5, 0.0])),
    onnx("MelWeightMatrix", &[17], "triangular filters, evenly spaced on the mel scale", mel),
    onnx("STFT", &[17], "Fourier transforms of overlapping windows of a signal", stft),
];

/// `a - b cos(2πn/N) + c cos(4πn/N)`
fn window(cx: &mut Cx, [a, b, c]: [f64; 3]) -> Lowered {
    let periodic = cx.attrs.flag_or("periodic", true)?;
    let dtype = cx.dtype_attr("output_datatype")?.unwrap_or(DType::F32);
    let size = cx.required(0)?;
    let size = cx.dim_of(size)?;
    let period = if periodic { size.clone() } else { size.clone() - Dim::ONE };
    let n = cx.iota(&[size], 0, DType::F64)?;
    let period = cx.size_scalar(&period, DType::F64)?;
    let turn = cx.binary(ScalarOp::Div, n, period)?;
    let angle = cx.with_const(ScalarOp::Mul, turn, TAU)?;
    let wave = cx.unary(ScalarOp::Cos, angle)?;
    let mut y = cx.affine(wave, -b, a)?;
    if c != 0.0 {
        let double = cx.with_const(ScalarOp::Mul, angle, 2.0)?;
        let wave = cx.unary(ScalarOp::Cos, double)?;
        let part = cx.with_const(ScalarOp::Mul, wave, c)?;
        y = cx.binary(ScalarOp::Add, y, part)?;
    }
    let y = cx.cast(y, dtype)?;
    cx.done(y)
}

/// Cosines and sines of `2π·k·n/N` for `rows` k and `columns` n, as f64.
fn waves(cx: &mut Cx, rows: &Dim, columns: &Dim, length: &Dim) -> Lowered<(ValueId, ValueId)> {
    let shape = [rows.clone(), columns.clone()];
    let (k, n) = (cx.iota(&shape, 0, DType::I64)?, cx.iota(&shape, 1, DType::I64)?);
    let product = cx.binary(ScalarOp::Mul, k, n)?;
    // Whole turns are taken off as integers: large angles would lose digits.
    let whole = cx.size_scalar(length, DType::I64)?;
    let rest = cx.binary(ScalarOp::Mod, product, whole)?;
    let rest = cx.cast(rest, DType::F64)?;
    let scale = cx.size_scalar(length, DType::F64)?;
    let turn = cx.binary(ScalarOp::Div, rest, scale)?;
    let angle = cx.with_const(ScalarOp::Mul, turn, TAU)?;
    Ok((cx.unary(ScalarOp::Cos, angle)?, cx.unary(ScalarOp::Sin, angle)?))
}

/// An axis cut or filled with zeros to a length.
fn resized(cx: &mut Cx, x: ValueId, axis: usize, length: &Dim) -> Lowered<ValueId> {
    let missing = cx.simplify(&(length.clone() - cx.dim(x, axis)));
    if missing.is(0) {
        return Ok(x);
    }
    let low = vec![Dim::ZERO; cx.rank(x)];
    let mut high = low.clone();
    high[axis] = missing;
    let dtype = cx.dtype(x);
    let zero = cx.scalar(dtype, 0.0)?;
    let attrs = attrs! { low: Attr::Dims(low), high: Attr::Dims(high), mode: Attr::Str("constant".into()) };
    Ok(cx.one("pad", attrs, &[x, zero])?)
}

/// The transform of `x`, whose last axis holds real (and imaginary) parts, by a matrix of waves.
fn dft(
    cx: &mut Cx,
    x: ValueId,
    axis: usize,
    length: Option<Dim>,
    inverse: bool,
    onesided: bool,
) -> Lowered<ValueId> {
    let (rank, dtype) = (cx.rank(x), cx.dtype(x));
    if rank > 20 {
        unsupported!("at most 20 axes are supported");
    }
    let half = |d: &Dim| d.floor_div(&Dim::int(2)) + Dim::ONE;
    let given = cx.dim(x, axis);
    let length = match length {
        Some(l) => l,
        None if inverse && onesided => (given - Dim::ONE) * Dim::int(2),
        None => given,
    };
    let (read, written) = match (inverse, onesided) {
        (true, true) => (half(&length), length.clone()),
        (false, true) => (length.clone(), half(&length)),
        _ => (length.clone(), length.clone()),
    };
    let x = resized(cx, x, axis, &read)?;
    let x = cx.cast(x, DType::F64)?;
    let complex = cx.dim(x, rank - 1).is(2);
    let part = |cx: &mut Cx, i: i64| -> Lowered<ValueId> {
        let p = cx.slice_axis(x, rank - 1, Dim::int(i), Dim::ONE)?;
        cx.squeeze(p, &[rank - 1])
    };
    let re = part(cx, 0)?;
    let im = if complex { Some(part(cx, 1)?) } else { None };
    let (cos, sin) = matrices(cx, [&written, &read, &length], inverse, onesided)?;
    let along = |cx: &mut Cx, v: ValueId, matrix: ValueId| -> Lowered<ValueId> {
        let letters: String = ('a'..).take(rank - 1).collect();
        let own = char::from(b'a' + u8::try_from(axis).unwrap_or(0));
        let out = letters.replace(own, "z");
        Ok(cx.contract(&letters, &format!("z{own}"), &out, v, matrix)?)
    };
    // (a + bi)(cos - i sin) = a cos + b sin + i (b cos - a sin); the sign of the sine is in the matrix.
    let mut real = along(cx, re, cos)?;
    let mut imaginary = along(cx, re, sin)?;
    imaginary = cx.unary(ScalarOp::Neg, imaginary)?;
    if let Some(im) = im {
        let (b_sin, b_cos) = (along(cx, im, sin)?, along(cx, im, cos)?);
        real = cx.binary(ScalarOp::Add, real, b_sin)?;
        imaginary = cx.binary(ScalarOp::Add, imaginary, b_cos)?;
    }
    let real = cx.unsqueeze(real, &[rank - 1])?;
    let y = if inverse && onesided {
        real
    } else {
        let imaginary = cx.unsqueeze(imaginary, &[rank - 1])?;
        cx.concat(&[real, imaginary], rank - 1)?
    };
    Ok(cx.cast(y, dtype)?)
}

/// The matrices of a transform: `[written, read]` waves of a length, for the inverse divided by the length.
fn matrices(
    cx: &mut Cx,
    [written, read, length]: [&Dim; 3],
    inverse: bool,
    onesided: bool,
) -> Lowered<(ValueId, ValueId)> {
    let (mut cos, mut sin) = waves(cx, written, read, length)?;
    if inverse {
        let n = cx.size_scalar(length, DType::F64)?;
        cos = cx.binary(ScalarOp::Div, cos, n)?;
        sin = cx.binary(ScalarOp::Div, sin, n)?;
        sin = cx.unary(ScalarOp::Neg, sin)?;
    }
    if inverse && onesided {
        let weights = mirrored(cx, read, length)?;
        cos = cx.binary(ScalarOp::Mul, cos, weights)?;
        sin = cx.binary(ScalarOp::Mul, sin, weights)?;
    }
    Ok((cos, sin))
}

/// 2 for frequencies whose mirror image is left out, 1 for those that have none.
fn mirrored(cx: &mut Cx, read: &Dim, length: &Dim) -> Lowered<ValueId> {
    let k = cx.iota(std::slice::from_ref(read), 0, DType::I64)?;
    let double = cx.with_const(ScalarOp::Mul, k, 2.0)?;
    let whole = cx.size_scalar(length, DType::I64)?;
    let own = cx.binary(ScalarOp::Mod, double, whole)?;
    let own = cx.with_const(ScalarOp::Eq, own, 0.0)?;
    let (one, two) = (cx.scalar(DType::F64, 1.0)?, cx.scalar(DType::F64, 2.0)?);
    Ok(cx.select(own, one, two)?)
}

fn stft(cx: &mut Cx) -> Lowered {
    let (x, step) = (cx.required(0)?, cx.required(1)?);
    let onesided = cx.attrs.flag_or("onesided", true)?;
    cx.expect_rank("the signal", x, 3)?;
    let window = cx.input(2)?;
    let step = cx.dim_of(step)?;
    let signal = cx.dim(x, 1);
    let length = match (cx.input(3)?, window) {
        (Some(v), _) => cx.dim_of(v)?,
        (None, Some(w)) => cx.dim(w, 0),
        (None, None) => signal.clone(),
    };
    let frames = cx.simplify(&((signal - length.clone()).floor_div(&step) + Dim::ONE));
    let shape = [frames, length.clone()];
    let (frame, at) = (cx.iota(&shape, 0, DType::I64)?, cx.iota(&shape, 1, DType::I64)?);
    let step = cx.size_scalar(&step, DType::I64)?;
    let start = cx.binary(ScalarOp::Mul, frame, step)?;
    let at = cx.binary(ScalarOp::Add, start, at)?;
    let mut y = cx.one("gather", attrs! { axis: Attr::Int(1) }, &[x, at])?;
    if let Some(w) = window {
        let w = cx.unsqueeze(w, &[1])?;
        y = cx.binary(ScalarOp::Mul, y, w)?;
    }
    let y = dft(cx, y, 2, Some(length), false, onesided)?;
    cx.done(y)
}

/// A scalar input as f64.
fn number(cx: &mut Cx, i: usize) -> Lowered<ValueId> {
    let v = cx.required(i)?;
    let v = cx.reshape(v, &[])?;
    Ok(cx.cast(v, DType::F64)?)
}

/// `2595 · log10(1 + f / 700)`
fn to_mel(cx: &mut Cx, f: ValueId) -> Lowered<ValueId> {
    let ratio = cx.affine(f, 1.0 / 700.0, 1.0)?;
    let log = cx.unary(ScalarOp::Log, ratio)?;
    cx.with_const(ScalarOp::Mul, log, 2595.0 / std::f64::consts::LN_10)
}

fn mel(cx: &mut Cx) -> Lowered {
    let dtype = cx.dtype_attr("output_datatype")?.unwrap_or(DType::F32);
    let (bins, length) = (cx.required(0)?, cx.required(1)?);
    let (bins, length) = (cx.dim_of(bins)?, cx.dim_of(length)?);
    let (rate, low, high) = (number(cx, 2)?, number(cx, 3)?, number(cx, 4)?);
    let (low, high) = (to_mel(cx, low)?, to_mel(cx, high)?);
    let edges = bins.clone() + Dim::int(2);
    let count = cx.size_scalar(&edges, DType::F64)?;
    let span = cx.binary(ScalarOp::Sub, high, low)?;
    let step = cx.binary(ScalarOp::Div, span, count)?;
    // Edges of the filters as whole numbers of frequency bins.
    let at = cx.iota(&[edges], 0, DType::F64)?;
    let at = cx.binary(ScalarOp::Mul, at, step)?;
    let at = cx.binary(ScalarOp::Add, at, low)?;
    let at = cx.with_const(ScalarOp::Mul, at, std::f64::consts::LN_10 / 2595.0)?;
    let at = cx.unary(ScalarOp::Exp, at)?;
    let hertz = cx.affine(at, 700.0, -700.0)?;
    let samples = cx.size_scalar(&(length.clone() + Dim::ONE), DType::F64)?;
    let at = cx.binary(ScalarOp::Mul, hertz, samples)?;
    let at = cx.binary(ScalarOp::Div, at, rate)?;
    let at = cx.unary(ScalarOp::Floor, at)?;
    let y = triangles(cx, at, &bins, &length)?;
    let y = cx.cast(y, dtype)?;
    cx.done(y)
}

/// `[length/2 + 1, bins]`: rising from one edge to the next, falling to the one after.
fn triangles(cx: &mut Cx, edges: ValueId, bins: &Dim, length: &Dim) -> Lowered<ValueId> {
    let mut edge = [edges; 3];
    for (i, e) in edge.iter_mut().enumerate() {
        *e = cx.slice_axis(edges, 0, Dim::len(i), bins.clone())?;
    }
    let [lower, center, higher] = edge;
    let rows = length.floor_div(&Dim::int(2)) + Dim::ONE;
    let j = cx.iota(&[rows, bins.clone()], 0, DType::F64)?;
    let (zero, one) = (cx.scalar(DType::F64, 0.0)?, cx.scalar(DType::F64, 1.0)?);
    let rise = cx.binary(ScalarOp::Sub, center, lower)?;
    let flat = cx.with_const(ScalarOp::Eq, rise, 0.0)?;
    let height = cx.binary(ScalarOp::Sub, j, lower)?;
    let height = cx.binary(ScalarOp::Div, height, rise)?;
    let up = cx.select(flat, one, height)?;
    let (from, to) = (cx.binary(ScalarOp::Ge, j, lower)?, cx.binary(ScalarOp::Le, j, center)?);
    let rising = cx.binary(ScalarOp::And, from, to)?;
    let up = cx.select(rising, up, zero)?;
    let fall = cx.binary(ScalarOp::Sub, higher, center)?;
    let depth = cx.binary(ScalarOp::Sub, higher, j)?;
    let down = cx.binary(ScalarOp::Div, depth, fall)?;
    let (from, to) = (cx.binary(ScalarOp::Ge, j, center)?, cx.binary(ScalarOp::Lt, j, higher)?);
    let falling = cx.binary(ScalarOp::And, from, to)?;
    Ok(cx.select(falling, down, up)?)
}
