//! `nnc verify --roundtrip`: a graph that goes through its text form, and from there through an artifact,
//! computes the same.

use super::case::DataSet;
use super::engine;
use super::failure::Failure;
use nnc::Options;
use nnc_ir::Graph;
use nnc_ir::text::{parse, print};
use nnc_runtime::{Executor, Isa, Session, Value};
use nnc_tensor::compare::{Tolerance, compare};
use std::sync::Arc;

/// What is lost on the way; `None` where nothing is. `session` runs the artifact of the graph itself.
pub(crate) fn loss(
    graph: &Graph,
    session: &mut Session,
    sets: &[DataSet],
    (options, isa): (&Options, Option<Isa>),
    executor: &Arc<dyn Executor>,
) -> Result<Option<String>, Failure> {
    let again = match through_text(graph) {
        Ok(again) => again,
        Err(loss) => return Ok(Some(loss)),
    };
    let mut second = engine::build(&again, options, isa, executor)?;
    let names = |s: &Session| -> Vec<String> { s.inputs().into_iter().map(|p| p.name).collect() };
    let outputs = |s: &Session| -> Vec<String> { s.outputs().into_iter().map(|p| p.name).collect() };
    let (inputs, outputs, found) = (names(session), outputs(session), (names(&second), outputs(&second)));
    if found != (inputs.clone(), outputs.clone()) {
        return Ok(Some(format!("through the text form, inputs and outputs become {found:?}")));
    }
    for set in sets {
        let named: Vec<(&str, Value)> =
            inputs.iter().map(String::as_str).zip(set.inputs.iter().cloned()).collect();
        let (first, second) = (session.run(&named)?, second.run(&named)?);
        let exact = Tolerance::Given { rtol: 0.0, atol: 0.0 };
        for ((a, b), name) in first.iter().zip(&second).zip(&outputs) {
            if a != b {
                let problem = compare(b, a, exact).problem.unwrap_or_else(|| "in its bits".to_owned());
                return Ok(Some(format!("through the text form, output \"{name}\" differs: {problem}")));
            }
        }
    }
    Ok(None)
}

/// The graph that a graph's text means, if that text is exact.
fn through_text(graph: &Graph) -> Result<Graph, String> {
    let (text, data) = print(graph);
    let again = parse(&text, &data).map_err(|e| format!("the text form cannot be parsed: {e}"))?;
    nnc_ir::verify(&again).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        format!("the text form is no valid graph: {first}")
    })?;
    let (text_again, data_again) = print(&again);
    let same = text.lines().zip(text_again.lines()).take_while(|(a, b)| a == b).count();
    if text != text_again {
        return Err(format!("printed again, the text form differs from line {}", same + 1));
    }
    if data != data_again {
        return Err("printed again, the constants beside the text form differ".into());
    }
    Ok(again)
}
