//! `nnc check`: everything that stands in a model's way, in one list.

use super::config::Config;
use super::failure::{Failure, problem_lines};
use super::memory::{arena, weights};
use super::options::CompileOptions;
use super::out::{bytes, say, spinner};
use clap::Args;
use nnc::model::ModelError;
use nnc_frontend::Problem;
use nnc_ir::{Graph, ValueId};
use nnc_passes::Report;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `nnc check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The model: .onnx or .nnir.
    model: PathBuf,
    /// The type of an input, in place of the file's: name:f32[1, 3, 224, 224].
    #[arg(long = "input", value_name = "NAME:TYPE")]
    inputs: Vec<String>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// What is known of a model that can be compiled.
struct Facts {
    inputs: Vec<(String, String)>,
    outputs: Vec<(String, String)>,
    /// Sizes that are not fixed.
    dynamic: Vec<String>,
    arena: u64,
    weights: u64,
    kernels: usize,
}

/// Checks a model; the exit code is 2 where it cannot be compiled.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let config = Config::new(&args.compile, &args.inputs)?;
    nnc_codegen::Machine::parse_all(&config.compile.target).map_err(|e| Failure::user(e.to_string()))?;
    let bar = spinner("checking");
    let outcome = match nnc::model::import(&args.model, &config.import) {
        Ok(graph) => facts(&graph, &config)?,
        Err(ModelError::Refused { problems, .. }) => Err(problems),
        Err(e) => return Err(e.into()),
    };
    bar.finish_and_clear();
    let code = if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    match (args.json, outcome) {
        (true, outcome) => say!("{}", to_json(args, &outcome)),
        (false, Ok(facts)) => print(&facts, &config),
        (false, Err(problems)) => {
            let causes = problem_lines(&problems);
            let headline = format!("\"{}\" cannot be compiled", args.model.display());
            return Err(Failure { causes, ..Failure::user(headline) });
        }
    }
    Ok(code)
}

/// Goes as far as a plan; a node that gets none is a problem like those of import.
fn facts(graph: &Graph, config: &Config) -> Result<Result<Facts, Vec<Problem>>, Failure> {
    let mut report = Report { fuel: config.compile.fuel, ..Report::default() };
    let optimized = nnc::optimize(graph, &config.compile, &mut report)?;
    let program = match nnc_passes::lower(&optimized, &config.compile.passes()) {
        Ok(program) => program,
        Err(e) => {
            let reason = format!("there is no code for it: {}", e.message);
            let (domain, op) = (String::new(), String::new());
            return Ok(Err(vec![Problem { node: e.node, domain, op, version: None, reason }]));
        }
    };
    let body = graph.block(graph.body());
    let mut dynamic = BTreeSet::new();
    body.params.iter().for_each(|v| {
        graph.ty(*v).visit_dims(&mut |d| d.visit_syms(&mut |s| dynamic.extend([s.to_string()])));
    });
    let inputs = body.params.iter().map(|v| (name(graph, *v), graph.ty(*v).to_string())).collect();
    let types = body.results.iter().map(|v| graph.ty(*v).to_string());
    Ok(Ok(Facts {
        inputs,
        outputs: graph.output_names.iter().cloned().zip(types).collect(),
        dynamic: dynamic.into_iter().collect(),
        arena: arena(&program.plan, &config.sizes()).1,
        weights: weights(&program),
        kernels: program.kernels.len(),
    }))
}

fn name(graph: &Graph, v: ValueId) -> String {
    graph.value(v).name.clone().unwrap_or_default()
}

fn print(facts: &Facts, config: &Config) {
    say!("every operator is supported");
    for (what, ports) in [("input", &facts.inputs), ("output", &facts.outputs)] {
        ports.iter().for_each(|(name, ty)| say!("  {what:<8} {name}: {ty}"));
    }
    let free = if facts.dynamic.is_empty() { "none" } else { &facts.dynamic.join(", ") };
    say!("  dynamic  {free}");
    let note =
        if facts.dynamic.is_empty() { "" } else { " (dynamic sizes taken as 1 unless given by --dim)" };
    say!("  memory   {} weights, {} activations{note}", bytes(facts.weights), bytes(facts.arena));
    say!("  kernels  {}, {}, {}", facts.kernels, config.compile.precision, config.compile.target);
}

fn to_json(args: &CheckArgs, outcome: &Result<Facts, Vec<Problem>>) -> serde_json::Value {
    let port = |(name, ty): &(String, String)| json!({ "name": name, "type": ty });
    match outcome {
        Ok(f) => json!({
            "model": args.model.display().to_string(), "supported": true, "problems": [],
            "inputs": f.inputs.iter().map(port).collect::<Vec<_>>(),
            "outputs": f.outputs.iter().map(port).collect::<Vec<_>>(),
            "dynamic": f.dynamic, "precision": args.compile.precision.name(), "weights_bytes": f.weights,
            "activation_bytes": f.arena, "kernels": f.kernels,
        }),
        Err(problems) => {
            let problem = |p: &Problem| json!({ "node": p.node, "domain": p.domain, "operator": p.op, "version": p.version, "reason": p.reason });
            json!({
                "model": args.model.display().to_string(), "supported": false,
                "problems": problems.iter().map(problem).collect::<Vec<_>>(),
            })
        }
    }
}
