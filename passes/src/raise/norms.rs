//! Layer, RMS and group norms out of means and roots.
//!
//! The core is raised first, with a gamma of ones and a beta of zeros; factors and summands that follow
//! are then taken in one by one.

use super::pattern::{Match, OTHER_READERS};
use crate::fold::known::{line, uniform};
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Dim, Graph, OpError, Outcome, Rewriter, Tensor, ValueId, attrs};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "raise-norms",
    doc: "Spelled-out layer and RMS norms become `layer_norm`; instance norms between reshapes become `group_norm`; \
          both take in the factors and summands after them.",
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, |rw, node| match node.old.op.name {
        "div" | "mul" | "add" => match absorb(rw, node)? {
            Outcome::NoMatch => core(rw, node),
            found => Ok(found),
        },
        "reshape" => groups(rw, node),
        _ => Ok(Outcome::NoMatch),
    })
}

/// What a matched core normalizes.
struct Core {
    x: ValueId,
    from: usize,
    eps: f64,
    rms: bool,
}

fn core(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let Some(t) = node.types[0].as_tensor().filter(|t| t.dtype.is_float()) else {
        return Ok(Outcome::NoMatch);
    };
    let (t, [a, b]) = (t.clone(), [node.inputs[0], node.inputs[1]]);
    let mut m = Match::new(rw, node);
    let found = (0..t.rank()).rev().find_map(|from| {
        let mut of = |x, d, inverted| m.attempt(|m| normalized(m, x, d, &t.shape, from, inverted));
        match node.old.op.name {
            "div" => of(a, b, false),
            "mul" => of(a, b, true).or_else(|| of(b, a, true)),
            _ => None,
        }
    });
    let Some(core) = found else { return Ok(Outcome::NoMatch) };
    if let Err(outcome) = m.closed(()) {
        return Ok(outcome);
    }
    let (gamma, beta) =
        (rw.b.splat(t.dtype, 1.0, &t.shape[core.from..])?, rw.b.splat(t.dtype, 0.0, &t.shape[core.from..])?);
    let attrs = attrs! {
        axes_from: Attr::Int(core.from as i64), eps: Attr::Float(core.eps), rms: Attr::Int(i64::from(core.rms))
    };
    Ok(Outcome::Applied(vec![rw.b.one("layer_norm", attrs, &[core.x, gamma, beta])?]))
}

/// `centered / deviation`, or their product where the deviation is inverted.
fn normalized(
    m: &mut Match,
    centered: ValueId,
    deviation: ValueId,
    full: &[Dim],
    from: usize,
    inverted: bool,
) -> Option<Core> {
    let axes: Vec<usize> = (from..full.len()).collect();
    let mut d = m.spread(deviation, full, &axes);
    if inverted {
        let quotient = m.def(d, "div")?;
        if uniform(m.graph(), quotient.inputs[0]) != Some(1.0) {
            return None;
        }
        d = m.spread(quotient.inputs[1], full, &axes);
    }
    let shifted = m.def(d, "sqrt")?.inputs[0];
    let shifted = m.spread(shifted, full, &axes);
    let (variance, eps) = m.with_number(shifted, "add")?;
    if let Some(x) = m.attempt(|m| by_moments(m, centered, variance, full, &axes)) {
        return Some(Core { x, from, eps, rms: false });
    }
    let square = m.mean(variance, full, &axes)?;
    let factors = m.def(square, "mul")?.inputs.clone();
    let (x, rms) = match centered_on_mean(m, centered, full, &axes) {
        Some(x) => (x, false),
        None => (centered, true),
    };
    for f in factors {
        // Exporters write the difference from the mean once or twice.
        let same = f == centered && (rms || m.def(f, "sub").is_some());
        if !same && (rms || centered_on_mean(m, f, full, &axes) != Some(x)) {
            return None;
        }
    }
    Some(Core { x, from, eps, rms })
}

/// `x`, if the variance is `mean x² - (mean x)²`, kept from falling below zero perhaps.
fn by_moments(
    m: &mut Match,
    centered: ValueId,
    variance: ValueId,
    full: &[Dim],
    axes: &[usize],
) -> Option<ValueId> {
    let x = centered_on_mean(m, centered, full, axes)?;
    let mut variance = m.spread(variance, full, axes);
    if let Some((inner, 0.0)) = m.with_number(variance, "max") {
        variance = m.spread(inner, full, axes);
    }
    let difference = m.def(variance, "sub")?;
    let square = m.mean(difference.inputs[0], full, axes)?;
    let means = m.spread(difference.inputs[1], full, axes);
    let means = m.def(means, "mul")?;
    let of_mean = means.inputs.iter().all(|v| m.mean(*v, full, axes) == Some(x));
    (m.def(square, "mul")?.inputs == [x, x] && of_mean).then_some(x)
}

