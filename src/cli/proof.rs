//! `nnc compile --verify`: what was written is opened, run and compared.

use super::case::{DataSet, data_folders, read_data, stated_tolerance};
use super::config::Config;
use super::engine::{executor, open_model};
use super::failure::Failure;
use super::inputs::random_inputs;
use super::reference::interpret;
use super::verify::is_coarse;
use nnc_ir::Graph;
use nnc_runtime::Value;
use nnc_tensor::compare::{Difference, Tolerance, compare};
use serde_json::json;
use std::fmt;
use std::path::Path;

/// An artifact computes what it should.
pub(crate) struct Proof {
    /// Number of data sets with expected outputs; 0 where the interpreter gave them.
    sets: usize,
    difference: Difference,
}

impl Proof {
    fn reference(&self) -> &'static str {
        if self.sets > 0 { "files" } else { "interpreter" }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let (max_abs, rel_l2) = (self.difference.max_abs, self.difference.rel_l2);
        json!({ "reference": self.reference(), "max_abs": max_abs, "rel_l2": rel_l2 })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sets {
            0 => write!(f, "against the interpreter on random inputs")?,
            1 => write!(f, "against 1 data set beside the model")?,
            n => write!(f, "against {n} data sets beside the model")?,
        }
        write!(f, ", max abs {:.1e}, relative L2 {:.1e}", self.difference.max_abs, self.difference.rel_l2)
    }
}

/// Runs an artifact that was made of a model's graph. Wrong results are a failure of nnc.
pub(crate) fn prove(model: &Path, graph: &Graph, artifact: &Path, config: &Config) -> Result<Proof, Failure> {
    let mut session = open_model(artifact, config, &executor(None)?)?;
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folders =
        if model.file_name().is_some_and(|n| n == "model.onnx") { data_folders(folder) } else { vec![] };
    let given: Vec<DataSet> = folders.iter().map(|f| read_data(f, &session)).collect::<Result<_, _>>()?;
    let mut sets: Vec<DataSet> = given.into_iter().filter(|s| !s.outputs.is_empty()).collect();
    let known = sets.len();
    if sets.is_empty() {
        let inputs = random_inputs(&session.inputs(), &config.sizes(), 0)?;
        let outputs = interpret(graph, &inputs)?;
        sets.push(DataSet { inputs, outputs });
    }
    let stated = if known > 0 { stated_tolerance(folder)? } else { None };
    let tolerance =
        stated.unwrap_or_else(|| Tolerance::default_for(is_coarse(graph, config.compile.precision)));
    let inputs: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let outputs: Vec<String> = session.outputs().into_iter().map(|p| p.name).collect();
    let mut difference = Difference::default();
    for set in sets {
        let named: Vec<(&str, Value)> = inputs.iter().map(String::as_str).zip(set.inputs).collect();
        let found = session.run(&named)?;
        for ((f, e), name) in found.iter().zip(&set.outputs).zip(&outputs) {
            difference.merge(compare(f, e, tolerance), || format!("output \"{name}\""));
        }
    }
    match &difference.problem {
        Some(problem) => {
            Err(Failure::internal(format!("\"{}\" gives wrong results: {problem}", artifact.display())))
        }
        None => Ok(Proof { sets: known, difference }),
    }
}
