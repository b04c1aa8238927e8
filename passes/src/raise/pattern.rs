//! Matching of patterns backward from their last node.

use crate::fold::known::uniform;
use crate::pass::NodeView;
use nnc_ir::{Dim, Graph, Node, Outcome, Rewriter, ValueId};

/// What every pattern answers where its inner values are needed outside.
pub(super) const OTHER_READERS: &str = "a value inside of the pattern has other readers";

/// A match under way: it remembers every value that lies inside of the pattern.
pub(super) struct Match<'a, 'g> {
    pub(super) rw: &'a Rewriter<'g>,
    root: &'a [ValueId],
    inside: Vec<ValueId>,
}

impl<'a, 'g> Match<'a, 'g> {
    /// Starts at a node.
    pub(super) fn new(rw: &'a Rewriter<'g>, node: &'a NodeView) -> Match<'a, 'g> {
        Match { rw, root: &node.inputs, inside: Vec::new() }
    }

    pub(super) fn graph(&self) -> &'a Graph {
        self.rw.b.graph
    }

    /// The node defining an operand, if the named operator; the operand is then inside.
    pub(super) fn def(&mut self, v: ValueId, op: &str) -> Option<&'a Node> {
        let node = self.graph().def_if(v, op)?;
        self.inside.push(v);
        Some(node)
    }

    /// Notes a value that lies inside.
    pub(super) fn pass(&mut self, v: ValueId) {
        self.inside.push(v);
    }

    /// Tries an alternative; a failed one leaves no trace.
    pub(super) fn attempt<T>(&mut self, f: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.inside.len();
        let found = f(self);
        if found.is_none() {
            self.inside.truncate(before);
        }
        found
    }

    /// The operand beside a number in a commutative operator.
    pub(super) fn with_number(&mut self, v: ValueId, op: &str) -> Option<(ValueId, f64)> {
        self.attempt(|m| {
            let node = m.def(v, op)?;
            (0..2).find_map(|i| Some((node.inputs[1 - i], uniform(m.graph(), node.inputs[i])?)))
        })
    }

    /// True if nobody outside of the pattern reads a value inside.
    fn is_closed(&self) -> bool {
        let mut inside = self.inside.clone();
        inside.sort_unstable();
        inside.dedup();
        let mut reads: Vec<ValueId> = self.root.to_vec();
        reads.extend(inside.iter().filter_map(|v| self.graph().def_node(*v)).flat_map(|n| &n.inputs));
        inside.iter().all(|v| self.rw.n_uses(*v) as usize == reads.iter().filter(|r| *r == v).count())
    }

    /// What was found, or why it must stay as it is.
    pub(super) fn closed<T>(&self, found: T) -> Result<T, Outcome> {
        if self.is_closed() { Ok(found) } else { Err(Outcome::Blocked(OTHER_READERS)) }
    }

    /// What was spread over `axes` of `full`: reshapes that add or drop these axes, and a broadcast, are passed.
    pub(super) fn spread(&mut self, v: ValueId, full: &[Dim], axes: &[usize]) -> ValueId {
        let mut v = v;
        while let Some(node) =
            self.graph().def_node(v).filter(|n| matches!(n.op.name, "broadcast" | "reshape"))
        {
            let from = &self.graph().tensor_ty(node.inputs[0]).shape;
            let to = &self.graph().tensor_ty(v).shape;
            let known = |s: &[Dim]| is_kept(s, full, axes) || is_dropped(s, full, axes);
            let passes = match node.op.name {
                "broadcast" => to == full && is_kept(from, full, axes),
                _ => known(from) && known(to),
            };
            if !passes {
                break;
            }
            self.inside.push(v);
            v = node.inputs[0];
        }
        v
    }

    /// `x` and the axes, if the value is a reduction of x that was not spread yet.
    pub(super) fn reduced(&mut self, v: ValueId, kind: &str) -> Option<(ValueId, Vec<usize>)> {
        self.attempt(|m| {
            let node = m.def(v, "reduce")?;
            (node.attrs.str("kind") == kind).then(|| (node.inputs[0], node.attrs.indices("axes")))
        })
    }

    /// `x`, if the value is the mean of x over `axes`, with or without these axes.
    pub(super) fn mean(&mut self, v: ValueId, full: &[Dim], axes: &[usize]) -> Option<ValueId> {
        self.attempt(|m| {
            let v = m.spread(v, full, axes);
            let count = Dim::product(axes.iter().map(|a| &full[*a]));
            let sum = m.divided_by(v, &count)?;
            let sum = m.spread(sum, full, axes);
            let (x, found) = m.reduced(sum, "sum")?;
            (found == axes && m.graph().tensor_ty(x).shape == full).then_some(x)
        })
    }

    /// The dividend of a division by a size, or of a product with its reciprocal.
    fn divided_by(&mut self, v: ValueId, count: &Dim) -> Option<ValueId> {
        if let Some((x, factor)) = self.with_number(v, "mul") {
            let n = count.as_const()? as f64;
            return ((factor * n - 1.0).abs() < 1e-6).then_some(x);
        }
        let node = self.def(v, "div")?;
        let is_count = match uniform(self.graph(), node.inputs[1]) {
            Some(c) => count.as_const().is_some_and(|n| n as f64 == c),
            None => size_behind(self.graph(), node.inputs[1]).as_ref() == Some(count),
        };
        is_count.then(|| node.inputs[0])
    }
}

/// The size that a value repeats, converted to another type perhaps.
fn size_behind(graph: &Graph, v: ValueId) -> Option<Dim> {
    let mut v = v;
    loop {
        if let Some([one]) = graph.value(v).content.as_deref() {
            return Some(one.clone());
        }
        v = graph.def_node(v).filter(|n| matches!(n.op.name, "broadcast" | "reshape" | "cast"))?.inputs[0];
    }
}

/// A shape with sizes of 1 in place of `axes`, leading ones left out perhaps.
fn is_kept(shape: &[Dim], full: &[Dim], axes: &[usize]) -> bool {
    let Some(missing) = full.len().checked_sub(shape.len()) else { return false };
    let is = |i: usize| {
        if axes.contains(&i) { &Dim::ONE } else { &full[i] }
    };
    (0..missing).all(|i| is(i).is(1)) && (missing..full.len()).all(|i| shape[i - missing] == *is(i))
}

/// A shape without `axes`.
fn is_dropped(shape: &[Dim], full: &[Dim], axes: &[usize]) -> bool {
    shape.iter().eq((0..full.len()).filter(|i| !axes.contains(i)).map(|i| &full[i]))
}

/// Numbers as they come out of roundings to the narrowest type that models store constants in.
pub(super) fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-3 * expected.abs()
}
