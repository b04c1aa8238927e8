//! Writes a lowered model with its machine code as an artifact.

use crate::Machine;
use crate::cpu::{self, CodegenError};
use crate::gpu;
use crate::pack::pack;
use nnc_ir::plan::Program;
use nnc_ir::{DType, Dim};
use nnc_runtime::{ArtifactError, ArtifactInfo, ArtifactWriter, DeviceCode, DeviceEntry, DeviceText};
use nnc_tensor::plan::{DimId, Kernel, Place, Plan, Step};
use std::collections::HashMap;
use std::path::Path;

/// Why no artifact was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The code generator failed.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// The file could not be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Sizes of an artifact, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Machine code.
    pub code: u64,
    /// Weights.
    pub weights: u64,
}

/// Compiles a program's kernels, packs its weights and writes the artifact.
pub fn write(
    program: &Program,
    machine: Machine,
    info: ArtifactInfo,
    path: &Path,
) -> Result<Sizes, WriteError> {
    let mut plan = program.plan.clone();
    let info = ArtifactInfo { target: machine.to_string(), ..info };
    match machine {
        Machine::Cpu(target) => {
            let module = cpu::compile(&program.kernels, &target)?;
            let mut writer = ArtifactWriter::create(path)?;
            let weights = constants(program, &mut plan, &mut writer)?;
            link(&mut plan, program, &module);
            let info = ArtifactInfo {
                abi: target.abi().to_owned(),
                features: target.required().into_iter().map(str::to_owned).collect(),
                ..info
            };
            writer.finish(&module.code, &plan, &info)?;
            Ok(Sizes { code: module.code.len() as u64, weights })
        }
        Machine::Cuda(_) => {
            let mut modules = Vec::new();
            for sm in machine.generations() {
                modules.push((sm, gpu::compile(&program.kernels, sm)?));
            }
            let mut writer = ArtifactWriter::create(path)?;
            let weights = constants(program, &mut plan, &mut writer)?;
            let device = link_device(&mut plan, program, modules);
            let code = device.texts.iter().map(|t| t.text.len() as u64).sum();
            writer.device(device);
            writer.finish(&[], &plan, &info)?;
            Ok(Sizes { code, weights })
        }
    }
}

/// Writes the weights and puts their places into the plan; equal weights are stored once.
fn constants(program: &Program, plan: &mut Plan, writer: &mut ArtifactWriter) -> Result<u64, WriteError> {
    let mut total = 0;
    let mut written: Vec<Option<(u64, u64)>> = vec![None; program.weights.len()];
    for b in &mut plan.buffers {
        let Place::Constant { offset, len } = &mut b.place else { continue };
        let i = usize::try_from(*offset).expect("an index of a weight");
        let weight = &program.weights[i];
        let place = match written[i] {
            Some(p) => p,
            None if b.dtype == DType::Str => writer.strings(weight.tensor.strings())?,
            None => {
                let bytes = pack(weight);
                (writer.constant(&bytes)?, bytes.len() as u64)
            }
        };
        if written[i].replace(place).is_none() {
            total += place.1;
        }
        (*offset, *len) = place;
    }
    Ok(total)
}

/// The sizes of a plan, to which others are added.
struct Sized {
    ids: HashMap<Dim, DimId>,
    dims: Vec<Dim>,
}

impl Sized {
    fn of(plan: &mut Plan) -> Sized {
        let dims = std::mem::take(&mut plan.dims);
        Sized { ids: dims.iter().enumerate().map(|(i, d)| (d.clone(), DimId(i as u32))).collect(), dims }
    }

    fn id(&mut self, d: &Dim) -> DimId {
        *self.ids.entry(d.clone()).or_insert_with(|| {
            self.dims.push(d.clone());
            DimId(self.dims.len() as u32 - 1)
        })
    }
}

/// Gives kernels their code and launches their size arguments.
fn link(plan: &mut Plan, program: &Program, module: &cpu::Module) {
    let mut sizes = Sized::of(plan);
    let functions = program.kernels.iter().zip(&module.functions);
    plan.kernels = functions
        .map(|(k, f)| Kernel {
            name: k.name.clone(),
            offset: f.offset as u64,
            scratch: sizes.id(&f.scratch),
            writes: k.written().collect(),
        })
        .collect();
    let args: Vec<Vec<DimId>> =
        module.functions.iter().map(|f| f.dims.iter().map(|d| sizes.id(d)).collect()).collect();
    plan.dims = sizes.dims;
    plan.contracts.clone_from(&module.contracts);
    plan.steps.iter_mut().for_each(|s| set_args(s, &args));
}

/// The same for code of devices, whose entries do not differ between generations.
fn link_device(plan: &mut Plan, program: &Program, modules: Vec<(gpu::Sm, gpu::Module)>) -> DeviceCode {
    let functions: &[gpu::Function] = modules.first().map_or(&[], |(_, m)| &m.functions);
    let mut sizes = Sized::of(plan);
    let none = sizes.id(&Dim::ZERO);
    let kernel = |k: &nnc_ir::tile::Kernel| Kernel {
        name: k.name.clone(),
        offset: 0,
        scratch: none,
        writes: k.written().collect(),
    };
    plan.kernels = program.kernels.iter().map(kernel).collect();
    let args: Vec<Vec<DimId>> =
        functions.iter().map(|f| f.dims.iter().map(|d| sizes.id(d)).collect()).collect();
    let entry = |f: &gpu::Function| DeviceEntry {
        name: f.name.clone(),
        threads: f.threads,
        thread_per_point: f.thread_per_point,
        workspace: sizes.id(&f.workspace),
        writes: f.writes.clone(),
    };
    let entries = functions.iter().map(entry).collect();
    plan.dims = sizes.dims;
    plan.steps.iter_mut().for_each(|s| set_args(s, &args));
    let text = |(sm, m): (gpu::Sm, gpu::Module)| {
        let (major, minor) = sm.capability();
        DeviceText { major, minor, exact: sm.is_exact(), text: m.text }
    };
    DeviceCode { entries, texts: modules.into_iter().map(text).collect() }
}

fn set_args(step: &mut Step, args: &[Vec<DimId>]) {
    match step {
        Step::Launch { kernel, dims, .. } => dims.clone_from(&args[kernel.index()]),
        Step::If { then, otherwise, .. } => then.iter_mut().chain(otherwise).for_each(|s| set_args(s, args)),
        Step::Loop(l) => l.body.iter_mut().for_each(|s| set_args(s, args)),
        Step::Routine { .. } | Step::Copy { .. } | Step::Bind { .. } => {}
    }
}
