//! What differs between operating systems and CPUs: memory, sleeping, processors, features.

mod block;
mod cpus;
mod features;
mod gate;
mod word;

pub(crate) use block::{BLOCK_ALIGN, Block};
pub(crate) use cpus::usable_cpus;
pub(crate) use features::{best_target, host_architecture, missing_features};
pub(crate) use gate::Gate;
