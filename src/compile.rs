//! From a graph to an artifact.

use nnc_codegen::artifact::{self, WriteError};
use nnc_codegen::cpu::CodegenError;
use nnc_codegen::{Machine, Precision};
use nnc_ir::plan::Program;
use nnc_ir::{Graph, OpError};
use nnc_passes::{LowerError, Report, Schedule, Target};
use nnc_runtime::{ArtifactInfo, Isa};
use std::path::Path;

/// What to compile for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the target: a CPU, of which `native` is this one, `cuda`, or `cuda:sm_80`; or several, with
    /// commas between them.
    pub target: String,
    /// The device that will run code for devices: `cuda:1`; the first one by default.
    pub device: Option<String>,
    /// How exact results are.
    pub precision: Precision,
    /// Run the optimizing passes.
    pub optimize: bool,
    /// Stop after so many rewrites.
    pub fuel: u64,
    /// Hashes of the model file and of all options, kept in the artifact so that it can be reused.
    pub origin: (u64, u64),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            target: "native".into(),
            device: None,
            precision: Precision::default(),
            optimize: true,
            fuel: u64::MAX,
            origin: (0, 0),
        }
    }
}

impl Options {
    /// What the passes are told of these options, for the first target.
    pub fn passes(&self) -> Target {
        let first = Machine::parse_all(&self.target).ok().and_then(|all| all.first().copied());
        let schedule = first.map_or(Schedule::CPU, schedule_of);
        Target { channels_last: self.optimize, optimize: self.optimize, schedule }
    }
}

/// What a machine's kernels look like.
fn schedule_of(machine: Machine) -> Schedule {
    match machine {
        Machine::Cpu(_) => Schedule::CPU,
        Machine::Cuda(_) => Schedule::GPU,
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
    /// Kernels for the first target.
    pub n_kernels: usize,
    /// Steps of its plan.
    pub n_steps: usize,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes of machine code.
    pub code: u64,
    /// Names of the targets, with commas between them.
    pub target: String,
    /// What the passes did.
    pub report: Report,
}

/// Runs the passes.
pub fn optimize(graph: &Graph, options: &Options, report: &mut Report) -> Result<Graph, CompileError> {
    nnc_passes::optimize(graph, &options.passes(), report, &mut |_, _| ()).map_err(CompileError::Pass)
}

/// A graph's kernels and plan for machines whose kernels look alike.
#[derive(Debug)]
pub struct Lowered {
    /// Kernels and plan.
    pub program: Program,
    schedule: Schedule,
    machines: Vec<Machine>,
}

/// Lowers an optimized graph to kernels and a plan for the first target.
pub fn lower(graph: &Graph, options: &Options) -> Result<Program, CompileError> {
    Machine::parse_all(&options.target)?;
    Ok(nnc_passes::lower(graph, &options.passes())?)
}

/// The same for all targets: CPUs share one program, devices another. The first is for the first target.
pub fn lower_all(graph: &Graph, options: &Options) -> Result<Vec<Lowered>, CompileError> {
    let mut all: Vec<Lowered> = Vec::new();
    for machine in Machine::parse_all(&options.target)? {
        let schedule = schedule_of(machine);
        match all.iter_mut().find(|l| l.schedule == schedule) {
            Some(lowered) => lowered.machines.push(machine),
            None => {
                let program = nnc_passes::lower(graph, &Target { schedule, ..options.passes() })?;
                all.push(Lowered { program, schedule, machines: vec![machine] });
            }
        }
    }
    Ok(all)
}

/// Lowers an optimized graph and writes the artifact.
pub fn emit(graph: &Graph, options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    write(&lower_all(graph, options)?, options, path)
}

/// Compiles the kernels of a lowered graph and writes the artifact.
pub fn write(lowered: &[Lowered], options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    let first = lowered.first().map(|l| &l.program);
    let info = ArtifactInfo {
        model: first.map_or_else(String::new, |p| p.plan.name.clone()),
        writer: env!("CARGO_PKG_VERSION").into(),
        model_hash: options.origin.0,
        options_hash: options.origin.1,
        ..ArtifactInfo::default()
    };
    let programs: Vec<_> = lowered.iter().map(|l| (&l.program, l.machines.clone())).collect();
    let sizes = artifact::write(&programs, options.precision, info, path)?;
    let names: Vec<String> = Machine::parse_all(&options.target)?.iter().map(Machine::to_string).collect();
    Ok(Compiled {
        n_kernels: first.map_or(0, |p| p.kernels.len()),
        n_steps: first.map_or(0, |p| p.plan.steps.len()),
        weights: sizes.weights,
        code: sizes.code,
        target: names.join(","),
        report: Report::default(),
    })
}

/// Optimizes a graph and writes its artifact.
pub fn compile(graph: &Graph, options: &Options, path: &Path) -> Result<Compiled, CompileError> {
    let mut report = Report { fuel: options.fuel, ..Report::default() };
    let optimized = optimize(graph, options, &mut report)?;
    Ok(Compiled { report, ..emit(&optimized, options, path)? })
}
