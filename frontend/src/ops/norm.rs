//! Normalizations and softmax.

use super::conv::zeros;
use super::pool::{abs_power, mean_keep, root, window_sum};
use super::shape::flattened;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axes};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "BatchNormalization",
        &[1, 6, 7, 9, 14, 15],
        "per channel, by given or (training) own statistics",
        batch_norm,
    ),
    onnx("GroupNormalization", &[18, 21], "by the statistics of groups of channels", group_norm),
    onnx("Hardmax", &[1, 11, 13], "1 at the first largest element along an axis, 0 elsewhere", |cx| {
        softmax_like(cx, |cx, x, axis| {
            let attrs =
                attrs! { kind: Attr::Str("max".into()), axis: Attr::Int(axis as i64), last: Attr::Int(0) };
            let at = cx.one("arg_reduce", attrs, &[x])?;
            let at = cx.unsqueeze(at, &[axis])?;
            let (shape, dtype) = (cx.shape(x), cx.dtype(x));
            let places = cx.iota(&shape, axis, DType::I64)?;
            let hit = cx.binary(ScalarOp::Eq, places, at)?;
            Ok(cx.cast(hit, dtype)?)
        })
    }),
    onnx("InstanceNormalization", &[1, 6, 22], "by the statistics of each channel of each element", |cx| {
        let eps = cx.number("epsilon", 1e-5)?;
        let (x, scale, bias) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
        let channels = channels(cx, x)?;
        let y = grouped(cx, [x, scale, bias], &channels, eps)?;
        cx.done(y)
    }),
    onnx("LRN", &[1, 13], "divided by a power of the squares of neighboring channels", lrn),
    onnx("LayerNormalization", &[17], "by the statistics of the axes from an axis on", layer_norm),
    onnx("LogSoftmax", &[1, 11, 13], "logarithm of softmax along an axis", |cx| {
        softmax_like(cx, |cx, x, axis| softmax(cx, x, axis, true))
    }),
    onnx("LpNormalization", &[1, 22], "divided by the 1-norm or 2-norm along an axis", |cx| {
        let p = cx.attrs.int_or("p", 2)?;
        if p != 1 && p != 2 {
            unsupported!("attribute \"p\" must be 1 or 2, found {p}");
        }
        let x = cx.required(0)?;
        let axis = cx.axis("axis", -1, cx.rank(x))?;
        let powers = abs_power(cx, x, p as f64)?;
        let sum = cx.reduce_keep("sum", powers, &[axis])?;
        let norm = root(cx, sum, p as f64)?;
        let zero = cx.with_const(ScalarOp::Eq, norm, 0.0)?;
        let dtype = cx.dtype(x);
        let one = cx.scalar(dtype, 1.0)?;
        let norm = cx.select(zero, one, norm)?;
        let y = cx.binary(ScalarOp::Div, x, norm)?;
        cx.done(y)
    }),
    onnx("MeanVarianceNormalization", &[9, 13], "mean 0 and variance 1 over axes", |cx| {
        let x = cx.required(0)?;
        let axes = cx.attrs.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
        let axes = normal_axes(&axes, cx.rank(x))?;
        let (centered, variance) = statistics(cx, x, &axes)?;
        let deviation = cx.unary(ScalarOp::Sqrt, variance)?;
        let deviation = cx.with_const(ScalarOp::Add, deviation, 1e-9)?;
        let y = cx.binary(ScalarOp::Div, centered, deviation)?;
        cx.done(y)
    }),
    onnx("RMSNormalization", &[23], "divided by the root of the mean square from an axis on", |cx| {
        let x = cx.required(0)?;
        let axis = cx.axis("axis", -1, cx.rank(x))?;
        let eps = cx.number("epsilon", 1e-5)?;
        let stash = stash_type(cx)?;
        let scale = cx.required(1)?;
        let y = normalized(cx, x, scale, None, axis, eps, true, stash)?;
        cx.done(y)
    }),
    onnx("Softmax", &[1, 11, 13], "exponentials divided by their sum along an axis", |cx| {
        softmax_like(cx, |cx, x, axis| softmax(cx, x, axis, false))
    }),
];

