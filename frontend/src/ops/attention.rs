//! Attention in its forms, rotary embeddings, linear attention.

use super::conv::zeros;
use super::norm::softmax;
use super::{OnnxOp, OpName, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, Tensor, Type, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "Attention",
        &[23, 24, 25],
        "scaled dot-product attention with masks, cache, windows, grouped heads",
        attention,
    ),
    onnx("RotaryEmbedding", &[23], "pairs of each head's elements rotated by the position", rotary),
    OnnxOp {
        name: OpName { domain: "ai.onnx.preview", op: "FlexAttention" },
        since: &[1],
        doc: "attention whose scores and probabilities pass through subgraphs",
        lower: flex_attention,
    },
];

/// Queries, keys and values `[B, H, S, D]`, and whether they came flat as `[B, S, H·D]`.
struct Heads {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    flat: bool,
}

/// `[B, S, H·D]` to `[B, H, S, D]`.
fn split_heads(cx: &mut Cx, x: ValueId, heads: i64) -> Lowered<ValueId> {
    if heads < 1 {
        unsupported!("the number of heads must be positive, found {heads}");
    }
    let shape = cx.shape(x);
    let d = shape[2].floor_div(&Dim::int(heads));
    let y = cx.reshape(x, &[shape[0].clone(), shape[1].clone(), Dim::int(heads), d])?;
    Ok(cx.transpose(y, &[0, 2, 1, 3])?)
}

/// `[B, H, S, D]` to `[B, S, H·D]`.
fn join_heads(cx: &mut Cx, x: ValueId) -> Lowered<ValueId> {
    let y = cx.transpose(x, &[0, 2, 1, 3])?;
    let s = cx.shape(y);
    Ok(cx.reshape(y, &[s[0].clone(), s[1].clone(), s[2].clone() * s[3].clone()])?)
}

fn heads(cx: &mut Cx) -> Lowered<Heads> {
    let (q, k, v) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let (n_q, n_kv) = (cx.attrs.int("q_num_heads")?, cx.attrs.int("kv_num_heads")?);
    if cx.rank(q) == 4 && cx.rank(k) == 4 && cx.rank(v) == 4 {
        return Ok(Heads { q, k, v, flat: false });
    }
    for x in [q, k, v] {
        cx.expect_rank("queries, keys and values", x, 3)?;
    }
    let (Some(n_q), Some(n_kv)) = (n_q, n_kv) else {
        unsupported!("attributes \"q_num_heads\" and \"kv_num_heads\" are required for inputs of rank 3");
    };
    let (q, k, v) = (split_heads(cx, q, n_q)?, split_heads(cx, k, n_kv)?, split_heads(cx, v, n_kv)?);
    Ok(Heads { q, k, v, flat: true })
}

fn attention(cx: &mut Cx) -> Lowered {
    let Heads { q, mut k, mut v, flat } = heads(cx)?;
    let (mask, lens) = (cx.input(3)?, cx.input(6)?);
    let mut offset = Offset::Known(Dim::ZERO);
    if let (Some(past_k), Some(past_v)) = (cx.input(4)?, cx.input(5)?) {
        offset = Offset::Known(cx.dim(past_k, 2));
        k = cx.concat(&[past_k, k], 2)?;
        v = cx.concat(&[past_v, v], 2)?;
    }
    cx.output(1, k);
    cx.output(2, v);
    if let Some(lens) = lens {
        let rows = cx.dim(q, 2);
        let rows = cx.size_scalar(&rows, DType::I64)?;
        offset = Offset::PerBatch(cx.binary(ScalarOp::Sub, lens, rows)?);
    }
    let causal = cx.attrs.flag_or("is_causal", false)?;
    let softcap = cx.number("softcap", 0.0)?;
    let windows = [cx.attrs.int_or("left_window_size", -1)?, cx.attrs.int_or("right_window_size", -1)?];
    let scale = scale(cx, q)?;
    let precision = cx.dtype_attr("softmax_precision")?;
    let mode = cx.attrs.int_or("qk_matmul_output_mode", 0)?;
    let wants_scores = cx.wants(3);
    let allowed = allowed(cx, q, k, &offset, causal, windows, lens)?;
    let bias = bias(cx, q, k, mask, allowed)?;
    let steps = Steps { scale, softcap, precision, bias };
    let y = if wants_scores {
        let (y, scores) = by_steps(cx, [q, k, v], &steps, mode)?;
        cx.output(3, scores);
        y
    } else {
        whole(cx, [q, k, v], &steps)?
    };
    let y = if flat { join_heads(cx, y)? } else { y };
    cx.done(y)
}

