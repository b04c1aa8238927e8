//! Operators of ONNX Runtime's own domain that its tools write.

use super::conv::{along, centered_value};
use super::norm::normalized;
use super::pool::mean_keep;
use super::quantize::{blocks, dequantized, quantized, requantized};
use super::{OnnxOp, OpName};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{DType, Dim, ScalarOp, ValueId};

pub(super) const ROWS: &[OnnxOp] = &[
    row("BiasGelu", "GELU of the sum of two tensors", |cx| {
        let (x, bias) = (cx.required(0)?, cx.required(1)?);
        let sum = cx.binary(ScalarOp::Add, x, bias)?;
        let y = cx.unary(ScalarOp::Gelu, sum)?;
        cx.done(y)
    }),
    row("FastGelu", "GELU by tanh, of a tensor or the sum of two", |cx| {
        let x = cx.required(0)?;
        let x = match cx.input(1)? {
            Some(bias) => cx.binary(ScalarOp::Add, x, bias)?,
            None => x,
        };
        let y = cx.unary(ScalarOp::GeluTanh, x)?;
        cx.done(y)
    }),
    row("FusedMatMul", "`alpha * A' * B'`, each with its last axes exchanged if asked", |cx| {
        let alpha = cx.number("alpha", 1.0)?;
        let (ta, tb) = (cx.attrs.flag_or("transA", false)?, cx.attrs.flag_or("transB", false)?);
        if cx.attrs.flag_or("transBatchA", false)? || cx.attrs.flag_or("transBatchB", false)? {
            unsupported!("attributes \"transBatchA\" and \"transBatchB\" are not supported");
        }
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let a = if ta { exchanged(cx, a)? } else { a };
        let b = if tb { exchanged(cx, b)? } else { b };
        let y = super::linalg::matmul(cx, a, b)?;
        let y = if alpha == 1.0 { y } else { cx.with_const(ScalarOp::Mul, y, alpha)? };
        cx.done(y)
    }),
    row("Gelu", "Gaussian error linear unit", |cx| {
        let x = cx.required(0)?;
        let y = cx.unary(ScalarOp::Gelu, x)?;
        cx.done(y)
    }),
    row("MatMulNBits", "matmul by weights of 2, 4 or 8 bits with scales per block", matmul_nbits),
    row("QGemm", "`alpha * A' * B' + C` of quantized numbers, quantized again", qgemm),
    row("QLinearAdd", "sum of quantized numbers, quantized again", |cx| qlinear_binary(cx, ScalarOp::Add)),
    row("QLinearGlobalAveragePool", "mean of quantized numbers over all spatial axes", |cx| {
        let last = cx.attrs.flag_or("channels_last", false)?;
        let x = unpacked(cx, 0)?;
        let rank = cx.rank(x);
        let axes: Vec<usize> = if last { (1..rank - 1).collect() } else { (2..rank).collect() };
        let mean = mean_keep(cx, x, &axes)?;
        packed(cx, mean, 3)
    }),
    row("QLinearLeakyRelu", "leaky ReLU of quantized numbers", |cx| {
        let alpha = cx.number("alpha", 0.01)?;
        let x = unpacked(cx, 0)?;
        let low = cx.with_const(ScalarOp::Mul, x, alpha)?;
        let negative = cx.with_const(ScalarOp::Lt, x, 0.0)?;
        let y = cx.select(negative, low, x)?;
        packed(cx, y, 3)
    }),
    row("QLinearMul", "product of quantized numbers, quantized again", |cx| {
        qlinear_binary(cx, ScalarOp::Mul)
    }),
    row("QLinearSigmoid", "sigmoid of quantized numbers", |cx| {
        let x = unpacked(cx, 0)?;
        let y = cx.unary(ScalarOp::Sigmoid, x)?;
        packed(cx, y, 3)
    }),
    row("QuickGelu", "`x * sigmoid(alpha * x)`", |cx| {
        let alpha = cx.number("alpha", 1.702)?;
        let x = cx.required(0)?;
        let y = super::unary::swish(cx, x, alpha)?;
        cx.done(y)
    }),
    row("SimplifiedLayerNormalization", "RMS normalization from an axis on", |cx| {
        let x = cx.required(0)?;
        let axis = cx.axis("axis", -1, cx.rank(x))?;
        let (eps, stash) = (cx.number("epsilon", 1e-5)?, cx.dtype_attr("stash_type")?.unwrap_or(DType::F32));
        let scale = cx.required(1)?;
        let y = normalized(cx, x, scale, None, axis, eps, true, stash)?;
        cx.done(y)
    }),
    row("SkipLayerNormalization", "layer normalization of the sum of two tensors and a bias", |cx| {
        let (gamma, beta) = (cx.required(2)?, cx.input(3)?);
        skip_norm(cx, gamma, beta, 4, false)
    }),
    row("SkipSimplifiedLayerNormalization", "RMS normalization of the sum of two tensors and a bias", |cx| {
        let gamma = cx.required(2)?;
        skip_norm(cx, gamma, None, 3, true)
    }),
];

