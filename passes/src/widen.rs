//! Half precision on machines that compute in f32: what lies between the model's borders is f32.
//!
//! Every value in f16 or bf16 that arithmetic reads gets a twin in f32, computed from the twins of its
//! operands: nothing is rounded between two operators, as in a machine with wide accumulators. Casts from
//! wider floats, which the model spells out, round, and so do the borders of the graph, of loops and of
//! branches. Casts from integers do not: the sums of a quantized product lie beyond what f16 can hold.
//! Tables that are only indexed keep their type; weights that arithmetic reads become f32 here, and are
//! stored in narrow panels all the same (`lower/templates/halves.rs`).

use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, BlockId, DType, Graph, OpError, Outcome, Rewriter, Tensor, ValueId, ops};
use std::collections::HashMap;

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "widen",
    doc: "Arithmetic in f16 and bf16 is done in f32; values are rounded where the model casts them and where they \
          leave a graph or a body.",
    required: false,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    let mut twins = Twins::default();
    report.apply(PASS.name, graph, |rw, node| widen(rw, node, &mut twins))
}

/// The f32 twins of narrow values.
#[derive(Default)]
struct Twins {
    /// Of results of arithmetic, made beside them.
    computed: HashMap<ValueId, ValueId>,
    /// Of what came narrow, by the block that asked for it.
    cast: HashMap<(BlockId, ValueId), ValueId>,
}

impl Twins {
    fn of(&mut self, rw: &mut Rewriter, v: ValueId) -> Result<ValueId, OpError> {
        if let Some(twin) = self.computed.get(&v) {
            return Ok(*twin);
        }
        let key = (rw.b.block, v);
        if let Some(twin) = self.cast.get(&key) {
            return Ok(*twin);
        }
        let twin = match rw.b.graph.constant(v) {
            Some(t) => {
                let wide = Tensor::from_f64s(DType::F32, t.shape(), &t.to_f64s())?;
                rw.b.constant(wide)
            }
            None => rw.b.cast(v, DType::F32)?,
        };
        self.cast.insert(key, twin);
        Ok(twin)
    }
}

fn is_narrow(rw: &Rewriter, v: ValueId) -> bool {
    rw.b.graph.ty(v).as_tensor().is_some_and(|t| matches!(t.dtype, DType::F16 | DType::BF16))
}

fn widen(rw: &mut Rewriter, node: &NodeView, twins: &mut Twins) -> Result<Outcome, OpError> {
    if is_narrowed_integer(rw, node) {
        // Not a cast of the twin, which would round twice.
        let narrow = rw.copy(node)?;
        let twin = rw.b.cast(node.inputs[0], DType::F32)?;
        twins.computed.insert(narrow[0], twin);
        return Ok(Outcome::Kept(narrow));
    }
    if !node.inputs.iter().any(|v| is_narrow(rw, *v)) || !takes_part(rw, node, twins) {
        return Ok(Outcome::NoMatch);
    }
    if node.is("cast") {
        let Some(twin) = twins.computed.get(&node.inputs[0]).copied() else { return Ok(Outcome::NoMatch) };
        if node.attrs.dtype("to") == DType::F32 {
            return Ok(Outcome::Applied(vec![twin]));
        }
        return Ok(Outcome::Applied(rw.b.add("cast", node.attrs.clone(), &[twin])?));
    }
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for v in &node.inputs {
        inputs.push(if is_narrow(rw, *v) { twins.of(rw, *v)? } else { *v });
    }
    let mut attrs = node.attrs.clone();
    if attrs.get("to").is_some() {
        attrs.set("to", Attr::DType(DType::F32));
    }
    let wide = rw.b.add(node.old.op.name, attrs, &inputs)?;
    let mut outputs = Vec::with_capacity(wide.len());
    for (twin, ty) in wide.into_iter().zip(&node.types) {
        let narrow = ty.as_tensor().map_or(DType::F32, |t| t.dtype);
        if !matches!(narrow, DType::F16 | DType::BF16) {
            outputs.push(twin);
            continue;
        }
        let v = rw.b.cast(twin, narrow)?;
        twins.computed.insert(v, twin);
        outputs.push(v);
    }
    Ok(Outcome::Applied(outputs))
}

/// True for casts of integers to f16 or bf16.
fn is_narrowed_integer(rw: &Rewriter, node: &NodeView) -> bool {
    let from = node.inputs.first().and_then(|v| rw.b.graph.ty(*v).as_tensor());
    node.is("cast")
        && matches!(node.attrs.dtype("to"), DType::F16 | DType::BF16)
        && from.is_some_and(|t| t.dtype.is_int())
}

/// True for arithmetic, and for movements of what has a twin or is known.
fn takes_part(rw: &Rewriter, node: &NodeView, twins: &Twins) -> bool {
    match node.old.op.name {
        "bitcast" | "routine" | "symbols" | "if" | "loop" => false,
        "cast" => twins.computed.contains_key(&node.inputs[0]),
        "broadcast" | "reshape" | "transpose" => {
            let x = node.inputs[0];
            twins.computed.contains_key(&x) || rw.b.graph.constant(x).is_some()
        }
        "slice" | "reverse" | "pad" | "concat" | "gather" | "gather_elements" | "gather_nd"
        | "scatter_elements" | "scatter_nd" => node.inputs.iter().any(|v| twins.computed.contains_key(v)),
        _ => {
            ops::is_elementwise(node.old.op)
                || matches!(
                    node.old.op.name,
                    "contract"
                        | "conv"
                        | "conv_transpose"
                        | "pool"
                        | "max_pool_indices"
                        | "reduce"
                        | "arg_reduce"
                        | "cumulative"
                        | "softmax"
                        | "layer_norm"
                        | "group_norm"
                        | "attention"
                        | "recurrent"
                )
        }
    }
}