/// The factor of the scores: given, or one over the root of the head size.
fn scale(cx: &mut Cx, q: ValueId) -> Lowered<f64> {
    match cx.attrs.float("scale")? {
        Some(s) => Ok(f64::from(s)),
        None => {
            let d = cx.dim(q, 3);
            Ok(1.0 / (cx.fixed("the head size", &d)? as f64).sqrt())
        }
    }
}

/// How many keys come before the first query.
enum Offset {
    Known(Dim),
    /// One number for each element of the batch.
    PerBatch(ValueId),
}

/// Which keys a query may see by place: `[1 or B, 1, Sq, Sk]`, or all where that is known.
fn allowed(
    cx: &mut Cx,
    q: ValueId,
    k: ValueId,
    offset: &Offset,
    causal: bool,
    [left, right]: [i64; 2],
    lens: Option<ValueId>,
) -> Lowered<Option<ValueId>> {
    let shape = [Dim::ONE, Dim::ONE, cx.dim(q, 2), cx.dim(k, 2)];
    let (query, key) = (cx.iota(&shape, 2, DType::I64)?, cx.iota(&shape, 3, DType::I64)?);
    let offset = match offset {
        Offset::Known(d) => cx.size_scalar(d, DType::I64)?,
        Offset::PerBatch(v) => per_batch(cx, *v)?,
    };
    let place = cx.binary(ScalarOp::Add, query, offset)?;
    let mut all: Option<ValueId> = None;
    let mut also = |cx: &mut Cx, rule: ValueId| {
        all = Some(match all {
            Some(a) => cx.binary(ScalarOp::And, a, rule)?,
            None => rule,
        });
        Lowered::Ok(())
    };
    if causal {
        let rule = cx.binary(ScalarOp::Le, key, place)?;
        also(cx, rule)?;
    }
    if left >= 0 {
        let least = cx.with_const(ScalarOp::Sub, place, left as f64)?;
        let rule = cx.binary(ScalarOp::Ge, key, least)?;
        also(cx, rule)?;
    }
    if right >= 0 {
        let most = cx.with_const(ScalarOp::Add, place, right as f64)?;
        let rule = cx.binary(ScalarOp::Le, key, most)?;
        also(cx, rule)?;
    }
    if let Some(lens) = lens {
        let lens = per_batch(cx, lens)?;
        let rule = cx.binary(ScalarOp::Lt, key, lens)?;
        also(cx, rule)?;
    }
    Ok(all)
}

/// `[B]` as `[B, 1, 1, 1]` of i64.
fn per_batch(cx: &mut Cx, v: ValueId) -> Lowered<ValueId> {
    let v = cx.cast(v, DType::I64)?;
    let n = cx.graph.tensor_ty(v).elems();
    Ok(cx.reshape(v, &[n, Dim::ONE, Dim::ONE, Dim::ONE])?)
}

