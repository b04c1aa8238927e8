//! Runs tract or rten on a model, in one of two ways:
//!
//! - `nnc-peers tract|rten FOLDER` times a folder with model.onnx and test_data_set_0/input_K.pb on one
//!   thread. The last line printed is JSON with the median latency in seconds, as
//!   `time_peers.py --command` reads it.
//! - `nnc-peers tract|rten MODEL INPUTS.npz OUTPUTS.npz THREADS` is what `nnc bench --against` starts: it
//!   runs once, writes the outputs, prints `{"version": …}`, and then answers each line `SECONDS` on standard
//!   input by the latencies of as many runs as fill that time. Errors are printed as `{"error": …}`.

mod rten;
mod tract;

use nnc_tensor::Tensor;
use nnc_tensor::file::{read_npz, read_tensor_proto, write_npz};
use std::error::Error;
use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

/// Whatever goes wrong.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Tensors by name.
pub type Named = Vec<(String, Tensor)>;

/// A model with its inputs, ready to run.
pub trait Engine {
    /// Runs once and forgets the outputs.
    fn run(&mut self) -> Result<(), Failure>;

    /// Runs once.
    fn outputs(&mut self) -> Result<Named, Failure>;
}

fn open(engine: &str, model: &Path, inputs: Named, threads: usize) -> Result<Box<dyn Engine>, Failure> {
    match engine {
        "tract" => Ok(Box::new(tract::Tract::open(model, inputs, threads)?)),
        "rten" => Ok(Box::new(rten::Rten::open(model, inputs, threads)?)),
        other => Err(format!("\"{other}\" is no engine").into()),
    }
}

/// The versions that Cargo.toml fixes.
fn version(engine: &str) -> &'static str {
    if engine == "tract" { "0.23.9" } else { "0.27.0" }
}

/// The inputs of a folder's first data set.
fn inputs(folder: &Path) -> Result<Named, Failure> {
    let set = folder.join("test_data_set_0");
    let read = |i: usize| std::fs::read(set.join(format!("input_{i}.pb"))).ok();
    (0..).map_while(read).map(|bytes| Ok(read_tensor_proto(&bytes)?)).collect()
}

/// Latencies of as many runs as fill some seconds, at least `least`.
fn sample(engine: &mut dyn Engine, limit: Duration, least: usize) -> Result<Vec<f64>, Failure> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < least || begin.elapsed() < limit {
        let start = Instant::now();
        engine.run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Prints the median of half a second, after one run to warm up.
fn time(engine: &str, folder: &Path) -> Result<(), Failure> {
    let mut engine = open(engine, &folder.join("model.onnx"), inputs(folder)?, 1)?;
    engine.run()?;
    let mut times = sample(&mut *engine, Duration::from_millis(500), 3)?;
    times.sort_by(f64::total_cmp);
    println!("{{\"median\": {}}}", times[times.len() / 2]);
    Ok(())
}

/// Answers questions until there are no more.
fn serve(engine: &str, files: [&Path; 3], threads: usize) -> Result<(), Failure> {
    let feed = read_npz(&std::fs::read(files[1])?, 16 << 30)?;
    let mut running = open(engine, files[0], feed, threads)?;
    std::fs::write(files[2], write_npz(&running.outputs()?)?)?;
    println!("{{\"version\": \"{}\"}}", version(engine));
    for line in std::io::stdin().lock().lines() {
        let limit = Duration::try_from_secs_f64(line?.trim().parse()?)?;
        println!("{{\"times\": {:?}}}", sample(&mut *running, limit, 1)?);
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [engine, folder] => time(engine, Path::new(folder)),
        [engine, model, inputs, outputs, threads] => {
            let files = [model, inputs, outputs].map(Path::new);
            serve(engine, files, threads.parse()?).or_else(|e| {
                let text = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                println!("{{\"error\": {:?}}}", text.replace(|c: char| !c.is_ascii() || c.is_control(), "?"));
                Ok(())
            })
        }
        _ => Err("usage: nnc-peers tract|rten FOLDER, or MODEL INPUTS OUTPUTS THREADS in its place".into()),
    }
}
