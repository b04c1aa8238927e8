//! `nnc bench`: latency, throughput and memory, alone or against other engines.

use super::case::{data_folders, model_of, read_data};
use super::config::{Config, is_type};
use super::engine::{self, thread_count};
use super::failure::Failure;
use super::inputs::Sizes;
use super::kernels;
use super::memory::arena;
use super::options::CompileOptions;
use super::out::{bytes, say, seconds, spinner};
use super::peers::{ENGINES, Peer, Setting};
use super::picture::PictureOptions;
use super::source::read_all;
use super::units;
use clap::Args;
use nnc_runtime::device::{DeviceError, DeviceTensor, Located};
use nnc_runtime::{Artifact, DType, Executor, Pool, RunError, RunOptions, Session, Value};
use nnc_tensor::compare::{Difference, Tolerance, compare};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Turns that engines take when they are compared.
const ROUNDS: u32 = 10;
/// Part of the time that goes into warming up.
const WARM_UP: f64 = 0.1;

/// Options of `nnc bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Models, or folders with model.onnx and test_data_set_0.
    #[arg(required_unless_present = "kernels", value_name = "MODEL|CASE")]
    models: Vec<PathBuf>,
    /// Numbers of threads, one after the other; beats the environment's NNC_THREADS.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Sizes of the first input's first dimension, doubling from the first to the last: 1..32.
    #[arg(long, value_name = "A..B")]
    batch: Option<String>,
    /// How long to measure each model; each kernel of --kernels takes a tenth of it.
    #[arg(long, default_value = "1s", value_parser = units::time)]
    time: Duration,
    /// Other engines on the same inputs: onnxruntime, openvino, torch and torch-compiled (with onnx2torch) of
    /// the user's python3, torch on the device if there is one; tract and rten by nnc-peers (of benches/peers) in PATH or the environment's NNC_PEERS.
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',', value_parser = ENGINES)]
    against: Vec<String>,
    /// An input, as for `nnc run`; random where it is not given.
    #[arg(long = "input", short, value_name = "NAME=SOURCE")]
    inputs: Vec<String>,
    /// Leave inputs and outputs on the device: what it takes without copies to and from the host.
    #[arg(long, requires = "device")]
    resident: bool,
    /// Measure the microkernels instead of models: their rates, and which of them artifacts get.
    #[arg(long, conflicts_with = "models")]
    kernels: bool,
    /// Fail if a microkernel that artifacts do not get is more than 10 % faster than the one they get.
    #[arg(long, requires = "kernels")]
    assert: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureOptions,
    #[command(flatten)]
    compile: CompileOptions,
}