/// What is added to the scores: the mask, and minus infinity where a key may not be seen.
fn bias(
    cx: &mut Cx,
    q: ValueId,
    k: ValueId,
    mask: Option<ValueId>,
    allowed: Option<ValueId>,
) -> Lowered<Option<ValueId>> {
    let dtype = cx.dtype(q);
    let (zero, never) = (cx.scalar(dtype, 0.0)?, cx.scalar(dtype, f64::NEG_INFINITY)?);
    let mask = match mask {
        Some(m) => {
            let m = if cx.dtype(m) == DType::Bool { cx.select(m, zero, never)? } else { m };
            Some(fitted(cx, m, k, never)?)
        }
        None => None,
    };
    let Some(allowed) = allowed else { return Ok(mask) };
    Ok(Some(cx.select(allowed, mask.unwrap_or(zero), never)?))
}

/// A mask of rank 4, its last axis filled up to the number of keys with minus infinity.
fn fitted(cx: &mut Cx, mask: ValueId, k: ValueId, never: ValueId) -> Lowered<ValueId> {
    let rank = cx.rank(mask);
    if rank == 0 || rank > 4 {
        unsupported!("the mask must have rank 1 to 4, found {}", cx.graph.ty(mask));
    }
    let axes: Vec<usize> = (0..4 - rank).collect();
    let mask = cx.unsqueeze(mask, &axes)?;
    let (have, want) = (cx.dim(mask, 3), cx.dim(k, 2));
    let missing = cx.simplify(&(want.clone() - have.clone()));
    // A last axis of size 1 is broadcast, as are unequal sizes that only run time can tell apart.
    if missing.is(0) || have.is(1) || missing.as_const().is_none() {
        return Ok(mask);
    }
    let low = vec![Dim::ZERO; 4];
    let mut high = low.clone();
    high[3] = missing;
    let attrs = attrs! { low: Attr::Dims(low), high: Attr::Dims(high), mode: Attr::Str("constant".into()) };
    Ok(cx.one("pad", attrs, &[mask, never])?)
}

struct Steps {
    scale: f64,
    softcap: f64,
    precision: Option<DType>,
    bias: Option<ValueId>,
}

/// The composite operator, in the wider type where a precision is asked for.
fn whole(cx: &mut Cx, qkv: [ValueId; 3], steps: &Steps) -> Lowered<ValueId> {
    let [q, k, v] = qkv;
    let dtype = cx.dtype(q);
    let keys = cx.dim(k, 2);
    let mask = match steps.bias {
        Some(b) => b,
        None => cx.splat(dtype, 0.0, &[Dim::ONE, Dim::ONE, Dim::ONE, keys.clone()])?,
    };
    let mut shape = cx.shape(mask);
    shape[3] = keys;
    let mask = cx.broadcast(mask, &shape)?;
    let to = cx.dtype(v);
    let (v, mask) = (cx.cast(v, dtype)?, cx.cast(mask, dtype)?);
    let attrs = attrs! {
        scale: Attr::Float(steps.scale), causal: Attr::Int(0), heads_last: Attr::Int(0), past: Attr::Dims(vec![Dim::ZERO]),
        softcap: Attr::Float(steps.softcap)
    };
    let y = cx.one("attention", attrs, &[q, k, v, mask])?;
    Ok(cx.cast(y, to)?)
}

/// Key or value heads repeated for the query heads that share them.
fn shared_heads(cx: &mut Cx, x: ValueId, q: ValueId) -> Lowered<ValueId> {
    let (have, want) = (cx.dim(x, 1), cx.dim(q, 1));
    if have == want {
        return Ok(x);
    }
    let group = want.floor_div(&have);
    let s = cx.shape(x);
    let y = cx.unsqueeze(x, &[2])?;
    let y = cx.broadcast(y, &[s[0].clone(), have, group, s[2].clone(), s[3].clone()])?;
    Ok(cx.reshape(y, &[s[0].clone(), want, s[2].clone(), s[3].clone()])?)
}

/// Scores `[B, H, Sq, Sk]`, scaled.
fn scores(cx: &mut Cx, q: ValueId, k: ValueId, scale: f64) -> Lowered<ValueId> {
    let k = shared_heads(cx, k, q)?;
    // The root of the scale on either side keeps narrow products in range.
    let root = scale.abs().sqrt();
    let q = cx.with_const(ScalarOp::Mul, q, root * scale.signum())?;
    let k = cx.with_const(ScalarOp::Mul, k, root)?;
    Ok(cx.contract("bhqd", "bhkd", "bhqk", q, k)?)
}

