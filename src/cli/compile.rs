//! `nnc compile`: writes an artifact.

use super::config::Config;
use super::failure::Failure;
use super::memory::{arena, hold_to};
use super::options::CompileOptions;
use super::out::{bytes, place_for, replaceable, say, seconds, spinner, write_file};
use super::page;
use super::proof::{Proof, prove};
use super::units;
use clap::Args;
use nnc_codegen::{Machine, cpu, gpu};
use nnc_frontend::model::Model;
use nnc_ir::Graph;
use nnc_passes::Report;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `nnc compile`.
#[derive(Args, Debug)]
pub(crate) struct CompileArgs {
    /// The model: .onnx, or the text form .nnir.
    model: PathBuf,
    /// Where to write; by default the model's name with .nnc in place of its ending.
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The type of an input, in place of the file's: name:f32[1, 3, 224, 224].
    #[arg(long = "input", value_name = "NAME:TYPE")]
    inputs: Vec<String>,
    /// What to write.
    #[arg(long, default_value = "nnc", value_parser = ["nnc", "nnir", "dot", "tiles", "clif", "asm"])]
    emit: String,
    /// Refuse a model whose weights and activations take more bytes (512MB, 2GB), at the sizes that --dim
    /// fixes and the greatest that it allows.
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    max_memory: Option<u64>,
    /// Run the artifact and compare: with the expected outputs of the test_data_set_N beside the model,
    /// else with the interpreter on random inputs.
    #[arg(long)]
    verify: bool,
    /// Write a page about what was made: kernels, their costs, memory over time.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Compiles for all targets.
pub(crate) fn run(args: &CompileArgs) -> Result<ExitCode, Failure> {
    let config = Config::new(&args.compile, &args.inputs)?;
    Machine::parse_all(&config.compile.target).map_err(|e| {
        Failure::user(e.to_string()).help(format!("targets are {}", Machine::names().join(", ")))
    })?;
    let about_artifacts = args.verify || args.report.is_some() || args.max_memory.is_some();
    if about_artifacts && args.emit != "nnc" {
        let what = format!("--verify, --report and --max-memory need an artifact, not --emit {}", args.emit);
        return Err(Failure::user(what));
    }
    let begin = Instant::now();
    let bar = spinner("reading the model");
    let is_text = args.model.extension().is_some_and(|e| e == "nnir");
    let model = if is_text { None } else { Some(nnc::model::read(&args.model)?) };
    let graph = match &model {
        Some(model) => nnc::model::graph(&args.model, model, &config.import)?,
        None => nnc::model::import(&args.model, &config.import)?,
    };
    let output = args.output.clone().unwrap_or_else(|| args.model.with_extension(&args.emit));
    replaceable(&output)?;
    if args.emit == "nnc" {
        bar.set_message("compiling");
        let mut summary = compile(args, &config, &graph, &output)?;
        if args.verify {
            bar.set_message("verifying");
            summary.proof = Some(prove(&args.model, &graph, &output, &config)?);
        }
        bar.finish_and_clear();
        report(args, model.as_ref(), &graph, &summary, begin);
    } else {
        emit(args, &config, &graph, &output)?;
        bar.finish_and_clear();
        say!("  wrote      {}", output.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What was made.
struct Summary {
    output: PathBuf,
    kernels: Vec<(String, usize)>,
    n_kernels: usize,
    n_launches: usize,
    weights: u64,
    code: u64,
    peak: u64,
    target: String,
    precision: String,
    /// Where the page about it is.
    page: Option<PathBuf>,
    /// What came out when it was run.
    proof: Option<Proof>,
}

fn compile(args: &CompileArgs, config: &Config, graph: &Graph, output: &Path) -> Result<Summary, Failure> {
    let mut options = config.compile.clone();
    options.origin = (nnc::model::hash(&args.model)?, config.hash());
    let mut passes = Report { fuel: options.fuel, ..Report::default() };
    let optimized = nnc::optimize(graph, &options, &mut passes)?;
    let lowered = nnc::lower_all(&optimized, &options)?;
    if let Some(limit) = args.max_memory {
        lowered.iter().try_for_each(|l| hold_to(limit, &l.program, &config.greatest_sizes()))?;
    }
    if let Some(path) = &args.report {
        // The artifact should not be there without its page.
        place_for(path)?;
    }
    let compiled = nnc::write(&lowered, &options, output)?;
    let sizes = config.sizes();
    // What is said of kernels and memory is said of the first target's.
    let program = &lowered[0].program;
    if let Some(path) = &args.report {
        let about =
            page::About { model: &args.model, compiled: &compiled, imported: graph, optimized: &optimized };
        write_file(path, page::render(&about, program, &sizes).as_bytes())?;
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    program.kernels.iter().for_each(|k| *kinds.entry(&k.name).or_default() += 1);
    let mut kernels: Vec<(String, usize)> = kinds.into_iter().map(|(k, n)| (k.to_owned(), n)).collect();
    kernels.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    Ok(Summary {
        output: output.to_owned(),
        kernels,
        n_kernels: compiled.n_kernels,
        n_launches: compiled.n_steps,
        weights: compiled.weights,
        code: compiled.code,
        peak: arena(&program.plan, &sizes).1,
        target: compiled.target,
        precision: options.precision.to_string(),
        page: args.report.clone(),
        proof: None,
    })
}

fn report(args: &CompileArgs, model: Option<&Model>, graph: &Graph, s: &Summary, begin: Instant) {
    let time = begin.elapsed().as_secs_f64();
    let (n_nodes, operators, opset) = model.map_or_else(
        || (nodes(graph), 0, None),
        |m| {
            let ops: BTreeSet<(&str, &str)> =
                m.graph.nodes.iter().map(|n| (n.domain.as_str(), n.op.as_str())).collect();
            (m.graph.nodes.len(), ops.len(), m.opsets.get("").copied())
        },
    );
    if args.json {
        let line = json!({
            "model": args.model.display().to_string(), "artifact": s.output.display().to_string(),
            "nodes": n_nodes, "operators": operators, "opset": opset, "kernels": s.n_kernels,
            "steps": s.n_launches, "weights_bytes": s.weights, "code_bytes": s.code,
            "peak_bytes": s.peak, "precision": s.precision, "target": s.target, "seconds": time,
            "report": s.page.as_ref().map(|p| p.display().to_string()),
            "verified": s.proof.as_ref().map(Proof::to_json),
        });
        say!("{line}");
        return;
    }
    if model.is_some() {
        let opset = opset.map_or(String::new(), |v| format!(", opset {v}"));
        say!("  imported   {n_nodes} nodes, {operators} operators{opset}");
    }
    let most: Vec<String> = s.kernels.iter().take(4).map(|(k, n)| format!("{k} ×{n}")).collect();
    let more = if s.kernels.len() > 4 { ", …" } else { "" };
    let list = if most.is_empty() { String::new() } else { format!(" ({}{more})", most.join(", ")) };
    say!("  optimized  {n_nodes} → {} kernels{list}", s.n_kernels);
    say!(
        "  wrote      {}   {} weights, {} code, peak memory {}, {}, {}, {}",
        s.output.display(),
        bytes(s.weights),
        bytes(s.code),
        bytes(s.peak),
        s.precision,
        s.target,
        seconds(time)
    );
    if let Some(page) = &s.page {
        say!("  report     {}", page.display());
    }
    if let Some(proof) = &s.proof {
        say!("  verified   {proof}");
    }
}

/// Number of nodes of a graph that are no constants.
pub(crate) fn nodes(graph: &Graph) -> usize {
    let mut n = 0;
    graph.visit_nodes(graph.body(), &mut |node| n += usize::from(!graph.node(node).is("constant")));
    n
}

/// Writes something else than an artifact.
fn emit(args: &CompileArgs, config: &Config, graph: &Graph, output: &Path) -> Result<(), Failure> {
    let mut report = Report { fuel: config.compile.fuel, ..Report::default() };
    let graph = nnc::optimize(graph, &config.compile, &mut report)?;
    let text = match args.emit.as_str() {
        "nnir" => {
            let (text, data) = nnc_ir::text::print(&graph);
            if !data.is_empty() {
                write_file(&nnc::model::data_file(output), &data)?;
            }
            text
        }
        "dot" => nnc_ir::analysis::dot(&graph),
        stage => kernel_text(&graph, stage, &config.compile)?,
    };
    write_file(output, text.as_bytes())
}

/// All kernels of a graph as tile programs, Cranelift code, assembly or PTX.
pub(crate) fn kernel_text(graph: &Graph, stage: &str, options: &nnc::Options) -> Result<String, Failure> {
    let machines = Machine::parse_all(&options.target).map_err(|e| Failure::user(e.to_string()))?;
    let [machine] = machines[..] else {
        let what = "kernels are shown for one target at a time";
        return Err(Failure::user(what).help("give --target one name"));
    };
    let program = nnc::lower(graph, options)?;
    let target = match machine {
        Machine::Cuda(sm) if stage != "tiles" => {
            let module = gpu::compile(&program.kernels, sm.unwrap_or(gpu::Sm::Sm75), options.precision);
            return module.map(|m| m.text).map_err(|e| Failure::internal(e.to_string()));
        }
        Machine::Cuda(_) => None,
        Machine::Cpu(target) => Some(target),
    };
    let text = |kernel| match (stage, &target) {
        ("clif", Some(target)) => cpu::clif_text(kernel, target),
        ("asm", Some(target)) => cpu::asm_text(kernel, target),
        _ => Ok(kernel.to_string()),
    };
    let texts: Result<Vec<String>, _> = program.kernels.iter().map(text).collect();
    texts.map(|t| t.join("\n")).map_err(|e| Failure::internal(e.to_string()))
}
