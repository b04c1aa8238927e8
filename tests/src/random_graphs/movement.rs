//! Movement of elements.

use super::bound::Bound;
use super::generator::{Gen, Val};
use nnc_ir::{Attr, DType, Dim, OpError, attrs};

/// One to three movements in a chain.
pub(super) fn chain(g: &mut Gen) -> Result<(), OpError> {
    for _ in 0..g.rng.range(1, 3) {
        let dtype = g.dtype();
        let x = g.operand(dtype, 1..=5)?;
        let v = match g.rng.below(8) {
            0 => reshape(g, &x)?,
            1 => transpose(g, &x)?,
            2 => slice(g, &x)?,
            3 => pad(g, &x)?,
            4 | 5 => concat(g, &x)?,
            6 => reverse(g, &x)?,
            _ => broadcast(g, &x)?,
        };
        g.keep(v);
    }
    Ok(())
}

/// Sizes counted by operators that have no operands.
pub(super) fn sources(g: &mut Gen) -> Result<(), OpError> {
    let v = match g.rng.below(3) {
        0 => {
            let rank = g.rng.range(1, 3) as usize;
            let (shape, dtype) = (g.shape(rank), g.dtype());
            let dtype = if dtype == DType::Bool { DType::I64 } else { dtype };
            let axis = g.rng.below(rank);
            let attrs =
                attrs! { shape: Attr::Dims(shape), axis: Attr::Int(axis as i64), dtype: Attr::DType(dtype) };
            g.one("iota", attrs, &[], Bound::exact(40.0))?
        }
        1 => {
            let n = g.rng.range(1, 4) as usize;
            let values: Vec<Dim> = (0..n).map(|_| g.rng.pick(&g.dims.clone())).collect();
            g.one(
                "dims",
                attrs! { values: Attr::Dims(values), scalar: Attr::Int(0) },
                &[],
                Bound::exact(40.0),
            )?
        }
        _ => {
            let value = vec![g.rng.pick(&g.dims.clone()) + Dim::ONE];
            g.one(
                "dims",
                attrs! { values: Attr::Dims(value), scalar: Attr::Int(1) },
                &[],
                Bound::exact(41.0),
            )?
        }
    };
    g.keep(v);
    Ok(())
}

/// Run-time integers as sizes.
pub(super) fn symbols(g: &mut Gen) -> Result<(), OpError> {
    let n = g.rng.range(1, 2) as usize;
    let values: Vec<i64> = (0..n).map(|_| g.rng.range(1, 9)).collect();
    let t = nnc_ir::Tensor::from_slice(&[n], &values)?;
    let x = g.input_of(&[Dim::len(n)], t, Bound::exact(9.0));
    let mut names = Vec::new();
    for v in values {
        let sym = g.b.graph.fresh_sym();
        names.push(sym.to_string().into_bytes());
        g.syms.insert(sym.clone(), v);
        if g.depth == 0 {
            let at = g.rng.below(g.dims.len());
            g.dims[at] = Dim::sym(sym.clone());
        }
    }
    let sizes: Vec<Dim> = names.iter().map(|s| Dim::named(&String::from_utf8_lossy(s))).collect();
    let y = g.one("symbols", attrs! { names: Attr::Strs(names) }, &[&x], Bound::exact(9.0))?;
    g.keep(y);
    let dtype = g.float();
    let leaf = g.constant(dtype, &[1]);
    let mut v = g.broadcast(&leaf, &sizes)?;
    let attrs = attrs! { shape: Attr::Dims(sizes), axis: Attr::Int(0), dtype: Attr::DType(dtype) };
    let count = g.one("iota", attrs, &[], Bound::exact(9.0))?;
    v = super::elementwise::binary_of(g, nnc_ir::ScalarOp::Mul, &v, &count)?;
    g.keep(v);
    Ok(())
}

/// Other shapes of as many elements: axes joined, split, added, dropped.
pub(super) fn reshape(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let mut shape = x.shape.clone();
    for _ in 0..g.rng.range(1, 2) {
        let at = if shape.is_empty() { 0 } else { g.rng.below(shape.len()) };
        match g.rng.below(4) {
            0 if shape.len() >= 2 && at + 1 < shape.len() => {
                let next = shape.remove(at + 1);
                shape[at] = shape[at].clone() * next;
            }
            1 if !shape.is_empty() && shape.len() < 6 => {
                let n = shape[at].as_const().unwrap_or(1);
                let factors: Vec<i64> = (1..=n).filter(|f| n % f == 0).collect();
                if shape[at].as_const().is_some() && n > 0 {
                    let f = g.rng.pick(&factors);
                    shape[at] = Dim::int(f);
                    shape.insert(at + 1, Dim::int(n / f));
                }
            }
            2 if shape.len() < 6 => shape.insert(at, Dim::ONE),
            3 if !shape.is_empty() && shape[at].is(1) => {
                shape.remove(at);
            }
            _ => {}
        }
    }
    g.one("reshape", attrs! { shape: Attr::Dims(shape) }, &[x], x.bound)
}

