//! Reductions and normalizations.

use super::bound::{Bound, rounding};
use super::elementwise::{binary_of, unary_of};
use super::generator::{Gen, Val};
use nnc_ir::{Attr, Attrs, DType, Dim, OpError, ScalarOp, attrs, ops};

/// A reduction, often with an epilogue.
pub(super) fn reduce(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.dtype();
    let x = g.operand(dtype, 1..=4)?;
    let n = g.rng.range(1, x.rank() as i64) as usize;
    let axes: Vec<usize> = g.rng.permutation(x.rank())[..n].to_vec();
    let k: usize = axes.iter().map(|a| x.size[*a]).product();
    let kind = match dtype {
        DType::Bool => g.rng.pick(&["max", "min"]),
        _ if dtype.is_float() && k > 4 => g.rng.pick(&["sum", "sum", "max", "min"]),
        _ => g.rng.pick(&["sum", "prod", "max", "min"]),
    };
    let bound = match kind {
        _ if !dtype.is_float() => Bound::of_type(dtype),
        "sum" => x.bound.scaled(k as f64).rounded(dtype, k),
        "prod" => (1..k).fold(x.bound, |b, _| b.times(x.bound).rounded(dtype, 1)),
        _ => x.bound,
    };
    let ints = axes.iter().map(|a| *a as i64).collect();
    let y = g.one("reduce", attrs! { kind: Attr::Str(kind.into()), axes: Attr::Ints(ints) }, &[&x], bound)?;
    if dtype.is_float() && g.rng.chance(50) && y.bound.is_tame() {
        g.count("reduction with epilogue");
        let y = g.with_number(ScalarOp::Mul, &y, 0.125, y.bound.scaled(0.125).rounded(dtype, 1))?;
        let y = unary_of(g, ScalarOp::Tanh, &y)?;
        g.keep(y);
        return Ok(());
    }
    g.keep(y);
    Ok(())
}

/// Positions and running sums.
pub(super) fn scan(g: &mut Gen) -> Result<(), OpError> {
    let dtype = if g.rng.chance(60) { g.float() } else { g.int() };
    if g.rng.chance(50) {
        let x = g.exact(dtype, 1..=4)?;
        let axis = g.rng.below(x.rank());
        if x.size[axis] == 0 {
            return Ok(());
        }
        let attrs = attrs! {
            kind: Attr::Str(g.rng.pick(&["max", "min"]).into()), axis: Attr::Int(axis as i64),
            last: Attr::Int(g.rng.range(0, 1))
        };
        let y = g.one("arg_reduce", attrs, &[&x], Bound::exact(40.0))?;
        g.keep(y);
        return Ok(());
    }
    let x = g.operand(dtype, 1..=4)?;
    let axis = g.rng.below(x.rank());
    let n = x.size[axis];
    let product = g.rng.chance(30) && (n <= 4 || !dtype.is_float());
    let bound = match product {
        _ if !dtype.is_float() => Bound::of_type(dtype),
        true => (1..n).fold(x.bound.or(Bound::exact(1.0)), |b, _| b.times(x.bound).rounded(dtype, 1)),
        false => x.bound.scaled(n as f64).rounded(dtype, n),
    };
    let attrs = attrs! {
        kind: Attr::Str(if product { "prod" } else { "sum" }.into()), axis: Attr::Int(axis as i64),
        exclusive: Attr::Int(g.rng.range(0, 1)), reverse: Attr::Int(g.rng.range(0, 1))
    };
    let y = g.one("cumulative", attrs, &[&x], bound.or(Bound::exact(1.0)))?;
    g.keep(y);
    Ok(())
}

/// Adds a composite, whole or, as `pattern`, in parts for the passes to find.
pub(super) fn composite(
    g: &mut Gen,
    op: &str,
    pattern: &'static str,
    attrs: Attrs,
    inputs: &[&Val],
    bound: Bound,
) -> Result<Val, OpError> {
    let Some(decompose) = ops::row(op).decompose.filter(|_| g.rng.chance(40)) else {
        return g.one(op, attrs, inputs, bound);
    };
    g.count(pattern);
    let ids: Vec<_> = inputs.iter().map(|v| v.id).collect();
    let id = decompose(&mut g.b, &attrs, &ids)?[0];
    // Parts are rounded one by one.
    let parts = Bound { err: 4.0 * bound.err, ..bound };
    Ok(g.val(id, parts))
}

