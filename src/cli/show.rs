//! `nnc show`: what the compiler made of a model.

use super::compile::kernel_text;
use super::config::Config;
use super::costs::{Cost, costs, total};
use super::engine::is_artifact;
use super::failure::Failure;
use super::inputs::Sizes;
use super::memory::{Live, arena, at_sizes};
use super::options::CompileOptions;
use super::out::{bytes, operations, print_table, say, seconds, spinner, table};
use super::steps::{flatten, print_plan};
use clap::Args;
use nnc_ir::Graph;
use nnc_passes::{PIPELINE, Report};
use nnc_runtime::Artifact;
use nnc_runtime::tensor::plan::{DimId, Kernel, Plan};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Widest bar of the memory's picture.
const BAR: u64 = 40;

/// Options of `nnc show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The model: .onnx or .nnir; .nnc for what concerns the plan.
    model: PathBuf,
    /// Print one stage: the graph as imported, the graph after all passes, tile programs, the plan, or
    /// assembly.
    #[arg(long, value_parser = ["import", "graph", "tiles", "plan", "code"])]
    stage: Option<String>,
    /// Say where a pass was applied, and what stood in its way elsewhere.
    #[arg(long, value_name = "PASS")]
    why: Option<String>,
    /// Show the memory over time.
    #[arg(long)]
    memory: bool,
    /// Show arithmetic (a multiply-add is two), bytes and estimated time of each step.
    #[arg(long)]
    costs: bool,
    /// Print the graph for Graphviz (of --stage import or graph).
    #[arg(long)]
    dot: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Shows what was asked for.