/// Softmax or its logarithm along one axis.
pub(super) fn softmax(cx: &mut Cx, x: ValueId, axis: usize, log: bool) -> Lowered<ValueId> {
    cx.expect_float("the input", x)?;
    Ok(cx.one("softmax", attrs! { axis: Attr::Int(axis as i64), log: Attr::Int(i64::from(log)) }, &[x])?)
}

/// Runs along the axis since version 13; before, over all axes from the axis on, as one.
fn softmax_like(cx: &mut Cx, f: fn(&mut Cx, ValueId, usize) -> Lowered<ValueId>) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    if cx.version >= 13 {
        let axis = cx.axis("axis", -1, rank)?;
        let y = f(cx, x, axis)?;
        return cx.done(y);
    }
    let axis = cx.axis("axis", 1, rank)?;
    let shape = cx.shape(x);
    if shape[axis + 1..].iter().all(|d| d.is(1)) {
        let y = f(cx, x, axis)?;
        return cx.done(y);
    }
    let flat = flattened(cx, x, axis)?;
    let y = f(cx, flat, 1)?;
    let y = cx.reshape(y, &shape)?;
    cx.done(y)
}

/// Number of channels of `[N, C, …]`.
fn channels(cx: &Cx, x: ValueId) -> Lowered<Dim> {
    if cx.rank(x) < 2 {
        unsupported!("the input must have a channel axis, found {}", cx.graph.ty(x));
    }
    Ok(cx.dim(x, 1))
}

fn grouped(cx: &mut Cx, operands: [ValueId; 3], groups: &Dim, eps: f64) -> Lowered<ValueId> {
    let groups = cx.fixed("the number of groups", groups)?;
    let attrs = attrs! {
        groups: Attr::Int(groups as i64), eps: Attr::Float(eps), channels_last: Attr::Int(0)
    };
    Ok(cx.one("group_norm", attrs, &operands)?)
}

/// `x - mean` and the variance over axes, kept with size 1.
fn statistics(cx: &mut Cx, x: ValueId, axes: &[usize]) -> Lowered<(ValueId, ValueId)> {
    let mean = mean_keep(cx, x, axes)?;
    let centered = cx.binary(ScalarOp::Sub, x, mean)?;
    let squares = cx.binary(ScalarOp::Mul, centered, centered)?;
    Ok((centered, mean_keep(cx, squares, axes)?))
}

fn batch_norm(cx: &mut Cx) -> Lowered {
    let eps = cx.number("epsilon", 1e-5)?;
    let momentum = cx.number("momentum", 0.9)?;
    let training = cx.version >= 14 && cx.attrs.flag_or("training_mode", false)?;
    if cx.version < 7 {
        // Models of those years are stored for inference, whatever the default was.
        cx.attrs.int("is_test")?;
    }
    let per_channel = cx.version >= 9 || cx.attrs.flag_or("spatial", true)?;
    let x = cx.required(0)?;
    channels(cx, x)?;
    let (rank, dtype) = (cx.rank(x), cx.dtype(x));
    let mut params = [x; 4];
    for (i, p) in params.iter_mut().enumerate() {
        let v = cx.required(i + 1)?;
        *p = if per_channel { along_channels(cx, v, rank)? } else { v };
    }
    let [scale, bias, mut mean, mut variance] = params;
    if training {
        (mean, variance) = train(cx, x, mean, variance, momentum)?;
    } else if (1..5).any(|i| cx.wants(i)) {
        unsupported!("statistics are outputs of training only");
    }
    let shifted = cx.with_const(ScalarOp::Add, variance, eps)?;
    let deviation = cx.unary(ScalarOp::Sqrt, shifted)?;
    let (scale, bias) = (cx.cast(scale, dtype)?, cx.cast(bias, dtype)?);
    let (mean, deviation) = (cx.cast(mean, dtype)?, cx.cast(deviation, dtype)?);
    let factor = cx.binary(ScalarOp::Div, scale, deviation)?;
    let moved = cx.binary(ScalarOp::Mul, mean, factor)?;
    let offset = cx.binary(ScalarOp::Sub, bias, moved)?;
    let scaled = cx.binary(ScalarOp::Mul, x, factor)?;
    let y = cx.binary(ScalarOp::Add, scaled, offset)?;
    cx.done(y)
}

