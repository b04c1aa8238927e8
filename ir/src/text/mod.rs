//! The exact text form of graphs.
//!
//! ```text
//! graph @mlp(%x: f32[n, 3], %1 "in/put": i64[]) -> (f32[n, 4]) {
//!   size n in 1..=64
//!   %w = constant() {value = f32[3, 4] data(0, 0f6c1e6ae2ad1bb5)} : f32[3, 4]
//!   %y = contract(%x, %w) {lhs = "mk", out = "mn", rhs = "kn", to = f32} : f32[n, 4] from "fc/MatMul"
//!   %3 = if(%c) : f32[u1, 4] do () {
//!     yield %y
//!   } do () {
//!     %4 = neg(%y) : f32[n, 4]
//!     yield %4
//!   }
//!   return %3 as "scores"
//! }
//! ```
//!
//! A value is written by its name if that is a plain word and no other value's, else by a number and
//! then, at its definition, the name in quotes. Known elements (`= [n, 4]` after the type) are written
//! only where they are not what the operator's row answers; the name of an output only where it is not
//! its value's. Tensors over 1 KiB stand in a second file,
//! by offset and XXH3 hash. A comment runs from `;` to the end of the line.
//!
//! Invariant: printing what was parsed from printed text gives the same text and the same data.

use crate::Graph;

mod attr;
pub(crate) mod lex;
mod parse;
mod print;
mod tensor;
#[cfg(test)]
mod tests;

pub use parse::parse;
pub use print::print;

/// Where and why a text is not a graph.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// What result number `i` is called where nothing else is said: the value's name, if it has one that no
/// result before it has taken.
fn usual_output_name(graph: &Graph, i: usize) -> String {
    let results = &graph.block(graph.body()).results;
    let name_of = |k: usize| graph.value(results[k]).name.as_deref();
    match name_of(i) {
        Some(name) if (0..i).all(|k| name_of(k) != Some(name)) => name.to_owned(),
        _ => format!("output{i}"),
    }
}
