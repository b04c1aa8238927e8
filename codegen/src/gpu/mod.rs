//! The GPU backend: kernels to PTX text.
//!
//! A kernel becomes an entry whose parameters are all 64 bits wide, in this order: the address of each
//! buffer, the value of each of [`Function::dims`], the number of grid points, the address of the
//! workspace. The workspace holds [`Function::workspace`] bytes for each block, or for each thread where
//! [`Function::thread_per_point`] says so. Any number of blocks covers the grid. Everything is printed
//! here: no library, no toolkit; what a device makes of the text is its driver's affair.

mod call;
mod gemm;
mod index;
mod kernel;
mod lanes;
mod math;
mod memory;
mod narrow;
mod order;
mod ptx;
mod reduce;
mod scalar;
mod stmt;

use crate::Precision;
use crate::cpu::CodegenError;
use kernel::Emitter;
use nnc_ir::Dim;
use nnc_ir::tile::Kernel;
use std::fmt;

/// A generation of devices that text is made for. Newer devices take older text, but for `sm_90a`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sm {
    /// Turing and newer.
    Sm75,
    /// Ampere and newer.
    Sm80,
    /// Hopper alone.
    Sm90a,
}

impl Sm {
    /// Every generation, oldest first.
    pub const ALL: [Sm; 3] = [Sm::Sm75, Sm::Sm80, Sm::Sm90a];

    /// Its name: `sm_75`.
    pub fn name(self) -> &'static str {
        match self {
            Sm::Sm75 => "sm_75",
            Sm::Sm80 => "sm_80",
            Sm::Sm90a => "sm_90a",
        }
    }

    /// The generation with this name.
    pub fn from_name(name: &str) -> Option<Sm> {
        Sm::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The compute capability that its code needs, as major and minor number.
    pub fn capability(self) -> (u32, u32) {
        match self {
            Sm::Sm75 => (7, 5),
            Sm::Sm80 => (8, 0),
            Sm::Sm90a => (9, 0),
        }
    }

    /// Newer devices do not take its code.
    pub fn is_exact(self) -> bool {
        self == Sm::Sm90a
    }

    /// The lowest version of the language that has its instructions: old drivers take the text too.
    fn version(self) -> &'static str {
        match self {
            Sm::Sm75 => "6.5",
            Sm::Sm80 => "7.0",
            Sm::Sm90a => "8.0",
        }
    }
}

impl fmt::Display for Sm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// PTX of many kernels.
#[derive(Clone, PartialEq, Debug)]
pub struct Module {
    /// The text.
    pub text: String,
    /// One entry for each kernel, in order.
    pub functions: Vec<Function>,
}

/// One entry.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its name in the text.
    pub name: String,
    /// Threads of a block.
    pub threads: u32,
    /// A grid point takes a thread, not a block.
    pub thread_per_point: bool,
    /// Bytes of shared memory, which the text declares.
    pub shared: u32,
    /// Bytes of workspace for each block or thread.
    pub workspace: Dim,
    /// Sizes whose values the entry takes after the buffers, in order.
    pub dims: Vec<Dim>,
}

/// Prints kernels for a generation of devices. The same kernels give the same text.
pub fn compile(kernels: &[Kernel], sm: Sm, precision: Precision) -> Result<Module, CodegenError> {
    let mut text = format!(".version {}\n.target {sm}\n.address_size 64\n", sm.version());
    let mut functions = Vec::with_capacity(kernels.len());
    for (i, kernel) in kernels.iter().enumerate() {
        let (body, function) = Emitter::kernel(kernel, &format!("k{i}"), (sm, precision))
            .map_err(|what| CodegenError::Unsupported { kernel: kernel.name.clone(), what })?;
        text.push('\n');
        text.push_str(&body);
        functions.push(function);
    }
    Ok(Module { text, functions })
}
