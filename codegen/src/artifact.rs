//! Writes a lowered model with its machine code as an artifact.

use crate::cpu::{self, CodegenError, CpuTarget};
use crate::pack::pack;
use nnc_ir::plan::Program;
use nnc_ir::{DType, Dim};
use nnc_runtime::{ArtifactError, ArtifactInfo, ArtifactWriter};
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
    target: CpuTarget,
    info: ArtifactInfo,
    path: &Path,
) -> Result<Sizes, WriteError> {
    let module = cpu::compile(&program.kernels, &target)?;
    let mut plan = program.plan.clone();
    let mut writer = ArtifactWriter::create(path)?;
    let weights = constants(program, &mut plan, &mut writer)?;
    link(&mut plan, program, &module);
    let info = ArtifactInfo {
        target: target.to_string(),
        abi: target.abi().to_owned(),
        features: target.required().into_iter().map(str::to_owned).collect(),
        ..info
    };
    let code = module.code.len() as u64;
    writer.finish(&module.code, &plan, &info)?;
    Ok(Sizes { code, weights })
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

/// Gives kernels their code and launches their size arguments.
fn link(plan: &mut Plan, program: &Program, module: &cpu::Module) {
    let mut ids: HashMap<Dim, DimId> =
        plan.dims.iter().enumerate().map(|(i, d)| (d.clone(), DimId(i as u32))).collect();
    let mut dims = std::mem::take(&mut plan.dims);
    let mut intern = |d: &Dim| {
        *ids.entry(d.clone()).or_insert_with(|| {
            dims.push(d.clone());
            DimId(dims.len() as u32 - 1)
        })
    };
    plan.kernels = program
        .kernels
        .iter()
        .zip(&module.functions)
        .map(|(k, f)| Kernel {
            name: k.name.clone(),
            offset: f.offset as u64,
            scratch: intern(&f.scratch),
            writes: k.written().collect(),
        })
        .collect();
    let args: Vec<Vec<DimId>> =
        module.functions.iter().map(|f| f.dims.iter().map(&mut intern).collect()).collect();
    plan.dims = dims;
    plan.contracts.clone_from(&module.contracts);
    plan.steps.iter_mut().for_each(|s| set_args(s, &args));
}

fn set_args(step: &mut Step, args: &[Vec<DimId>]) {
    match step {
        Step::Launch { kernel, dims, .. } => dims.clone_from(&args[kernel.index()]),
        Step::If { then, otherwise, .. } => then.iter_mut().chain(otherwise).for_each(|s| set_args(s, args)),
        Step::Loop(l) => l.body.iter_mut().for_each(|s| set_args(s, args)),
        Step::Routine { .. } | Step::Copy { .. } | Step::Bind { .. } => {}
    }
}
