//! From a graph to an artifact.

use nnc_codegen::Machine;
use nnc_codegen::artifact::{self, WriteError};
use nnc_codegen::cpu::CodegenError;
use nnc_ir::plan::Program;
use nnc_ir::{Graph, OpError};
use nnc_passes::{LowerError, Report, Schedule, Target};
use nnc_runtime::{ArtifactInfo, Isa};
use std::path::Path;

/// What to compile for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the target: a CPU, of which `native` is this one, `cuda`, or `cuda:sm_80`.
    pub target: String,
    /// The device that will run code for devices: `cuda:1`; the first one by default.
    pub device: Option<String>,
    /// Run the optimizing passes.
    pub optimize: bool,
    /// Stop after so many rewrites.
    pub fuel: u64,
    /// Hashes of the model file and of all options, kept in the artifact so that it can be reused.
    pub origin: (u64, u64),
}

impl Default for Options {
    fn default() -> Options {
        Options { target: "native".into(), device: None, optimize: true, fuel: u64::MAX, origin: (0, 0) }
    }
}

impl Options {
    /// What the passes are told of these options.
    pub fn passes(&self) -> Target {
        let schedule = match Machine::parse(&self.target) {
            Ok(Machine::Cuda(_)) => Schedule::GPU,
            _ => Schedule::CPU,
        };
        Target { channels_last: self.optimize, optimize: self.optimize, schedule }
    }
}

/// The target whose code runs on a machine that has an instruction set of this architecture at most.
pub fn target_for(isa: Isa) -> &'static str {
    match isa {
        Isa::Portable if cfg!(target_arch = "x86_64") => "x86-64-v2",
        Isa::Avx2 => "x86-64-v3",
        Isa::Avx512 | Isa::Avx512Vnni => "x86-64-v4",
        Isa::Portable | Isa::Neon | Isa::NeonDot => "native",
    }
}

/// Why a graph was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The target is unknown or not built in.
    #[error(transparent)]
    Target(#[from] CodegenError),
    /// A pass failed: a bug of nnc.
    #[error("internal error in an optimization: {0}")]
    Pass(OpError),
    /// An operator has no code.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The artifact could not be made or written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a compilation made.
#[derive(Debug)]
pub struct Compiled {
    /// Kernels.
    pub n_kernels: usize,
    /// Steps of the plan.
    pub n_steps: usize,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes of machine code.
    pub code: u64,
    /// Name of the target.
    pub target: String,
    /// What the passes did.
    pub report: Report,
}

/// Runs the passes.
pub fn optimize(graph: &Graph, options: &Options, report: &mut Report) -> Result<Graph, CompileError> {
    nnc_passes::optimize(graph, &options.passes(), report, &mut |_, _| ()).map_err(CompileError::Pass)
}

/// Lowers an optimized graph to kernels and a plan.
pub fn lower(graph: &Graph, options: &Options) -> Result<Program, CompileError> {
    Machine::parse(&options.target)?;
    Ok(nnc_passes::lower(graph, &options.passes())?)
}

/// Lowers an optimized graph and writes the artifact.
pub fn emit(graph: &Graph, options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    write(&lower(graph, options)?, options, path)
}

/// Compiles the kernels of a lowered graph and writes the artifact.
pub fn write(program: &Program, options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    let target = Machine::parse(&options.target)?;
    let info = ArtifactInfo {
        model: program.plan.name.clone(),
        precision: "f32".into(),
        writer: env!("CARGO_PKG_VERSION").into(),
        model_hash: options.origin.0,
        options_hash: options.origin.1,
        ..ArtifactInfo::default()
    };
    let sizes = artifact::write(program, target, info, path)?;
    Ok(Compiled {
        n_kernels: program.kernels.len(),
        n_steps: program.plan.steps.len(),
        weights: sizes.weights,
        code: sizes.code,
        target: target.to_string(),
        report: Report::default(),
    })
}

/// Optimizes a graph and writes its artifact.
pub fn compile(graph: &Graph, options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    let mut report = Report { fuel: options.fuel, ..Report::default() };
    let optimized = optimize(graph, options, &mut report)?;
    Ok(Compiled { report, ..emit(&optimized, options, path)? })
}