pub(crate) fn run(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let config = Config::new(&args.compile, &[])?;
    if is_artifact(&args.model) {
        let has_graph = args.dot || args.why.is_some() || args.stage.as_ref().is_some_and(|s| s != "plan");
        if has_graph {
            let what = format!("\"{}\" is an artifact, which holds no graph", args.model.display());
            return Err(Failure::user(what).help("give the model that it was compiled from"));
        }
        let artifact = Artifact::open(&args.model)?;
        let (plan, precision) = (artifact.plan(), artifact.info().precision.as_str());
        show_plan(args, &Shown { plan, kernels: None, sizes: &config.sizes(), precision });
        return Ok(ExitCode::SUCCESS);
    }
    let bar = spinner("compiling");
    let imported = nnc::model::import(&args.model, &config.import)?;
    if args.stage.as_deref() == Some("import") {
        bar.finish_and_clear();
        print_graph(&imported, args.dot);
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report { fuel: config.compile.fuel, ..Report::default() };
    let graph = nnc::optimize(&imported, &config.compile, &mut report)?;
    bar.finish_and_clear();
    match (&args.why, args.stage.as_deref()) {
        (Some(pass), _) => why(pass, &report, args.json)?,
        (None, Some("graph")) => print_graph(&graph, args.dot),
        (None, None) if args.dot => print_graph(&graph, true),
        (None, Some("tiles")) => say!("{}", kernel_text(&graph, "tiles", &config.compile)?),
        (None, Some("code")) => say!("{}", kernel_text(&graph, "asm", &config.compile)?),
        (None, _) => {
            let program = nnc::lower(&graph, &config.compile)?;
            // Places of code are the artifact's affair.
            let kernel = |k: &nnc_ir::tile::Kernel| Kernel {
                name: k.name.clone(),
                offset: 0,
                scratch: DimId(0),
                writes: k.written().collect(),
            };
            let kernels = program.kernels.iter().map(kernel).collect();
            let plan = Plan { kernels, ..program.plan };
            let (kernels, precision) = (Some(program.kernels.as_slice()), config.compile.precision.name());
            show_plan(args, &Shown { plan: &plan, kernels, sizes: &config.sizes(), precision });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_graph(graph: &Graph, dot: bool) {
    let text = if dot { nnc_ir::analysis::dot(graph) } else { nnc_ir::text::print(graph).0 };
    say!("{}", text.trim_end());
}

/// Lists the places where a pass or rule was applied or blocked.
fn why(pass: &str, report: &Report, json: bool) -> Result<(), Failure> {
    let mut known: Vec<&str> =
        PIPELINE.iter().map(|p| p.name).chain(report.events.iter().map(|e| e.pass)).collect();
    known.sort_unstable();
    known.dedup();
    if !known.contains(&pass) {
        return Err(Failure::user(format!("there is no pass \"{pass}\""))
            .help(format!("passes are {}", known.join(", "))));
    }
    let events: Vec<_> = report.events.iter().filter(|e| e.pass == pass).collect();
    for e in &events {
        match (json, e.blocked) {
            (true, blocked) => say!("{}", json!({ "pass": e.pass, "node": e.node, "blocked": blocked })),
            (false, None) => say!("  applied  \"{}\"", e.node),
            (false, Some(why)) => say!("  blocked  \"{}\": {why}", e.node),
        }
    }
    if events.is_empty() && !json {
        let doc = PIPELINE.iter().find(|p| p.name == pass).map_or("", |p| p.doc);
        say!("  nothing to do for {pass}: {doc}");
    }
    Ok(())
}

/// A plan with what is known of its kernels.
struct Shown<'a> {
    plan: &'a Plan,
    /// Their tile programs.
    kernels: Option<&'a [nnc_ir::tile::Kernel]>,
    sizes: &'a Sizes,
    /// Its class.
    precision: &'a str,
}

fn show_plan(args: &ShowArgs, shown: &Shown<'_>) {
    if args.stage.as_deref() == Some("plan") {
        print_plan(shown.plan);
    } else if args.memory {
        memory(shown.plan, shown.sizes, args.json);
    } else {
        steps(shown, args.costs, args.json);
    }
}

/// A row a step: what it runs, for which node, and what it costs.
fn steps(shown: &Shown<'_>, with_costs: bool, json: bool) {
    let Shown { plan, kernels, sizes, precision } = *shown;
    let all = costs(plan, kernels, sizes);
    if json {
        for c in &all {
            let (row, output) = (&c.row, c.row.output(plan));
            let line = json!({
                "step": row.step, "kernel": row.name, "node": row.node, "output": output, "grid": c.grid,
                "flop": c.flop, "bytes": c.bytes, "estimate": c.seconds,
            });
            say!("{line}");
        }
        return;
    }
    let columns: &[&str] = if with_costs {
        &["step", "kernel", "output", "grid", "FLOP", "bytes", "estimate", "node"]
    } else {
        &["step", "kernel", "output", "node"]
    };
    let mut table = table(columns);
    for c in &all {
        let row = &c.row;
        let mut cells = vec![row.step.to_string(), format!("{}{}", "  ".repeat(row.depth), row.name)];
        cells.push(row.output(plan));
        if with_costs {
            let flop = c.flop.map_or("–".to_owned(), operations);
            cells.extend([c.grid.to_string(), flop, bytes(c.bytes), seconds(c.seconds)]);
        }
        cells.push(row.node.clone());
        table.add_row(cells);
    }
    print_table(&table);
    let costs = if with_costs { totals(&all) } else { String::new() };
    let (_, peak) = arena(plan, sizes);
    let n_kernels = plan.kernels.len();
    say!("{} steps, {n_kernels} kernels, {precision}, activations {}{costs}", all.len(), bytes(peak));
    let at = at_sizes(plan, sizes);
    if !at.is_empty() {
        say!("at {at}; --dim gives others");
    }
}

/// `, 5.1 MFLOP, 1.8 MB read and written, 112 µs on one core by the estimates`.
fn totals(all: &[Cost]) -> String {
    let (flop, moved, time) = total(all);
    let flop = flop.map_or(String::new(), |n| format!(", {}", operations(n)));
    format!("{flop}, {} read and written, {} on one core by the estimates", bytes(moved), seconds(time))
}

/// A bar a step: the bytes that are alive.
fn memory(plan: &Plan, sizes: &Sizes, json: bool) {
    let (live, peak) = arena(plan, sizes);
    let rows = flatten(plan);
    let most = (0..plan.steps.len()).map(|at| alive(&live, at)).max().unwrap_or(0);
    for row in rows.iter().filter(|r| r.depth == 0) {
        let n = alive(&live, row.step);
        if json {
            say!("{}", json!({ "step": row.step, "kernel": row.name, "node": row.node, "alive_bytes": n }));
            continue;
        }
        let bar = "█".repeat(usize::try_from(n * BAR / most.max(1)).unwrap_or(0));
        say!("{:>5}  {:>8}  {bar:<40}  {}", row.step, bytes(n), row.name);
    }
    if !json {
        say!("the arena takes {}, at most {} are alive at once", bytes(peak), bytes(most));
        let mut largest: Vec<&Live> = live.iter().collect();
        largest.sort_by_key(|l| std::cmp::Reverse(l.size));
        for l in largest.iter().take(5) {
            say!("  {:>8} at {:>10}, steps {} to {}", bytes(l.size), l.offset, l.first, last_step(l, plan));
        }
    }
}

fn last_step(l: &Live, plan: &Plan) -> usize {
    (l.last as usize).min(plan.steps.len().saturating_sub(1))
}

fn alive(live: &[Live], step: usize) -> u64 {
    live.iter().filter(|l| (l.first as usize..=l.last as usize).contains(&step)).map(|l| l.size).sum()
}
