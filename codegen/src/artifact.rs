//! Writes a lowered model with its machine code as an artifact.

use crate::cpu::{self, CodegenError, CpuTarget};
use crate::gpu;
use crate::pack::pack;
use crate::{Machine, Precision};
use nnc_ir::plan::{Program, Weight};
use nnc_ir::{DType, Dim};
use nnc_runtime::{
    ArtifactError, ArtifactInfo, ArtifactWriter, DeviceCode, DeviceEntry, DeviceText, TargetCode, TargetInfo,
};
use nnc_tensor::plan::{DimId, Kernel, Place, Plan, Step};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
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

/// A program's code for one machine.
struct Compiled {
    plan: Plan,
    target: TargetInfo,
    code: Vec<u8>,
    device: Option<DeviceCode>,
}

/// Compiles kernels for each machine, packs weights and writes the artifact. Each program comes with the
/// machines whose kernels it has; all devices are one target, with a text for each generation.
pub fn write(
    programs: &[(&Program, Vec<Machine>)],
    precision: Precision,
    info: ArtifactInfo,
    path: &Path,
) -> Result<Sizes, WriteError> {
    let mut parts = Vec::new();
    for (program, machines) in programs {
        let mut devices = Vec::new();
        for machine in machines {
            match machine {
                Machine::Cpu(cpu) => parts.push((*program, for_cpu(program, cpu)?)),
                Machine::Cuda(_) => devices.push(*machine),
            }
        }
        if !devices.is_empty() {
            parts.push((*program, for_devices(program, &devices, precision)?));
        }
    }
    let mut writer = ArtifactWriter::create(path)?;
    let mut weights = Weights::new(programs.len() > 1);
    for (program, part) in &mut parts {
        weights.write(program, &mut part.plan, &mut writer)?;
    }
    let texts = parts.iter().filter_map(|(_, p)| p.device.as_ref()).flat_map(|d| &d.texts);
    let code = parts.iter().map(|(_, p)| p.code.len()).chain(texts.map(|t| t.text.len())).sum::<usize>();
    let info = ArtifactInfo {
        precision: precision.to_string(),
        targets: parts.iter().map(|(_, p)| p.target.clone()).collect(),
        ..info
    };
    let targets: Vec<TargetCode<'_>> = parts
        .iter()
        .map(|(_, p)| TargetCode { code: &p.code, plan: &p.plan, device: p.device.as_ref() })
        .collect();
    writer.finish(&targets, &info)?;
    Ok(Sizes { code: code as u64, weights: weights.total })
}

fn for_cpu(program: &Program, cpu: &CpuTarget) -> Result<Compiled, WriteError> {
    let mut plan = program.plan.clone();
    let module = cpu::compile(&program.kernels, cpu)?;
    link(&mut plan, program, &module);
    let target = TargetInfo {
        name: cpu.to_string(),
        abi: cpu.abi().to_owned(),
        features: cpu.required().into_iter().map(str::to_owned).collect(),
    };
    Ok(Compiled { plan, target, code: module.code, device: None })
}

fn for_devices(
    program: &Program,
    machines: &[Machine],
    precision: Precision,
) -> Result<Compiled, WriteError> {
    let mut plan = program.plan.clone();
    let generations: BTreeSet<gpu::Sm> = machines.iter().flat_map(|m| m.generations()).collect();
    let mut modules = Vec::new();
    for sm in generations {
        modules.push((sm, gpu::compile(&program.kernels, sm, precision)?));
    }
    let device = Some(link_device(&mut plan, program, modules));
    let names: Vec<String> = machines.iter().map(Machine::to_string).collect();
    let target = TargetInfo { name: names.join(","), ..TargetInfo::default() };
    Ok(Compiled { plan, target, code: Vec::new(), device })
}

/// Offset and length in the section of weights.
type Span = (u64, u64);

/// Weights by the hash of their bytes.
type ByHash<'p> = HashMap<u64, Vec<(&'p Weight, Span)>>;

/// A program, and where those of its weights are that were written.
struct Written<'p> {
    program: &'p Program,
    places: Vec<Option<Span>>,
}

/// The weights of all programs; what several need is stored once.
struct Weights<'p> {
    programs: Vec<Written<'p>>,
    /// Those of any program, if there are several.
    by_hash: Option<ByHash<'p>>,
    total: u64,
}

impl<'p> Weights<'p> {
    fn new(several: bool) -> Weights<'p> {
        Weights { programs: Vec::new(), by_hash: several.then(HashMap::new), total: 0 }
    }

    /// Writes the weights and puts their places into the plan.
    fn write(
        &mut self,
        program: &'p Program,
        plan: &mut Plan,
        writer: &mut ArtifactWriter,
    ) -> Result<(), WriteError> {
        let known = self.programs.iter().position(|w| std::ptr::eq(w.program, program));
        let at = known.unwrap_or_else(|| {
            self.programs.push(Written { program, places: vec![None; program.weights.len()] });
            self.programs.len() - 1
        });
        for b in &mut plan.buffers {
            let Place::Constant { offset, len } = &mut b.place else { continue };
            let i = usize::try_from(*offset).expect("an index of a weight");
            let place = match self.programs[at].places[i] {
                Some(p) => p,
                None => self.place(&program.weights[i], b.dtype, writer)?,
            };
            self.programs[at].places[i] = Some(place);
            (*offset, *len) = place;
        }
        Ok(())
    }

    /// Where a weight is, written or found.
    fn place(
        &mut self,
        weight: &'p Weight,
        dtype: DType,
        writer: &mut ArtifactWriter,
    ) -> Result<Span, WriteError> {
        if dtype == DType::Str {
            let place = writer.strings(weight.tensor.strings())?;
            self.total += place.1;
            return Ok(place);
        }
        let bytes = pack(weight);
        let known = self.by_hash.as_mut().map(|all| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&bytes);
            all.entry(hasher.finish()).or_default()
        });
        if let Some((_, place)) = known.iter().flat_map(|k| k.iter()).find(|(w, _)| *pack(w) == *bytes) {
            return Ok(*place);
        }
        let place = (writer.constant(&bytes)?, bytes.len() as u64);
        self.total += place.1;
        if let Some(known) = known {
            known.push((weight, place));
        }
        Ok(place)
    }
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
