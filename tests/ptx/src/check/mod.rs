//! The checks: what happens before what, who touched which byte, and what is reported.

pub(crate) mod banks;
pub(crate) mod cell;
pub(crate) mod clocks;
pub(crate) mod fault;
pub(crate) mod global;
pub(crate) mod shared;
