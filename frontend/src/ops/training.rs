//! Steps of optimizers, and determinants.

use super::{OnnxOp, OpName, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, Tensor, Type, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Det", &[11, 22], "determinants of square matrices, by elimination with pivots", determinant),
    training("Adagrad", "a step of Adagrad for any number of tensors", |cx| {
        let (norm, eps) = (cx.number("norm_coefficient", 0.0)?, cx.number("epsilon", 1e-6)?);
        let decay = cx.number("decay_factor", 0.0)?;
        let (rate, turn) = rate_and_turn(cx)?;
        let n = tensors(cx, 3)?;
        for i in 0..n {
            let (x, g) = (cx.required(2 + i)?, cx.required(2 + n + i)?);
            let h = cx.required(2 + 2 * n + i)?;
            let g = regularized(cx, x, g, norm)?;
            let squares = cx.binary(ScalarOp::Mul, g, g)?;
            let h = cx.binary(ScalarOp::Add, h, squares)?;
            let root = cx.unary(ScalarOp::Sqrt, h)?;
            let root = cx.with_const(ScalarOp::Add, root, eps)?;
            let dtype = cx.dtype(x);
            let t = cx.cast(turn, dtype)?;
            let slowed = cx.affine(t, decay, 1.0)?;
            let r = cx.cast(rate, dtype)?;
            let r = cx.binary(ScalarOp::Div, r, slowed)?;
            let step = cx.binary(ScalarOp::Mul, r, g)?;
            let step = cx.binary(ScalarOp::Div, step, root)?;
            let x = cx.binary(ScalarOp::Sub, x, step)?;
            cx.output(i, x);
            cx.output(n + i, h);
        }
        Ok(())
    }),
    training("Adam", "a step of Adam for any number of tensors", adam),
    training("Momentum", "a step of gradient descent with momentum for any number of tensors", |cx| {
        let (alpha, beta) = (required(cx, "alpha")?, required(cx, "beta")?);
        let norm = required(cx, "norm_coefficient")?;
        let nesterov = match cx.attrs.required("mode", cx.attrs.string("mode"))? {
            "standard" => false,
            "nesterov" => true,
            other => {
                unsupported!("attribute \"mode\" must be \"standard\" or \"nesterov\", found \"{other}\"")
            }
        };
        let (rate, turn) = rate_and_turn(cx)?;
        let n = tensors(cx, 3)?;
        for i in 0..n {
            let (x, g) = (cx.required(2 + i)?, cx.required(2 + n + i)?);
            let v = cx.required(2 + 2 * n + i)?;
            let dtype = cx.dtype(x);
            let g = regularized(cx, x, g, norm)?;
            let later = cx.with_const(ScalarOp::Gt, turn, 0.0)?;
            let (one, beta) = (cx.scalar(dtype, 1.0)?, cx.scalar(dtype, beta)?);
            let beta = cx.select(later, beta, one)?;
            let kept = cx.with_const(ScalarOp::Mul, v, alpha)?;
            let fresh = cx.binary(ScalarOp::Mul, beta, g)?;
            let v = cx.binary(ScalarOp::Add, kept, fresh)?;
            let direction = if nesterov {
                let ahead = cx.with_const(ScalarOp::Mul, v, alpha)?;
                cx.binary(ScalarOp::Add, g, ahead)?
            } else {
                v
            };
            let r = cx.cast(rate, dtype)?;
            let step = cx.binary(ScalarOp::Mul, r, direction)?;
            let x = cx.binary(ScalarOp::Sub, x, step)?;
            cx.output(i, x);
            cx.output(n + i, v);
        }
        Ok(())
    }),
];

