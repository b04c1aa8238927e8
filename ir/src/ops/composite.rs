//! Normalizations, kept whole because a backend does better than their parts.

use super::{Effects, EvalCx, OpError, OpRow, spec};
use crate::{Attrs, Builder, DType, Dim, ScalarOp, Tensor, Value, ValueId, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[SOFTMAX, LAYER_NORM, GROUP_NORM];

const SOFTMAX: OpRow = OpRow {
    name: "softmax",
    doc: "exp(x − max) over its sum along `axis`, or the logarithm of that if `log`",
    attrs: &[spec::int("axis"), spec::int("log")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.floats(0, "the operand of softmax")?;
        cx.axis("axis", x.rank())?;
        cx.flag("log")?;
        Ok(vec![x.clone().into()])
    },
    content: None,
    eval: eval_softmax,
    scalar: None,
    decompose: Some(|b, attrs, inputs| {
        let (x, axis) = (inputs[0], attrs.index("axis"));
        let max = keep(b, "max", x, &[axis])?;
        let shifted = b.binary(ScalarOp::Sub, x, max)?;
        let e = b.unary(ScalarOp::Exp, shifted)?;
        let sum = keep(b, "sum", e, &[axis])?;
        if !attrs.flag("log") {
            return Ok(vec![b.binary(ScalarOp::Div, e, sum)?]);
        }
        let log = b.unary(ScalarOp::Log, sum)?;
        Ok(vec![b.binary(ScalarOp::Sub, shifted, log)?])
    }),
};

const LAYER_NORM: OpRow = OpRow {
    name: "layer_norm",
    doc: "(x − mean) / sqrt(variance + eps) · gamma + beta over the axes from `axes_from`; \
          with `rms` x / sqrt(mean of squares + eps) · gamma + beta",
    attrs: &[spec::int("axes_from"), spec::float("eps"), spec::int("rms")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(3)?;
        let x = cx.floats(0, "the operand of layer_norm")?;
        let from = cx.axis("axes_from", x.rank())?;
        cx.flag("rms")?;
        cx.expect(1, "gamma", x.dtype, &x.shape[from..])?;
        cx.expect(2, "beta", x.dtype, &x.shape[from..])?;
        Ok(vec![x.clone().into()])
    },
    content: None,
    eval: eval_layer_norm,
    scalar: None,
    decompose: Some(|b, attrs, inputs| {
        let [x, gamma, beta] = three(inputs);
        let axes: Vec<usize> = (attrs.index("axes_from")..b.graph.tensor_ty(x).rank()).collect();
        let y = normalize(b, x, &axes, attrs.float("eps"), attrs.flag("rms"))?;
        let y = b.binary(ScalarOp::Mul, y, gamma)?;
        Ok(vec![b.binary(ScalarOp::Add, y, beta)?])
    }),
};

const GROUP_NORM: OpRow = OpRow {
    name: "group_norm",
    doc: "channels in `groups` equal parts, each with its spatial axes normalized, then times gamma [C] plus beta [C]",
    attrs: &[spec::int("channels_last"), spec::float("eps"), spec::int("groups")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(3)?;
        let x = cx.floats(0, "the operand of group_norm")?;
        if x.rank() < 2 {
            refuse!("group_norm takes batch and channel axes, found {x}");
        }
        let channels = &x.shape[channel_axis(cx.flag("channels_last")?, x.rank())];
        let groups = cx.positive_int("groups")?;
        if channels.modulo(&Dim::int(groups)).as_const().is_some_and(|r| r != 0) {
            refuse!("channels must be a multiple of {groups} groups, found {channels}");
        }
        cx.expect(1, "gamma", x.dtype, std::slice::from_ref(channels))?;
        cx.expect(2, "beta", x.dtype, std::slice::from_ref(channels))?;
        Ok(vec![x.clone().into()])
    },
    content: None,
    eval: eval_group_norm,
    scalar: None,
    decompose: Some(decompose_group_norm),
};

fn channel_axis(last: bool, rank: usize) -> usize {
    if last { rank - 1 } else { 1 }
}

fn three(inputs: &[ValueId]) -> [ValueId; 3] {
    [inputs[0], inputs[1], inputs[2]]
}

/// A reduction that keeps its axes with size one.
pub(super) fn keep(b: &mut Builder, kind: &str, x: ValueId, axes: &[usize]) -> Result<ValueId, OpError> {
    let mut shape = b.graph.tensor_ty(x).shape.clone();
    axes.iter().for_each(|a| shape[*a] = Dim::ONE);
    let y = b.reduce(kind, x, axes)?;
    b.reshape(y, &shape)
}

fn mean(b: &mut Builder, x: ValueId, axes: &[usize]) -> Result<ValueId, OpError> {
    let t = b.graph.tensor_ty(x).clone();
    let n = b.dims(vec![axes.iter().fold(Dim::ONE, |n, a| n * t.shape[*a].clone())])?;
    let n = b.reshape(n, &[])?;
    let n = b.cast(n, t.dtype)?;
    let sum = keep(b, "sum", x, axes)?;
    b.binary(ScalarOp::Div, sum, n)
}

fn normalize(b: &mut Builder, x: ValueId, axes: &[usize], eps: f64, rms: bool) -> Result<ValueId, OpError> {
    let centered = if rms {
        x
    } else {
        let m = mean(b, x, axes)?;
        b.binary(ScalarOp::Sub, x, m)?
    };
    let square = b.binary(ScalarOp::Mul, centered, centered)?;
    let variance = mean(b, square, axes)?;
    let variance = b.binary_const(ScalarOp::Add, variance, eps)?;
    let deviation = b.unary(ScalarOp::Sqrt, variance)?;
    b.binary(ScalarOp::Div, centered, deviation)
}

fn decompose_group_norm(b: &mut Builder, attrs: &Attrs, inputs: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
    let [x, gamma, beta] = three(inputs);
    let shape = b.graph.tensor_ty(x).shape.clone();
    let axis = channel_axis(attrs.flag("channels_last"), shape.len());
    let groups = Dim::int(attrs.int("groups"));
    // Channels become two axes: groups, and channels of a group.
    let mut split = shape.clone();
    split.splice(axis..=axis, [groups.clone(), shape[axis].floor_div(&groups)]);
    let parts = b.reshape(x, &split)?;
    let axes: Vec<usize> = (1..split.len()).filter(|a| *a != axis).collect();
    let y = normalize(b, parts, &axes, attrs.float("eps"), false)?;
    let y = b.reshape(y, &shape)?;
    let mut column = vec![Dim::ONE; shape.len()];
    column[axis] = shape[axis].clone();
    let (gamma, beta) = (b.reshape(gamma, &column)?, b.reshape(beta, &column)?);
    let y = b.binary(ScalarOp::Mul, y, gamma)?;
    Ok(vec![b.binary(ScalarOp::Add, y, beta)?])
}

fn eval_softmax(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (x, axis) = (cx.tensor(0)?, cx.attrs.index("axis"));
    let (n, inner) = (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>());
    let mut data = x.to_f64s();
    for block in data.chunks_mut((n * inner).max(1)) {
        for i in 0..inner {
            let at = |j: usize| j * inner + i;
            let max = (0..n).map(|j| block[at(j)]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..n).map(|j| (block[at(j)] - max).exp()).sum();
            for j in 0..n {
                let shifted = block[at(j)] - max;
                block[at(j)] = if cx.attrs.flag("log") { shifted - sum.ln() } else { shifted.exp() / sum };
            }
        }
    }
    Ok(vec![Tensor::from_f64s(x.dtype(), x.shape(), &data)?.into()])
}

/// `(row − mean) / sqrt(variance + eps)`, without the mean if `rms`.
fn normalize_row(row: &mut [f64], eps: f64, rms: bool) {
    let n = row.len() as f64;
    let mean = if rms { 0.0 } else { row.iter().sum::<f64>() / n };
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let deviation = (variance + eps).sqrt();
    row.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
}

fn eval_layer_norm(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let x = cx.tensor(0)?;
    let (gamma, beta) = (cx.tensor(1)?.to_f64s(), cx.tensor(2)?.to_f64s());
    let n: usize = x.shape()[cx.attrs.index("axes_from")..].iter().product();
    if gamma.len() != n || beta.len() != n {
        refuse!("gamma and beta must have {n} elements, found {} and {}", gamma.len(), beta.len());
    }
    let mut data = x.to_f64s();
    for row in data.chunks_mut(n.max(1)) {
        normalize_row(row, cx.attrs.float("eps"), cx.attrs.flag("rms"));
        row.iter_mut().zip(gamma.iter().zip(&beta)).for_each(|(x, (g, b))| *x = *x * g + b);
    }
    Ok(vec![Tensor::from_f64s(x.dtype(), x.shape(), &data)?.into()])
}

fn eval_group_norm(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let x = cx.tensor(0)?;
    let axis = channel_axis(cx.attrs.flag("channels_last"), x.rank());
    let mut perm: Vec<usize> = (0..x.rank()).filter(|a| *a != axis).collect();
    perm.insert(1, axis);
    let first = movers::transpose(x, &perm)?;
    let (c, groups) = (x.shape()[axis], cx.attrs.index("groups"));
    let (gamma, beta) = (cx.tensor(1)?.to_f64s(), cx.tensor(2)?.to_f64s());
    if !c.is_multiple_of(groups) || gamma.len() != c || beta.len() != c {
        refuse!("{c} channels do not fit {groups} groups, gamma and beta");
    }
    let size: usize = first.shape()[2..].iter().product();
    let mut data = first.to_f64s();
    data.chunks_mut((c / groups * size).max(1)).for_each(|g| normalize_row(g, cx.attrs.float("eps"), false));
    for (i, plane) in data.chunks_mut(size.max(1)).enumerate() {
        plane.iter_mut().for_each(|x| *x = *x * gamma[i % c] + beta[i % c]);
    }
    let y = Tensor::from_f64s(x.dtype(), first.shape(), &data)?;
    let mut back: Vec<usize> = vec![0; x.rank()];
    perm.iter().enumerate().for_each(|(to, from)| back[*from] = to);
    Ok(vec![movers::transpose(&y, &back)?.into()])
}

/// A scalar constant in the type of a value.
pub(super) fn scalar_like(b: &mut Builder, x: ValueId, v: f64) -> Result<ValueId, OpError> {
    let dtype: DType = b.graph.tensor_ty(x).dtype;
    b.scalar(dtype, v)
}
