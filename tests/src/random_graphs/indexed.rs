//! Gathers and scatters, with indices from outside or computed.

use super::bound::Bound;
use super::generator::{Gen, Val};
use nnc_ir::{Attr, DType, Dim, OpError, ScalarOp, Tensor, attrs};

/// Indices in `-n..n` of a shape: constant, from outside, or computed from such.
fn indices(g: &mut Gen, shape: &[Dim], n: usize) -> Result<Val, OpError> {
    let size: Vec<usize> = shape.iter().map(|d| g.eval(d)).collect();
    let dtype = g.rng.pick(&[DType::I64, DType::I64, DType::I32]);
    let low = if g.rng.chance(50) { -(n as i64) } else { 0 };
    let x: Vec<i128> =
        (0..size.iter().product()).map(|_| i128::from(g.rng.range(low, n as i64 - 1))).collect();
    let t = Tensor::from_ints(dtype, &size, &x)?;
    let fixed = shape.iter().all(|d| d.as_const().is_some());
    let bound = Bound::exact(n as f64);
    if fixed && g.rng.chance(30) {
        return Ok(g.constant_of(t, bound));
    }
    let v = g.input_of(shape, t, bound);
    if g.rng.chance(40) {
        g.count("gather with computed indices");
        let v = g.with_number(ScalarOp::Add, &v, 1.0, bound)?;
        return g.with_number(ScalarOp::Mod, &v, n as f64, bound);
    }
    Ok(v)
}

pub(super) fn gather(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.dtype();
    let x = g.operand(dtype, 1..=4)?;
    if x.len() == 0 {
        return Ok(());
    }
    let y = match g.rng.below(3) {
        0 => {
            let axis = g.rng.below(x.rank());
            let rank = g.rng.range(0, 2) as usize;
            let shape = g.shape(rank);
            let i = indices(g, &shape, x.size[axis])?;
            g.one("gather", attrs! { axis: Attr::Int(axis as i64) }, &[&x, &i], x.bound)?
        }
        1 => {
            let axis = g.rng.below(x.rank());
            let shape = element_shape(g, &x, axis);
            let i = indices(g, &shape, x.size[axis])?;
            g.one("gather_elements", attrs! { axis: Attr::Int(axis as i64) }, &[&x, &i], x.bound)?
        }
        _ => {
            let batch = g.rng.below(x.rank());
            let depth = g.rng.range(1, (x.rank() - batch) as i64) as usize;
            let mut shape = x.shape[..batch].to_vec();
            let more = g.rng.range(0, 2) as usize;
            shape.extend(g.shape(more));
            let least = x.size[batch..batch + depth].iter().min().copied().unwrap_or(1);
            shape.push(Dim::len(depth));
            let i = indices(g, &shape, least)?;
            g.one("gather_nd", attrs! { batch_dims: Attr::Int(batch as i64) }, &[&x, &i], x.bound)?
        }
    };
    g.keep(y);
    Ok(())
}

/// A shape within x's but along one axis.
fn element_shape(g: &mut Gen, x: &Val, axis: usize) -> Vec<Dim> {
    let mut shape = x.shape.clone();
    for (a, d) in shape.iter_mut().enumerate() {
        if a == axis {
            *d = Dim::int(g.rng.range(1, 5));
        } else if g.rng.chance(30) {
            *d = Dim::int(g.rng.range(1, x.size[a] as i64));
        }
    }
    shape
}

pub(super) fn scatter(g: &mut Gen) -> Result<(), OpError> {
    let dtype = if g.rng.chance(70) { g.float() } else { g.int() };
    let x = g.operand(dtype, 1..=4)?;
    if x.len() == 0 {
        return Ok(());
    }
    let reduction = g.rng.pick(&["none", "none", "add", "mul", "min", "max"]);
    let elements = g.rng.chance(50);
    let axis = g.rng.below(x.rank());
    let (i, shape) = if elements {
        let shape = element_shape(g, &x, axis);
        (indices(g, &shape, x.size[axis])?, shape)
    } else {
        let depth = axis + 1;
        let outer = g.rng.range(0, 2) as usize;
        let mut shape = g.shape(outer);
        let least = x.size[..depth].iter().min().copied().unwrap_or(1);
        let updates = [&shape[..], &x.shape[depth..]].concat();
        shape.push(Dim::len(depth));
        (indices(g, &shape, least)?, updates)
    };
    let updates = g.leaf(dtype, &shape)?;
    // Any number of updates may meet one element.
    let n = if elements { updates.size[axis] } else { updates.len() } + 1;
    if reduction == "mul" && dtype.is_float() && n > 6 {
        return Ok(());
    }
    let bound = match reduction {
        _ if !dtype.is_float() => Bound::of_type(dtype),
        "add" => x.bound.plus(updates.bound.scaled(n as f64)).rounded(dtype, n).scaled(n as f64),
        "mul" => (0..n).fold(x.bound.or(Bound::exact(1.0)), |b, _| b.times(updates.bound).rounded(dtype, 1)),
        _ => x.bound.or(updates.bound),
    };
    let attrs = attrs! { reduction: Attr::Str(reduction.into()) };
    let y = if elements {
        g.one("scatter_elements", attrs.with("axis", Attr::Int(axis as i64)), &[&x, &i, &updates], bound)?
    } else {
        g.one("scatter_nd", attrs, &[&x, &i, &updates], bound)?
    };
    g.count("scatter");
    g.keep(y);
    Ok(())
}
