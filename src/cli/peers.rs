//! Other engines to measure against, each in a process of its own: packages of the user's Python, and the
//! program of benches/peers for engines in Rust.

use super::failure::Failure;
use nnc_runtime::{Tensor, Value};
use nnc_tensor::file::{read_npz, write_npz};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the process runs.
const SCRIPT: &str = include_str!("peer.py");
/// The engines that can be asked for.
pub(crate) const ENGINES: [&str; 6] = ["onnxruntime", "openvino", "torch", "torch-compiled", "tract", "rten"];
/// Those that the program of benches/peers runs.
const RUST: [&str; 2] = ["tract", "rten"];
/// That program, and the environment's name for where it is.
const PROGRAM: (&str, &str) = ("nnc-peers", "NNC_PEERS");
/// The most that a peer's outputs may take.
const MAX_OUTPUT_BYTES: u64 = 16 << 30;

/// What nnc runs with, and engines that can do so too.
pub(crate) struct Setting<'a> {
    /// Threads of the CPU.
    pub(crate) threads: usize,
    /// `cuda:0`; the CPU if there is none.
    pub(crate) device: Option<&'a str>,
    /// The precision class.
    pub(crate) precision: &'a str,
    /// Inputs and outputs stay on the device.
    pub(crate) is_resident: bool,
}

impl Setting<'_> {
    /// Single precision on one thread of the CPU.
    pub(crate) const ONE_THREAD: Setting<'static> =
        Setting { threads: 1, device: None, precision: "f32", is_resident: false };
}

/// An engine that waits for its turn.
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// What it computed from the same inputs, by name.
    pub(crate) outputs: Vec<(String, Tensor)>,
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts an engine on a model and inputs.
    pub(crate) fn start(
        name: &str,
        model: &Path,
        inputs: &[(&str, Value)],
        setting: &Setting<'_>,
    ) -> Result<Peer, Failure> {
        let fail = |what: String| Failure::user(format!("{name}: {what}"));
        let folder = tempfile::tempdir().map_err(|e| fail(e.to_string()))?;
        let (feed, results) = (folder.path().join("inputs.npz"), folder.path().join("outputs.npz"));
        let tensors: Option<Vec<(String, Tensor)>> =
            inputs.iter().map(|(n, v)| Some(((*n).to_owned(), v.tensor()?.clone()))).collect();
        let tensors = tensors.ok_or_else(|| fail("only inputs that are tensors can be compared".into()))?;
        let archive = write_npz(&tensors).map_err(|e| fail(e.to_string()))?;
        std::fs::write(&feed, archive).map_err(|e| fail(e.to_string()))?;
        let (mut command, program) = command(name);
        let threads = setting.threads.to_string();
        command.arg(name).args([model, &feed, &results]).arg(&threads);
        if !RUST.contains(&name) {
            let more = json!({
                "device": setting.device.unwrap_or("cpu"), "precision": setting.precision,
                "resident": setting.is_resident,
            });
            command.arg(more.to_string());
        }
        let mut process = command
            .env("OMP_NUM_THREADS", &threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| fail(format!("cannot start \"{program}\": {e}")).help(install(name)))?;
        let (Some(ask), Some(out)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(fail(format!("\"{program}\" has no pipes")));
        };
        let version = String::new();
        let answers = BufReader::new(out);
        let mut peer = Peer { name: name.to_owned(), version, outputs: Vec::new(), process, ask, answers };
        let hello = peer.answer()?;
        let version = hello.get("version").and_then(|v| v.as_str()).unwrap_or("?");
        // The rest is the build.
        let version = version.split('-').next().unwrap_or(version).to_owned();
        peer.version = version;
        let bytes = std::fs::read(&results).map_err(|e| fail(e.to_string()))?;
        peer.outputs = read_npz(&bytes, MAX_OUTPUT_BYTES).map_err(|e| fail(e.to_string()))?;
        Ok(peer)
    }

    fn answer(&mut self) -> Result<serde_json::Value, Failure> {
        let mut line = String::new();
        // Engines print notes of their own.
        while !line.starts_with('{') {
            line.clear();
            if self.answers.read_line(&mut line).unwrap_or(0) == 0 {
                let what = format!("{} ended without an answer", self.name);
                return Err(Failure::user(what).help(install(&self.name)));
            }
        }
        let json: serde_json::Value =
            serde_json::from_str(&line).map_err(|e| Failure::user(format!("{}: {e}", self.name)))?;
        match json.get("error").and_then(|e| e.as_str()) {
            Some(error) if error.starts_with("ModuleNotFoundError") => {
                Err(Failure::user(format!("{}: {error}", self.name)).help(install(&self.name)))
            }
            Some(error) => Err(Failure::user(format!("{}: {error}", self.name))),
            None => Ok(json),
        }
    }

    /// Latencies of as many runs as fill `seconds`.
    pub(crate) fn sample(&mut self, seconds: f64) -> Result<Vec<f64>, Failure> {
        let asked = writeln!(self.ask, "{seconds}").and_then(|()| self.ask.flush());
        asked.map_err(|e| Failure::user(format!("{} does not listen: {e}", self.name)))?;
        let times = self.answer()?;
        let times = times.get("times").and_then(|t| t.as_array()).cloned().unwrap_or_default();
        Ok(times.iter().filter_map(serde_json::Value::as_f64).collect())
    }
}

/// What starts an engine, and its name.
fn command(engine: &str) -> (Command, String) {
    if RUST.contains(&engine) {
        let program = std::env::var_os(PROGRAM.1).filter(|p| !p.is_empty());
        let program = program.unwrap_or_else(|| PROGRAM.0.into());
        return (Command::new(&program), program.to_string_lossy().into_owned());
    }
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]);
    (python, "python3".to_owned())
}

/// How to get an engine.
fn install(engine: &str) -> String {
    match engine {
        // PyTorch itself reads no ONNX files.
        "torch" | "torch-compiled" => {
            "pip install numpy torch onnx2torch: PyTorch runs what onnx2torch makes of the model".to_owned()
        }
        e if RUST.contains(&e) => {
            let (program, variable) = PROGRAM;
            format!("cargo install --path benches/peers, or name {program} in the environment's {variable}")
        }
        e => format!("pip install numpy {e}"),
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It waits for a line on a pipe; a process that is gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
