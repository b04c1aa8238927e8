//! Loads artifacts. What a loaded artifact refers to has been checked: header, sections, plan, the
//! CPU's features, kernels and routines. Machine code itself is trusted, as a shared library's is.

use super::decode::decode;
use super::error::ArtifactError;
use super::format::{ArtifactInfo, SectionKind, TargetInfo, host_abi};
#[cfg(feature = "device")]
use super::format::{DeviceCode, DeviceEntry};
use super::header::Header;
use super::map::{Code, Image};
#[cfg(not(feature = "device"))]
use crate::device::DeviceError;
#[cfg(feature = "device")]
use crate::device::open_device;
use crate::device::{Device, DeviceTensor, Located};
use crate::exec::{DeviceProgram, PlanFault, Program, Routine, RoutineFn, Surroundings, check};
use crate::os::{best_target, host_architecture, missing_features};
use nnc_kernels::{Isa, Kernel, KernelFn, lookup_on};
use nnc_tensor::Bytes;
use nnc_tensor::plan::{Contract, Plan};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// How an artifact is loaded.
#[derive(Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// Take the CPU for one that has this instruction set and those it implies only: kernels of others
    /// are not used, and an artifact whose code needs more is refused.
    pub isa: Option<Isa>,
    /// Routines of the application by name, found before the library's own.
    pub routines: &'a [(&'a str, RoutineFn)],
    /// Check the weights too; reads all of them.
    pub check_weights: bool,
    /// The device to run on. Without one the CPU runs; of an artifact that has no code for CPUs,
    /// `cuda:0` does.
    pub device: Option<&'a Arc<dyn Device>>,
}

/// A compiled model, ready for sessions to run. Share it in an [`Arc`](std::sync::Arc).
pub struct Artifact {
    info: ArtifactInfo,
    target: usize,
    plan: Plan,
    program: Program,
    kernels: Vec<&'static Kernel>,
    table: Vec<KernelFn>,
    code: Code,
    image: Image,
    weights: Range<usize>,
    device: Option<DeviceProgram>,
}

impl Artifact {
    /// Maps and checks an artifact, its weights' checksum excepted.
    pub fn open(path: impl AsRef<Path>) -> Result<Artifact, ArtifactError> {
        Artifact::open_with(path, &LoadOptions::default())
    }

    /// [`Artifact::open`] that also reads and checks the weights.
    pub fn open_checked(path: impl AsRef<Path>) -> Result<Artifact, ArtifactError> {
        Artifact::open_with(path, &LoadOptions { check_weights: true, ..LoadOptions::default() })
    }

    /// Maps and checks an artifact.
    pub fn open_with(path: impl AsRef<Path>, options: &LoadOptions<'_>) -> Result<Artifact, ArtifactError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| ArtifactError::io("open", path, e))?;
        let len = file.metadata().map_err(|e| ArtifactError::io("open", path, e))?.len();
        if len == 0 {
            // An empty file cannot be mapped.
            return Err(ArtifactError::NotAnArtifact);
        }
        let image = Image::map(&file, path)?;
        load(image, options, |_, range| Code::map(&file, path, range.start as u64, range.len()))
    }

