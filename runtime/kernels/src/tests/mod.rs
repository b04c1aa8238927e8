//! Tests that walk the table: every row that this CPU can run, against a reference in f64.

mod convert;
mod gemm;
mod guard;
mod pack;
mod quant;
mod recurrent;
mod reduce;
mod rows;
mod table;
mod unpack;
mod vmath;
mod window;

use std::vec::Vec;

use crate::{Isa, Kernel, kernels};

/// The rows of a contract that this CPU can run; at least one.
fn rows_of(contract: &str) -> Vec<&'static Kernel> {
    let rows: Vec<_> =
        kernels().filter(|row| row.contract == contract && Isa::available().contains(&row.isa)).collect();
    assert!(!rows.is_empty(), "{contract} has no row");
    rows
}

/// Calls a kernel with its argument struct.
fn call<Args>(kernel: &Kernel, args: &Args) {
    // SAFETY: `rows_of` yields only what the CPU can run; tests pass the contract's struct.
    unsafe { (kernel.func)(core::ptr::from_ref(args).cast()) }
}

/// Numbers from a fixed seed.
struct Random(u64);

impl Random {
    /// The next number in -1..1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `len` numbers in -1..1.
    fn vec(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}
