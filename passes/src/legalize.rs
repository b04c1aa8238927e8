//! Rewrites what no kernel computes directly into operators that some kernel does.

mod bytes;

use crate::lower::templates;
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{DType, Graph, OpError, Outcome, Rewriter, ValueId};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "legalize",
    doc: "Afterwards every operator has code: composites without a template are decomposed, narrow floats of \
          matrix products are computed in f32, bytes that products read lie in memory as they are read.",
    required: true,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let mut graph = graph.clone();
    // A decomposition may hold composites itself (attention holds a softmax).
    for _ in 0..4 {
        let before = report.n_applied(PASS.name);
        graph = report.apply(PASS.name, &graph, |rw, node| {
            for rule in [absorbed, heads_last, widened, bytes::transposed, bytes::depthwise] {
                if let Some(values) = rule(rw, node)? {
                    return Ok(Outcome::Applied(values));
                }
            }
            decomposed(rw, node)
        })?;
        if report.n_applied(PASS.name) == before {
            break;
        }
    }
    Ok(graph)
}

/// A transposed product is a product with its letters in another order.
fn absorbed(rw: &mut Rewriter, node: &NodeView) -> Result<Option<Vec<ValueId>>, OpError> {
    if !node.is("transpose") {
        return Ok(None);
    }
    let Some(product) = rw.sole(node.inputs[0], "contract") else { return Ok(None) };
    let letters: Vec<char> = product.attrs.str("out").chars().collect();
    let perm = node.attrs.indices("perm");
    // The matrix kernel writes its columns contiguously.
    if perm.last() != Some(&(perm.len() - 1)) {
        return Ok(None);
    }
    let (mut attrs, inputs) = (product.attrs.clone(), product.inputs.clone());
    attrs.set("out", nnc_ir::Attr::Str(perm.iter().map(|p| letters[*p]).collect()));
    Ok(Some(rw.b.add("contract", attrs, &inputs)?))
}

/// An attention writes its heads innermost as readily as outermost.
fn heads_last(rw: &mut Rewriter, node: &NodeView) -> Result<Option<Vec<ValueId>>, OpError> {
    if !node.is("transpose") || node.attrs.indices("perm") != [0, 2, 1, 3] {
        return Ok(None);
    }
    let Some(attention) = rw.sole(node.inputs[0], "attention") else { return Ok(None) };
    let (mut attrs, inputs) = (attention.attrs.clone(), attention.inputs.clone());
    attrs.set("heads_last", nnc_ir::Attr::Int((!attrs.flag("heads_last")).into()));
    Ok(Some(rw.b.add("attention", attrs, &inputs)?))
}

/// Products and recurrent layers in f16 or bf16 are computed in f32 and rounded once.
fn widened(rw: &mut Rewriter, node: &NodeView) -> Result<Option<Vec<ValueId>>, OpError> {
    if !matches!(
        node.old.op.name,
        "attention" | "contract" | "conv" | "conv_transpose" | "recurrent" | "softmax" | "layer_norm"
    ) {
        return Ok(None);
    }
    let Some(narrow) = node.types[0].as_tensor().map(|t| t.dtype) else { return Ok(None) };
    if !matches!(narrow, DType::F16 | DType::BF16) {
        return Ok(None);
    }
    let mut inputs = Vec::new();
    for v in &node.inputs {
        let float = rw.b.graph.tensor_ty(*v).dtype == narrow;
        inputs.push(if float { rw.b.cast(*v, DType::F32)? } else { *v });
    }
    let mut attrs = node.attrs.clone();
    if attrs.get("to").is_some() {
        attrs.set("to", nnc_ir::Attr::DType(DType::F32));
    }
    let wide = rw.b.add(node.old.op.name, attrs, &inputs)?;
    let outputs = wide.into_iter().map(|v| rw.b.cast(v, narrow));
    Ok(Some(outputs.collect::<Result<_, _>>()?))
}

fn decomposed(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    let Some(decompose) = node.old.op.decompose else { return Ok(Outcome::NoMatch) };
    let kept = match node.old.op.name {
        "softmax" | "layer_norm" => {
            templates::rows::fits(rw.b.graph, node.old.op.name, node.attrs, node.inputs[0])
        }
        "attention" => templates::attention::plan(rw.b.graph, node.attrs, &node.inputs).is_some(),
        _ => false,
    };
    if kept {
        return Ok(Outcome::NoMatch);
    }
    Ok(Outcome::Applied(decompose(&mut rw.b, node.attrs, &node.inputs)?))
}
