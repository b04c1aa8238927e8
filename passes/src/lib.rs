//! Optimisation passes: graph to graph, graph to tile programs, memory plan.
#![forbid(unsafe_code)]

mod canonicalize;
mod clean;
mod fold;
mod fuse;
mod layout;
mod legalize;
mod lower;
mod pass;
mod pipeline;
mod raise;
mod rules;
mod split_phases;
mod widen;
mod work;

pub use lower::{LowerError, lower};
pub use pass::{Event, Pass, Report, Schedule, Target};
pub use pipeline::{PIPELINE, optimize};
pub use rules::rules;
pub use work::operations;
