//! Models of many exporters, where the collection lies beside the sources.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use onnx_protobuf::{Message, ModelProto, StringStringEntryProto, tensor_proto};

use crate::function::inline_functions;
use crate::model::{ExternalFiles, Model, SharedBytes, check_graph, read_model};

/// The collection of models: the variable `NNC_MODELS`, or the place beside the sources.
pub(crate) fn models_folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/models");
    let folder = std::env::var_os("NNC_MODELS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Reads, inlines and checks.
fn read_fully(mut model: Model) -> Result<(), String> {
    model = inline_functions(model).map_err(|error| error.to_string())?;
    check_graph(&mut model.graph).map_err(|error| error.to_string())
}

/// Every trained model, read, goes to `f`; reports all that fail.
pub(crate) fn for_each_trained(f: &mut dyn FnMut(Model) -> Result<(), String>) {
    let Some(folder) = models_folder() else { return };
    let models = entries(&folder.join("trained")).into_iter().map(|path| path.join("model.onnx"));
    let mut failed = Vec::new();
    for path in models.filter(|path| path.is_file()) {
        let model = read_model(Arc::new(fs::read(&path).unwrap()), &mut ExternalFiles::none());
        if let Err(error) = model.map_err(|error| error.to_string()).and_then(&mut *f) {
            failed.push(format!("{}: {error}", path.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn trained_models_are_read() {
    for_each_trained(&mut read_fully);
}

/// The graphs' weights were removed; they are put into an external file of zeros.
fn with_external_weights(bytes: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::parse_from_bytes(bytes).unwrap();
    for tensor in &mut model.graph.mut_or_insert_default().initializer {
        let held = tensor.raw_data.len()
            + tensor.float_data.len()
            + tensor.int32_data.len()
            + tensor.int64_data.len()
            + tensor.double_data.len()
            + tensor.uint64_data.len()
            + tensor.string_data.len();
        if held == 0 {
            tensor.data_location = tensor_proto::DataLocation::EXTERNAL.into();
            let mut location = StringStringEntryProto::new();
            location.key = "location".to_owned();
            location.value = "zeros".to_owned();
            tensor.external_data = vec![location];
        }
    }
    model.write_to_bytes().unwrap()
}

/// Every exported architecture, with zeros for weights, goes to `f`; reports all that fail.
pub(crate) fn for_each_architecture(f: &mut dyn FnMut(Model) -> Result<(), String>) {
    let Some(folder) = models_folder() else { return };
    let beside = tempfile::tempdir().unwrap();
    fs::write(beside.path().join("zeros"), [0]).unwrap();
    // Fresh zeroed pages cost nothing until they are read, and nobody reads them here.
    let zeros: SharedBytes = Arc::new(vec![0_u8; 1 << 30]);
    let open = |_: &Path| -> io::Result<SharedBytes> { Ok(Arc::clone(&zeros)) };
    let mut failed = Vec::new();
    for path in entries(&folder.join("architectures")) {
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let mut bytes = Vec::new();
        GzDecoder::new(File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
        let mut files = ExternalFiles::beside(beside.path(), &open);
        let model = read_model(Arc::new(with_external_weights(&bytes)), &mut files);
        if let Err(error) = model.map_err(|error| error.to_string()).and_then(&mut *f) {
            failed.push(format!("{}: {error}", path.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn exported_architectures_are_read() {
    for_each_architecture(&mut read_fully);
}
