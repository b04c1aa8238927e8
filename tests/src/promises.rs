//! What the runtime promises, measured by a program that holds no compiler: memory, allocations, load
//! time, a pool that sleeps, the same bits on any number of threads.
//!
//! Further models, such as large ones, are measured where `NNC_CORPUS` names a folder of folders with
//! `model.onnx` and `test_data_set_0`.

use crate::models::folder;
use crate::program::{build, root, run};
use nnc::{Options, model};
use nnc_frontend::ImportOptions;
use nnc_runtime::{Artifact, Session};
use nnc_tensor::{DType, Tensor, Value};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Greatest part of weights and session that a run may take: a twentieth for tables and the rest.
const PEAK: f64 = 1.15;

/// What a process takes beside weights and arena whatever the model: decoded plan, stacks of threads,
/// the allocator's own. Counts for small models alone.
const TABLES: f64 = 3e6;

/// Models of the examples, the trained ones where they are, and those that `NNC_CORPUS` holds.
fn models() -> Vec<PathBuf> {
    let inside = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.join("model.onnx").is_file())
    };
    let folders =
        [Some(root().join("examples")), folder("trained"), std::env::var_os("NNC_CORPUS").map(Into::into)];
    let mut all: Vec<PathBuf> = folders.into_iter().flatten().flat_map(inside).collect();
    all.sort();
    all
}

