//! Compiles kernels side by side and lays their code out.

use super::emitter::{Contracts, Emitter};
use super::{CodegenError, CpuTarget, strips};
use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir;
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilderContext;
use nnc_ir::Dim;
use nnc_ir::tile::{Kernel, verify};
use nnc_tensor::plan::Contract;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// Alignment of functions in [`Module::code`], in bytes: a cache line.
const ALIGNMENT: usize = 64;

/// Machine code of many kernels.
#[derive(Clone, PartialEq, Debug)]
pub struct Module {
    /// All functions, each at a multiple of 64 bytes. Position-independent, without relocations.
    pub code: Vec<u8>,
    /// One for each kernel, in order.
    pub functions: Vec<Function>,
    /// Microkernels in the order of the table that the code expects.
    pub contracts: Vec<Contract>,
}

/// Machine code of one kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Bytes from the start of the code.
    pub offset: usize,
    /// Bytes of scratch that a thread needs, aligned to 64.
    pub scratch: Dim,
    /// Sizes whose values the code expects in `dims`, in order.
    pub dims: Vec<Dim>,
}

/// A kernel in Cranelift's form.
pub(super) struct Draft {
    pub(super) clif: ir::Function,
    pub(super) scratch: Dim,
    pub(super) dims: Vec<Dim>,
}

/// Compiles kernels, on all processors. The same kernels give the same bytes.
pub fn compile(kernels: &[Kernel], target: &CpuTarget) -> Result<Module, CodegenError> {
    let isa = target.backend()?;
    let mut contracts = Contracts::default();
    let mut drafts = Vec::with_capacity(kernels.len());
    for kernel in kernels {
        drafts.push(draft(kernel, *target, isa.as_ref(), &mut contracts)?);
    }
    let (bodies, sizes): (Vec<_>, Vec<_>) =
        drafts.into_iter().map(|d| (Mutex::new(Some(d.clif)), (d.scratch, d.dims))).unzip();
    let codes: Vec<OnceLock<Result<Vec<u8>, String>>> = bodies.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let (i, Some(body)) = at(&bodies, &next) {
            if let Some(clif) = body.lock().ok().and_then(|mut b| b.take()) {
                codes[i].get_or_init(|| machine_code(clif, isa.as_ref()));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));

    let mut module = Module { code: Vec::new(), functions: Vec::new(), contracts: contracts.into_list() };
    for ((kernel, code), (scratch, dims)) in kernels.iter().zip(codes).zip(sizes) {
        let code = code.into_inner().unwrap_or_else(|| Err("not compiled".into()));
        let code = code.map_err(|message| CodegenError::Internal { kernel: kernel.name.clone(), message })?;
        module.code.resize(module.code.len().next_multiple_of(ALIGNMENT), 0);
        module.functions.push(Function { offset: module.code.len(), scratch, dims });
        module.code.extend(code);
    }
    Ok(module)
}

fn at<'a, T>(list: &'a [T], next: &AtomicUsize) -> (usize, Option<&'a T>) {
    let i = next.fetch_add(1, Ordering::Relaxed);
    (i, list.get(i))
}

/// The kernel in Cranelift's text form.
pub fn clif_text(kernel: &Kernel, target: &CpuTarget) -> Result<String, CodegenError> {
    let isa = target.backend()?;
    draft(kernel, *target, isa.as_ref(), &mut Contracts::default()).map(|d| d.clif.display().to_string())
}

/// The kernel as the processor's instructions, in Cranelift's notation before they are encoded.
pub fn asm_text(kernel: &Kernel, target: &CpuTarget) -> Result<String, CodegenError> {
    let isa = target.backend()?;
    let clif = draft(kernel, *target, isa.as_ref(), &mut Contracts::default())?.clif;
    let text = guarded(|| {
        let mut cx = Context::for_function(clif);
        cx.set_disasm(true);
        let code =
            cx.compile(isa.as_ref(), &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
        Ok(code.vcode.clone().unwrap_or_default())
    });
    let internal = |message| CodegenError::Internal { kernel: kernel.name.clone(), message };
    text.map_err(internal)?.map_err(internal)
}

fn draft(
    kernel: &Kernel,
    target: CpuTarget,
    isa: &dyn TargetIsa,
    contracts: &mut Contracts,
) -> Result<Draft, CodegenError> {
    let mut cx = FunctionBuilderContext::new();
    let internal = |message| CodegenError::Internal { kernel: kernel.name.clone(), message };
    let mined = guarded(|| strips::mine(kernel)).map_err(internal)?;
    if cfg!(debug_assertions) {
        verify(&mined).map_err(|e| internal(format!("{e}\n{mined}")))?;
    }
    let built = guarded(|| Emitter::kernel(&mined, target, isa, contracts, &mut cx));
    built.map_err(internal)?.map_err(|what| CodegenError::Unsupported { kernel: kernel.name.clone(), what })
}

/// A panic in `f` as an error: the backend panics where it should refuse.
fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
    })
}

fn machine_code(clif: ir::Function, isa: &dyn TargetIsa) -> Result<Vec<u8>, String> {
    guarded(|| {
        let mut cx = Context::for_function(clif);
        let code = cx.compile(isa, &mut ControlPlane::default()).map_err(|e| format!("{:?}", e.inner))?;
        if !code.buffer.relocs().is_empty() {
            return Err(format!("the code has {} relocations", code.buffer.relocs().len()));
        }
        Ok(code.code_buffer().to_vec())
    })?
}
