//! Attention and recurrent layers.

use super::bound::{Bound, rounding};
use super::generator::{Gen, Val};
use super::reduce::composite;
use nnc_ir::{Attr, DType, Dim, OpError, Tensor, attrs};

/// Something of this shape, from the values made before or new.
fn like(g: &mut Gen, dtype: DType, shape: &[Dim]) -> Result<Val, OpError> {
    let same = |v: &&Val| v.dtype == dtype && v.shape == shape && v.bound.mag <= 4.0;
    let found: Vec<Val> = g.pool.iter().filter(same).cloned().collect();
    if !found.is_empty() && g.rng.chance(50) { Ok(g.rng.pick(&found)) } else { g.leaf(dtype, shape) }
}

pub(super) fn attention(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.float();
    let shared = g.rng.pick(&[1, 2, 3]);
    let heads = shared * g.rng.pick(&[1, 1, 2, 4]);
    let [batch, rows, keys] = [0; 3].map(|_| g.shape(1).remove(0));
    let batch = if g.eval(&batch) > 3 { Dim::int(g.rng.range(1, 3)) } else { batch };
    let (d, dv) = (g.rng.pick(&[1, 4, 5, 8, 16, 24]), g.rng.pick(&[1, 4, 8, 11, 16]));
    let [h, hkv, d_, dv_] = [heads, shared, d, dv].map(Dim::int);
    let q = like(g, dtype, &[batch.clone(), h.clone(), rows.clone(), d_.clone()])?;
    let k = like(g, dtype, &[batch.clone(), hkv.clone(), keys.clone(), d_])?;
    let v = like(g, dtype, &[batch.clone(), hkv, keys.clone(), dv_])?;
    let mut shape = vec![batch, h, rows, keys.clone()];
    shape[..3].iter_mut().for_each(|d| {
        if g.rng.chance(60) {
            *d = Dim::ONE;
        }
    });
    let mask = mask(g, dtype, &shape)?;
    let scale = 1.0 / (d as f64).sqrt();
    let softcap = if g.rng.chance(20) { 4.0 } else { 0.0 };
    let past = g.rng.range(0, 3);
    let n_keys = g.eval(&keys);
    let scores = q.bound.times(k.bound).scaled(d as f64 * scale);
    let off = scores.err + (rounding(dtype, d as usize) + rounding(dtype, 1)) * (scores.mag + 4.0);
    let err = v.bound.mag * (2.0 * off + 2.0 * rounding(dtype, n_keys)) + v.bound.err;
    let bound = Bound { mag: v.bound.mag, err, finite: true }.rounded(dtype, n_keys);
    let attrs = attrs! {
        scale: Attr::Float(scale), softcap: Attr::Float(softcap), causal: Attr::Int(g.rng.range(0, 1)),
        heads_last: Attr::Int(g.rng.range(0, 1)),
        past: Attr::Dims(vec![Dim::int(past)])
    };
    let y = composite(g, "attention", "raise attention", attrs, &[&q, &k, &v, &mask], bound)?;
    g.keep(y);
    Ok(())
}

/// A mask: zeros, numbers, or zeros and minus infinity.
fn mask(g: &mut Gen, dtype: DType, shape: &[Dim]) -> Result<Val, OpError> {
    match g.rng.below(3) {
        0 => {
            let zero = g.scalar(dtype, 0.0)?;
            g.broadcast(&zero, shape)
        }
        1 => g.leaf(dtype, shape),
        _ => {
            let size: Vec<usize> = shape.iter().map(|d| g.eval(d)).collect();
            let n = size.iter().product();
            let x: Vec<f64> =
                (0..n).map(|_| if g.rng.chance(30) { f64::NEG_INFINITY } else { 0.0 }).collect();
            Ok(g.input_of(shape, Tensor::from_f64s(dtype, &size, &x)?, Bound::exact(0.0)))
        }
    }
}

