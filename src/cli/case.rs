//! A case in the standard's layout: `model.onnx`, `test_data_set_N/input_K.pb` and `output_K.pb`, and
//! optionally `tolerance.json` with `rtol` and `atol`.

use super::failure::Failure;
use nnc_runtime::{Port, Session, Value};
use nnc_tensor::compare::Tolerance;
use nnc_tensor::file::{ProtoKind, read_value_proto};
use std::path::{Path, PathBuf};

/// Tensors for one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataSet {
    /// In the order of the model's inputs.
    pub(crate) inputs: Vec<Value>,
    /// In the order of the model's outputs; empty where the case has none.
    pub(crate) outputs: Vec<Value>,
}

/// The model file that an argument means: itself, or the one in the folder.
pub(crate) fn model_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.onnx") } else { path.to_owned() }
}

/// The data sets of a folder in the order of their numbers; none for a file.
pub(crate) fn data_folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|e| {
            let number = e.file_name().to_str()?.strip_prefix("test_data_set_")?.parse().ok()?;
            Some((number, e.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, p)| p).collect()
}

/// Reads the inputs of a data set, and its outputs where there are any.
pub(crate) fn read_data(folder: &Path, session: &Session) -> Result<DataSet, Failure> {
    let inputs = read_values(folder, "input", &session.inputs())?;
    let outputs = if folder.join("output_0.pb").exists() {
        read_values(folder, "output", &session.outputs())?
    } else {
        Vec::new()
    };
    Ok(DataSet { inputs, outputs })
}

fn read_values(folder: &Path, what: &str, ports: &[Port]) -> Result<Vec<Value>, Failure> {
    let read = |(k, port): (usize, &Port)| {
        let path = folder.join(format!("{what}_{k}.pb"));
        let value = read_value(&path, proto_kind(port))?;
        // Many programs write a sequence of maps as a table; as a sequence that has no elements.
        let maps = port.container.as_deref().is_some_and(|c| c.starts_with("seq(map"));
        if maps && value == Value::Sequence(Vec::new()) {
            return Ok(read_value(&path, ProtoKind::Tensor).unwrap_or(value));
        }
        Ok(value)
    };
    ports.iter().enumerate().map(read).collect()
}

/// Reads one protobuf file.
pub(crate) fn read_value(path: &Path, kind: ProtoKind) -> Result<Value, Failure> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|e| Failure::user(format!("cannot read \"{shown}\": {e}")))?;
    read_value_proto(&bytes, kind).map_err(|e| Failure::user(format!("\"{shown}\": {e}")))
}

/// The message that holds a port's values.
pub(crate) fn proto_kind(port: &Port) -> ProtoKind {
    ProtoKind::of_container(port.container.as_deref())
}

/// The tolerance that the folder states.
pub(crate) fn stated_tolerance(folder: &Path) -> Result<Option<Tolerance>, Failure> {
    let path = folder.join("tolerance.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let wrong = |what: String| Failure::user(format!("\"{}\": {what}", path.display()));
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let number = |key: &str| json.get(key).and_then(serde_json::Value::as_f64);
    match (number("rtol"), number("atol")) {
        (Some(rtol), Some(atol)) => Ok(Some(Tolerance::Given { rtol, atol })),
        _ => Err(wrong("\"rtol\" and \"atol\" must be numbers".into())),
    }
}