fn compile(case: &Path, artifact: &Path) {
    let path = case.join("model.onnx");
    let graph = model::import(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    nnc::compile(&graph, &Options::default(), artifact).unwrap_or_else(|e| panic!("{e}"));
}

/// Runs the measuring program.
fn measure(program: &Path, words: &[&str]) -> Json {
    let printed = run(program, words);
    serde_json::from_str(printed.trim()).unwrap_or_else(|e| panic!("{e}: {printed}"))
}

/// What one model's measurements break.
fn broken(facts: &Json) -> Vec<String> {
    let mut broken = Vec::new();
    let mut keep = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    for same in ["same_bits_again", "same_bits_on_one_thread"] {
        keep(facts[same] == true, format!("{same}: {}", facts[same]));
    }
    keep(number(facts, "load_ms") < 50.0, format!("loaded in {} ms", facts["load_ms"]));
    if facts["weights"].is_null() {
        // Text and containers are outside of the promises on memory.
        return broken;
    }
    keep(number(facts, "allocations") == 0.0, format!("{} allocations", facts["allocations"]));
    keep(number(facts, "idle_cpu_us") < 1000.0, format!("{} µs while idle", facts["idle_cpu_us"]));
    let (arena, peak) = (number(facts, "session"), number(facts, "peak"));
    let need = number(facts, "weights") + arena;
    keep(peak <= PEAK * need + TABLES, format!("peak {peak} for {need} of weights and arena"));
    let more = number(facts, "seven_more_sessions");
    keep(
        more <= 7.0 * PEAK * arena + TABLES,
        format!("seven more sessions take {more}, one's arena is {arena}"),
    );
    broken
}

fn number(facts: &Json, key: &str) -> f64 {
    facts[key].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn memory_allocations_threads_and_load_time() {
    let (program, temporary) = (build("example", "measure"), tempfile::tempdir().expect("a folder"));
    let artifact = temporary.path().join("model.nnc");
    let mut failed = Vec::new();
    for case in models() {
        compile(&case, &artifact);
        let data = case.join("test_data_set_0");
        // Large models take their time; what allocates does so in ten runs as in a hundred.
        let large = std::fs::metadata(&artifact).is_ok_and(|m| m.len() > 100 << 20);
        let runs = if large { "10" } else { "100" };
        let facts = measure(&program, &[&text(&artifact), &text(&data), "--runs", runs]);
        eprintln!("{} {facts}", case.display());
        failed.extend(broken(&facts).into_iter().map(|b| format!("{}: {b}", case.display())));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// One step of a decoder: new rows beside those of the past, attention of the new ones over all, a mask
/// whose length the caller gives.
const DECODER: &str = r#"
graph @decoder(%x: f32[b, seq, 16], %past: f32[b, past, 16], %mask: f32[b, total])
    -> (f32[b, seq, 16], f32[b, past + seq, 16]) {
  %all = concat(%past, %x) {axis = 1} : f32[b, past + seq, 16]
  %scores = contract(%x, %all) {lhs = "bsd", out = "bst", rhs = "btd", to = f32} : f32[b, seq, past + seq]
  %m3 = reshape(%mask) {shape = [b, 1, total]} : f32[b, 1, total]
  %wide = broadcast(%m3) {shape = [b, seq, past + seq]} : f32[b, seq, past + seq]
  %masked = add(%scores, %wide) : f32[b, seq, past + seq]
  %p = softmax(%masked) {axis = 2, log = 0} : f32[b, seq, past + seq]
  %y = contract(%p, %all) {lhs = "bst", out = "bsd", rhs = "btd", to = f32} : f32[b, seq, 16]
  return %y, %all
}
"#;

fn compile_decoder(artifact: &Path) {
    let graph = nnc_ir::text::parse(DECODER, &[]).unwrap_or_else(|e| panic!("{e}"));
    nnc::compile(&graph, &Options::default(), artifact).unwrap_or_else(|e| panic!("{e}"));
}

/// Prefill and decode, batch up and down: a session that has seen other shapes gives what a fresh one
/// gives, and holds hardly more than the largest shape needs.
#[test]
fn a_thousand_runs_of_fifty_shapes() {
    let (program, temporary) = (build("example", "measure"), tempfile::tempdir().expect("a folder"));
    let at = |name: &str| temporary.path().join(name);
    compile_decoder(&at("decoder.nnc"));
    // The mask is repeated, so that every total fits.
    let mut cases = vec![(at("decoder.nnc"), "b=9,past=400,seq=30")];
    for (name, dims) in [("magika-v3", "unk__214=9"), ("sentence-lstm", "batch=5,length=40")] {
        if let Some(trained) = folder("trained") {
            compile(&trained.join(name), &at(name));
            cases.push((at(name), dims));
        }
    }
    for (artifact, dims) in cases {
        let facts =
            measure(&program, &[&text(&artifact), "--shapes", "50", "--runs", "1000", "--dims", dims]);
        eprintln!("{} {facts}", artifact.display());
        assert_eq!(facts["wrong"], 0, "{}", artifact.display());
        let (held, need) = (number(&facts, "session"), number(&facts, "largest_need"));
        assert!(held <= 1.1 * need, "{}: {held} bytes where {need} are needed", artifact.display());
    }
}

/// Sizes that only the run tells apart are compared before anything is computed.
#[test]
fn sizes_that_do_not_fit_are_told() {
    let temporary = tempfile::tempdir().expect("a folder");
    let artifact = temporary.path().join("decoder.nnc");
    compile_decoder(&artifact);
    let mut session = Session::new(Arc::new(Artifact::open(&artifact).unwrap_or_else(|e| panic!("{e}"))));
    let mut run = |past: usize, total: usize| {
        let zeros = |shape: &[usize]| Value::from(Tensor::zeros(DType::F32, shape).expect("a tensor"));
        let inputs =
            [("x", zeros(&[1, 2, 16])), ("past", zeros(&[1, past, 16])), ("mask", zeros(&[1, total]))];
        session.run(&inputs).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(run(3, 5), Ok(()));
    assert_eq!(run(0, 2), Ok(()));
    assert_eq!(run(3, 1), Ok(()));
    let message = run(3, 4).expect_err("four is neither five nor one");
    for part in ["past + seq = 5 or 1 expected, found total = 4", "total is dimension 1 of input \"mask\""] {
        assert!(message.contains(part), "{message}");
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
