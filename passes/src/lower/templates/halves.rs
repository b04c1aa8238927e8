//! Constant right operands whose numbers all fit f16 or bf16, as the weights of models in half precision do:
//! their panels stay narrow in the artifact (see `widening`).

use crate::lower::emit::Emitter;
use half::{bf16, f16};
use nnc_ir::{DType, Graph, ValueId};

/// Fewer elements are not worth a conversion in every run.
const LEAST: usize = 1 << 14;

/// The type that the panels of a constant are stored in.
pub(crate) fn panel_type(e: &Emitter, v: ValueId) -> DType {
    if e.schedule.unpacks { narrowest(e.graph, v) } else { DType::F32 }
}

fn narrowest(graph: &Graph, v: ValueId) -> DType {
    let Some(t) = graph.constant(v).filter(|t| t.dtype() == DType::F32 && t.len() >= LEAST) else {
        return DType::F32;
    };
    let Ok(x) = t.elems::<f32>() else { return DType::F32 };
    let fits = |there_and_back: fn(f32) -> f32| x.iter().all(|v| there_and_back(*v).to_bits() == v.to_bits());
    if fits(|v| f16::from_f32(v).to_f32()) {
        DType::F16
    } else if fits(|v| bf16::from_f32(v).to_f32()) {
        DType::BF16
    } else {
        DType::F32
    }
}
