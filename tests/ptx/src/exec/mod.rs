//! Runs decoded kernels: blocks one after another or in turns, warps in turns, the lanes of a warp side by
//! side as long as they are at the same instruction.

mod access;
mod barrier;
pub(crate) mod block;
mod bulk;
mod collective;
pub(crate) mod compare;
pub(crate) mod convert;
mod copy;
pub(crate) mod float;
mod group;
pub(crate) mod int;
pub(crate) mod lanes;
pub(crate) mod launch;
mod mbarrier;
mod mma;
pub(crate) mod rounding;
mod step;
mod warp;