/// Probabilities; rows that see nothing are zero.
fn probabilities(cx: &mut Cx, scores: ValueId) -> Lowered<ValueId> {
    let most = cx.reduce_keep("max", scores, &[3])?;
    let blind = cx.with_const(ScalarOp::Eq, most, f64::NEG_INFINITY)?;
    let p = softmax(cx, scores, 3, false)?;
    let dtype = cx.dtype(p);
    let zero = cx.scalar(dtype, 0.0)?;
    Ok(cx.select(blind, zero, p)?)
}

/// Output and the intermediate scores that the mode asks for.
fn by_steps(cx: &mut Cx, [q, k, v]: [ValueId; 3], steps: &Steps, mode: i64) -> Lowered<(ValueId, ValueId)> {
    let dtype = cx.dtype(q);
    let raw = scores(cx, q, k, steps.scale)?;
    let mut capped = raw;
    if steps.softcap != 0.0 {
        let inner = cx.with_const(ScalarOp::Div, raw, steps.softcap)?;
        let inner = cx.unary(ScalarOp::Tanh, inner)?;
        capped = cx.with_const(ScalarOp::Mul, inner, steps.softcap)?;
    }
    let masked = match steps.bias {
        Some(b) => cx.binary(ScalarOp::Add, capped, b)?,
        None => capped,
    };
    let wide = cx.cast(masked, steps.precision.unwrap_or(dtype))?;
    let p = probabilities(cx, wide)?;
    let p = cx.cast(p, dtype)?;
    let shown = match mode {
        0 => raw,
        1 => capped,
        2 => masked,
        3 => p,
        other => unsupported!("attribute \"qk_matmul_output_mode\" must lie in 0 to 3, found {other}"),
    };
    let v = shared_heads(cx, v, q)?;
    let to = cx.dtype(v);
    let p = cx.cast(p, to)?;
    Ok((cx.contract("bhqk", "bhkd", "bhqd", p, v)?, shown))
}

fn flex_attention(cx: &mut Cx) -> Lowered {
    let (q, k, v) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    for x in [q, k, v] {
        cx.expect_rank("queries, keys and values", x, 4)?;
    }
    let dtype = cx.dtype(q);
    let default = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let wide = cx.dtype_attr("softmax_precision")?.unwrap_or(default);
    let scale = scale(cx, q)?;
    let (q, k, v) = (cx.cast(q, wide)?, cx.cast(k, wide)?, cx.cast(v, wide)?);
    let mut s = scores(cx, q, k, scale)?;
    if let Some(graph) = cx.attrs.graph("score_mod")? {
        s = modified(cx, graph, s)?;
    }
    let mut p = softmax(cx, s, 3, false)?;
    if let Some(graph) = cx.attrs.graph("prob_mod")? {
        p = modified(cx, graph, p)?;
    }
    let v = shared_heads(cx, v, q)?;
    let y = cx.contract("bhqk", "bhkd", "bhqd", p, v)?;
    let y = cx.cast(y, dtype)?;
    cx.done(y)
}

/// The result of a subgraph of one input and one output.
fn modified<'m>(cx: &mut Cx<'_, '_, 'm>, graph: &'m crate::model::Graph, x: ValueId) -> Lowered<ValueId> {
    match cx.inline_with(graph, &[x])?.as_slice() {
        [y] => Ok(*y),
        other => unsupported!("the subgraph must have one result, found {}", other.len()),
    }
}