/// A row; all operators of the domain have version 1.
const fn row(op: &'static str, doc: &'static str, lower: fn(&mut Cx<'_, '_, '_>) -> Lowered) -> OnnxOp {
    OnnxOp { name: OpName { domain: "com.microsoft", op }, since: &[1], doc, lower }
}

fn exchanged(cx: &mut Cx, x: ValueId) -> Lowered<ValueId> {
    let rank = cx.rank(x);
    if rank < 2 {
        unsupported!("the operand must have at least 2 axes, found {}", cx.graph.ty(x));
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    Ok(cx.transpose(x, &perm)?)
}

/// Quantized input `i` with scale and zero point after it, as floats.
fn unpacked(cx: &mut Cx, i: usize) -> Lowered<ValueId> {
    let (x, scale, zero) = (cx.required(i)?, cx.required(i + 1)?, cx.input(i + 2)?);
    let scale = cx.reshape(scale, &[])?;
    let zero = zero.map(|z| cx.reshape(z, &[])).transpose()?;
    dequantized(cx, x, scale, zero)
}

/// The only output, quantized by the scale at input `i` and the zero point after it.
fn packed(cx: &mut Cx, y: ValueId, i: usize) -> Lowered {
    let (scale, zero) = (cx.required(i)?, cx.input(i + 1)?);
    let x = cx.required(0)?;
    let to = zero.map_or(cx.dtype(x), |z| cx.dtype(z));
    let scale = cx.reshape(scale, &[])?;
    let zero = zero.map(|z| cx.reshape(z, &[])).transpose()?;
    let ratio = cx.binary(ScalarOp::Div, y, scale)?;
    let y = quantized(cx, ratio, zero, to, true)?;
    cx.done(y)
}

fn qlinear_binary(cx: &mut Cx, op: ScalarOp) -> Lowered {
    let (a, b) = (unpacked(cx, 0)?, unpacked(cx, 3)?);
    let y = cx.binary(op, a, b)?;
    packed(cx, y, 6)
}

fn qgemm(cx: &mut Cx) -> Lowered {
    let alpha = cx.number("alpha", 1.0)?;
    let (ta, tb) = (cx.attrs.flag_or("transA", false)?, cx.attrs.flag_or("transB", false)?);
    let (a, b) = (cx.required(0)?, cx.required(3)?);
    let (za, zb) = (cx.input(2)?, cx.input(5)?);
    let a = centered_value(cx, a, za, None)?;
    let b = centered_value(cx, b, zb, Some(usize::from(!tb)))?;
    let (lhs, rhs) = (if ta { "km" } else { "mk" }, if tb { "nk" } else { "kn" });
    let mut sums = cx.contract(lhs, rhs, "mn", a, b)?;
    if let Some(c) = cx.input(6)? {
        let shape = cx.shape(sums);
        let c = cx.broadcast(c, &shape)?;
        sums = cx.binary(ScalarOp::Add, sums, c)?;
    }
    let (scale_a, scale_b) = (cx.required(1)?, cx.required(4)?);
    let scale_a = cx.reshape(scale_a, &[])?;
    let scale_b = along(cx, scale_b, 1, 2)?;
    let factor = cx.binary(ScalarOp::Mul, scale_a, scale_b)?;
    let factor = if alpha == 1.0 { factor } else { cx.with_const(ScalarOp::Mul, factor, alpha)? };
    match cx.input(7)? {
        Some(scale) => {
            let (scale, zero) = (cx.reshape(scale, &[])?, cx.required(8)?);
            let zero = cx.reshape(zero, &[])?;
            let y = requantized(cx, sums, factor, scale, Some(zero))?;
            cx.done(y)
        }
        None => {
            let sums = cx.cast(sums, DType::F32)?;
            let y = cx.binary(ScalarOp::Mul, sums, factor)?;
            cx.done(y)
        }
    }
}

/// Weights `[N, blocks, bytes]` unpacked, scaled, and multiplied as `x · wᵀ`.
fn matmul_nbits(cx: &mut Cx) -> Lowered {
    let int = |cx: &Cx, name: &str| -> Lowered<i64> { Ok(cx.attrs.required(name, cx.attrs.int(name))?) };
    let (k, n, block) = (int(cx, "K")?, int(cx, "N")?, int(cx, "block_size")?);
    let bits = cx.attrs.int_or("bits", 4)?;
    // A hint on how exact the product has to be.
    cx.attrs.int("accuracy_level")?;
    let packed_type = match bits {
        2 => DType::U2,
        4 => DType::U4,
        8 => DType::U8,
        _ => unsupported!("attribute \"bits\" must be 2, 4 or 8, found {bits}"),
    };
    if [k, n, block].iter().any(|v| !(1..1 << 31).contains(v)) {
        unsupported!(
            "attributes \"K\", \"N\" and \"block_size\" must be positive sizes, found {k}, {n}, {block}"
        );
    }
    if cx.input(4)?.is_some() {
        unsupported!("input 4 (g_idx) is not supported");
    }
    let n_blocks = (k + block - 1) / block;
    let (x, w, scale) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let dtype = cx.dtype(scale);
    let padded = Dim::int(n_blocks * block);
    let w = repacked(cx, w, packed_type, &[Dim::int(n), padded.clone()])?;
    let w = cx.cast(w, dtype)?;
    let scale = cx.reshape(scale, &[Dim::int(n), Dim::int(n_blocks)])?;
    let scale = blocks(cx, scale, 1, block, &padded)?;
    let zero = match cx.input(3)? {
        Some(z) if cx.dtype(z) == DType::U8 => {
            // Rows of zero points fill whole bytes.
            let per_byte = 8 / bits;
            let row = (n_blocks + per_byte - 1) / per_byte * per_byte;
            let z = repacked(cx, z, packed_type, &[Dim::int(n), Dim::int(row)])?;
            let z = cx.slice_axis(z, 1, Dim::ZERO, Dim::int(n_blocks))?;
            cx.cast(z, dtype)?
        }
        Some(z) => {
            let z = cx.reshape(z, &[Dim::int(n), Dim::int(n_blocks)])?;
            cx.cast(z, dtype)?
        }
        None => {
            let middle = f64::from(1u32 << (bits - 1));
            cx.splat(dtype, middle, &[Dim::int(n), Dim::int(n_blocks)])?
        }
    };
    let zero = blocks(cx, zero, 1, block, &padded)?;
    let w = cx.binary(ScalarOp::Sub, w, zero)?;
    let w = cx.binary(ScalarOp::Mul, w, scale)?;
    let w = cx.slice_axis(w, 1, Dim::ZERO, Dim::int(k))?;
    let w = cx.transpose(w, &[1, 0])?;
    let to = cx.dtype(x);
    let w = cx.cast(w, to)?;
    let y = super::linalg::matmul(cx, x, w)?;
    let y = match cx.input(5)? {
        Some(bias) => cx.binary(ScalarOp::Add, y, bias)?,
        None => y,
    };
    cx.done(y)
}

/// Constant bytes read as elements of a packed type, lowest bits first.
fn repacked(cx: &mut Cx, bytes: ValueId, dtype: DType, shape: &[Dim]) -> Lowered<ValueId> {
    if dtype == DType::U8 {
        return Ok(cx.reshape(bytes, shape)?);
    }
    let Some(t) = cx.constant_of(bytes) else { unsupported!("packed weights must be constant") };
    let sizes: Option<Vec<usize>> = shape.iter().map(Dim::as_len).collect();
    let (Some(sizes), Some(handle)) = (sizes, t.shared_bytes()) else {
        unsupported!("packed weights must be bytes of a known shape");
    };
    Ok(cx.constant(nnc_ir::Tensor::new(dtype, sizes, handle.clone())?))
}

fn skip_norm(cx: &mut Cx, gamma: ValueId, beta: Option<ValueId>, bias: usize, rms: bool) -> Lowered {
    let eps = cx.number("epsilon", 1e-12)?;
    let (x, skip) = (cx.required(0)?, cx.required(1)?);
    let mut sum = cx.binary(ScalarOp::Add, x, skip)?;
    if let Some(bias) = cx.input(bias)? {
        sum = cx.binary(ScalarOp::Add, sum, bias)?;
    }
    let axis = cx.rank(sum).saturating_sub(1);
    let y = normalized(cx, sum, gamma, beta, axis, eps, rms, DType::F32)?;
    cx.output(0, y);
    if cx.wants(1) || cx.wants(2) {
        unsupported!("outputs 1 and 2 (mean and deviation) are not supported");
    }
    cx.output(3, sum);
    Ok(())
}
