//! What the benches share: which models there are and how they are opened.

use nnc_frontend::ImportOptions;
use nnc_tensor::Value;
use nnc_tensor::file::{ProtoKind, read_value_proto};
use std::path::{Path, PathBuf};

/// The models of `examples/` and, where the environment's `NNC_MATERIALIZED` names a folder of them,
/// the others: name and folder.
pub fn models() -> Vec<(String, PathBuf)> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let more = std::env::var_os("NNC_MATERIALIZED").map(PathBuf::from);
    let folders = std::iter::once(ours).chain(more).flat_map(|f| std::fs::read_dir(f).into_iter().flatten());
    let named = folders.flatten().map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()));
    let mut found: Vec<_> = named.filter(|(_, path)| path.join("model.onnx").is_file()).collect();
    found.sort();
    found
}

/// The graph of a model's folder.
pub fn graph(folder: &Path) -> nnc::ir::Graph {
    let file = folder.join("model.onnx");
    nnc::model::import(&file, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The inputs of a model's first data set.
pub fn inputs(folder: &Path) -> Vec<Value> {
    let file = |i: usize| std::fs::read(folder.join(format!("test_data_set_0/input_{i}.pb"))).ok();
    let value = |bytes: Vec<u8>| read_value_proto(&bytes, ProtoKind::Tensor).expect("an input is a tensor");
    (0..).map_while(file).map(value).collect()
}