fn rotary(cx: &mut Cx) -> Lowered {
    let (x, cos, sin) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let interleaved = cx.attrs.flag_or("interleaved", false)?;
    let heads = cx.attrs.int_or("num_heads", 0)?;
    let flat = cx.rank(x) == 3;
    let x4 = if flat { split_heads(cx, x, heads)? } else { x };
    cx.expect_rank("the input", x4, 4)?;
    let size = cx.dim(x4, 3);
    let rotated = match cx.attrs.int_or("rotary_embedding_dim", 0)? {
        0 => size.clone(),
        d => Dim::int(d),
    };
    let (mut cos, mut sin) = (cos, sin);
    if let Some(at) = cx.input(3)? {
        cos = super::indexing::gather(cx, cos, at, 0)?;
        sin = super::indexing::gather(cx, sin, at, 0)?;
    }
    // [B, S, D/2] against [B, H, S, D/2].
    let (cos, sin) = (cx.unsqueeze(cos, &[1])?, cx.unsqueeze(sin, &[1])?);
    let part = cx.slice_axis(x4, 3, Dim::ZERO, rotated.clone())?;
    let half = rotated.floor_div(&Dim::int(2));
    let (a, b) = if interleaved {
        (every_other(cx, part, 0, &half)?, every_other(cx, part, 1, &half)?)
    } else {
        (
            cx.slice_axis(part, 3, Dim::ZERO, half.clone())?,
            cx.slice_axis(part, 3, half.clone(), half.clone())?,
        )
    };
    let (ca, sb) = (cx.binary(ScalarOp::Mul, cos, a)?, cx.binary(ScalarOp::Mul, sin, b)?);
    let (sa, cb) = (cx.binary(ScalarOp::Mul, sin, a)?, cx.binary(ScalarOp::Mul, cos, b)?);
    let (real, imaginary) = (cx.binary(ScalarOp::Sub, ca, sb)?, cx.binary(ScalarOp::Add, sa, cb)?);
    let turned = if interleaved {
        let (re, im) = (cx.unsqueeze(real, &[4])?, cx.unsqueeze(imaginary, &[4])?);
        let pairs = cx.concat(&[re, im], 4)?;
        let shape = cx.shape(part);
        cx.reshape(pairs, &shape)?
    } else {
        cx.concat(&[real, imaginary], 3)?
    };
    let y = if rotated == size {
        turned
    } else {
        let rest = cx.slice_axis(x4, 3, rotated.clone(), size - rotated)?;
        cx.concat(&[turned, rest], 3)?
    };
    let y = if flat { join_heads(cx, y)? } else { y };
    cx.done(y)
}

/// Every second element of the last axis of four.
fn every_other(cx: &mut Cx, x: ValueId, start: i64, size: &Dim) -> Lowered<ValueId> {
    let mut sizes = cx.shape(x);
    sizes[3] = size.clone();
    let mut starts = vec![Dim::ZERO; 4];
    starts[3] = Dim::int(start);
    Ok(cx.slice(x, starts, sizes, vec![1, 1, 1, 2])?)
}

