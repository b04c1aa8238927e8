//! Brings a fresh graph into the form that the other passes expect.

use crate::pass::{Pass, Report, Target};
use nnc_ir::{Attr, DType, Dim, Graph, OpError, Outcome, Sym, attrs};
use std::collections::BTreeSet;

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "canonicalize",
    doc: "Replaces integers that are known as size expressions by `dims`: chains of shape arithmetic become dead.",
    required: true,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let mut known: BTreeSet<Sym> = BTreeSet::new();
    for p in &graph.block(graph.body()).params {
        graph.ty(*p).visit_dims(&mut |d| note(d, &mut known));
    }
    let uses = graph.use_counts();
    report.apply(PASS.name, graph, |rw, node| {
        for v in &node.old.outputs {
            graph.ty(*v).visit_dims(&mut |d| note(d, &mut known));
        }
        if node.is("symbols") {
            let v = node.old.outputs[0];
            let content = graph.value(v).content.clone().unwrap_or_default();
            content.iter().for_each(|d| note(d, &mut known));
            if uses[v.index()] == 0 {
                return Ok(Outcome::NoMatch);
            }
            // What symbols are bound to is read as the sizes that they are.
            rw.copy(node)?;
            return Ok(Outcome::Kept(vec![rw.b.dims(content)?]));
        }
        if matches!(node.old.op.name, "constant" | "dims" | "symbols") || node.old.outputs.len() != 1 {
            return Ok(Outcome::NoMatch);
        }
        let Some(content) = graph.value(node.old.outputs[0]).content.clone() else {
            return Ok(Outcome::NoMatch);
        };
        let Some(ty) = node.types[0].as_tensor() else { return Ok(Outcome::NoMatch) };
        // What a symbol is bound to may itself be known as that symbol: it has to stay.
        let mut bound = true;
        content.iter().for_each(|d| d.visit_syms(&mut |s| bound &= known.contains(s)));
        if !bound || content.is_empty() || ty.rank() > 1 || !ty.dtype.is_int() {
            return Ok(Outcome::NoMatch);
        }
        let scalar = Attr::Int(i64::from(ty.rank() == 0));
        let dtype = ty.dtype;
        let v = rw.b.one("dims", attrs! { values: Attr::Dims(content), scalar: scalar }, &[])?;
        let v = if dtype == DType::I64 { v } else { rw.b.cast(v, dtype)? };
        if rw.b.graph.ty(v) != &node.types[0] {
            return Ok(Outcome::NoMatch);
        }
        Ok(Outcome::Applied(vec![v]))
    })
}

/// Adds the symbols of a size.
fn note(d: &Dim, known: &mut BTreeSet<Sym>) {
    d.visit_syms(&mut |s| {
        known.insert(s.clone());
    });
}
