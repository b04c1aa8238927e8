//! The table of operators: one row each, by family, with its lowering to the graph.

mod arithmetic;
mod attention;
mod axes;
mod cast;
mod classical;
mod control;
mod conv;
mod indexing;
mod linalg;
mod loss;
mod microsoft;
mod movement;
mod norm;
mod pool;
mod quantize;
mod random;
mod recurrent;
mod reduce;
mod regions;
mod resize;
mod routine;
mod sampling;
mod sequence;
mod shape;
mod signal;
mod source;
mod training;
mod trees;
mod unary;

use crate::context::{Cx, Lowered};

/// Domain and name of an operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OpName {
    /// The domain; ONNX's own is `ai.onnx`.
    pub domain: &'static str,
    /// The name.
    pub op: &'static str,
}

/// An operator of ONNX and how it is lowered.
pub struct OnnxOp {
    /// Domain and name.
    pub name: OpName,
    /// The versions at which a meaning starts, ascending, as in the standard.
    pub since: &'static [i64],
    /// What it computes and what is not supported.
    pub doc: &'static str,
    /// Builds the graph of one node.
    pub lower: fn(&mut Cx<'_, '_, '_>) -> Lowered,
}

/// A row of ONNX's own domain.
const fn onnx(
    op: &'static str,
    since: &'static [i64],
    doc: &'static str,
    lower: fn(&mut Cx<'_, '_, '_>) -> Lowered,
) -> OnnxOp {
    OnnxOp { name: OpName { domain: "ai.onnx", op }, since, doc, lower }
}

/// A row of ONNX's domain of classical models.
const fn ml(
    op: &'static str,
    since: &'static [i64],
    doc: &'static str,
    lower: fn(&mut Cx<'_, '_, '_>) -> Lowered,
) -> OnnxOp {
    OnnxOp { name: OpName { domain: "ai.onnx.ml", op }, since, doc, lower }
}

/// Every family.
static FAMILIES: &[&[OnnxOp]] = &[
    arithmetic::BINARY,
    arithmetic::ROWS,
    attention::ROWS,
    attention::STATEFUL,
    cast::ROWS,
    classical::ROWS,
    control::ROWS,
    conv::ROWS,
    indexing::ROWS,
    linalg::ROWS,
    loss::ROWS,
    microsoft::ROWS,
    movement::ROWS,
    norm::ROWS,
    pool::ROWS,
    quantize::ROWS,
    random::ROWS,
    recurrent::ROWS,
    reduce::ROWS,
    regions::ROWS,
    resize::ROWS,
    routine::ROWS,
    sampling::ROWS,
    sequence::ROWS,
    shape::ROWS,
    signal::ROWS,
    source::ROWS,
    training::ROWS,
    trees::ROWS,
    unary::SCALAR,
    unary::ROWS,
];

/// Every row, by family.
pub fn table() -> impl Iterator<Item = &'static OnnxOp> {
    FAMILIES.iter().flat_map(|f| f.iter())
}

/// The row of an operator; the domain `""` is ONNX's own.
pub fn find(domain: &str, op: &str) -> Option<&'static OnnxOp> {
    let domain = if domain.is_empty() { "ai.onnx" } else { domain };
    table().find(|row| row.name.op == op && row.name.domain == domain)
}

#[cfg(test)]
mod tests;
