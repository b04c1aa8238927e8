//! What the steps of a plan cost: arithmetic, bytes, estimated time.

use super::inputs::{Sizes, size_of};
use super::memory::byte_len;
use super::steps::{Row, flatten};
use nnc_ir::tile::Kernel;
use nnc_runtime::tensor::plan::Plan;

/// A step with its costs; of the body of a loop, those of one turn.
pub(crate) struct Cost {
    /// The step.
    pub(crate) row: Row,
    /// Grid points of machine code.
    pub(crate) grid: i64,
    /// Arithmetic operations, a multiply-add being two; `None` where nothing tells: of routines, and of
    /// artifacts, which hold no tile programs.
    pub(crate) flop: Option<u64>,
    /// Bytes of all buffers that it reads and writes.
    pub(crate) bytes: u64,
    /// Estimated seconds on one core.
    pub(crate) seconds: f64,
}

/// The costs of all steps. `kernels` are the plan's tile programs where they are known.
pub(crate) fn costs(plan: &Plan, kernels: Option<&[Kernel]>, sizes: &Sizes) -> Vec<Cost> {
    let of = |row: Row| {
        let (grid, ns) = row.cost(plan, sizes);
        let each = row.buffers.iter().filter_map(|b| byte_len(plan, &plan.buffers[b.index()], sizes));
        let flop = match row.kernel {
            Some(k) => kernels
                .and_then(|all| nnc_passes::operations(all.get(k.index())?, &|s| Some(size_of(sizes, s)))),
            None if row.is_routine() => None,
            None => Some(0),
        };
        Cost { grid, flop, bytes: each.sum(), seconds: ns * 1e-9, row }
    };
    flatten(plan).into_iter().map(of).collect()
}

/// All costs together; `None` in place of the operations where no step's are known.
pub(crate) fn total(costs: &[Cost]) -> (Option<u64>, u64, f64) {
    let known = costs.iter().any(|c| c.row.kernel.is_some() && c.flop.is_some());
    let flop = costs.iter().filter_map(|c| c.flop).sum();
    (known.then_some(flop), costs.iter().map(|c| c.bytes).sum(), costs.iter().map(|c| c.seconds).sum())
}