pub(super) fn transpose(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let perm = g.rng.permutation(x.rank()).into_iter().map(|p| p as i64).collect();
    g.one("transpose", attrs! { perm: Attr::Ints(perm) }, &[x], x.bound)
}

pub(super) fn slice(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let (mut starts, mut sizes, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for (d, n) in x.shape.iter().zip(&x.size) {
        let n = *n as i64;
        let (start, size, step) = match (d.as_const(), g.rng.below(3)) {
            (_, 0) => (Dim::ZERO, d.clone(), 1),
            (None, 1) => (d.clone() - Dim::ONE, d.clone(), -1),
            (None, _) => {
                (Dim::int(i64::from(n > 1)), if n > 1 { d.clone() - Dim::ONE } else { d.clone() }, 1)
            }
            (Some(_), _) if n == 0 => (Dim::ZERO, Dim::ZERO, 1),
            (Some(_), k) => {
                let step = if k == 1 { 1 } else { g.rng.pick(&[1, 2, 3, -1, -2]) };
                let start = g.rng.range(0, n - 1);
                let room = if step > 0 { (n - 1 - start) / step } else { start / -step };
                (Dim::int(start), Dim::int(g.rng.range(1, room + 1)), step)
            }
        };
        starts.push(start);
        sizes.push(size);
        steps.push(step);
    }
    let attrs = attrs! { starts: Attr::Dims(starts), sizes: Attr::Dims(sizes), steps: Attr::Ints(steps) };
    g.one("slice", attrs, &[x], x.bound)
}

fn pad(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let (value, bound) = g.data(x.dtype, &[]);
    let value = if g.rng.chance(70) { g.constant_of(value, bound) } else { g.input_of(&[], value, bound) };
    let mode = g.rng.pick(&["constant", "constant", "constant", "reflect", "edge", "wrap"]);
    let (mut low, mut high) = (Vec::new(), Vec::new());
    for n in &x.size {
        let least = if *n > 2 { -1 } else { 0 };
        let (mut l, mut h) = (g.rng.range(least, 3), g.rng.range(least, 3));
        if g.rng.chance(50) || *n == 0 && mode != "constant" {
            (l, h) = (0, 0);
        }
        if mode == "reflect" {
            let most = (*n as i64 - 1).max(0);
            (l, h) = (l.min(most), h.min(most));
        }
        low.push(Dim::int(l));
        high.push(Dim::int(h));
    }
    let attrs = attrs! { low: Attr::Dims(low), high: Attr::Dims(high), mode: Attr::Str(mode.into()) };
    g.one("pad", attrs, &[x, &value], x.bound.or(value.bound))
}

/// With parts that are computed, where there are some.
fn concat(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let axis = g.rng.below(x.rank());
    let mut parts = vec![x.clone()];
    for _ in 0..g.rng.range(0, 3) {
        let fits = |v: &&Val| {
            let same = |a: usize| a == axis || v.shape[a] == x.shape[a];
            v.dtype == x.dtype && v.rank() == x.rank() && (0..x.rank()).all(same)
        };
        let found: Vec<Val> = g.pool.iter().filter(fits).cloned().collect();
        let part = if !found.is_empty() && g.rng.chance(60) {
            g.rng.pick(&found)
        } else {
            let mut shape = x.shape.clone();
            shape[axis] = Dim::int(g.rng.range(1, 5));
            g.leaf(x.dtype, &shape)?
        };
        let part = if x.dtype == DType::F32 && g.rng.chance(40) {
            super::elementwise::unary_of(g, nnc_ir::ScalarOp::Tanh, &part)?
        } else {
            part
        };
        parts.push(part);
    }
    if g.rng.chance(50) {
        parts.rotate_left(1);
    }
    let computed =
        parts.iter().filter(|p| g.b.graph.def_node(p.id).is_some_and(|n| !n.is("constant"))).count();
    if computed > 1 {
        g.count("concat of computed parts");
    }
    let bound = parts.iter().fold(x.bound, |b, p| b.or(p.bound));
    let parts: Vec<&Val> = parts.iter().collect();
    g.one("concat", attrs! { axis: Attr::Int(axis as i64) }, &parts, bound)
}

fn reverse(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let n = g.rng.range(1, x.rank() as i64) as usize;
    let axes = g.rng.permutation(x.rank())[..n].iter().map(|a| *a as i64).collect();
    g.one("reverse", attrs! { axes: Attr::Ints(axes) }, &[x], x.bound)
}

fn broadcast(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    let mut shape = x.shape.clone();
    for d in &mut shape {
        if d.is(1) {
            *d = Dim::int(g.rng.range(1, 4));
        }
    }
    for _ in 0..g.rng.range(0, 2) {
        if shape.len() < 6 {
            shape.insert(0, Dim::int(g.rng.range(1, 3)));
        }
    }
    g.broadcast(x, &shape)
}
