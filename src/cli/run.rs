//! `nnc run`: runs a model once.

use super::config::{Config, is_type};
use super::engine::{executor, open_model};
use super::failure::Failure;
use super::options::CompileOptions;
use super::out::{bytes, print_table, say, seconds, spinner, table, write_file};
use super::picture::{PictureOptions, print_top};
use super::source::{read_all, type_of};
use super::units;
use clap::Args;
use nnc_runtime::{Port, Profile, ProfileRow, RunOptions, Session, Tensor, Value};
use nnc_tensor::compare;
use nnc_tensor::file::write_npz;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Options of `nnc run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// The model: .nnc, or .onnx and .nnir, which are compiled first.
    model: PathBuf,
    /// An input: NAME=FILE (npy, npz, pb, png, jpg, wav, json, raw), NAME=random[:SEED] or NAME=zeros.
    #[arg(long = "input", short, value_name = "NAME=SOURCE")]
    inputs: Vec<String>,
    /// Write the outputs to an .npz file.
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names of the classes, one a line.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Print so many of the most likely classes.
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Write the times of the steps for chrome://tracing or Perfetto, and print a table.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Number of threads; beats the environment's NNC_THREADS.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Give up after this time (500ms, 10s).
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    timeout: Option<Duration>,
    /// Bytes that the run may take (512MB, 2GB).
    #[arg(long, value_name = "BYTES", value_parser = units::bytes)]
    max_memory: Option<u64>,
    /// Print a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Runs the model and shows its outputs.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let (types, sources): (Vec<String>, Vec<String>) = args.inputs.iter().cloned().partition(|t| is_type(t));
    let config = Config::new(&args.compile, &types)?;
    let labels = read_labels(args.labels.as_deref())?;
    let bar = spinner("loading the model");
    let mut session = open_model(&args.model, &config, &executor(args.threads)?)?;
    bar.finish_and_clear();
    let (inputs, outputs) = (session.inputs(), session.outputs());
    let given = read_all(&sources, &inputs, &config.sizes(), &args.pictures)?;
    let named: Vec<(&str, Value)> = inputs.iter().map(|p| p.name.as_str()).zip(given.values).collect();
    let mut profile = args.profile.is_some().then(Profile::default);
    let begin = Instant::now();
    let options = RunOptions {
        deadline: args.timeout.map(|t| begin + t),
        max_memory: args.max_memory,
        profile: profile.as_mut(),
        ..RunOptions::default()
    };
    let results = session.run_options(&named, options)?;
    let time = begin.elapsed().as_secs_f64();
    if let (Some(path), Some(profile)) = (&args.profile, &profile) {
        write_file(path, profile.chrome_trace().as_bytes())?;
        if !args.json {
            print_profile(profile);
        }
    }
    if let Some(path) = &args.output {
        save(path, &outputs, &results)?;
    }
    if args.json {
        print_json(&session, &outputs, &results, time, profile.as_ref());
    } else {
        print(args, &outputs, &results, &labels, given.is_perception, time);
    }
    Ok(ExitCode::SUCCESS)
}

fn read_labels(path: Option<&Path>) -> Result<Vec<String>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::user(format!("cannot read \"{}\": {e}", path.display())))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn save(path: &Path, ports: &[Port], values: &[Value]) -> Result<(), Failure> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (port, value) in ports.iter().zip(values) {
        let Some(t) = value.tensor() else {
            let what = type_of(port);
            return Err(Failure::user(format!(
                "output \"{}\" is {what}, which no .npz file holds",
                port.name
            )));
        };
        tensors.push((port.name.clone(), t.clone()));
    }
    let archive = write_npz(&tensors).map_err(|e| Failure::user(e.to_string()))?;
    write_file(path, &archive)
}

fn print(
    args: &RunArgs,
    ports: &[Port],
    values: &[Value],
    labels: &[String],
    is_perception: bool,
    time: f64,
) {
    let wants_top = args.top.is_some() || args.labels.is_some() || is_perception;
    for (i, (port, value)) in ports.iter().zip(values).enumerate() {
        match value.tensor().filter(|t| wants_top && i == 0 && is_scores(t)) {
            Some(scores) => print_top(scores, args.top.unwrap_or(5), labels),
            None => say!("  {}: {}  {}", port.name, compare::describe(value), summary(value)),
        }
    }
    say!("  {}", seconds(time));
}

/// One vector of at least two floats.
fn is_scores(t: &Tensor) -> bool {
    let n = t.shape().last().copied().unwrap_or(0);
    t.dtype().is_float() && n >= 2 && t.len() == n
}

/// Range, mean and first elements.
fn summary(value: &Value) -> String {
    let Some(t) = value.tensor().filter(|t| !t.is_empty()) else { return String::new() };
    let text: Vec<String> = if t.strings().is_empty() {
        t.to_f64s()
            .iter()
            .take(6)
            .map(|x| format!("{x:.6}").trim_end_matches('0').trim_end_matches('.').to_owned())
            .collect()
    } else {
        t.strings().iter().take(6).map(|s| format!("\"{}\"", String::from_utf8_lossy(s))).collect()
    };
    let more = if t.len() > text.len() { ", …" } else { "" };
    let first = format!("[{}{more}]", text.join(", "));
    if !t.dtype().is_float() || t.len() < 2 {
        return first;
    }
    let x = t.to_f64s();
    let (low, high) = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    format!("{first}  from {low:.4} to {high:.4}, mean {mean:.4}")
}

fn print_json(session: &Session, ports: &[Port], values: &[Value], time: f64, profile: Option<&Profile>) {
    let data = |v: &Value| match v.tensor() {
        Some(t) if t.strings().is_empty() => json!(t.to_f64s()),
        Some(t) => {
            json!(t.strings().iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect::<Vec<_>>())
        }
        None => json!(null),
    };
    let outputs: Vec<serde_json::Value> = ports
        .iter()
        .zip(values)
        .map(|(p, v)| {
            let shape = v.tensor().map(|t| t.shape().to_vec());
            json!({ "name": p.name, "type": type_of(p), "shape": shape, "data": data(v) })
        })
        .collect();
    let target = session.artifact().target().map(|t| &t.name);
    let mut line = json!({ "outputs": outputs, "seconds": time, "target": target });
    if let (Some(p), Some(line)) = (profile, line.as_object_mut()) {
        line.insert("binding".into(), json!(p.binding_ns as f64 * 1e-9));
        line.insert("profile".into(), p.table().iter().map(profile_row).collect());
    }
    say!("{line}");
}

fn profile_row(row: &ProfileRow) -> serde_json::Value {
    json!({
        "kernel": row.kernel, "node": row.node, "calls": row.calls, "seconds": row.total_ns as f64 * 1e-9,
        "bytes": row.bytes, "share": row.share,
    })
}

fn print_profile(profile: &Profile) {
    let mut table = table(&["share", "time", "calls", "bytes", "kernel", "node"]);
    for row in profile.table().iter().take(30) {
        table.add_row([
            format!("{:.1} %", 100.0 * row.share),
            seconds(row.total_ns as f64 * 1e-9),
            row.calls.to_string(),
            bytes(row.bytes),
            row.kernel.clone(),
            row.node.clone(),
        ]);
    }
    print_table(&table);
    say!("  {} before the first step, to find sizes and places", seconds(profile.binding_ns as f64 * 1e-9));
}
