//! The order of the passes, as a plain list.

use crate::pass::{Pass, Report, Target};
use crate::{canonicalize, clean, fold, layout, legalize, raise, rules, split_phases, widen};
use nnc_ir::{Graph, OpError};

/// Every graph pass in order.
pub const PIPELINE: &[Pass] = &[
    canonicalize::PASS,
    clean::PASS,
    raise::quantized::PASS,
    clean::PASS,
    fold::constants::PASS,
    rules::PASS,
    fold::constants::PASS,
    widen::PASS,
    clean::PASS,
    raise::softmax::PASS,
    raise::activations::PASS,
    raise::norms::PASS,
    raise::attention::PASS,
    clean::PASS,
    fold::pads::PASS,
    fold::affine::PASS,
    clean::PASS,
    layout::PASS,
    split_phases::PASS,
    fold::constants::PASS,
    clean::PASS,
    // Layout brings factors together that stood on both sides of a transpose.
    fold::affine::PASS,
    clean::PASS,
    legalize::PASS,
    fold::constants::PASS,
    clean::PASS,
];

/// Runs the pipeline, without optimization its required passes only. `after` sees each pass and its graph.
pub fn optimize(
    graph: &Graph,
    target: &Target,
    report: &mut Report,
    after: &mut dyn FnMut(&Pass, &Graph),
) -> Result<Graph, OpError> {
    let mut graph = graph.clone();
    for pass in PIPELINE.iter().filter(|p| target.optimize || p.required) {
        graph = (pass.run)(&graph, target, report)
            .map_err(|e| OpError(format!("pass {}: {}", pass.name, e.0)))?;
        after(pass, &graph);
    }
    Ok(graph)
}