/// A vector of channels as `[C, 1, …]`, to be broadcast against `[N, C, …]`.
fn along_channels(cx: &mut Cx, v: ValueId, rank: usize) -> Lowered<ValueId> {
    let mut shape = vec![Dim::ONE; rank - 1];
    shape[0] = cx.graph.tensor_ty(v).elems();
    Ok(cx.reshape(v, &shape)?)
}

/// Statistics of the batch; sets the running ones as outputs.
fn train(
    cx: &mut Cx,
    x: ValueId,
    mean: ValueId,
    variance: ValueId,
    momentum: f64,
) -> Lowered<(ValueId, ValueId)> {
    let axes: Vec<usize> = (0..cx.rank(x)).filter(|a| *a != 1).collect();
    let own_mean = mean_keep(cx, x, &axes)?;
    let (_, own_variance) = statistics(cx, x, &axes)?;
    let dtype = cx.dtype(mean);
    for (i, running, own) in [(1, mean, own_mean), (2, variance, own_variance)] {
        let own = cx.cast(own, dtype)?;
        let old = cx.with_const(ScalarOp::Mul, running, momentum)?;
        let new = cx.with_const(ScalarOp::Mul, own, 1.0 - momentum)?;
        let next = cx.binary(ScalarOp::Add, old, new)?;
        let len = cx.graph.tensor_ty(running).elems();
        let next = cx.reshape(next, &[len])?;
        cx.output(i, next);
    }
    Ok((own_mean, own_variance))
}

fn group_norm(cx: &mut Cx) -> Lowered {
    let eps = cx.number("epsilon", 1e-5)?;
    let groups = cx.attrs.required("num_groups", cx.attrs.int("num_groups"))?;
    stash_type(cx)?;
    let (x, mut scale, mut bias) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let channels = channels(cx, x)?;
    if groups < 1 {
        unsupported!("attribute \"num_groups\" must be positive, found {groups}");
    }
    if cx.version < 21 {
        // One number per group.
        let per_group = channels.floor_div(&Dim::int(groups));
        for p in [&mut scale, &mut bias] {
            let column = cx.reshape(*p, &[Dim::int(groups), Dim::ONE])?;
            let spread = cx.broadcast(column, &[Dim::int(groups), per_group.clone()])?;
            *p = cx.reshape(spread, std::slice::from_ref(&channels))?;
        }
    }
    let y = grouped(cx, [x, scale, bias], &Dim::int(groups), eps)?;
    cx.done(y)
}

/// The type that statistics are computed in.
fn stash_type(cx: &Cx) -> Lowered<DType> {
    Ok(cx.dtype_attr("stash_type")?.unwrap_or(DType::F32))
}

fn layer_norm(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    let axis = cx.axis("axis", -1, rank)?;
    let eps = cx.number("epsilon", 1e-5)?;
    let stash = stash_type(cx)?;
    let (scale, bias) = (cx.required(1)?, cx.input(2)?);
    let y = normalized(cx, x, scale, bias, axis, eps, false, stash)?;
    cx.output(0, y);
    if cx.wants(1) || cx.wants(2) {
        let axes: Vec<usize> = (axis..rank).collect();
        let wide = cx.cast(x, stash)?;
        let mean = mean_keep(cx, wide, &axes)?;
        let (_, variance) = statistics(cx, wide, &axes)?;
        let shifted = cx.with_const(ScalarOp::Add, variance, eps)?;
        let deviation = cx.unary(ScalarOp::Sqrt, shifted)?;
        let one = cx.scalar(stash, 1.0)?;
        let inverse = cx.binary(ScalarOp::Div, one, deviation)?;
        cx.output(1, mean);
        cx.output(2, inverse);
    }
    Ok(())
}