pub(super) fn softmax(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.float();
    let x = g.operand(dtype, 1..=4)?;
    let x = g.calm(&x, 8.0)?;
    let axis = g.rng.below(x.rank());
    let (n, log) = (x.size[axis], g.rng.chance(30));
    let mag = if log { 2.0 * x.bound.mag + (n.max(1) as f64).ln() } else { 1.0 };
    // The exponent doubles what its operand is off by.
    let err = 2.0 * x.bound.err + rounding(dtype, n) * (2.0 * x.bound.mag + 1.0);
    let bound = Bound { mag, err, finite: true }.rounded(dtype, n);
    let attrs = attrs! { axis: Attr::Int(axis as i64), log: Attr::Int(i64::from(log)) };
    let y = composite(g, "softmax", "raise softmax", attrs, &[&x], bound)?;
    g.keep(y);
    Ok(())
}

/// What normalizing `n` elements makes of a bound; `eps` keeps the deviation from zero.
fn normalized(x: Bound, dtype: DType, n: usize, eps: f64) -> Bound {
    let root = (n.max(1) as f64).sqrt();
    let err = (x.err + rounding(dtype, n) * x.mag) * (2.0 + root.min(2.0 * x.mag / eps.sqrt())) / eps.sqrt();
    Bound { mag: root.min(2.0 * x.mag / eps.sqrt()), err, finite: x.finite }
}

pub(super) fn norm(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.float();
    let x = g.operand(dtype, 2..=4)?;
    let x = g.calm(&x, 4.0)?;
    let eps = g.rng.pick(&[0.125, 0.25, 0.5]);
    let rank = x.rank();
    if g.rng.chance(40) {
        let last = g.rng.chance(40);
        let axis = if last { rank - 1 } else { 1 };
        let Some(c) = x.shape[axis].as_len() else { return Ok(()) };
        let groups: Vec<usize> = (1..=c).filter(|n| c % n == 0).collect();
        if groups.is_empty() {
            return Ok(());
        }
        let groups = g.rng.pick(&groups);
        let n = x.len() / x.size[0].max(1) / groups;
        let (gamma, beta) = (g.constant(dtype, &[c]), g.constant(dtype, &[c]));
        let bound = normalized(x.bound, dtype, n, eps).times(gamma.bound).plus(beta.bound).rounded(dtype, n);
        let attrs = attrs! {
            groups: Attr::Int(groups as i64), eps: Attr::Float(eps), channels_last: Attr::Int(i64::from(last))
        };
        let y = composite(g, "group_norm", "raise group norm", attrs, &[&x, &gamma, &beta], bound)?;
        g.keep(y);
        return Ok(());
    }
    let from = g.rng.range(1.min(rank as i64 - 1), rank as i64 - 1) as usize;
    let n: usize = x.size[from..].iter().product();
    let rms = g.rng.chance(40);
    let shape: Vec<Dim> = x.shape[from..].to_vec();
    let (gamma, beta) = (g.leaf_or_constant(dtype, &shape, 80)?, g.leaf_or_constant(dtype, &shape, 80)?);
    let bound = normalized(x.bound, dtype, n, eps).times(gamma.bound).plus(beta.bound).rounded(dtype, n);
    let attrs = attrs! {
        axes_from: Attr::Int(from as i64), eps: Attr::Float(eps), rms: Attr::Int(i64::from(rms))
    };
    let pattern = if rms { "raise rms norm" } else { "raise layer norm" };
    let y = composite(g, "layer_norm", pattern, attrs, &[&x, &gamma, &beta], bound)?;
    g.keep(y);
    Ok(())
}

/// GELU and SiLU in the parts that models spell them with.
pub(super) fn activations(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.float();
    let x = g.operand(dtype, 1..=4)?;
    let x = g.calm(&x, 8.0)?;
    let y = if g.rng.chance(50) {
        g.count("raise silu");
        let s = unary_of(g, ScalarOp::Sigmoid, &x)?;
        binary_of(g, ScalarOp::Mul, &x, &s)?
    } else {
        g.count("raise gelu");
        let s = 0.5f64.sqrt();
        let scaled = g.with_number(ScalarOp::Mul, &x, s, x.bound.scaled(s).rounded(dtype, 1))?;
        let e = unary_of(g, ScalarOp::Erf, &scaled)?;
        let e = g.with_number(ScalarOp::Add, &e, 1.0, e.bound.plus(Bound::exact(1.0)).rounded(dtype, 1))?;
        let y = binary_of(g, ScalarOp::Mul, &x, &e)?;
        g.with_number(ScalarOp::Mul, &y, 0.5, y.bound.scaled(0.5).rounded(dtype, 1))?
    };
    g.keep(y);
    Ok(())
}
