//! Artifacts on machines other than they were compiled for: older ones, newer ones, foreign ones.

use crate::interpreted::{self, Settings};
use crate::models::{import_file, protos};
use crate::program::root;
use nnc::Options;
use nnc_ir::Graph;
use nnc_runtime::{Artifact, ArtifactError, Isa, LoadOptions, Session, Value};
use std::path::Path;
use std::sync::Arc;

/// Levels of x86-64, and the instruction set that kernels for a machine of that level have.
const LEVELS: [(&str, Isa); 3] =
    [("x86-64-v2", Isa::Portable), ("x86-64-v3", Isa::Avx2), ("x86-64-v4", Isa::Avx512)];

fn digits() -> Graph {
    import_file(&root().join("examples/digits/model.onnx"))
}

fn compile(graph: &Graph, target: &str, path: &Path) {
    let options = Options { target: target.into(), ..Options::default() };
    nnc::compile(graph, &options, path).unwrap_or_else(|e| panic!("{target}: {e}"));
}

/// Loads an artifact as a machine would that has `isa` at most.
fn open_on(path: &Path, isa: Isa) -> Result<Artifact, ArtifactError> {
    Artifact::open_with(path, &LoadOptions { isa: Some(isa), ..LoadOptions::default() })
}

fn scores(artifact: Artifact) -> Vec<f64> {
    scores_of(&mut Session::new(Arc::new(artifact)))
}

fn scores_of(session: &mut Session) -> Vec<f64> {
    let inputs = protos(&root().join("examples/digits/test_data_set_0"), "input");
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs).collect();
    let outputs = session.run(&named).unwrap_or_else(|e| panic!("{e}"));
    outputs[0].tensor().expect("a tensor").to_f64s()
}

/// Of every level that this machine has, on machines of every such level.
#[test]
fn newer_machines_use_their_kernels_and_older_ones_refuse() {
    let (graph, folder) = (digits(), tempfile::tempdir().expect("a temporary folder"));
    let here: Vec<_> = LEVELS.into_iter().filter(|(_, isa)| Isa::available().contains(isa)).collect();
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for (level, (target, _)) in here.iter().enumerate() {
        let path = folder.path().join("model.nnc");
        compile(&graph, target, &path);
        for (machine, (host, isa)) in here.iter().enumerate() {
            let opened = open_on(&path, *isa);
            if machine < level {
                let error = opened.expect_err("the CPU lacks instructions");
                let (message, help) = (error.to_string(), error.help().expect("there is a way out"));
                let start = format!("the artifact was compiled for {target}; this CPU is {host} and lacks ");
                assert!(message.starts_with(&start) && message.contains("avx"), "{message}");
                assert_eq!(help, format!("compile the model with --target {host}"));
                continue;
            }
            let artifact = opened.unwrap_or_else(|e| panic!("{target} on {host}: {e}"));
            let best = artifact.kernels().iter().map(|k| k.isa).max();
            assert_eq!(best, Some(*isa), "{target} on {host}");
            let (found, expected) = (scores(artifact), scores(Artifact::open(&path).expect("it fits")));
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 1e-4, "{target} on {host}: {found:?} {expected:?}");
            }
        }
    }
}

#[test]
fn foreign_artifacts_are_named() {
    let (graph, folder) = (digits(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path().join("model.nnc");
    for target in ["x86-64-v3", "aarch64", "riscv64", "riscv64+v"] {
        let arch = target.split(['-', '+']).next().expect("a name");
        if std::env::consts::ARCH.starts_with(arch) {
            continue;
        }
        compile(&graph, target, &path);
        let message = Artifact::open(&path).expect_err("another architecture").to_string();
        assert!(
            message.starts_with(&format!("the artifact was compiled for {target}; this CPU is ")),
            "{message}"
        );
    }
}

fn name_of(artifact: &Artifact) -> &str {
    artifact.target().map_or("", |t| &t.name)
}

/// Loads on a CPU and on a device, and gives the same scores on both.
#[test]
fn one_artifact_holds_code_for_cpus_and_devices() {
    let (graph, folder) = (digits(), tempfile::tempdir().expect("a temporary folder"));
    let path = |name: &str| folder.path().join(name);
    for (name, targets) in
        [("both", "cuda:sm_80,native,cuda:sm_75"), ("cpu", "native"), ("gpu", "cuda:sm_75")]
    {
        compile(&graph, targets, &path(name));
    }
    let here = Artifact::open(path("both")).expect("for a CPU");
    let (mut there, _) = interpreted::open(&path("both"), Settings::default()).expect("for a device");
    let alone = Artifact::open(path("cpu")).expect("for a CPU");
    assert_eq!((name_of(&here), name_of(there.artifact())), (name_of(&alone), "cuda:sm_80,cuda:sm_75"));
    let n_weights = alone.weights_len();
    assert!(here.weights_len() < n_weights + n_weights / 10, "weights are shared");
    let (found, expected) = (scores_of(&mut there), scores(here));
    assert_eq!(expected, scores(alone));
    for (f, e) in found.iter().zip(&expected) {
        assert!((f - e).abs() < 1e-4, "{found:?} {expected:?}");
    }
    let error = interpreted::open(&path("cpu"), Settings::default())
        .map(|_| ())
        .expect_err("it has code for a CPU alone");
    let help = error.help().expect("there is a way out");
    assert!(error.to_string().starts_with("the artifact has no code for devices: it was compiled for "));
    assert!(help.ends_with(",cuda"), "{help}");
    if let Err(error) = Artifact::open(path("gpu")) {
        let message = error.to_string();
        assert!(message.starts_with("the artifact was compiled for cuda:sm_75: "), "{message}");
    }
}

/// Of several targets that a CPU has, the one that asks for the most.
#[test]
fn one_artifact_serves_cpus_of_several_levels() {
    let (graph, folder) = (digits(), tempfile::tempdir().expect("a temporary folder"));
    let path = folder.path().join("model.nnc");
    compile(&graph, "x86-64-v3,x86-64-v2,x86-64-v4", &path);
    for (target, isa) in LEVELS.into_iter().filter(|(_, isa)| Isa::available().contains(isa)) {
        if cfg!(target_arch = "x86_64") {
            assert_eq!(name_of(&open_on(&path, isa).expect("there is code for it")), target);
        }
    }
    let (one, whole) =
        (folder.path().join("one.nnc"), std::fs::metadata(&path).expect("it was written").len());
    compile(&graph, "x86-64-v3", &one);
    let one = std::fs::metadata(&one).expect("it was written").len();
    assert!(whole < one + one / 2, "weights are stored once: {whole} bytes for three, {one} for one");
}