/// A row of the domain of training operators, all of version 1.
const fn training(op: &'static str, doc: &'static str, lower: fn(&mut Cx<'_, '_, '_>) -> Lowered) -> OnnxOp {
    OnnxOp { name: OpName { domain: "ai.onnx.preview.training", op }, since: &[1], doc, lower }
}

fn required(cx: &Cx, name: &str) -> Lowered<f64> {
    Ok(f64::from(cx.attrs.required(name, cx.attrs.float(name))?))
}

/// Learning rate and number of updates so far, as scalars.
fn rate_and_turn(cx: &mut Cx) -> Lowered<(ValueId, ValueId)> {
    let (rate, turn) = (cx.required(0)?, cx.required(1)?);
    Ok((cx.reshape(rate, &[])?, cx.reshape(turn, &[])?))
}

/// How many tensors are optimized, with `lists` inputs each.
fn tensors(cx: &Cx, lists: usize) -> Lowered<usize> {
    let n = cx.n_inputs().saturating_sub(2);
    if !n.is_multiple_of(lists) {
        unsupported!("{} inputs are no whole number of tensors", cx.n_inputs());
    }
    Ok(n / lists)
}

/// The gradient with that of the squared norm.
fn regularized(cx: &mut Cx, x: ValueId, g: ValueId, norm: f64) -> Lowered<ValueId> {
    let own = cx.with_const(ScalarOp::Mul, x, norm)?;
    Ok(cx.binary(ScalarOp::Add, own, g)?)
}

/// `a · x + (1 - a) · y`
fn mixed(cx: &mut Cx, a: f64, x: ValueId, y: ValueId) -> Lowered<ValueId> {
    let (x, y) = (cx.with_const(ScalarOp::Mul, x, a)?, cx.with_const(ScalarOp::Mul, y, 1.0 - a)?);
    Ok(cx.binary(ScalarOp::Add, x, y)?)
}

fn adam(cx: &mut Cx) -> Lowered {
    let (alpha, beta) = (cx.number("alpha", 0.9)?, cx.number("beta", 0.999)?);
    let (norm, post) = (cx.number("norm_coefficient", 0.0)?, cx.number("norm_coefficient_post", 0.0)?);
    let eps = cx.number("epsilon", 1e-6)?;
    let (rate, turn) = rate_and_turn(cx)?;
    let n = tensors(cx, 4)?;
    for i in 0..n {
        let (x, g) = (cx.required(2 + i)?, cx.required(2 + n + i)?);
        let (v, h) = (cx.required(2 + 2 * n + i)?, cx.required(2 + 3 * n + i)?);
        let dtype = cx.dtype(x);
        let g = regularized(cx, x, g, norm)?;
        let v = mixed(cx, alpha, v, g)?;
        let squares = cx.binary(ScalarOp::Mul, g, g)?;
        let h = mixed(cx, beta, h, squares)?;
        let root = cx.unary(ScalarOp::Sqrt, h)?;
        let root = cx.with_const(ScalarOp::Add, root, eps)?;
        let r = corrected_rate(cx, rate, turn, [alpha, beta], dtype)?;
        let step = cx.binary(ScalarOp::Mul, r, v)?;
        let step = cx.binary(ScalarOp::Div, step, root)?;
        let x = cx.binary(ScalarOp::Sub, x, step)?;
        let x = cx.with_const(ScalarOp::Mul, x, 1.0 - post)?;
        cx.output(i, x);
        cx.output(n + i, v);
        cx.output(2 * n + i, h);
    }
    Ok(())
}

/// The rate without the bias of averages that started at zero.
fn corrected_rate(
    cx: &mut Cx,
    rate: ValueId,
    turn: ValueId,
    [alpha, beta]: [f64; 2],
    dtype: DType,
) -> Lowered<ValueId> {
    let t = cx.cast(turn, dtype)?;
    let rest = |cx: &mut Cx, base: f64| -> Lowered<ValueId> {
        let base = cx.scalar(dtype, base)?;
        let power = cx.binary(ScalarOp::Pow, base, t)?;
        cx.affine(power, -1.0, 1.0)
    };
    let (first, second) = (rest(cx, alpha)?, rest(cx, beta)?);
    let second = cx.unary(ScalarOp::Sqrt, second)?;
    let factor = cx.binary(ScalarOp::Div, second, first)?;
    let r = cx.cast(rate, dtype)?;
    let corrected = cx.binary(ScalarOp::Mul, r, factor)?;
    let later = cx.with_const(ScalarOp::Gt, turn, 0.0)?;
    Ok(cx.select(later, corrected, r)?)
}

/// A loop over columns: the largest element below is swapped up, its row taken off those below.
fn determinant(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    if rank < 2 {
        unsupported!("the input must have at least 2 axes, found {}", cx.graph.ty(x));
    }
    let (shape, dtype) = (cx.shape(x), cx.dtype(x));
    let (outer, size) = (&shape[..rank - 2], &shape[rank - 1]);
    let batch = Dim::product(outer);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let x = cx.cast(x, wide)?;
    let x = cx.reshape(x, &[batch.clone(), size.clone(), size.clone()])?;
    let one = cx.splat(wide, 1.0, &[batch])?;
    let block = cx.graph.add_block();
    let types = [Type::tensor(DType::I64, vec![]), Type::tensor(DType::Bool, vec![])];
    let types = types.into_iter().chain([cx.graph.ty(x).clone(), cx.graph.ty(one).clone()]);
    let params: Vec<ValueId> = types.map(|ty| cx.graph.add_param(block, ty, None)).collect();
    let (matrix, product) = cx.at_block(block, |cx| eliminate(cx, params[0], params[2], params[3]))?;
    cx.graph.block_mut(block).results = vec![params[1], matrix, product];
    let trip = cx.size_scalar(size, DType::I64)?;
    let cond = cx.constant(Tensor::from_bools(&[], &[true])?);
    let attrs = attrs! { scans: Attr::Int(0) };
    let y = cx.add_row(nnc_ir::ops::row("loop"), attrs, &[trip, cond, x, one], vec![block])?[1];
    let y = cx.reshape(y, outer)?;
    let y = cx.cast(y, dtype)?;
    cx.done(y)
}

/// One column: the matrix `[B, M, M]` with zeros below the diagonal, and the product `[B]` so far.
fn eliminate(cx: &mut Cx, k: ValueId, a: ValueId, product: ValueId) -> Lowered<(ValueId, ValueId)> {
    let (shape, dtype) = (cx.shape(a), cx.dtype(a));
    let lines = [shape[0].clone(), shape[1].clone()];
    let take =
        |cx: &mut Cx, v: ValueId, axis: i64| cx.one("gather", attrs! { axis: Attr::Int(axis) }, &[v, k]);
    let row = cx.iota(&lines, 1, DType::I64)?;
    let column = take(cx, a, 2)?;
    let below = cx.binary(ScalarOp::Ge, row, k)?;
    let magnitude = cx.unary(ScalarOp::Abs, column)?;
    let none = cx.scalar(dtype, -1.0)?;
    let candidates = cx.select(below, magnitude, none)?;
    let find = attrs! { kind: Attr::Str("max".into()), axis: Attr::Int(1), last: Attr::Int(0) };
    let at = cx.one("arg_reduce", find, &[candidates])?;
    let at = cx.unsqueeze(at, &[1])?;
    // Rows k and `at` change places.
    let (is_k, is_at) = (cx.binary(ScalarOp::Eq, row, k)?, cx.binary(ScalarOp::Eq, row, at)?);
    let order = cx.select(is_at, k, row)?;
    let order = cx.select(is_k, at, order)?;
    let order = cx.unsqueeze(order, &[2])?;
    let order = cx.broadcast(order, &shape)?;
    let a = cx.one("gather_elements", attrs! { axis: Attr::Int(1) }, &[a, order])?;
    let (top, column) = (take(cx, a, 1)?, take(cx, a, 2)?);
    let pivot = take(cx, top, 1)?;
    let same = cx.binary(ScalarOp::Eq, at, k)?;
    let same = cx.squeeze(same, &[1])?;
    let negative = cx.unary(ScalarOp::Neg, pivot)?;
    let factor = cx.select(same, pivot, negative)?;
    let product = cx.binary(ScalarOp::Mul, product, factor)?;
    let pivot = cx.unsqueeze(pivot, &[1])?;
    let ratio = cx.binary(ScalarOp::Div, column, pivot)?;
    // Nothing is left to take off a column of zeros.
    let (under, empty) = (cx.binary(ScalarOp::Gt, row, k)?, cx.with_const(ScalarOp::Eq, pivot, 0.0)?);
    let zero = cx.scalar(dtype, 0.0)?;
    let ratio = cx.select(under, ratio, zero)?;
    let ratio = cx.select(empty, zero, ratio)?;
    let (left, right) = (cx.unsqueeze(ratio, &[2])?, cx.unsqueeze(top, &[1])?);
    let taken = cx.binary(ScalarOp::Mul, left, right)?;
    Ok((cx.binary(ScalarOp::Sub, a, taken)?, product))
}
