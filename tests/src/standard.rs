//! A case in the standard's layout, `model.onnx` beside `test_data_set_N`, run by the interpreter of PTX and
//! compared as `nnc verify` compares.

use crate::interpreted::{self, Settings};
use nnc::model::ModelError;
use nnc::{CompileError, Options};
use nnc_frontend::ImportOptions;
use nnc_ir::{DType, Graph, Interpreter, Value};
use nnc_runtime::Port;
use nnc_tensor::compare::{Difference, Tolerance, compare};
use nnc_tensor::file::{ProtoKind, read_value_proto};
use std::path::{Path, PathBuf};

/// Why a case does not pass.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// nnc does not take the model, and says so.
    #[error("{0}")]
    Unsupported(String),
    /// It did not come to an end.
    #[error("{0}")]
    Failed(String),
    /// Its results are not those that were expected.
    #[error("{0}")]
    Wrong(String),
}

/// What a case took.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// How far its results are off.
    pub difference: Difference,
    /// Instructions, counted for each thread that ran them.
    pub instructions: u64,
}

/// A generation of devices whose kernels differ from another's.
#[derive(Clone, Copy, Debug)]
pub struct Generation {
    /// The target.
    pub target: &'static str,
    /// Its compute capability.
    pub capability: (u32, u32),
}

impl Generation {
    /// The oldest one.
    pub const SM_75: Generation = Generation { target: "cuda:sm_75", capability: (7, 5) };
    /// The one whose text most devices take.
    pub const SM_80: Generation = Generation { target: "cuda:sm_80", capability: (8, 0) };

    /// Hopper's own.
    pub const SM_90A: Generation = Generation { target: "cuda:sm_90a", capability: (9, 0) };
    /// All of them.
    pub const ALL: [Generation; 3] = [Generation::SM_75, Generation::SM_80, Generation::SM_90A];

    /// The one with a name, as `sm_80`.
    pub fn from_name(name: &str) -> Option<Generation> {
        Generation::ALL.into_iter().find(|g| g.target.strip_prefix("cuda:") == Some(name))
    }

    /// What is compiled for it.
    pub fn options(self) -> Options {
        Options { target: self.target.into(), ..Options::default() }
    }

    /// How it is interpreted.
    pub fn settings(self) -> Settings {
        Settings { capability: self.capability, ..Settings::default() }
    }
}

/// Runs a case on all of its data sets by the code of a generation.
pub fn run(case: &Path, generation: Generation) -> Result<Passed, CaseError> {
    let graph =
        nnc::model::import(&case.join("model.onnx"), &ImportOptions::default()).map_err(|e| match e {
            ModelError::Refused { .. } => CaseError::Unsupported(e.to_string()),
            e => failed(e),
        })?;
    let tolerance = stated(case)?.unwrap_or_else(|| Tolerance::default_for(is_coarse(&graph)));
    let folder = tempfile::tempdir().map_err(failed)?;
    let path = folder.path().join("model.nnc");
    nnc::compile(&graph, &generation.options(), &path).map_err(|e| match e {
        CompileError::Lower(e) => CaseError::Unsupported(e.to_string()),
        e => failed(e),
    })?;
    let (mut session, device) = interpreted::open(&path, generation.settings()).map_err(failed)?;
    let (inputs, outputs) = (session.inputs(), session.outputs());
    let mut difference = Difference::default();
    for set in data_sets(case) {
        let given = values(&set, "input", &inputs)?;
        let expected = match set.join("output_0.pb").exists() {
            true => values(&set, "output", &outputs)?,
            false => Interpreter::new(&graph).run(&given).map_err(failed)?,
        };
        let named: Vec<(&str, Value)> = inputs.iter().map(|p| p.name.as_str()).zip(given).collect();
        let found = session.run(&named).map_err(failed)?;
        if found.len() != expected.len() {
            return Err(CaseError::Wrong(format!("{} outputs", found.len())));
        }
        for ((f, e), port) in found.iter().zip(&expected).zip(&outputs) {
            difference.merge(compare(f, e, tolerance), || format!("output \"{}\"", port.name));
        }
    }
    match difference.problem.take() {
        Some(problem) => Err(CaseError::Wrong(problem)),
        None => Ok(Passed { difference, instructions: device.instructions() }),
    }
}

fn failed(e: impl std::fmt::Display) -> CaseError {
    CaseError::Failed(e.to_string())
}

/// The data sets of a case in the order of their numbers.
fn data_sets(case: &Path) -> impl Iterator<Item = PathBuf> {
    (0..).map(|i| case.join(format!("test_data_set_{i}"))).take_while(|p| p.is_dir())
}

fn values(set: &Path, what: &str, ports: &[Port]) -> Result<Vec<Value>, CaseError> {
    let read = |(i, port): (usize, &Port)| {
        let bytes = std::fs::read(set.join(format!("{what}_{i}.pb"))).map_err(failed)?;
        let container = port.container.as_deref();
        let value = read_value_proto(&bytes, ProtoKind::of_container(container)).map_err(failed)?;
        // Many programs write a sequence of maps as a table; as a sequence that has no elements.
        let maps = container.is_some_and(|c| c.starts_with("seq(map"));
        if maps && value == Value::Sequence(Vec::new()) {
            return Ok(read_value_proto(&bytes, ProtoKind::Tensor).unwrap_or(value));
        }
        Ok(value)
    };
    ports.iter().enumerate().map(read).collect()
}

/// The tolerance that a case states.
fn stated(case: &Path) -> Result<Option<Tolerance>, CaseError> {
    let Ok(text) = std::fs::read_to_string(case.join("tolerance.json")) else { return Ok(None) };
    let json: serde_json::Value = serde_json::from_str(&text).map_err(failed)?;
    let number = |key: &str| json[key].as_f64().ok_or_else(|| failed(format!("no number \"{key}\"")));
    Ok(Some(Tolerance::Given { rtol: number("rtol")?, atol: number("atol")? }))
}

/// The graph computes with types of few bits.
fn is_coarse(graph: &Graph) -> bool {
    let few_bits = |d: DType| (d.is_float() && d.bits() <= 16) || (d.is_int() && d.bits() <= 8);
    let mut coarse = false;
    graph.visit_nodes(graph.body(), &mut |n| {
        let node = graph.node(n);
        coarse |= node.op.name.contains("quantize");
        coarse |= node.outputs.iter().any(|v| graph.ty(*v).as_tensor().is_some_and(|t| few_bits(t.dtype)));
    });
    coarse
}