    /// Loads an artifact from memory; its code is copied to executable pages.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Artifact, ArtifactError> {
        Artifact::from_bytes_with(bytes, &LoadOptions::default())
    }

    /// Loads an artifact from memory.
    pub fn from_bytes_with(bytes: Vec<u8>, options: &LoadOptions<'_>) -> Result<Artifact, ArtifactError> {
        let image = Image::from_bytes(bytes).ok_or_else(|| ArtifactError::Map(out_of_memory()))?;
        load(image, options, |image, range| Code::copy(&image.bytes()[range]))
    }

    /// Where the artifact comes from and what it needs.
    pub fn info(&self) -> &ArtifactInfo {
        &self.info
    }

    /// Which of the artifact's targets runs here; `None` where it holds a plan without machine code.
    pub fn target(&self) -> Option<&TargetInfo> {
        self.info.targets.get(self.target)
    }

    /// The plan as it is stored.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The kernels that serve the plan's contracts on this CPU, in the plan's order.
    pub fn kernels(&self) -> &[&'static Kernel] {
        &self.kernels
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// The device that it runs on, if it is none of the CPU's targets that runs here.
    pub fn on_device(&self) -> Option<&Arc<dyn Device>> {
        self.device().map(DeviceProgram::device)
    }

    /// The code on a device, where that is what the artifact was compiled for.
    pub(crate) fn device(&self) -> Option<&DeviceProgram> {
        self.device.as_ref()
    }

    /// A value that lies on the artifact's device.
    pub(crate) fn resident(&self, value: &Located) -> Option<DeviceTensor> {
        match (value, self.on_device()) {
            (Located::Device(t), Some(device)) if Arc::ptr_eq(t.device(), device) => Some(t.clone()),
            _ => None,
        }
    }

    pub(crate) fn table(&self) -> &[KernelFn] {
        &self.table
    }

    pub(crate) fn code(&self) -> &[u8] {
        self.code.bytes()
    }

    /// Bytes of the weights, which all sessions share.
    pub fn weights_len(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn weights(&self) -> &[u8] {
        &self.image.bytes()[self.weights.clone()]
    }

    /// A range of the weights as memory that tensors share.
    pub(crate) fn shared_weights(&self, range: Range<usize>) -> Option<Bytes> {
        let start = self.weights.start;
        Bytes::shared(self.image.owner(), start + range.start..start + range.end)
    }
}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifact").field("info", &self.info).finish_non_exhaustive()
    }
}

fn out_of_memory() -> std::io::Error {
    std::io::ErrorKind::OutOfMemory.into()
}

fn load(
    image: Image,
    options: &LoadOptions<'_>,
    map_code: impl FnOnce(&Image, Range<usize>) -> Result<Code, ArtifactError>,
) -> Result<Artifact, ArtifactError> {
    let file = image.bytes();
    let header = Header::read(file)?;
    let verified = |kind, target| header.section(kind, target)?.verified(kind, file);
    let info: ArtifactInfo = decode(verified(SectionKind::Info, 0)?).ok_or(ArtifactError::Decode("info"))?;
    let target = choose(&info.targets, &|i| header.find(SectionKind::Device, i).is_some(), options)?;
    let device_code = match header.find(SectionKind::Device, target) {
        Some(section) => Some(section.verified(SectionKind::Device, file)?),
        None => None,
    };
    let plan: Plan = decode(verified(SectionKind::Plan, target)?).ok_or(ArtifactError::Decode("plan"))?;
    let code_len = verified(SectionKind::Code, target)?.len();
    let weights = header.section(SectionKind::Weights, 0)?.range();
    if options.check_weights {
        verified(SectionKind::Weights, 0)?;
    }
    let around = Surroundings {
        // Without machine code no kernel is looked for in it.
        code_len: if device_code.is_some() { 1 } else { code_len },
        weights: &file[weights.clone()],
        routines: &|name| Routine::find(name, options.routines),
    };
    let mut program = check(&plan, &around).map_err(|fault| match fault {
        PlanFault::Wrong(message) => ArtifactError::Plan(message),
        PlanFault::Routine(name) => {
            let feature = nnc_routines::feature_of(&name).flatten();
            ArtifactError::Routine { name, feature }
        }
    })?;
    let kernels = bind_kernels(&plan.contracts, options.isa)?;
    let table = kernels.iter().map(|k| k.func).collect();
    let code = map_code(&image, header.section(SectionKind::Code, target)?.range())?;
    let device = match device_code {
        Some(section) => {
            let target = info.targets.get(target).map_or("", |t| &t.name);
            Some(load_device(section, &plan, &mut program, &file[weights.clone()], target, options)?)
        }
        None => None,
    };
    Ok(Artifact { info, target, plan, program, kernels, table, code, image, weights, device })
}

