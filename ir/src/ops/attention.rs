//! Scaled dot-product attention with grouped key heads and an additive mask.

use super::composite::{keep, scalar_like};
use super::matmul::{matmul, matmul_transposed};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{Attr, Attrs, Builder, DType, Dim, ScalarOp, Tensor, Type, Value, ValueId, attrs, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[ATTENTION];

const ATTENTION: OpRow = OpRow {
    name: "attention",
    doc: "softmax(scale·q·kᵀ, softcapped, + mask)·v; q [B, H, Sq, D], k [B, Hkv, Sk, D], v [B, Hkv, Sk, Dv], mask \
          [B|1, H|1, Sq|1, Sk]; causal: query i sees key j iff j ≤ i + past; a row that sees nothing gives 0; y \
          [B, H, Sq, Dv], heads_last: [B, Sq, H, Dv]",
    attrs: &[
        spec::int("causal"),
        spec::int("heads_last"),
        spec::dims("past"),
        spec::float("scale"),
        spec::float("softcap"),
    ],
    effects: Effects::Pure,
    infer: infer_attention,
    content: None,
    eval: eval_attention,
    scalar: None,
    decompose: Some(decompose_attention),
};

fn infer_attention(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(4)?;
    let q = cx.floats(0, "queries")?;
    let (k, v, mask) = (cx.tensor(1)?, cx.tensor(2)?, cx.floats(3, "the mask")?);
    cx.flag("causal")?;
    let heads_last = cx.flag("heads_last")?;
    cx.dims("past", 1)?;
    for (name, t) in [("queries", q), ("keys", k), ("values", v), ("the mask", mask)] {
        if t.rank() != 4 {
            refuse!("{name} must have rank 4, found {t}");
        }
    }
    let (kv, d) = (&k.shape, &q.shape[3]);
    cx.expect(1, "keys", q.dtype, &[q.shape[0].clone(), kv[1].clone(), kv[2].clone(), d.clone()])?;
    cx.expect(2, "values", q.dtype, &[kv[0].clone(), kv[1].clone(), kv[2].clone(), v.shape[3].clone()])?;
    if let (Some(h), Some(hkv)) = (q.shape[1].as_const(), kv[1].as_const())
        && (hkv == 0 || h % hkv != 0)
    {
        refuse!("{h} query heads must be a multiple of {hkv} key heads");
    }
    let wanted = [&q.shape[0], &q.shape[1], &q.shape[2], &kv[2]];
    let fits = |(i, w): (usize, &&Dim)| i < 3 && mask.shape[i].is(1) || cx.unify(w, &mask.shape[i]).is_some();
    if !wanted.iter().enumerate().all(fits) {
        refuse!(
            "the mask must have shape {wanted:?} (1 in the first three where it is the same), found {mask}"
        );
    }
    let mut shape = vec![q.shape[0].clone(), q.shape[1].clone(), q.shape[2].clone(), v.shape[3].clone()];
    if heads_last {
        shape.swap(1, 2);
    }
    Ok(vec![Type::tensor(q.dtype, shape)])
}

fn eval_attention(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (q, k, v) = (cx.tensor(0)?, cx.tensor(1)?, cx.tensor(2)?);
    let (qs, ks, vs) = (q.shape(), k.shape(), v.shape());
    let [batch, heads, rows, d] = [qs[0], qs[1], qs[2], qs[3]];
    let (shared, keys, dv) = (ks[1], ks[2], vs[3]);
    if [ks[0], ks[3], vs[0], vs[1], vs[2]] != [batch, d, batch, shared, keys]
        || (shared == 0 && heads > 0)
        || heads % shared.max(1) != 0
    {
        refuse!("queries {qs:?}, keys {ks:?} and values {vs:?} do not fit");
    }
    let mask = movers::broadcast_to(cx.tensor(3)?, &[batch, heads, rows, keys])?.to_f64s();
    let past = cx.dim(&cx.attrs.dims("past")[0])?;
    let (scale, softcap, causal) =
        (cx.attrs.float("scale"), cx.attrs.float("softcap"), cx.attrs.flag("causal"));
    let (query, key, value) = (q.to_f64s(), k.to_f64s(), v.to_f64s());
    let mut y = vec![0.0; batch * heads * rows * dv];
    for at in 0..batch * heads {
        let from = at / heads * shared + at % heads / (heads / shared);
        let mut scores = vec![0.0; rows * keys];
        matmul_transposed(&query[at * rows * d..], &key[from * keys * d..], &mut scores, rows, d, keys);
        for i in 0..rows {
            let row = &mut scores[i * keys..][..keys];
            for (j, s) in row.iter_mut().enumerate() {
                *s *= scale;
                if softcap != 0.0 {
                    *s = softcap * (*s / softcap).tanh();
                }
                let hidden = causal && j as i64 > (i as i64).saturating_add(past);
                *s = if hidden { f64::NEG_INFINITY } else { *s + mask[(at * rows + i) * keys + j] };
            }
            softmax_or_zero(row);
        }
        matmul(&scores, &value[from * keys * dv..], &mut y[at * rows * dv..], rows, keys, dv);
    }
    let y = Tensor::from_f64s(q.dtype(), &[batch, heads, rows, dv], &y)?;
    let y = if cx.attrs.flag("heads_last") { movers::transpose(&y, &[0, 2, 1, 3])? } else { y };
    Ok(vec![y.into()])
}

fn softmax_or_zero(row: &mut [f64]) {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shift = if max == f64::NEG_INFINITY { 0.0 } else { max };
    row.iter_mut().for_each(|s| *s = (*s - shift).exp());
    let sum: f64 = row.iter().sum();
    let sum = if sum == 0.0 { 1.0 } else { sum };
    row.iter_mut().for_each(|s| *s /= sum);
}

fn decompose_attention(b: &mut Builder, attrs: &Attrs, inputs: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
    let [q, k, v, mask] = [inputs[0], inputs[1], inputs[2], inputs[3]];
    let (qs, ks) = (b.graph.tensor_ty(q).shape.clone(), b.graph.tensor_ty(k).shape.clone());
    let dv = b.graph.tensor_ty(v).shape[3].clone();
    let grouped = qs[1] != ks[1];
    // Query heads split by the key head they share: [B, Hkv, G, Sq, D].
    let group = qs[1].floor_div(&ks[1]);
    let split = [qs[0].clone(), ks[1].clone(), group, qs[2].clone(), qs[3].clone()];
    let scores = if grouped {
        let parts = b.reshape(q, &split)?;
        let s = b.contract("bhgid", "bhjd", "bhgij", parts, k)?;
        b.reshape(s, &[qs[0].clone(), qs[1].clone(), qs[2].clone(), ks[2].clone()])?
    } else {
        b.contract("bhid", "bhjd", "bhij", q, k)?
    };
    let mut scores = b.binary_const(ScalarOp::Mul, scores, attrs.float("scale"))?;
    let cap = attrs.float("softcap");
    if cap != 0.0 {
        let s = b.binary_const(ScalarOp::Div, scores, cap)?;
        let s = b.unary(ScalarOp::Tanh, s)?;
        scores = b.binary_const(ScalarOp::Mul, s, cap)?;
    }
    let mask = b.cast(mask, b.graph.tensor_ty(q).dtype)?;
    scores = b.binary(ScalarOp::Add, scores, mask)?;
    if attrs.flag("causal") {
        scores = hide_future(b, scores, &attrs.dims("past")[0])?;
    }
    let weights = softmax_with_empty_rows(b, scores)?;
    let y = if grouped {
        let split = [qs[0].clone(), ks[1].clone(), split[2].clone(), qs[2].clone(), ks[2].clone()];
        let parts = b.reshape(weights, &split)?;
        b.contract("bhgij", "bhjd", "bhgid", parts, v)?
    } else {
        b.contract("bhij", "bhjd", "bhid", weights, v)?
    };
    let y = b.reshape(y, &[qs[0].clone(), qs[1].clone(), qs[2].clone(), dv])?;
    Ok(vec![if attrs.flag("heads_last") { b.transpose(y, &[0, 2, 1, 3])? } else { y }])
}

fn hide_future(b: &mut Builder, scores: ValueId, past: &Dim) -> Result<ValueId, OpError> {
    let shape = b.graph.tensor_ty(scores).shape[2..].to_vec();
    let count = |b: &mut Builder, axis: i64| {
        let attrs = attrs! { shape: Attr::Dims(shape.clone()), axis: Attr::Int(axis), dtype: Attr::DType(DType::I64) };
        b.one("iota", attrs, &[])
    };
    let (i, j) = (count(b, 0)?, count(b, 1)?);
    let past = b.dims(vec![past.clone()])?;
    let last = b.binary(ScalarOp::Add, i, past)?;
    let hidden = b.binary(ScalarOp::Gt, j, last)?;
    let nothing = scalar_like(b, scores, f64::NEG_INFINITY)?;
    b.select(hidden, nothing, scores)
}

/// Softmax along the last axis that gives zeros where every score is −∞.
fn softmax_with_empty_rows(b: &mut Builder, scores: ValueId) -> Result<ValueId, OpError> {
    let axis = b.graph.tensor_ty(scores).rank() - 1;
    let max = keep(b, "max", scores, &[axis])?;
    let (nothing, zero) = (scalar_like(b, max, f64::NEG_INFINITY)?, scalar_like(b, max, 0.0)?);
    let empty = b.binary(ScalarOp::Eq, max, nothing)?;
    let shift = b.select(empty, zero, max)?;
    let shifted = b.binary(ScalarOp::Sub, scores, shift)?;
    let e = b.unary(ScalarOp::Exp, shifted)?;
    let sum = keep(b, "sum", e, &[axis])?;
    let one = scalar_like(b, sum, 1.0)?;
    let sum = b.select(empty, one, sum)?;
    b.binary(ScalarOp::Div, e, sum)
}