/// Latencies in seconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Times {
        times.sort_by(f64::total_cmp);
        Times(times)
    }

    /// The value below which a part of the runs lies.
    fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((part * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

/// One measured engine.
struct Measured {
    engine: String,
    times: Times,
    /// How far its outputs are from nnc's.
    difference: Option<Difference>,
}

/// Measures every model with every number of threads and every batch.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode, Failure> {
    if args.kernels {
        return kernels::run(args.time / 10, args.assert, args.json);
    }
    let (types, sources): (Vec<String>, Vec<String>) = args.inputs.iter().cloned().partition(|t| is_type(t));
    let config = Config::new(&args.compile, &types)?;
    let threads: Vec<usize> = match args.threads.as_slice() {
        [] => vec![thread_count(None)?],
        given => given.iter().map(|n| thread_count(Some(*n))).collect::<Result<_, _>>()?,
    };
    let batches = batches(args.batch.as_deref())?;
    for path in &args.models {
        for n in &threads {
            let pool: Arc<dyn Executor> = Arc::new(Pool::new(*n));
            let bar = spinner("compiling");
            let mut session = open(path, &config, &pool)?;
            bar.finish_and_clear();
            for batch in &batches {
                let values = inputs(path, args, &sources, &session, &config, *batch)?;
                let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
                let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(values).collect();
                let measured = measure(path, args, &mut session, &named, *n)?;
                let label = Label { path, threads: *n, batch: *batch };
                print(args, &label, &session, &sizes_of(&session, &named), &measured);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `1..32`: 1, 2, 4 … 32.
fn batches(text: Option<&str>) -> Result<Vec<Option<i64>>, Failure> {
    let Some(text) = text else { return Ok(vec![None]) };
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    match (low.parse::<i64>(), high.parse::<i64>()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high => {
            let doubled = std::iter::successors(Some(low), |b| b.checked_mul(2).filter(|b| *b <= high));
            Ok(doubled.map(Some).collect())
        }
        _ => Err(Failure::user(format!("--batch must be a size or a range (1..32), found \"{text}\""))),
    }
}

/// A session on the folder's artifact, made anew where model or options differ.
fn open(path: &Path, config: &Config, pool: &Arc<dyn Executor>) -> Result<Session, Failure> {
    let model = model_of(path);
    if !path.is_dir() {
        return engine::open_model(&model, config, pool);
    }
    let stored = path.join("model.nnc");
    let mut options = config.compile.clone();
    options.origin = (nnc::model::hash(&model)?, config.hash());
    let is_current =
        Artifact::open(&stored).is_ok_and(|a| (a.info().model_hash, a.info().options_hash) == options.origin);
    if !is_current {
        let graph = nnc::model::import(&model, &config.import)?;
        if writable(path) {
            nnc::compile(&graph, &options, &stored)?;
        } else {
            return Ok(engine::build(&graph, &options, None, pool)?);
        }
    }
    Ok(engine::open(&stored, config.compile.device.as_deref(), None, pool)?)
}

fn writable(folder: &Path) -> bool {
    tempfile::tempfile_in(folder).is_ok()
}

fn inputs(
    path: &Path,
    args: &BenchArgs,
    sources: &[String],
    session: &Session,
    config: &Config,
    batch: Option<i64>,
) -> Result<Vec<Value>, Failure> {
    let ports = session.inputs();
    let mut sizes = config.sizes();
    if let (Some(batch), Some(dim)) = (batch, ports.first().and_then(|p| p.shape.first())) {
        let Some(name) = dim.as_sym() else {
            let what = format!("--batch: the first size of input \"{}\" is {dim}, not free", ports[0].name);
            return Err(Failure::user(what));
        };
        sizes.insert(name.to_string().trim_matches('"').to_owned(), batch);
    }
    if let (None, true, Some(folder)) = (batch, sources.is_empty(), data_folders(path).first()) {
        return Ok(read_data(folder, session)?.inputs);
    }
    let is_given = |name: &str| sources.iter().any(|s| s.starts_with(&format!("{name}=")));
    let made_up = ports.iter().filter(|p| !is_given(&p.name)).map(|p| format!("{}=random", p.name));
    let all: Vec<String> = sources.iter().cloned().chain(made_up).collect();
    Ok(read_all(&all, &ports, &sizes, &args.pictures)?.values)
}

/// The free sizes that the inputs have.
fn sizes_of(session: &Session, named: &[(&str, Value)]) -> Sizes {
    let mut sizes = Sizes::new();
    for (port, (_, value)) in session.inputs().iter().zip(named) {
        let Some(t) = value.tensor() else { continue };
        for (d, n) in port.shape.iter().zip(t.shape()) {
            if let (Some(s), Ok(n)) = (d.as_sym(), i64::try_from(*n)) {
                sizes.insert(s.to_string().trim_matches('"').to_owned(), n);
            }
        }
    }
    sizes
}

fn measure(
    path: &Path,
    args: &BenchArgs,
    session: &mut Session,
    named: &[(&str, Value)],
    threads: usize,
) -> Result<Vec<Measured>, Failure> {
    let total = args.time.as_secs_f64();
    let outputs = session.run(named)?;
    let feed = Feed::new(session, named, args.resident)?;
    sample(session, &feed, total * WARM_UP)?;
    let artifact = Arc::clone(session.artifact());
    let device = artifact.on_device().map(|_| args.compile.device.as_deref().unwrap_or("cuda:0"));
    let precision = &artifact.info().precision;
    let setting = Setting { threads, device, precision, is_resident: args.resident };
    let mut peers = Vec::new();
    for name in &args.against {
        peers.push(Peer::start(name, &model_of(path), named, &setting)?);
    }
    for peer in &mut peers {
        peer.sample(total * WARM_UP)?;
    }
    let rounds = if peers.is_empty() { 1 } else { ROUNDS };
    let slice = total / f64::from(rounds);
    let mut times = vec![Vec::new(); peers.len() + 1];
    for round in 0..rounds as usize {
        // The order turns, so that a slow spell of the machine meets all of them.
        for k in 0..times.len() {
            let at = (k + round) % times.len();
            let sampled = match at.checked_sub(1) {
                None => sample(session, &feed, slice)?,
                Some(peer) => peers[peer].sample(slice)?,
            };
            times[at].extend(sampled);
        }
    }
    let names: Vec<String> = session.outputs().into_iter().map(|p| p.name).collect();
    let mut measured = Vec::new();
    for (i, times) in times.into_iter().enumerate() {
        let (engine, difference) = match i.checked_sub(1).map(|i| &peers[i]) {
            None => ("nnc".to_owned(), None),
            Some(p) => (format!("{} {}", p.name, p.version), Some(distance(&names, &outputs, p))),
        };
        measured.push(Measured { engine, times: Times::new(times), difference });
    }
    Ok(measured)
}

/// How far nnc's outputs are from a peer's.
fn distance(names: &[String], outputs: &[Value], peer: &Peer) -> Difference {
    let mut all = Difference::default();
    for (name, value) in names.iter().zip(outputs) {
        let one = match peer.outputs.iter().find(|(n, _)| n == name) {
            Some((_, theirs)) => {
                compare(value, &Value::Tensor(theirs.clone()), Tolerance::default_for(false))
            }
            None => Difference { problem: Some("there is none".into()), ..Difference::default() },
        };
        all.merge(one, || format!("output \"{name}\""));
    }
    all
}

/// What runs are given.
enum Feed<'a> {
    /// Values on the host.
    Host(&'a [(&'a str, Value)]),
    /// Values on the device, where the outputs, by name, stay too.
    Resident(Vec<(&'a str, Located)>, Vec<String>),
}

impl<'a> Feed<'a> {
    fn new(session: &Session, host: &'a [(&'a str, Value)], is_resident: bool) -> Result<Feed<'a>, Failure> {
        let Some(device) = session.artifact().on_device().filter(|_| is_resident) else {
            return Ok(Feed::Host(host));
        };
        let place = |(name, value): &(&'a str, Value)| {
            let located = match value.tensor().filter(|t| t.dtype() != DType::Str) {
                Some(t) => DeviceTensor::from_host(device, t)?.into(),
                None => value.clone().into(),
            };
            Ok((*name, located))
        };
        let inputs = host.iter().map(place).collect::<Result<Vec<_>, DeviceError>>();
        let outputs = session.outputs().into_iter().map(|p| p.name).collect();
        Ok(Feed::Resident(inputs.map_err(RunError::from)?, outputs))
    }

    fn run(&self, session: &mut Session) -> Result<(), RunError> {
        match self {
            Feed::Host(inputs) => session.run(inputs).map(drop),
            Feed::Resident(inputs, outputs) => {
                let keep: Vec<&str> = outputs.iter().map(String::as_str).collect();
                session.run_located(inputs, &keep, RunOptions::default()).map(drop)
            }
        }
    }
}

/// Latencies of as many runs as fill `limit` seconds, at least one.
fn sample(session: &mut Session, feed: &Feed<'_>, limit: f64) -> Result<Vec<f64>, Failure> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || begin.elapsed().as_secs_f64() < limit {
        let start = Instant::now();
        feed.run(session)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// What was measured.
struct Label<'a> {
    path: &'a Path,
    threads: usize,
    batch: Option<i64>,
}

fn print(args: &BenchArgs, label: &Label<'_>, session: &Session, sizes: &Sizes, measured: &[Measured]) {
    let Some(own) = measured.first() else { return };
    let plan = session.artifact().plan();
    let activations = arena(plan, sizes).1;
    let items = label.batch.unwrap_or(1) as f64;
    if args.json {
        let peers: Vec<serde_json::Value> = measured[1..].iter().map(|m| to_json(m, own, items)).collect();
        let mut line = to_json(own, own, items);
        let more = json!({
            "model": label.path.display().to_string(), "threads": label.threads, "batch": label.batch,
            "activation_bytes": activations, "peak_rss_bytes": peak_rss(), "kernels": plan.kernels.len(),
            "target": session.artifact().target().map(|t| &t.name), "peers": peers,
        });
        if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        say!("{line}");
        return;
    }
    let batch = label.batch.map_or(String::new(), |b| format!(", batch {b}"));
    let s = if label.threads == 1 { "" } else { "s" };
    let rss = peak_rss().map_or(String::new(), |n| format!(", process at most {}", bytes(n)));
    let (path, threads) = (label.path.display(), label.threads);
    say!("{path}, {threads} thread{s}{batch}: activations {}{rss}", bytes(activations));
    for m in measured {
        let t = &m.times;
        let ratio = match &m.difference {
            None => String::new(),
            Some(d) => {
                let agree =
                    d.problem.as_ref().map_or("outputs agree".to_owned(), |p| format!("outputs differ: {p}"));
                format!("  {:.2}× nnc's time, {agree}", t.median() / own.times.median())
            }
        };
        say!(
            "  {:<22} min {:>10}  median {:>10}  p99 {:>10}  {:>8.1} a second, {} runs{ratio}",
            m.engine,
            seconds(t.quantile(0.0)),
            seconds(t.median()),
            seconds(t.quantile(0.99)),
            items / t.median(),
            t.0.len()
        );
    }
}

fn to_json(m: &Measured, own: &Measured, items: f64) -> serde_json::Value {
    let t = &m.times;
    let mut line = json!({
        "engine": m.engine, "min": t.quantile(0.0), "median": t.median(), "p99": t.quantile(0.99),
        "throughput": items / t.median(), "runs": t.0.len(),
    });
    if let (Some(d), Some(line)) = (&m.difference, line.as_object_mut()) {
        line.insert("ratio".into(), json!(t.median() / own.times.median()));
        line.insert("max_abs".into(), json!(d.max_abs));
        line.insert("rel_l2".into(), json!(d.rel_l2));
        line.insert("agrees".into(), json!(d.problem.is_none()));
    }
    line
}

/// The most memory that this process has held, where the system tells.
fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double() {
        let sizes = |text| batches(Some(text)).unwrap().into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(sizes("1..32"), [1, 2, 4, 8, 16, 32]);
        assert_eq!(sizes("3"), [3]);
        assert!(batches(Some("4..1")).is_err() && batches(Some("0")).is_err());
    }

    #[test]
    fn quantiles_are_runs() {
        let t = Times::new(vec![3.0, 1.0, 2.0]);
        assert_eq!((t.quantile(0.0), t.median(), t.quantile(0.99)), (1.0, 2.0, 3.0));
    }
}
