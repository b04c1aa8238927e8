//! Model files: opened, read, imported.

use crate::map::map_file;
use nnc_frontend::model::{ExternalFiles, Model, read_model};
use nnc_frontend::{ImportErrors, ImportOptions};
use nnc_ir::Graph;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Why a model file does not become a graph.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused.
    #[error("cannot open \"{}\": {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no model, or a damaged one.
    #[error("\"{}\": {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: nnc_frontend::error::Error,
    },
    /// The model cannot be imported.
    #[error("\"{}\": {source}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Every reason.
        source: ImportErrors,
    },
}

/// Reads an ONNX file; weights stay in the mapped file or in the mapped files beside it.
pub fn read(path: &Path) -> Result<Model, ModelError> {
    let bytes = map_file(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    read_model(bytes, &mut ExternalFiles::beside(folder, &map_file))
        .map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

/// The graph of an ONNX file.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ModelError> {
    let model = read(path)?;
    let mut graph = nnc_frontend::import(&model, options)
        .map_err(|source| ModelError::Import { path: path.to_owned(), source })?;
    let names = || model.graph.outputs.iter().map(|o| o.name.clone()).collect();
    graph.output_names = options.outputs.clone().unwrap_or_else(names);
    Ok(graph)
}

/// A hash of the file's bytes, to find out whether an artifact was made from it.
pub fn hash(path: &Path) -> Result<u64, ModelError> {
    let bytes = map_file(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    Ok(xxh3_64((*bytes).as_ref()))
}