/// `x`, if the value is `x - mean x`.
fn centered_on_mean(m: &mut Match, v: ValueId, full: &[Dim], axes: &[usize]) -> Option<ValueId> {
    m.attempt(|m| {
        let node = m.def(v, "sub")?;
        let mean = m.spread(node.inputs[1], full, axes);
        (m.mean(mean, full, axes)? == node.inputs[0]).then_some(node.inputs[0])
    })
}

/// A factor after a norm without gamma and beta becomes gamma, a summand after one without beta becomes beta.
fn absorb(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let slot = match node.old.op.name {
        "mul" => 1,
        "add" => 2,
        _ => return Ok(Outcome::NoMatch),
    };
    for i in 0..2 {
        let (y, other) = (node.inputs[i], node.inputs[1 - i]);
        let Some(norm) = rw.b.graph.def_node(y).filter(|n| matches!(n.op.name, "layer_norm" | "group_norm"))
        else {
            continue;
        };
        let norm = norm.clone();
        let free = |i: usize, v: f64| uniform(rw.b.graph, norm.inputs[i]) == Some(v);
        if !free(2, 0.0) || slot == 1 && !free(1, 1.0) {
            continue;
        }
        let shape = rw.b.graph.tensor_ty(y).shape.clone();
        let (from, to) = if norm.is("layer_norm") {
            (norm.attrs.index("axes_from"), shape.len())
        } else {
            let at = if norm.attrs.flag("channels_last") { shape.len() - 1 } else { 1 };
            (at, at + 1)
        };
        let Some(vector) = part(rw, other, &shape, from, to)? else { continue };
        if rw.n_uses(y) != 1 {
            return Ok(Outcome::Blocked(OTHER_READERS));
        }
        let mut inputs = norm.inputs.clone();
        inputs[slot] = vector;
        return Ok(Outcome::Applied(vec![rw.b.one(norm.op.name, norm.attrs, &inputs)?]));
    }
    Ok(Outcome::NoMatch)
}

/// The value of shape `full[from..to]` that was broadcast to `full`.
fn part(
    rw: &mut Rewriter,
    v: ValueId,
    full: &[Dim],
    from: usize,
    to: usize,
) -> Result<Option<ValueId>, OpError> {
    let target = &full[from..to];
    if let Some(node) = rw.def(v, "broadcast") {
        let x = node.inputs[0];
        let shape = rw.b.graph.tensor_ty(x).shape.clone();
        let missing = full.len() - shape.len();
        let inside = |i: usize| (from..to).contains(&(i + missing));
        let only = |(i, d): (usize, &Dim)| d.is(1) || inside(i) && *d == full[i + missing];
        if !shape.iter().enumerate().all(only) {
            return Ok(None);
        }
        let own: Vec<Dim> = (0..shape.len()).filter(|i| inside(*i)).map(|i| shape[i].clone()).collect();
        let x = rw.b.reshape(x, &own)?;
        return rw.b.broadcast(x, target).map(Some);
    }
    let dtype = rw.b.graph.tensor_ty(v).dtype;
    let Some(line) = line(rw.b.graph, v) else { return Ok(None) };
    match line.axis {
        None => rw.b.splat(dtype, line.values[0], target).map(Some),
        Some(axis) if to - from == 1 && axis == from => {
            let t = Tensor::from_f64s(dtype, &[line.values.len()], &line.values)?;
            Ok(Some(rw.b.constant(t)))
        }
        Some(_) => Ok(None),
    }
}

/// An instance norm of reshaped channels, reshaped back, is a group norm.
fn groups(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let Some(norm) = rw.def(node.inputs[0], "group_norm").cloned() else { return Ok(Outcome::NoMatch) };
    let Some(before) = rw.def(norm.inputs[0], "reshape") else { return Ok(Outcome::NoMatch) };
    let (x, parts) = (before.inputs[0], rw.b.graph.tensor_ty(norm.inputs[0]).shape.clone());
    let t = rw.b.graph.tensor_ty(x).clone();
    let n = norm.attrs.int("groups");
    let whole = node.types[0].as_tensor() == Some(&t) && t.rank() >= 2 && !norm.attrs.flag("channels_last");
    if !whole || parts[0] != t.shape[0] || !parts[1].is(n) || !t.shape[1].modulo(&Dim::int(n)).is(0) {
        return Ok(Outcome::NoMatch);
    }
    if uniform(rw.b.graph, norm.inputs[1]) != Some(1.0) || uniform(rw.b.graph, norm.inputs[2]) != Some(0.0) {
        return Ok(Outcome::Blocked("the instance norm has factors of its own"));
    }
    if rw.n_uses(node.inputs[0]) != 1 {
        return Ok(Outcome::Blocked(OTHER_READERS));
    }
    let channels = &t.shape[1..2];
    let (gamma, beta) = (rw.b.splat(t.dtype, 1.0, channels)?, rw.b.splat(t.dtype, 0.0, channels)?);
    Ok(Outcome::Applied(vec![rw.b.one("group_norm", norm.attrs, &[x, gamma, beta])?]))
}