pub(super) fn recurrent(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.rng.pick(&[DType::F32, DType::F32, DType::F32, DType::F64, DType::F16]);
    let cell = g.rng.pick(&["lstm", "gru", "rnn"]);
    let direction = g.rng.pick(&["forward", "reverse", "bidirectional"]);
    let (gates, functions): (usize, &[&str]) = match cell {
        "lstm" => (4, &["Sigmoid", "Tanh", "Tanh"]),
        "gru" => (3, &["Sigmoid", "Tanh"]),
        _ => (1, &["Tanh"]),
    };
    let n_dir = if direction == "bidirectional" { 2 } else { 1 };
    let (steps, batch, inputs) = (g.rng.range(1, 5), g.rng.range(1, 3), g.rng.range(1, 9));
    let steps_dim = g.dims.iter().find(|d| d.as_const().is_none() && g.eval(d) < 6).cloned();
    let steps_dim = steps_dim.filter(|_| g.rng.chance(50)).unwrap_or(Dim::int(steps));
    let steps = g.eval(&steps_dim);
    let hidden = g.rng.pick(&[1, 2, 5, 8, 16, 19]);
    let [d, b, i, h, w] = [n_dir, batch, inputs, hidden, gates as i64 * hidden].map(Dim::int);
    let x = like(g, dtype, &[steps_dim, b.clone(), i.clone()])?;
    let weight = small(g, dtype, &[d.clone(), w.clone(), i], inputs)?;
    let recurrence = small(g, dtype, &[d.clone(), w.clone(), h.clone()], hidden)?;
    let bias = g.leaf_or_constant(dtype, &[d.clone(), w * Dim::int(2)], 80)?;
    let lens: Vec<i128> = (0..batch)
        .map(|_| if g.rng.chance(60) { steps as i64 } else { g.rng.range(0, steps as i64) }.into())
        .collect();
    let lens = Tensor::from_ints(g.rng.pick(&[DType::I32, DType::I64]), &[batch as usize], &lens)?;
    let lens = if g.rng.chance(50) {
        g.constant_of(lens, Bound::exact(9.0))
    } else {
        g.input_of(&[Dim::int(batch)], lens, Bound::exact(9.0))
    };
    let state = [d.clone(), b, h.clone()];
    let (h0, c0) = (like(g, dtype, &state)?, g.leaf(dtype, &state)?);
    let peephole = g.leaf_or_constant(dtype, &[d, h * Dim::int(3)], 90)?;
    let activations: Vec<Vec<u8>> =
        (0..n_dir).flat_map(|_| functions.iter().map(|f| f.as_bytes().to_vec())).collect();
    let k = (inputs + hidden) as usize;
    // A step multiplies what its state is off by with weights of at most 1 in sum, and again with c.
    let off = x.bound.err + h0.bound.err + rounding(dtype, k) * 8.0 * (2.0 + steps as f64);
    let err = off * 4f64.powi(steps as i32);
    let bound = Bound { mag: 2.0 + steps as f64, err, finite: true };
    let attrs = attrs! {
        cell: Attr::Str(cell.into()), direction: Attr::Str(direction.into()), hidden: Attr::Int(hidden),
        activations: Attr::Strs(activations), alphas: Attr::Floats(vec![]), betas: Attr::Floats(vec![]),
        clip: Attr::Float(g.rng.pick(&[0.0, 0.0, 0.75])), linear_before_reset: Attr::Int(g.rng.range(0, 1)),
        input_forget: Attr::Int(g.rng.range(0, 1))
    };
    let operands = [&x, &weight, &recurrence, &bias, &lens, &h0, &c0, &peephole].map(|v| v.id);
    let outputs = g.b.add("recurrent", attrs, &operands)?;
    g.count("recurrent");
    for v in outputs {
        let v = g.val(v, bound);
        g.keep(v);
    }
    Ok(())
}

/// Weights whose sum over `k` inputs is at most 1.
fn small(g: &mut Gen, dtype: DType, shape: &[Dim], k: i64) -> Result<Val, OpError> {
    let size: Vec<usize> = shape.iter().map(|d| g.eval(d)).collect();
    let (t, _) = g.data(dtype, &size);
    let by = 2f64.powf((0.5 / k as f64).log2().floor());
    let x: Vec<f64> = t.to_f64s().iter().map(|x| x * by).collect();
    let t = Tensor::from_f64s(dtype, &size, &x)?;
    let bound = Bound::exact(2.0 * by);
    Ok(if g.rng.chance(80) { g.constant_of(t, bound) } else { g.input_of(shape, t, bound) })
}
