//! Algebraic rules: one table, walked until no rule fires.
//!
//! A rule is admitted if its result is never more work than what it replaces, whoever else reads the
//! operands, and if results stay the same numbers: NaN and infinities included, but for the sign of
//! zeros. `x·0` is therefore not zero and `x − x` neither.

mod arithmetic;
mod casts;
mod clip;
mod concat;
mod gather;
mod movement;

use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attrs, Dim, Graph, OpError, Outcome, Rewriter, TensorType, Type, ValueId};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "simplify",
    doc: "Applies the table of algebraic rules until none fires.",
    required: false,
    run,
};

/// A rewrite of one node to a value of the same type.
pub(crate) struct Rule {
    /// Name in kebab case.
    pub(crate) name: &'static str,
    /// What becomes what.
    pub(crate) doc: &'static str,
    /// Operators that it looks at.
    pub(crate) ops: &'static [&'static str],
    /// The value that stands for the node's result, if the rule fires.
    pub(crate) apply: fn(&mut Rewriter, &Site) -> Result<Option<ValueId>, OpError>,
}

/// Every family of the table.
const FAMILIES: &[&[Rule]] =
    &[arithmetic::RULES, clip::RULES, casts::RULES, movement::RULES, concat::RULES, gather::RULES];

/// Walks over the graph that one run takes at most.
const MOST_WALKS: usize = 8;
/// Rules that fire one after the other at one node in one walk.
const MOST_RULES: usize = 8;

fn table() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().flat_map(|f| f.iter())
}

/// Name and document of every rule, in the order in which they are tried.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    table().map(|r| (r.name, r.doc))
}

/// A node with one tensor result, as rules see it.
pub(crate) struct Site {
    pub(crate) op: &'static str,
    pub(crate) attrs: Attrs,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) ty: TensorType,
}

impl Site {
    fn of_view(node: &NodeView) -> Option<Site> {
        let [Type::Tensor(ty)] = node.types.as_slice() else { return None };
        let (attrs, inputs) = (node.attrs.clone(), node.inputs.clone());
        Some(Site { op: node.old.op.name, attrs, inputs, ty: ty.clone() })
    }

    fn of_value(graph: &Graph, v: ValueId) -> Option<Site> {
        let (node, ty) = (graph.def_node(v)?, graph.ty(v).as_tensor()?);
        let single = node.outputs.len() == 1 && node.blocks.is_empty();
        single.then(|| Site {
            op: node.op.name,
            attrs: node.attrs.clone(),
            inputs: node.inputs.clone(),
            ty: ty.clone(),
        })
    }

    /// The first operand.
    pub(crate) fn x(&self) -> ValueId {
        self.inputs[0]
    }
}

/// The sizes of a value.
pub(crate) fn shape(rw: &Rewriter, v: ValueId) -> Vec<Dim> {
    rw.b.graph.tensor_ty(v).shape.clone()
}

/// The only operand of the node defining a value, if the named operator.
pub(crate) fn below(rw: &Rewriter, v: ValueId, op: &str) -> Option<ValueId> {
    rw.def(v, op).map(|n| n.inputs[0])
}

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let mut graph = graph.clone();
    for _ in 0..MOST_WALKS {
        let before = report.n_applied(PASS.name);
        graph = report.apply(PASS.name, &graph, simplify)?;
        if report.n_applied(PASS.name) == before {
            break;
        }
    }
    Ok(graph)
}

fn simplify(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let Some(mut site) = Site::of_view(node) else { return Ok(Outcome::NoMatch) };
    let mut found = None;
    for _ in 0..MOST_RULES {
        let Some(v) = first(rw, &site)? else { break };
        found = Some(v);
        match Site::of_value(rw.b.graph, v) {
            Some(next) => site = next,
            None => break,
        }
    }
    Ok(found.map_or(Outcome::NoMatch, |v| Outcome::Applied(vec![v])))
}

/// The result of the first rule that fires and keeps the type.
fn first(rw: &mut Rewriter, site: &Site) -> Result<Option<ValueId>, OpError> {
    for rule in table().filter(|r| r.ops.contains(&site.op)) {
        let result = (rule.apply)(rw, site).map_err(|e| OpError(format!("rule {}: {}", rule.name, e.0)))?;
        if let Some(v) = result
            && rw.b.graph.ty(v).as_tensor() == Some(&site.ty)
        {
            return Ok(Some(v));
        }
    }
    Ok(None)
}