/// Layer or RMS normalization of the axes from `axis` on.
#[expect(clippy::too_many_arguments, reason = "the operands and attributes of one operator")]
pub(super) fn normalized(
    cx: &mut Cx,
    x: ValueId,
    scale: ValueId,
    bias: Option<ValueId>,
    axis: usize,
    eps: f64,
    rms: bool,
    stash: DType,
) -> Lowered<ValueId> {
    let dtype = cx.expect_float("the input", x)?;
    let inner = cx.shape(x)[axis..].to_vec();
    // Statistics of narrow inputs are taken in the wider type anyway; a wider stash is a cast.
    let wide = if stash.bits() > dtype.bits() { stash } else { dtype };
    let x = cx.cast(x, wide)?;
    let scale = cx.cast(scale, wide)?;
    let bias = match bias {
        Some(b) => cx.cast(b, wide)?,
        None => zeros(cx, wide, &inner)?,
    };
    let fits = |cx: &Cx, v: ValueId| cx.rank(v) <= inner.len();
    let y = if fits(cx, scale) && fits(cx, bias) {
        let (scale, bias) = (cx.broadcast(scale, &inner)?, cx.broadcast(bias, &inner)?);
        layer_norm_node(cx, [x, scale, bias], axis, eps, rms)?
    } else {
        // Parameters that vary along outer axes come after the normalization itself.
        let ones = cx.splat(wide, 1.0, &inner)?;
        let zero = zeros(cx, wide, &inner)?;
        let plain = layer_norm_node(cx, [x, ones, zero], axis, eps, rms)?;
        let scaled = cx.binary(ScalarOp::Mul, plain, scale)?;
        cx.binary(ScalarOp::Add, scaled, bias)?
    };
    Ok(cx.cast(y, dtype)?)
}

fn layer_norm_node(
    cx: &mut Cx,
    operands: [ValueId; 3],
    axis: usize,
    eps: f64,
    rms: bool,
) -> Lowered<ValueId> {
    let attrs = attrs! {
        axes_from: Attr::Int(axis as i64), eps: Attr::Float(eps), rms: Attr::Int(i64::from(rms))
    };
    Ok(cx.one("layer_norm", attrs, &operands)?)
}

fn lrn(cx: &mut Cx) -> Lowered {
    let (alpha, beta) = (cx.number("alpha", 1e-4)?, cx.number("beta", 0.75)?);
    let bias = cx.number("bias", 1.0)?;
    let size = cx.attrs.required("size", cx.attrs.int("size"))?;
    let x = cx.required(0)?;
    let channels = channels(cx, x)?;
    if size < 1 {
        unsupported!("attribute \"size\" must be positive, found {size}");
    }
    let shape = cx.shape(x);
    let inner = Dim::product(&shape[2..]);
    let squares = cx.binary(ScalarOp::Mul, x, x)?;
    let image = cx.reshape(squares, &[shape[0].clone(), Dim::ONE, channels.clone(), inner.clone()])?;
    let sums = window_sum(cx, image, &[size, 1], &[(size - 1) / 2, 0], vec![channels, inner])?;
    let sums = cx.reshape(sums, &shape)?;
    let base = cx.affine(sums, alpha / size as f64, bias)?;
    let divisor = cx.with_const(ScalarOp::Pow, base, beta)?;
    let y = cx.binary(ScalarOp::Div, x, divisor)?;
    cx.done(y)
}