/// Rows of operators with a state that is carried from call to call.
pub(super) const STATEFUL: &[OnnxOp] = &[
    onnx(
        "CausalConvWithState",
        &[27],
        "depthwise convolution of past and present positions, with its state",
        |cx| {
            let (x, w, bias, past) = (cx.required(0)?, cx.required(1)?, cx.input(2)?, cx.input(3)?);
            cx.expect_rank("the input", x, 3)?;
            cx.expect_rank("the weight", w, 3)?;
            let (shape, dtype) = (cx.shape(x), cx.dtype(x));
            let kept = cx.dim(w, 2) - Dim::ONE;
            let past = match past {
                Some(p) => p,
                None => zeros(cx, dtype, &[shape[0].clone(), shape[1].clone(), kept.clone()])?,
            };
            let joined = cx.concat(&[past, x], 2)?;
            let bias = match bias {
                Some(b) => b,
                None => zeros(cx, dtype, &shape[1..2])?,
            };
            let groups = cx.fixed("the number of channels", &shape[1])?;
            let attrs = attrs! {
                strides: Attr::Ints(vec![1]), dilations: Attr::Ints(vec![1]), pads_low: Attr::Dims(vec![Dim::ZERO]),
                pads_high: Attr::Dims(vec![Dim::ZERO]), groups: Attr::Int(groups as i64), channels_last: Attr::Int(0)
            };
            let y = cx.one("conv", attrs, &[joined, w, bias])?;
            let y = match cx.attrs.string_or("activation", "none")? {
                "none" => y,
                "silu" | "swish" => cx.unary(ScalarOp::Silu, y)?,
                other => unsupported!("attribute \"activation\" is unknown: \"{other}\""),
            };
            cx.output(0, y);
            let state = cx.slice_axis(joined, 2, shape[2].clone(), kept)?;
            cx.output(1, state);
            Ok(())
        },
    ),
    onnx(
        "LinearAttention",
        &[27],
        "a state of outer products of keys and values, read by queries",
        linear_attention,
    ),
    onnx("SwiGLU", &[28], "`a * sigmoid(alpha * a) * b`", |cx| {
        let alpha = cx.number("alpha", 1.0)?;
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let gate = super::unary::swish(cx, a, alpha)?;
        let y = cx.binary(ScalarOp::Mul, gate, b)?;
        cx.done(y)
    }),
];

/// `[B, T, H·D]` to `[T, B, H, D]`.
fn by_time(cx: &mut Cx, x: ValueId, heads: i64) -> Lowered<ValueId> {
    let x = split_heads(cx, x, heads)?;
    Ok(cx.transpose(x, &[2, 0, 1, 3])?)
}

fn linear_attention(cx: &mut Cx) -> Lowered {
    let n_q = cx.attrs.required("q_num_heads", cx.attrs.int("q_num_heads"))?;
    let n_kv = cx.attrs.required("kv_num_heads", cx.attrs.int("kv_num_heads"))?;
    // A hint on how to split the work.
    cx.attrs.int("chunk_size")?;
    let rule = cx.attrs.string_or("update_rule", "gated_delta")?;
    let (gated, delta) = match rule {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => unsupported!("attribute \"update_rule\" is unknown: \"{other}\""),
    };
    let (q, k, v) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    for x in [q, k, v] {
        cx.expect_rank("queries, keys and values", x, 3)?;
    }
    let dtype = cx.dtype(q);
    let (q, k, v) = (by_time(cx, q, n_q)?, by_time(cx, k, n_kv)?, by_time(cx, v, n_kv)?);
    let d = cx.dim(q, 3);
    let scale = match cx.number("scale", 0.0)? {
        s if s != 0.0 => s,
        _ => 1.0 / (cx.fixed("the head size", &d)? as f64).sqrt(),
    };
    let (batch, dv) = (cx.dim(k, 1), cx.dim(v, 3));
    let shape = [batch, Dim::int(n_kv), cx.dim(k, 3), dv];
    let state_type = cx.input(3)?.map_or(dtype, |s| cx.dtype(s));
    // Narrow sums over many steps lose too much.
    let wide = if state_type == DType::F64 { DType::F64 } else { DType::F32 };
    let state = match cx.input(3)? {
        Some(s) => cx.cast(s, wide)?,
        None => zeros(cx, wide, &shape)?,
    };
    let decay = if gated { Some(per_head(cx, 4, n_kv)?) } else { None };
    let rate = if delta { Some(per_head(cx, 5, n_kv)?) } else { None };
    let step = Recurrence { q, k, v, decay, rate, group: n_q / n_kv.max(1) };
    let (outputs, last) = unroll(cx, &step, state)?;
    let y = cx.with_const(ScalarOp::Mul, outputs, scale)?;
    let y = cx.transpose(y, &[1, 0, 2, 3])?;
    let s = cx.shape(y);
    let y = cx.reshape(y, &[s[0].clone(), s[1].clone(), s[2].clone() * s[3].clone()])?;
    let y = cx.cast(y, dtype)?;
    cx.output(0, y);
    let last = cx.cast(last, state_type)?;
    cx.output(1, last);
    Ok(())
}

