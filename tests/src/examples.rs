//! Everything in `examples/` does what its documents say.

use crate::models::{protos, verify};
use crate::program::{build, root, run};
use nnc::{Options, model};
use nnc_frontend::ImportOptions;
use nnc_runtime::{Artifact, Session};
use nnc_tensor::Value;
use nnc_tensor::file::{read_npy, write_npy};
use serde_json::Value as Json;
use std::path::Path;
use std::sync::Arc;

#[test]
fn models_agree_with_their_expected_outputs() {
    for name in ["digits", "voice", "keywords"] {
        let error = verify(&root().join("examples").join(name));
        assert!(error <= 1e-4, "{name}: relative L2 error {error:.2e}");
    }
}

/// The first command of the README, and its relatives.
#[test]
fn digits_are_read_from_pictures() {
    let nnc = build("bin", "nnc");
    for (picture, digit) in [("seven", 7), ("three", 3), ("two", 2)] {
        let picture = format!("examples/digits/{picture}.png");
        let normalized = ["--image-mean", "0.1307", "--image-std", "0.3081"];
        let words = ["run", "examples/digits/model.onnx", "--json", "--input", &picture];
        let scores = first_output(&run(&nnc, &[&words[..], &normalized[..]].concat()));
        let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        assert_eq!(best, Some(digit), "{picture}: {scores:?}");
        // Logarithms of probabilities.
        assert!(scores[digit] > 0.9f64.ln(), "{picture}: {scores:?}");
    }
}

/// The state that one window leaves goes into the next.
#[test]
fn voice_is_heard_with_the_state_carried_on() {
    let folder = root().join("examples/voice");
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let mut session = session(&folder.join("model.onnx"), temporary.path());
    let mut state: Option<Value> = None;
    let mut heard = Vec::new();
    for window in 0..5 {
        let set = folder.join(format!("test_data_set_{window}"));
        let mut inputs = protos(&set, "input");
        if let Some(state) = state.take() {
            inputs[1] = state;
        }
        let named: Vec<(&str, Value)> = ["input", "state", "sr"].into_iter().zip(inputs).collect();
        let mut outputs = session.run(&named).unwrap_or_else(|e| panic!("{e}"));
        state = outputs.pop();
        heard.push(outputs[0].tensor().expect("a tensor").to_f64s()[0]);
    }
    // What examples/voice/SOURCE.md says: silence, then speech.
    for (found, expected) in heard.iter().zip([0.002, 0.875, 0.992, 0.995, 0.995]) {
        assert!((found - expected).abs() < 1e-3, "{heard:?}");
    }
}

#[test]
fn a_text_form_and_a_builder_give_the_same_model() {
    let nnc = build("bin", "nnc");
    let words = ["run", "examples/points.nnir", "--input", "examples/points.json", "--json"];
    let scores = first_output(&run(&nnc, &words));
    let nearest = scores.chunks(3).map(|row| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])));
    assert_eq!(nearest.collect::<Vec<_>>(), [Some(0), Some(1), Some(2)], "{scores:?}");
    let printed = run(&build("example", "builder"), &[]);
    for row in scores.chunks(3) {
        assert!(printed.contains(&format!("{row:.3?}")), "{printed}\n{scores:?}");
    }
}

#[test]
fn a_program_without_a_compiler_runs_an_artifact() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let digits = root().join("examples/digits");
    drop(session(&digits.join("model.onnx"), folder.path()));
    let (inputs, expected) =
        (protos(&digits.join("test_data_set_0"), "input"), protos(&digits.join("test_data_set_0"), "output"));
    let input = write_npy(inputs[0].tensor().expect("a tensor")).expect("a .npy file");
    std::fs::write(at("image.npy"), input).expect("the file is written");
    let program = build("example", "run_model");
    let image = format!("input.1={}", at("image.npy").display());
    run(&program, &[&at("model.nnc").to_string_lossy(), &image, &folder.path().to_string_lossy()]);
    let found = std::fs::read(at("33.npy")).expect("the output was written");
    let found = Value::from(read_npy(&found).expect("an array"));
    assert!(crate::compare::error(&expected[0], &found) < 1e-5);
}

/// Files that the documents name are there.
#[test]
fn documents_name_files_that_exist() {
    for document in ["README.md", "examples/README.md", "src/cli/guide.rs"] {
        let text = std::fs::read_to_string(root().join(document)).expect("the document is there");
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        for word in text.split(|c| !is_path(c)).filter(|w| w.starts_with("examples/")) {
            // Artifacts are made by the commands before.
            let word = word.trim_end_matches('.').replace(".nnc", ".onnx");
            assert!(root().join(&word).exists(), "{document}: {word}");
        }
    }
}

fn session(path: &Path, folder: &Path) -> Session {
    let graph = model::import(path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let artifact = folder.join("model.nnc");
    nnc::compile(&graph, &Options::default(), &artifact).unwrap_or_else(|e| panic!("{e}"));
    Session::new(Arc::new(Artifact::open(&artifact).unwrap_or_else(|e| panic!("{e}"))))
}

fn first_output(json: &str) -> Vec<f64> {
    let json: Json = serde_json::from_str(json.trim()).expect("JSON");
    let data = json["outputs"][0]["data"].as_array().expect("the elements of the output");
    data.iter().map(|x| x.as_f64().expect("a number")).collect()
}
