//! What is known of values at compile time: constants seen through broadcasts and reshapes.
//!
//! Nothing here builds nodes.

use nnc_ir::{DType, Dim, Graph, Kind, Tensor, ValueId};
use nnc_tensor::Range;

/// Elements of a constant that are looked at.
const MOST_ELEMS: usize = 1 << 24;
/// Nodes between a value and the constant behind it.
const MOST_STEPS: usize = 16;

/// A known value that varies along one axis at most.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Line {
    /// The axis, unless all elements are equal.
    pub(crate) axis: Option<usize>,
    /// The elements along the axis, or the one element.
    pub(crate) values: Vec<f64>,
}

/// The number that every element is.
pub(crate) fn uniform(graph: &Graph, v: ValueId) -> Option<f64> {
    let mut v = v;
    for _ in 0..MOST_STEPS {
        let node = graph.def_node(v)?;
        match node.op.name {
            "constant" => return uniform_tensor(node.attrs.tensor("value")),
            "dims" => return uniform_dims(node.attrs.dims("values")),
            "broadcast" | "reshape" | "transpose" | "slice" | "reverse" => v = node.inputs[0],
            "cast" if widens(graph, node) => v = node.inputs[0],
            _ => return None,
        }
    }
    None
}

/// True for a conversion of bytes to a type that holds all of them.
fn widens(graph: &Graph, node: &nnc_ir::Node) -> bool {
    let [from, to] = [node.inputs[0], node.outputs[0]].map(|v| graph.tensor_ty(v).dtype);
    matches!(from, DType::U8 | DType::I8) && matches!(to, DType::F32 | DType::F64 | DType::I32 | DType::I64)
}

fn uniform_dims(dims: &[Dim]) -> Option<f64> {
    let first = dims.first()?;
    let value = first.as_const().filter(|v| v.unsigned_abs() < 1 << 53)?;
    dims.iter().all(|d| d == first).then_some(value as f64)
}

/// The number that every element is, compared bit by bit.
fn uniform_tensor(t: &Tensor) -> Option<f64> {
    if t.is_empty() || matches!(t.dtype().kind(), Kind::Str | Kind::Complex) {
        return None;
    }
    if t.dtype().is_packed() {
        let all = if t.len() <= MOST_ELEMS { t.to_f64s() } else { return None };
        return all.iter().all(|x| *x == all[0]).then_some(all[0]);
    }
    let size = t.dtype().size();
    let (first, rest) = t.bytes().split_at(size);
    if rest.chunks_exact(size).any(|e| e != first) {
        return None;
    }
    let one = Tensor::from_bytes(t.dtype(), vec![], first).ok()?;
    one.to_f64s().first().copied().filter(|v| t.dtype().is_float() || v.abs() < 9e15)
}

/// The value as numbers along one axis, if it is a constant that varies along one at most.
pub(crate) fn line(graph: &Graph, v: ValueId) -> Option<Line> {
    line_within(graph, v, MOST_STEPS)
}

fn line_within(graph: &Graph, v: ValueId, steps: usize) -> Option<Line> {
    let node = graph.def_node(v)?;
    if node.is("constant") {
        return line_of(node.attrs.tensor("value"));
    }
    let passes = matches!(node.op.name, "broadcast" | "reshape" | "transpose")
        || (node.is("cast") && widens(graph, node));
    if steps == 0 || !passes {
        return None;
    }
    let inner = line_within(graph, node.inputs[0], steps - 1)?;
    let Some(axis) = inner.axis else { return Some(inner) };
    let (from, to) = (&graph.tensor_ty(node.inputs[0]).shape, &graph.tensor_ty(v).shape);
    let axis = match node.op.name {
        "broadcast" => axis + to.len() - from.len(),
        "transpose" => node.attrs.indices("perm").iter().position(|p| *p == axis)?,
        "cast" => axis,
        _ => {
            let before = Dim::product(&from[..axis]);
            (0..to.len()).find(|j| to[*j] == from[axis] && Dim::product(&to[..*j]) == before)?
        }
    };
    Some(Line { axis: Some(axis), values: inner.values })
}

fn line_of(t: &Tensor) -> Option<Line> {
    if let Some(v) = uniform_tensor(t) {
        return Some(Line { axis: None, values: vec![v] });
    }
    if t.is_empty() || t.len() > MOST_ELEMS || !(t.dtype().is_float() || t.dtype().is_int()) {
        return None;
    }
    let data = t.to_f64s();
    let (mut stride, mut found) = (t.len(), None);
    for (axis, n) in t.shape().iter().enumerate() {
        stride /= n;
        let varies = data
            .chunks_exact(stride * n)
            .any(|block| block.iter().zip(&block[stride..]).any(|(a, b)| a.to_bits() != b.to_bits()));
        if varies && found.replace((axis, stride)).is_some() {
            return None;
        }
    }
    let (axis, stride) = found?;
    let values = (0..t.shape()[axis]).map(|i| data[i * stride]).collect();
    Some(Line { axis: Some(axis), values })
}

/// True if no element is ever negative, nor minus zero; NaN may be.
pub(crate) fn not_negative(graph: &Graph, v: ValueId) -> bool {
    not_negative_within(graph, v, MOST_STEPS)
}

fn not_negative_within(graph: &Graph, v: ValueId, steps: usize) -> bool {
    let (Some(node), Some(steps)) = (graph.def_node(v), steps.checked_sub(1)) else { return false };
    let all = || node.inputs.iter().all(|v| not_negative_within(graph, *v, steps));
    match node.op.name {
        "abs" | "exp" | "sigmoid" | "softmax" => true,
        "constant" => uniform(graph, v).is_some_and(|c| c >= 0.0 && c.is_sign_positive()),
        "dims" => node.attrs.dims("values").iter().all(|d| d.at_least(0, &|_| Range::length())),
        "mul" => node.inputs[0] == node.inputs[1] || all(),
        "add" | "div" | "broadcast" | "reshape" | "transpose" | "slice" | "concat" | "sqrt" => all(),
        "max" => node.inputs.iter().any(|v| uniform(graph, *v).is_some_and(|c| c > 0.0)) || all(),
        // The maximum of nothing is minus infinity.
        "reduce" => node.attrs.str("kind") != "max" && all(),
        "cast" => graph.tensor_ty(node.inputs[0]).dtype.kind() == Kind::Uint || all(),
        _ => false,
    }
}