/// The number of the target to run: of devices if one was given or there is no other, else that of CPUs which
/// this one fits and which asks for the most.
fn choose(
    targets: &[TargetInfo],
    is_device: &dyn Fn(usize) -> bool,
    options: &LoadOptions<'_>,
) -> Result<usize, ArtifactError> {
    let (devices, cpus): (Vec<usize>, Vec<usize>) = (0..targets.len().max(1)).partition(|i| is_device(*i));
    match devices.first() {
        Some(device) if options.device.is_some() || cpus.is_empty() => return Ok(*device),
        None if options.device.is_some() && !targets.is_empty() => {
            let targets = targets.iter().map(|t| t.name.clone()).collect();
            return Err(ArtifactError::NoDeviceCode { targets });
        }
        _ => {}
    }
    let (mut best, mut refused) = (None, None);
    for i in cpus {
        let Some(target) = targets.get(i) else { return Ok(i) };
        match check_target(target, options.isa) {
            Ok(()) if best.is_none_or(|(_, n)| n < target.features.len()) => {
                best = Some((i, target.features.len()));
            }
            Ok(()) => {}
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    best.map(|(i, _)| i).ok_or_else(|| refused.unwrap_or(ArtifactError::Damaged("it has no target")))
}

#[cfg(feature = "device")]
fn load_device(
    section: &[u8],
    plan: &Plan,
    program: &mut Program,
    weights: &[u8],
    target: &str,
    options: &LoadOptions<'_>,
) -> Result<DeviceProgram, ArtifactError> {
    let refused = |source| ArtifactError::Device { target: target.to_owned(), source };
    let code: DeviceCode = decode(section).ok_or(ArtifactError::Decode("device code"))?;
    let is_known = |e: &DeviceEntry| e.workspace.index() < plan.dims.len() && e.threads > 0;
    if code.entries.len() != plan.kernels.len() || !code.entries.iter().all(is_known) {
        return Err(ArtifactError::Plan("kernels and their code for devices do not match".to_owned()));
    }
    let device = match options.device {
        Some(device) => Arc::clone(device),
        None => open_device("cuda:0").map_err(refused)?,
    };
    DeviceProgram::load(&device, code, plan, program, weights).map_err(refused)
}

#[cfg(not(feature = "device"))]
fn load_device(
    _: &[u8],
    _: &Plan,
    _: &mut Program,
    _: &[u8],
    target: &str,
    _: &LoadOptions<'_>,
) -> Result<DeviceProgram, ArtifactError> {
    let why = "this program was built without the feature \"device\"".to_owned();
    let source = DeviceError::Missing { name: "cuda:0".to_owned(), why };
    Err(ArtifactError::Device { target: target.to_owned(), source })
}

fn check_target(target: &TargetInfo, limit: Option<Isa>) -> Result<(), ArtifactError> {
    let host = best_target(limit);
    let rest = target.name.strip_prefix(host_architecture());
    if !rest.is_some_and(|r| r.is_empty() || r.starts_with(['-', '+'])) {
        return Err(ArtifactError::Target { target: target.name.clone(), host });
    }
    if target.abi != host_abi() {
        return Err(ArtifactError::Abi { found: target.abi.clone(), expected: host_abi() });
    }
    let missing = missing_features(&target.features, limit);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ArtifactError::Features { target: target.name.clone(), host, missing })
    }
}

/// The best kernel for each contract among those that the CPU has and `limit` allows.
fn bind_kernels(contracts: &[Contract], limit: Option<Isa>) -> Result<Vec<&'static Kernel>, ArtifactError> {
    let mut available = Isa::available();
    if let Some(limit) = limit {
        if !available.contains(&limit) {
            return Err(ArtifactError::Isa(limit.name()));
        }
        available = limit.implied();
    }
    let missing = |c: &Contract| ArtifactError::Kernel { name: c.name.clone(), version: c.version };
    let row = |c: &Contract| lookup_on(&c.name, c.version, available).ok_or_else(|| missing(c));
    contracts.iter().map(row).collect()
}
