//! Optimisation passes: graph to graph, graph to tile programs, memory plan.
#![forbid(unsafe_code)]

mod fuse;
mod lower;
mod program;

pub use lower::lower;
pub use program::{Packing, PanelAxis, Program, Weight};