/// Input `i` as `[T, B, H, D]`, where D is 1 for one number a head and H 1 for one number a token.
fn per_head(cx: &mut Cx, i: usize, heads: i64) -> Lowered<ValueId> {
    let x = cx.required(i)?;
    cx.expect_rank("gates", x, 3)?;
    let one = cx.dim(x, 2).is(1);
    by_time(cx, x, if one { 1 } else { heads })
}

/// Everything a step of linear attention reads, by time.
struct Recurrence {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    decay: Option<ValueId>,
    rate: Option<ValueId>,
    group: i64,
}

/// A loop over time: outputs `[T, B, Hq, Dv]` and the last state.
fn unroll(cx: &mut Cx, r: &Recurrence, state: ValueId) -> Lowered<(ValueId, ValueId)> {
    let block = cx.graph.add_block();
    let steps = cx.dim(r.k, 0);
    let ty = cx.graph.ty(state).clone();
    let turn = cx.graph.add_param(block, Type::tensor(DType::I64, vec![]), None);
    let go = cx.graph.add_param(block, Type::tensor(DType::Bool, vec![]), None);
    let carried = cx.graph.add_param(block, ty, None);
    let (next, out) = cx.at_block(block, |cx| recurrence(cx, r, carried, turn))?;
    cx.graph.block_mut(block).results = vec![go, next, out];
    let trip = cx.size_scalar(&steps, DType::I64)?;
    let cond = cx.constant(Tensor::from_bools(&[], &[true])?);
    let attrs = attrs! { scans: Attr::Int(1) };
    let results = cx.add_row(nnc_ir::ops::row("loop"), attrs, &[trip, cond, state], vec![block])?;
    Ok((results[1], results[0]))
}

/// One step: the next state `[B, H, Dk, Dv]` and the output `[B, Hq, Dv]`.
fn recurrence(cx: &mut Cx, r: &Recurrence, state: ValueId, turn: ValueId) -> Lowered<(ValueId, ValueId)> {
    let now = |cx: &mut Cx, x: ValueId| cx.one("gather", attrs! { axis: Attr::Int(0) }, &[x, turn]);
    let (q, k, v) = (now(cx, r.q)?, now(cx, r.k)?, now(cx, r.v)?);
    let wide = cx.dtype(state);
    let (q, k, v) = (cx.cast(q, wide)?, cx.cast(k, wide)?, cx.cast(v, wide)?);
    let mut s = state;
    if let Some(decay) = r.decay {
        let g = now(cx, decay)?;
        let g = cx.cast(g, wide)?;
        let g = cx.unary(ScalarOp::Exp, g)?;
        let g = cx.unsqueeze(g, &[3])?;
        s = cx.binary(ScalarOp::Mul, s, g)?;
    }
    let mut update = v;
    if let Some(rate) = r.rate {
        let known = cx.contract("bhkv", "bhk", "bhv", s, k)?;
        let error = cx.binary(ScalarOp::Sub, v, known)?;
        let rate = now(cx, rate)?;
        let rate = cx.cast(rate, wide)?;
        update = cx.binary(ScalarOp::Mul, error, rate)?;
    }
    let outer = cx.contract("bhk", "bhv", "bhkv", k, update)?;
    let next = cx.binary(ScalarOp::Add, s, outer)?;
    let shape = cx.shape(q);
    let heads = cx.dim(next, 1);
    let grouped = cx.reshape(q, &[shape[0].clone(), heads, Dim::int(r.group), shape[2].clone()])?;
    let out = cx.contract("bhgk", "bhkv", "bhgv", grouped, next)?;
    let dv = cx.dim(next, 3);
    let out = cx.reshape(out, &[shape[0].clone(), shape[1].clone(), dv])?;
    Ok((next, out))
}
