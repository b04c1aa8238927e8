//! What is known of values at import: constants that can be computed, integers as size expressions.
//!
//! Exporters compute shapes with whole subgraphs (comparisons, selections, products); the rows of the
//! graph operators follow most of them, this module the rest.

use nnc_ir::ops::Effects;
use nnc_ir::{Dim, EvalCx, Graph, Kind, Sym, Tensor, Type, Value, ValueId};
use nnc_tensor::Range;
use std::collections::{HashMap, HashSet};

/// Largest constant that is computed at import.
const MAX_ELEMS: usize = 1 << 16;
/// How far back operands are followed.
const MAX_DEPTH: usize = 200;
/// Sizes are below this.
pub(crate) const SIZE_LIMIT: i64 = 1 << 40;

/// What is known beyond the graph itself.
#[derive(Default)]
pub(crate) struct Known {
    constants: HashMap<ValueId, Option<Tensor>>,
    /// Symbols for integers that are no sizes: they may be negative.
    integers: HashSet<Sym>,
}

impl Known {
    /// Notes a symbol that may be negative.
    pub(crate) fn add_integer(&mut self, sym: Sym) {
        self.integers.insert(sym);
    }

    /// Bounds of a symbol.
    pub(crate) fn range(&self, graph: &Graph, sym: &Sym) -> Range {
        let (low, high) = match graph.bounds.get(sym) {
            Some((low, high)) => (Some(*low), Some(*high)),
            None if self.integers.contains(sym) => (None, None),
            None => (Some(0), Some(SIZE_LIMIT)),
        };
        Range { low, high, top: None }
    }

    /// Bounds of an expression.
    pub(crate) fn bounds(&self, graph: &Graph, d: &Dim) -> (Option<i64>, Option<i64>) {
        d.bounds(&|s| self.range(graph, s))
    }

    /// The value as a constant, computed if its operands are constants and it is small.
    pub(crate) fn constant(&mut self, graph: &Graph, v: ValueId) -> Option<Tensor> {
        self.constant_at(graph, v, 0)
    }

    fn constant_at(&mut self, graph: &Graph, v: ValueId, depth: usize) -> Option<Tensor> {
        if let Some(t) = graph.constant(v) {
            return Some(t.clone());
        }
        if depth > MAX_DEPTH {
            return None;
        }
        if let Some(known) = self.constants.get(&v) {
            return known.clone();
        }
        let found = from_content(graph, v).or_else(|| self.evaluate(graph, v, depth));
        self.constants.insert(v, found.clone());
        found
    }

    fn evaluate(&mut self, graph: &Graph, v: ValueId, depth: usize) -> Option<Tensor> {
        let node = graph.def_node(v)?;
        if node.effects() != Effects::Pure || !node.blocks.is_empty() {
            return None;
        }
        let small = |v: &ValueId| {
            let elems = graph.ty(*v).as_tensor()?.elems().as_len()?;
            (elems <= MAX_ELEMS).then_some(())
        };
        node.outputs.iter().try_for_each(small)?;
        let inputs: Vec<Value> = node
            .inputs
            .iter()
            .map(|i| self.constant_at(graph, *i, depth + 1).map(Value::from))
            .collect::<Option<_>>()?;
        let outputs: Vec<Type> = node.outputs.iter().map(|o| graph.ty(*o).clone()).collect();
        let cx = EvalCx {
            attrs: &node.attrs,
            inputs: &inputs,
            outputs: &outputs,
            syms: &|_| None,
            run_block: &|_, _| Err(nnc_ir::OpError("no body is run at import".to_owned())),
        };
        let at = node.outputs.iter().position(|o| *o == v)?;
        let results = (node.op.eval)(&cx).ok()?;
        results.get(at)?.tensor().cloned()
    }

    /// The elements of an integer or boolean value as expressions, where they can be told.
    pub(crate) fn content(&self, graph: &Graph, v: ValueId) -> Option<Vec<Dim>> {
        self.content_at(graph, v, 0)
    }

