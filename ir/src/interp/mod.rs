//! The interpreter: runs a graph by the meaning that each row gives its operator.
//!
//! It is the oracle of every test of a backend, so it does nothing clever: nodes in order, one at a
//! time, values freed after their last use. It knows no pass and no target.

mod bind;
mod fold;
mod liveness;
mod run;
#[cfg(test)]
mod tests;

pub use fold::{cost, eval_node_constant};
pub use run::{InterpError, Interpreter};
