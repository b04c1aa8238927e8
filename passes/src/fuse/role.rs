//! What fusion may do with an operator: one table.

use super::operands;
use nnc_ir::ops::{Effects, is_elementwise};
use nnc_ir::{DType, Graph, Node, Type};

/// What an operator is to fusion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// A function of an index.
    Inline,
    /// A function of an index whose result is, in memory, its operand's bytes.
    Alias,
    /// The operand's bytes in memory, read as another type.
    Reinterpret,
    /// A loop for every element; may be a group's anchor.
    Loop,
    /// A microkernel nest with an epilogue; may be a group's anchor.
    Matmul,
    /// A microkernel nest that writes its results itself.
    Template,
    /// Bytes known at compile time.
    Source,
    /// A step of the plan.
    Step,
}

/// The role of a node.
pub(crate) fn role(graph: &Graph, node: &Node) -> Role {
    let strings = |v: &nnc_ir::ValueId| !matches!(graph.ty(*v), Type::Tensor(t) if t.dtype != DType::Str);
    match node.op.name {
        "constant" => Role::Source,
        "if" | "loop" | "routine" | "symbols" => Role::Step,
        _ if node.inputs.iter().chain(&node.outputs).any(strings) => Role::Step,
        "reshape" => Role::Alias,
        // The bits of narrow floats exist in memory only: they are computed in f32.
        "bitcast" if node.inputs.iter().chain(&node.outputs).any(|v| is_narrow(graph, *v)) => {
            Role::Reinterpret
        }
        "contract" | "conv" if operands::has_template(graph, node) => Role::Matmul,
        "reduce" | "arg_reduce" | "pool" | "max_pool_indices" | "contract" | "conv" | "conv_transpose" => {
            Role::Loop
        }
        "broadcast" | "transpose" | "slice" | "reverse" | "pad" | "concat" | "gather" | "gather_elements"
        | "gather_nd" | "iota" | "dims" => Role::Inline,
        _ if is_elementwise(node.op) => Role::Inline,
        _ => Role::Template,
    }
}

fn is_narrow(graph: &Graph, v: nnc_ir::ValueId) -> bool {
    let dtype = graph.tensor_ty(v).dtype;
    nnc_ir::tile::arithmetic_type(dtype) != dtype
}

/// Must run even if nobody reads its results: it gives symbols their values.
pub(crate) fn has_effect(node: &Node) -> bool {
    node.op.effects == Effects::Binds
}

/// Moves elements without computing.
pub(crate) fn is_movement(node: &Node) -> bool {
    matches!(node.op.name, "broadcast" | "reshape" | "transpose" | "slice" | "reverse")
}

/// Made of indices alone.
pub(crate) fn is_generated(node: &Node) -> bool {
    matches!(node.op.name, "iota" | "dims")
}

/// Takes less to compute than to load.
pub(crate) fn expands(node: &Node) -> bool {
    is_generated(node) || node.is("broadcast")
}

/// Costs about as much as loading its result.
pub(crate) fn is_cheap(node: &Node) -> bool {
    use nnc_ir::ScalarOp::{Abs, Add, And, Eq, Ge, Gt, Le, Lt, Max, Min, Mul, Ne, Neg, Not, Or, Sub};
    match node.op.scalar {
        Some(op) => matches!(
            op,
            Add | Sub | Mul | Neg | Abs | Max | Min | And | Or | Not | Eq | Ne | Lt | Le | Gt | Ge
        ),
        None => matches!(node.op.name, "cast" | "bitcast" | "select" | "pad" | "gather"),
    }
}

/// Makes bytes of wider numbers.
pub(crate) fn narrows_to_bytes(graph: &Graph, node: &Node) -> bool {
    let bits = |v: nnc_ir::ValueId| graph.tensor_ty(v).dtype.bits();
    node.is("cast") && bits(node.outputs[0]) <= 8 && bits(node.inputs[0]) > 8
}

/// Steps from a product to the end of what is done to its sums.
const MOST_STEPS: usize = 16;

/// True at the end of a chain of elementwise operators behind a microkernel's product.
pub(crate) fn ends_product(graph: &Graph, node: &Node) -> bool {
    let mut at = node;
    for _ in 0..MOST_STEPS {
        let Some(next) = at.inputs.first().and_then(|v| graph.def_node(*v)) else { return false };
        if matches!(next.op.name, "contract" | "conv") {
            return operands::has_template(graph, next);
        }
        if !is_elementwise(next.op) {
            return false;
        }
        at = next;
    }
    false
}

/// Reads elements of operand `i` more than once.
pub(crate) fn repeats(graph: &Graph, node: &Node, i: usize) -> bool {
    match node.op.name {
        "broadcast" => graph.tensor_ty(node.inputs[0]).elems() != graph.tensor_ty(node.outputs[0]).elems(),
        "gather" | "gather_nd" => {
            i == 0 || node.is("gather_nd") || graph.tensor_ty(node.inputs[0]).rank() > 1
        }
        "gather_elements" => i == 0,
        "pad" => !matches!(node.attrs.str("mode"), "constant"),
        "pool" | "max_pool_indices" | "contract" | "conv" | "conv_transpose" => true,
        _ => false,
    }
}
