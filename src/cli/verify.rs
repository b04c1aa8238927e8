//! `nnc verify`: runs models against expected outputs.

use super::case::{DataSet, data_folders, model_of, read_data, stated_tolerance};
use super::config::Config;
use super::engine::{self, EngineError, executor};
use super::failure::Failure;
use super::guard;
use super::inputs::random_inputs;
use super::layers::first_deviation;
use super::options::CompileOptions;
use super::out::say;
use super::reference::{self, Engine, Model};
use super::roundtrip::loss;
use clap::Args;
use nnc::model::ModelError;
use nnc::{CompileError, Precision};
use nnc_ir::{DType, Graph};
use nnc_runtime::{Executor, Isa, Session, Value};
use nnc_tensor::compare::{Difference, Tolerance};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// What messages about bugs of nnc begin with.
const INTERNAL: &str = "internal: ";

/// Options of `nnc verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Folders with model.onnx and test_data_set_N, or models.
    #[arg(required = true, value_name = "MODEL|CASE")]
    cases: Vec<PathBuf>,
    /// Print one JSON object a line for each case.
    #[arg(long)]
    json: bool,
    /// Compare with this engine instead of the case's expected outputs.
    #[arg(long, value_name = "ENGINE")]
    reference: Option<Engine>,
    /// Relative tolerance, in place of the case's.
    #[arg(long)]
    rtol: Option<f64>,
    /// Absolute tolerance, in place of the case's.
    #[arg(long)]
    atol: Option<f64>,
    /// Use these instruction sets, one after the other: portable, avx2, avx512, avx512vnni, neon, neondot.
    #[arg(long, value_delimiter = ',', value_parser = parse_isa)]
    isa: Vec<Isa>,
    /// Number of threads.
    #[arg(long)]
    threads: Option<usize>,
    /// Name the first node that deviates from the interpreter.
    #[arg(long)]
    layers: bool,
    /// Send the graph through its text form and another artifact too, whose results must be the same bits.
    #[arg(long)]
    roundtrip: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

fn parse_isa(text: &str) -> Result<Isa, String> {
    let known = || Isa::ALL.map(Isa::name).join(", ");
    let isa = Isa::from_name(text).ok_or_else(|| format!("expected one of {}", known()))?;
    match Isa::available().contains(&isa) {
        true => Ok(isa),
        false => Err("this CPU does not have it".into()),
    }
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    Pass,
    Fail,
    Unsupported,
    Error,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Unsupported => "unsupported",
            Status::Error => "error",
        }
    }
}

/// The outcome of one case on one instruction set.
struct Verdict {
    status: Status,
    message: String,
    difference: Difference,
    /// How far the case's expected outputs are from the result in double precision, where that was asked for.
    expected: Option<f64>,
    kernels: usize,
    routines: Vec<String>,
    /// The first node that deviates, where that was asked for.
    layer: Option<String>,
}

/// Why a case came to no comparison.
struct Stop {
    status: Status,
    message: String,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        let internal = if failure.internal { INTERNAL } else { "" };
        Stop { status: Status::Error, message: format!("{internal}{}", failure.one_line()) }
    }
}

impl From<Stop> for Verdict {
    fn from(Stop { status, message }: Stop) -> Verdict {
        let difference = Difference::default();
        Verdict { status, message, difference, expected: None, kernels: 0, routines: Vec::new(), layer: None }
    }
}

impl Verdict {
    fn exit_code(&self) -> u8 {
        match self.status {
            Status::Pass => 0,
            Status::Fail => 1,
            Status::Error if self.message.starts_with(INTERNAL) => 1,
            Status::Unsupported | Status::Error => 2,
        }
    }
}

/// Runs all cases. Wrong results and panics are nnc's fault, all else that stops a case is not.
pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let executor = executor(args.threads)?;
    let forced: Vec<Option<Isa>> =
        if args.isa.is_empty() { vec![None] } else { args.isa.iter().copied().map(Some).collect() };
    let (mut passed, mut total, mut code) = (0usize, 0usize, 0u8);
    for case in &args.cases {
        for isa in &forced {
            let verdict = guard::catch(|| verify(case, args, *isa, &executor))
                .unwrap_or_else(|message| Err(Failure::internal(message).into()))
                .unwrap_or_else(Verdict::from);
            total += 1;
            passed += usize::from(verdict.status == Status::Pass);
            code = worse(code, verdict.exit_code());
            print(case, isa.unwrap_or_else(Isa::detect_best), &verdict, args);
        }
    }
    if !args.json && total > 1 {
        say!("{passed} of {total} pass");
    }
    Ok(ExitCode::from(code))
}

/// The exit code of two cases together: a bug counts most.
fn worse(a: u8, b: u8) -> u8 {
    if a == 1 || b == 1 { 1 } else { a.max(b) }
}

