//! Losses of classification.

use super::norm::softmax;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "NegativeLogLikelihoodLoss",
        &[12, 13, 22],
        "minus the given class's log-probability, weighted",
        |cx| {
            let (x, target) = (cx.required(0)?, cx.required(1)?);
            let y = likelihood(cx, x, target)?;
            cx.done(y)
        },
    ),
    onnx("SoftmaxCrossEntropyLoss", &[12, 13], "log-softmax, then minus the given class's entry", |cx| {
        let (x, target) = (cx.required(0)?, cx.required(1)?);
        if cx.rank(x) < 2 {
            unsupported!("scores must have a class axis, found {}", cx.graph.ty(x));
        }
        let log = softmax(cx, x, 1, true)?;
        let y = likelihood(cx, log, target)?;
        cx.output(0, y);
        cx.output(1, log);
        Ok(())
    }),
];

/// The loss of log-probabilities `[N, C, …]` for classes `[N, …]`; input 2 holds weights of classes.
fn likelihood(cx: &mut Cx, x: ValueId, target: ValueId) -> Lowered<ValueId> {
    let reduction = cx.attrs.string_or("reduction", "mean")?;
    let ignored = cx.attrs.int("ignore_index")?;
    let weights = cx.input(2)?;
    let dtype = cx.dtype(x);
    let target = cx.cast(target, DType::I64)?;
    let zero = cx.size_scalar(&nnc_ir::Dim::ZERO, DType::I64)?;
    let (at, counted) = match ignored {
        Some(class) => {
            let class = cx.size_scalar(&nnc_ir::Dim::int(class), DType::I64)?;
            let counted = cx.binary(ScalarOp::Ne, target, class)?;
            (cx.select(counted, target, zero)?, Some(counted))
        }
        None => (target, None),
    };
    let index = cx.unsqueeze(at, &[1])?;
    let picked = cx.one("gather_elements", attrs! { axis: Attr::Int(1) }, &[x, index])?;
    let picked = cx.squeeze(picked, &[1])?;
    let mut loss = cx.unary(ScalarOp::Neg, picked)?;
    let mut weight = match weights {
        Some(w) => Some(cx.one("gather", attrs! { axis: Attr::Int(0) }, &[w, at])?),
        None => None,
    };
    if let Some(counted) = counted {
        let (one, none) = (cx.scalar(dtype, 1.0)?, cx.scalar(dtype, 0.0)?);
        let full = weight.unwrap_or(one);
        weight = Some(cx.select(counted, full, none)?);
    }
    if let Some(w) = weight {
        loss = cx.binary(ScalarOp::Mul, loss, w)?;
    }
    let axes: Vec<usize> = (0..cx.rank(loss)).collect();
    match reduction {
        "none" => Ok(loss),
        "sum" => Ok(cx.reduce("sum", loss, &axes)?),
        "mean" => {
            let total = match weight {
                Some(w) => cx.reduce("sum", w, &axes)?,
                None => cx.count(loss, &axes, dtype)?,
            };
            let sum = cx.reduce("sum", loss, &axes)?;
            Ok(cx.binary(ScalarOp::Div, sum, total)?)
        }
        other => unsupported!("attribute \"reduction\" is unknown: \"{other}\""),
    }
}