    fn content_at(&self, graph: &Graph, v: ValueId, depth: usize) -> Option<Vec<Dim>> {
        if let Some(known) = &graph.value(v).content {
            return Some(known.clone());
        }
        let ty = graph.ty(v).as_tensor()?;
        let exact = matches!(ty.dtype.kind(), Kind::Int | Kind::Uint | Kind::Bool);
        if !exact || ty.rank() > 1 || depth > MAX_DEPTH {
            return None;
        }
        let node = graph.def_node(v)?;
        let operand = |i: usize| self.content_at(graph, *node.inputs.get(i)?, depth + 1);
        match node.op.name {
            "eq" | "ne" | "lt" | "le" | "gt" | "ge" => {
                let (a, b) = (operand(0)?, operand(1)?);
                a.iter().zip(&b).map(|(a, b)| self.compare(graph, node.op.name, a, b)).collect()
            }
            "and" => pairwise(&operand(0)?, &operand(1)?, |a, b| a & b),
            "or" => pairwise(&operand(0)?, &operand(1)?, |a, b| a | b),
            "xor" => pairwise(&operand(0)?, &operand(1)?, |a, b| a ^ b),
            "not" => operand(0)?.iter().map(|d| d.as_const().map(|c| Dim::int(1 - c))).collect(),
            "select" => select(&operand(0)?, &operand(1)?, &operand(2)?),
            "abs" => operand(0)?.iter().map(|d| self.abs(graph, d)).collect(),
            "broadcast" => {
                let (x, len) = (operand(0)?, ty.elems().as_len()?);
                match x.as_slice() {
                    [one] if len <= 64 => Some(vec![one.clone(); len]),
                    _ => (x.len() == len).then_some(x),
                }
            }
            "reshape" => operand(0),
            "reduce" => reduce(node.attrs.str("kind"), &operand(0)?),
            // The row follows the rest where the operands' contents are known to the graph.
            _ => None,
        }
    }

    fn compare(&self, graph: &Graph, op: &str, a: &Dim, b: &Dim) -> Option<Dim> {
        let difference = a.clone() - b.clone();
        let (lo, hi) = self.bounds(graph, &difference);
        let (zero, below, above) = (difference.is(0), hi.is_some_and(|h| h < 0), lo.is_some_and(|l| l > 0));
        let (not_above, not_below) = (hi.is_some_and(|h| h <= 0), lo.is_some_and(|l| l >= 0));
        let answer = match op {
            "eq" => decide(zero, below || above),
            "ne" => decide(below || above, zero),
            "lt" => decide(below, not_below),
            "ge" => decide(not_below, below),
            "gt" => decide(above, not_above),
            _ => decide(not_above, above),
        }?;
        Some(Dim::int(i64::from(answer)))
    }

    fn abs(&self, graph: &Graph, d: &Dim) -> Option<Dim> {
        match self.bounds(graph, d) {
            (Some(lo), _) if lo >= 0 => Some(d.clone()),
            (_, Some(hi)) if hi <= 0 => Some(-d.clone()),
            _ => None,
        }
    }
}

fn decide(yes: bool, no: bool) -> Option<bool> {
    if yes { Some(true) } else { no.then_some(false) }
}

fn pairwise(a: &[Dim], b: &[Dim], f: fn(i64, i64) -> i64) -> Option<Vec<Dim>> {
    a.iter().zip(b).map(|(a, b)| Some(Dim::int(f(a.as_const()?, b.as_const()?)))).collect()
}

fn select(c: &[Dim], a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let pick = |((c, a), b): ((&Dim, &Dim), &Dim)| match c.as_const() {
        Some(0) => Some(b.clone()),
        Some(_) => Some(a.clone()),
        None => (a == b).then(|| a.clone()),
    };
    c.iter().zip(a).zip(b).map(pick).collect()
}

fn reduce(kind: &str, x: &[Dim]) -> Option<Vec<Dim>> {
    let fold: fn(Dim, &Dim) -> Dim = match kind {
        "sum" => |a, b| a + b.clone(),
        "prod" => |a, b| a * b.clone(),
        "max" => |a, b| a.max_with(b),
        _ => |a, b| a.min_with(b),
    };
    match (x, kind) {
        ([], "sum") => Some(vec![Dim::ZERO]),
        ([], "prod") => Some(vec![Dim::ONE]),
        ([], _) => None,
        ([first, rest @ ..], _) => Some(vec![rest.iter().fold(first.clone(), fold)]),
    }
}

/// A constant out of known elements.
fn from_content(graph: &Graph, v: ValueId) -> Option<Tensor> {
    let content = graph.value(v).content.as_ref()?;
    let ty = graph.ty(v).as_tensor()?;
    let ints: Vec<i128> = content.iter().map(|d| d.as_const().map(i128::from)).collect::<Option<_>>()?;
    Tensor::from_ints(ty.dtype, &ty.fixed_shape()?, &ints).ok()
}