fn print(case: &Path, isa: Isa, v: &Verdict, args: &VerifyArgs) {
    let (json, layers) = (args.json, args.layers);
    let number = |x: f64| if x.is_finite() { json!(x) } else { json!(null) };
    if json {
        let mut line = json!({
            "case": case.display().to_string(),
            "status": v.status.name(),
            "message": v.message,
            "max_abs": number(v.difference.max_abs),
            "rel_l2": number(v.difference.rel_l2),
            "kernels": v.kernels,
            "routines": v.routines,
            "isa": isa.name(),
        });
        if let Some(line) = line.as_object_mut() {
            line.extend(layers.then(|| ("layer".into(), json!(v.layer))));
            line.extend(v.expected.map(|d| ("expected_rel_l2".into(), number(d))));
        }
        say!("{line}");
        return;
    }
    let (status, case, d) = (v.status.name(), case.display(), &v.difference);
    match v.status {
        Status::Pass => {
            let (abs, l2) = (d.max_abs, d.rel_l2);
            say!(
                "{status:<11} {case}  max abs {abs:.1e}, relative L2 {l2:.1e}, {} kernels, {}",
                v.kernels,
                isa.name()
            );
        }
        _ => say!("{status:<11} {case}  {}", v.message),
    }
    if let Some(distance) = v.expected {
        let found = v.difference.rel_l2;
        say!("  from the result in f64: {found:.1e}; the expected outputs: {distance:.1e}");
    }
    match &v.layer {
        Some(layer) => say!("  first to deviate: {layer}"),
        None if layers && matches!(v.status, Status::Pass | Status::Fail) => {
            say!("  no node deviates by itself")
        }
        None => {}
    }
}

fn verify(
    case: &Path,
    args: &VerifyArgs,
    isa: Option<Isa>,
    executor: &Arc<dyn Executor>,
) -> Result<Verdict, Stop> {
    let mut config = Config::new(&args.compile, &[])?;
    if let Some(isa) = isa {
        config.compile.target = nnc::target_for(isa).into();
    }
    let graph = nnc::model::import(&model_of(case), &config.import).map_err(refused)?;
    let tolerance = tolerance(case, args, &graph, config.compile.precision)?;
    let mut session = engine::build(&graph, &config.compile, isa, executor).map_err(not_built)?;
    let sets = data_sets(case, &session, &config)?;
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let outputs: Vec<String> = session.outputs().into_iter().map(|p| p.name).collect();
    let model = Model { path: &model_of(case), graph: &graph, inputs: &names, outputs: &outputs };
    let (mut difference, mut distance) = (Difference::default(), None);
    for set in &sets {
        let expected = reference::outputs(args.reference, &model, set)?;
        let named: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(set.inputs.iter().cloned()).collect();
        let found = session.run(&named).map_err(Failure::from)?;
        if found.len() != expected.len() {
            let message = format!("expected {} outputs, found {}", expected.len(), found.len());
            return Err(Stop { status: Status::Fail, message });
        }
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            let (one, stated) = reference::judge(args.reference, (f, e, set.outputs.get(i)), tolerance);
            distance = stated.into_iter().chain(distance).reduce(f64::max);
            difference.merge(one, || format!("output \"{}\"", outputs[i]));
        }
    }
    let mut message = difference.problem.clone().unwrap_or_default();
    if args.roundtrip && message.is_empty() {
        let how = (&config.compile, isa);
        message = loss(&graph, &mut session, &sets, how, executor)?.unwrap_or_default();
    }
    let status = if message.is_empty() { Status::Pass } else { Status::Fail };
    let (kernels, routines) = (session.artifact().plan().kernels.len(), engine::routines(&session));
    let layer = match sets.first().filter(|_| args.layers) {
        Some(set) => first_deviation(&graph, &set.inputs, &config.compile, isa, executor, tolerance)?,
        None => None,
    };
    Ok(Verdict { status, message, difference, expected: distance, kernels, routines, layer })
}

fn refused(e: ModelError) -> Stop {
    let status = match &e {
        ModelError::Refused { .. } => Status::Unsupported,
        _ => Status::Error,
    };
    let failure = Failure::from(e);
    let message = if status == Status::Unsupported { failure.causes.join("; ") } else { failure.one_line() };
    Stop { status, message }
}

fn not_built(e: EngineError) -> Stop {
    match e {
        EngineError::Compile(CompileError::Lower(e)) => {
            Stop { status: Status::Unsupported, message: e.to_string() }
        }
        e => Failure::from(e).into(),
    }
}

fn tolerance(
    case: &Path,
    args: &VerifyArgs,
    graph: &Graph,
    precision: Precision,
) -> Result<Tolerance, Failure> {
    if args.rtol.is_some() || args.atol.is_some() {
        return Ok(Tolerance::Given { rtol: args.rtol.unwrap_or(0.0), atol: args.atol.unwrap_or(0.0) });
    }
    Ok(stated_tolerance(case)?.unwrap_or_else(|| Tolerance::default_for(is_coarse(graph, precision))))
}

/// The graph computes with types of few bits, or may by its precision class.
pub(crate) fn is_coarse(graph: &Graph, precision: Precision) -> bool {
    let mut coarse = precision.is_coarse();
    graph.visit_nodes(graph.body(), &mut |n| {
        let node = graph.node(n);
        let few_bits = |d: DType| (d.is_float() && d.bits() <= 16) || (d.is_int() && d.bits() <= 8);
        coarse |= node.op.name.contains("quantize");
        coarse |= node.outputs.iter().any(|v| graph.ty(*v).as_tensor().is_some_and(|t| few_bits(t.dtype)));
    });
    coarse
}

/// The folder's data, or one set of random inputs where there are none.
fn data_sets(case: &Path, session: &Session, config: &Config) -> Result<Vec<DataSet>, Failure> {
    let folders = data_folders(case);
    if folders.is_empty() {
        let inputs = random_inputs(&session.inputs(), &config.sizes(), 0)?;
        return Ok(vec![DataSet { inputs, outputs: Vec::new() }]);
    }
    folders.iter().map(|f| read_data(f, session)).collect()
}
