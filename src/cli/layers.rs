//! Where a model goes wrong: the first node whose values deviate from the interpreter's.
//!
//! Every value of the outermost block becomes an output, so that fusion cannot hide it. A fault that
//! only fusion brings out is then gone; the absence of a deviating node says so.

use super::engine;
use super::failure::Failure;
use nnc::Options;
use nnc_ir::{Graph, Interpreter, ValueId};
use nnc_runtime::{Executor, Isa, Value};
use nnc_tensor::compare::{Tolerance, compare};
use std::sync::Arc;

/// The first node that deviates, with statistics; `None` where none does.
pub(crate) fn first_deviation(
    graph: &Graph,
    inputs: &[Value],
    options: &Options,
    isa: Option<Isa>,
    executor: &Arc<dyn Executor>,
    tolerance: Tolerance,
) -> Result<Option<String>, Failure> {
    let (open, origins) = with_all_values(graph);
    let expected = Interpreter::new(&open)
        .run(inputs)
        .map_err(|e| Failure::user(format!("the interpreter refuses the model: {e}")))?;
    let mut session = engine::build(&open, options, isa, executor)?;
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
    let found = session.run(&named)?;
    for ((f, e), origin) in found.iter().zip(&expected).zip(&origins) {
        let d = compare(f, e, tolerance);
        if let Some(problem) = d.problem {
            let (abs, l2) = (d.max_abs, d.rel_l2);
            return Ok(Some(format!("{origin}: max abs {abs:.1e}, relative L2 {l2:.1e}, {problem}")));
        }
    }
    Ok(None)
}

/// The graph with every tensor that a node of its body makes as an output, in order, and where each
/// comes from.
fn with_all_values(graph: &Graph) -> (Graph, Vec<String>) {
    let (mut results, mut origins): (Vec<ValueId>, Vec<String>) = (Vec::new(), Vec::new());
    for id in &graph.block(graph.body()).nodes {
        let node = graph.node(*id);
        for v in node.outputs.iter().filter(|v| graph.ty(**v).as_tensor().is_some() && !node.is("constant")) {
            results.push(*v);
            origins.push(format!("node \"{}\" ({})", node.origin, node.op.name));
        }
    }
    let mut open = graph.clone();
    let body = open.body();
    open.output_names = (0..results.len()).map(|i| format!("value {i}")).collect();
    open.block_mut(body).results = results;
    (open, origins)
}
