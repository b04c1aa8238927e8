//! The one way to execute a graph: compile it, write the artifact, open it, run a session.

use super::config::Config;
use super::failure::Failure;
use nnc::{CompileError, Options};
use nnc_ir::Graph;
use nnc_runtime::device::{Device, open_device};
use nnc_runtime::tensor::plan::Step;
use nnc_runtime::{Artifact, ArtifactError, Executor, Isa, LoadOptions, Pool, Session, SessionOptions};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a graph is not ready to run.
pub(crate) enum EngineError {
    /// It was not compiled.
    Compile(CompileError),
    /// It was not loaded.
    Load(ArtifactError),
    /// There is no place for the artifact.
    Folder(std::io::Error),
}

impl From<EngineError> for Failure {
    fn from(e: EngineError) -> Failure {
        match e {
            EngineError::Compile(e) => e.into(),
            EngineError::Load(e) => e.into(),
            EngineError::Folder(e) => Failure::user(format!("cannot make a temporary folder: {e}")),
        }
    }
}

/// Compiles into a temporary folder, which goes as soon as the artifact is mapped.
pub(crate) fn build(
    graph: &Graph,
    options: &Options,
    isa: Option<Isa>,
    executor: &Arc<dyn Executor>,
) -> Result<Session, EngineError> {
    let folder = tempfile::tempdir().map_err(EngineError::Folder)?;
    let path = folder.path().join("model.nnc");
    nnc::compile(graph, options, &path).map_err(EngineError::Compile)?;
    open(&path, options.device.as_deref(), isa, executor).map_err(EngineError::Load)
}

/// A session on an artifact, or on a model that is compiled first.
pub(crate) fn open_model(
    path: &Path,
    config: &Config,
    executor: &Arc<dyn Executor>,
) -> Result<Session, Failure> {
    if is_artifact(path) {
        let device = config.compile.device.as_deref();
        return open(path, device, None, executor).map_err(|e| in_file(path, e));
    }
    let graph = nnc::model::import(path, &config.import)?;
    Ok(build(&graph, &config.compile, None, executor)?)
}

/// The file claims to be an artifact, by its name or its first bytes.
pub(crate) fn is_artifact(path: &Path) -> bool {
    let starts = || {
        let mut head = [0; 4];
        let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
        read.is_ok() && &head == b"nncA"
    };
    path.extension().is_some_and(|e| e == "nnc") || starts()
}

/// An artifact's fault with the file's name.
fn in_file(path: &Path, e: ArtifactError) -> Failure {
    let headline = match &e {
        ArtifactError::Io { .. } => e.to_string(),
        other => format!("\"{}\": {other}", path.display()),
    };
    Failure { help: e.help(), ..Failure::user(headline) }
}

/// Names of the routines that a model calls.
pub(crate) fn routines(session: &Session) -> Vec<String> {
    let mut names = BTreeSet::new();
    collect_routines(&session.artifact().plan().steps, &mut names);
    names.into_iter().collect()
}

/// Opens an artifact, its weights checked.
pub(crate) fn open(
    path: &Path,
    device: Option<&str>,
    isa: Option<Isa>,
    executor: &Arc<dyn Executor>,
) -> Result<Session, ArtifactError> {
    let device = device.map(open_device).transpose()?;
    let device = device.as_ref();
    let options = LoadOptions { isa, check_weights: true, device, ..LoadOptions::default() };
    let artifact = Arc::new(Artifact::open_with(path, &options)?);
    artifact.on_device().into_iter().for_each(keep_open);
    let session = SessionOptions { executor: Some(Arc::clone(executor)), ..SessionOptions::default() };
    Ok(Session::with_options(artifact, &session))
}

/// Devices stay open until the program ends: opening one takes longer than many a model runs.
fn keep_open(device: &Arc<dyn Device>) {
    static OPEN: Mutex<Vec<Arc<dyn Device>>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !open.iter().any(|d| Arc::ptr_eq(d, device)) {
        open.push(Arc::clone(device));
    }
}

fn collect_routines(steps: &[Step], names: &mut BTreeSet<String>) {
    for step in steps {
        match step {
            Step::Routine { name, .. } => {
                names.insert(name.clone());
            }
            Step::If { then, otherwise, .. } => {
                collect_routines(then, names);
                collect_routines(otherwise, names);
            }
            Step::Loop(l) => collect_routines(&l.body, names),
            Step::Launch { .. } | Step::Copy { .. } | Step::Bind { .. } => {}
        }
    }
}

/// A pool of `threads`, else of as many as the environment's NNC_THREADS says, else of all.
pub(crate) fn executor(threads: Option<usize>) -> Result<Arc<dyn Executor>, Failure> {
    Ok(Arc::new(Pool::new(thread_count(threads)?)))
}

/// The number of threads that an option and the environment ask for.
pub(crate) fn thread_count(threads: Option<usize>) -> Result<usize, Failure> {
    let from_environment = || match std::env::var("NNC_THREADS") {
        Ok(text) if !text.is_empty() => match text.parse() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(Failure::user(format!("NNC_THREADS must be a positive number, found \"{text}\""))),
        },
        _ => Ok(nnc_runtime::default_threads()),
    };
    match threads {
        Some(0) => Err(Failure::user("--threads must be at least 1")),
        Some(n) => Ok(n),
        None => from_environment(),
    }
}
