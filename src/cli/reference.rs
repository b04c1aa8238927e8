//! What `nnc verify` compares with: the expected outputs of a case, or those of another way to run the model.

use super::case::DataSet;
use super::failure::Failure;
use super::peers::{Peer, Setting};
use clap::ValueEnum;
use nnc_ir::{Graph, Interpreter, run_in_f64};
use nnc_runtime::{Tensor, Value};
use nnc_tensor::compare::{Difference, Tolerance, compare};
use std::path::Path;

/// Another way to run a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Engine {
    /// The interpreter of the graph, as the model states its types.
    Interpreter,
    /// The interpreter in double precision: a result passes if it is within the tolerance of this one or of the
    /// case's expected outputs, or no farther from this one than they are.
    F64,
    /// ONNX Runtime in the user's Python.
    Onnxruntime,
}

/// A model as an engine takes it.
pub(crate) struct Model<'a> {
    /// Its file.
    pub(crate) path: &'a Path,
    /// What the file means.
    pub(crate) graph: &'a Graph,
    /// Names of the inputs in the order of their values.
    pub(crate) inputs: &'a [String],
    /// Names of the outputs.
    pub(crate) outputs: &'a [String],
}

/// The outputs that a data set is expected to have: its own, unless an engine is asked for or it has none.
pub(crate) fn outputs(engine: Option<Engine>, model: &Model, set: &DataSet) -> Result<Vec<Value>, Failure> {
    match engine {
        None if !set.outputs.is_empty() => Ok(set.outputs.clone()),
        None | Some(Engine::Interpreter) => interpret(model.graph, &set.inputs),
        Some(Engine::F64) => run_in_f64(model.graph, &set.inputs).map_err(|e| Failure::user(e.to_string())),
        Some(Engine::Onnxruntime) => onnx_runtime(model, set),
    }
}

/// Compares a result with what an engine computed. Where that is the result in double precision and the
/// case states an output of its own, floats pass also if they agree with that output or are no farther from the
/// result than it is; its relative L2 distance is the second answer.
pub(crate) fn judge(
    engine: Option<Engine>,
    (found, expected, stated): (&Value, &Value, Option<&Value>),
    tolerance: Tolerance,
) -> (Difference, Option<f64>) {
    let mut difference = compare(found, expected, tolerance);
    let floats = found.tensor().is_some_and(|t| t.dtype().is_float());
    let stated = stated.filter(|_| floats && engine == Some(Engine::F64));
    let distance = stated.map(|s| compare(s, expected, tolerance).rel_l2);
    let agrees = |s: &Value| compare(found, s, tolerance).problem.is_none();
    if distance.is_some_and(|d| difference.rel_l2 <= d) || stated.is_some_and(agrees) {
        difference.problem = None;
    }
    (difference, distance)
}

/// What the interpreter computes.
pub(crate) fn interpret(graph: &Graph, inputs: &[Value]) -> Result<Vec<Value>, Failure> {
    let run = Interpreter::new(graph).run(inputs);
    run.map_err(|e| Failure::user(format!("the interpreter refuses the model: {e}")))
}

fn onnx_runtime(model: &Model, set: &DataSet) -> Result<Vec<Value>, Failure> {
    let inputs: Vec<(&str, Value)> =
        model.inputs.iter().map(String::as_str).zip(set.inputs.iter().cloned()).collect();
    let peer = Peer::start("onnxruntime", model.path, &inputs, &Setting::ONE_THREAD)?;
    let output = |name: &String| {
        let found = peer.outputs.iter().find(|(n, _)| n == name).map(|(_, t): &(String, Tensor)| t.clone());
        found
            .map(Value::from)
            .ok_or_else(|| Failure::user(format!("onnxruntime gives no tensor for output \"{name}\"")))
    };
    model.outputs.iter().map(output).collect()
}
