//! Model files: opened, read, imported.

use crate::map::map_file;
use nnc_frontend::model::{ExternalFiles, Model, SharedBytes, read_model};
use nnc_frontend::{ImportErrors, ImportOptions, Problem};
use nnc_ir::text::TextError;
use nnc_ir::{Graph, VerifyError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
        source: Box<nnc_frontend::error::Error>,
    },
    /// Nodes that cannot be lowered.
    #[error("\"{}\": {}", path.display(), reasons(problems))]
    Refused {
        /// The file.
        path: PathBuf,
        /// All of them.
        problems: Vec<Problem>,
    },
    /// A graph in text form is malformed.
    #[error("\"{}\": {source}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: TextError,
    },
    /// A graph in text form breaks a rule of graphs.
    #[error("\"{}\": {}", path.display(), faults.iter().map(VerifyError::to_string).collect::<Vec<_>>().join("; "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which rules, and where.
        faults: Vec<VerifyError>,
    },
}

fn reasons(problems: &[Problem]) -> String {
    let reason = |p: &Problem| format!("node \"{}\": {}", p.node, p.reason);
    problems.iter().map(reason).collect::<Vec<_>>().join("; ")
}

fn open(path: &Path) -> Result<SharedBytes, ModelError> {
    map_file(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

/// Reads an ONNX file; weights stay in the mapped file or in the mapped files beside it.
pub fn read(path: &Path) -> Result<Model, ModelError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    read_model(open(path)?, &mut ExternalFiles::beside(folder, &map_file))
        .map_err(|e| ModelError::Read { path: path.to_owned(), source: Box::new(e) })
}

/// The graph of a model that has been read from `path`.
pub fn graph(path: &Path, model: &Model, options: &ImportOptions) -> Result<Graph, ModelError> {
    let path = path.to_owned();
    nnc_frontend::import(model, options).map_err(|e| match e {
        ImportErrors::Refused(problems) => ModelError::Refused { path, problems },
        ImportErrors::Model(source) => ModelError::Read { path, source },
    })
}

/// The graph of a file: ONNX, or the text form where the name ends in `.nnir`, its large constants in
/// a file of the same name with `.data` after it. Options apply to ONNX alone.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Graph, ModelError> {
    if path.extension().is_some_and(|e| e == "nnir") {
        read_text(path)
    } else {
        graph(path, &read(path)?, options)
    }
}

fn read_text(path: &Path) -> Result<Graph, ModelError> {
    let bytes = open(path)?;
    let text = String::from_utf8_lossy((*bytes).as_ref());
    let data_path = data_file(path);
    let data: SharedBytes = if data_path.exists() { open(&data_path)? } else { Arc::new(Vec::new()) };
    let graph = nnc_ir::text::parse(&text, (*data).as_ref())
        .map_err(|source| ModelError::Text { path: path.to_owned(), source })?;
    nnc_ir::verify(&graph).map_err(|faults| ModelError::Invalid { path: path.to_owned(), faults })?;
    Ok(graph)
}

/// Where the large constants of a graph in text form are.
pub fn data_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".data");
    name.into()
}

/// A hash of the file's bytes, to find out whether an artifact was made from it.
pub fn hash(path: &Path) -> Result<u64, ModelError> {
    Ok(xxh3_64((*open(path)?).as_ref()))
}
