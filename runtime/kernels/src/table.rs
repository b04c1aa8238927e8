//! The table of kernels: one row per contract and instruction set.
//!
//! Dispatch, tests and rates walk the same rows; a kernel that is not here does not exist.

use crate::{Isa, convert, dwconv, gemm, pack, quant, recurrent, rows, unpack, vmath};

/// A kernel's entry point. `args` points at the words of the contract's struct in [`crate::args`].
///
/// # Safety
/// The CPU has the row's instruction set, the words form a valid struct of the row's contract, and
/// every pointer in it is good for the sizes beside it.
pub type KernelFn = unsafe extern "C" fn(args: *const u64);

/// One row: a kernel that serves a contract on an instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The contract's name, as artifacts store it.
    pub contract: &'static str,
    /// The contract's version, as artifacts store it.
    pub version: u32,
    /// The kernel's own name, unique in the table.
    pub name: &'static str,
    /// What the CPU must have.
    pub isa: Isa,
    /// The entry point.
    pub func: KernelFn,
    /// Rows and columns of the block that the inner loop holds in registers; (1, 1) where the
    /// notion means nothing.
    pub tile: (usize, usize),
}

/// The families' rows.
const FAMILIES: &[&[&[Kernel]]] = &[
    gemm::ROWS,
    pack::ROWS,
    unpack::ROWS,
    quant::ROWS,
    dwconv::ROWS,
    rows::ROWS,
    recurrent::ROWS,
    vmath::ROWS,
    convert::ROWS,
];

/// All rows, family by family, portable first within a family.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    FAMILIES.iter().flat_map(|family| family.iter()).flat_map(|rows| rows.iter())
}

/// The best row of the newest version of `contract` that this CPU can run, of no better instruction
/// set than `limit`. Detects the CPU at each call; to resolve many, use [`lookup_on`].
pub fn lookup(contract: &str, limit: Isa) -> Option<&'static Kernel> {
    let available = Isa::available();
    kernels()
        .filter(|row| row.contract == contract && available.contains(&row.isa))
        .filter(|row| limit.implied().contains(&row.isa))
        .max_by_key(|row| (row.version, row.isa))
}

/// The best row of a contract's version among the instruction sets of `available`.
pub fn lookup_on(contract: &str, version: u32, available: &[Isa]) -> Option<&'static Kernel> {
    kernels()
        .filter(|row| row.contract == contract && row.version == version)
        .filter(|row| available.contains(&row.isa))
        .max_by_key(|row| row.isa)
}
