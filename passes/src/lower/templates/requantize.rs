//! What follows a product of 8-bit numbers: as much of the group's code as the kernel's own epilogue does
//! (bias, scale, bounds, rounding, zero point), tile code for the rest.

use super::epilogue::{self, Block, bound_of, only_reader};
use super::int8::Operands;
use crate::fuse::Group;
use crate::lower::emit::Emitter;
use crate::lower::index::view;
use nnc_ir::tile::{Access, Arg};
use nnc_ir::{DType, Dim, Graph, Node, ScalarOp, Sym, ValueId};

/// Version of the kernel's arguments that is written here.
const I8_GEMM: (&str, u32) = ("i8_gemm", 1);

const BIAS: i64 = 1 << 1;
const CLAMP: i64 = 1 << 3;
const A_SIGNED: i64 = 1 << 5;
const FLOAT_BIAS: i64 = 1 << 6;

/// Multiply-adds of bytes in the time of one of f32, for cost estimates.
const BYTES_PER_FLOAT: i64 = 4;

/// What the kernel stores, and all that enters it.
#[derive(Clone)]
struct Stored {
    /// The value that is then held.
    reached: ValueId,
    /// Its type: i32, f32, u8 or i8.
    dtype: DType,
    bias: Option<ValueId>,
    scale: Option<ValueId>,
    factor: Option<ValueId>,
    float_bias: Option<ValueId>,
    /// Bounds before rounding.
    clamp: (f32, f32),
    zero: i64,
}

/// How far the code has been followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Sums,
    Converted,
    Scaled,
    Biased,
    Clamped,
    Rounded,
    Moved,
    Bounded,
    Stored,
}

struct Peeler<'a> {
    graph: &'a Graph,
    group: &'a Group,
    block: &'a Block<'a>,
    now: Stored,
    stage: Stage,
}

/// Follows the group's code upward from the anchor as far as the kernel's epilogue goes.
fn peel(graph: &Graph, group: &Group, anchor: ValueId, bias: Option<ValueId>, block: &Block) -> Stored {
    let now = Stored {
        reached: anchor,
        dtype: DType::I32,
        bias,
        scale: None,
        factor: None,
        float_bias: None,
        clamp: (f32::NEG_INFINITY, f32::INFINITY),
        zero: 0,
    };
    let mut best = now.clone();
    let mut p = Peeler { graph, group, block, now, stage: Stage::Sums };
    while p.now.reached != group.root
        && let Some(node) = only_reader(graph, group, p.now.reached)
        && let Some(stage) = p.step(node)
    {
        p.now.reached = node.outputs[0];
        p.stage = stage;
        p.now.dtype = graph.tensor_ty(p.now.reached).dtype;
        // Between rounding and the final conversion the kernel can stop nowhere.
        if !(Stage::Rounded..Stage::Stored).contains(&stage) {
            best = p.now.clone();
        }
    }
    best
}

impl Peeler<'_> {
    /// The stage after a node, if the kernel can do it now.
    fn step(&mut self, node: &Node) -> Option<Stage> {
        use Stage::*;
        let to = self.graph.tensor_ty(node.outputs[0]).dtype;
        let other = node.inputs.iter().copied().find(|v| *v != self.now.reached);
        match (node.op.scalar, self.stage) {
            (Some(ScalarOp::Add), Sums) if self.now.bias.is_none() => {
                self.now.bias = Some(self.column(other?)?);
                Some(Sums)
            }
            (None, Sums) if node.is("cast") && to == DType::F32 => Some(Converted),
            (Some(ScalarOp::Mul), Converted) => {
                match self.column(other?) {
                    Some(scale) => self.now.scale = Some(scale),
                    None => self.now.factor = Some(self.single(other?)?),
                }
                Some(Scaled)
            }
            (Some(ScalarOp::Add), Converted | Scaled) => {
                self.now.float_bias = Some(self.column(other?)?);
                Some(Biased)
            }
            (Some(ScalarOp::Max | ScalarOp::Min), Converted | Scaled | Biased | Clamped) => {
                self.bound(node, other?, 0.0).then_some(Clamped)
            }
            (Some(ScalarOp::Round), Converted | Scaled | Biased | Clamped) => Some(Rounded),
            (Some(ScalarOp::Add), Rounded) => {
                let zero = bound_of(self.graph, other?).filter(|z| z.fract() == 0.0 && z.abs() < 256.0)?;
                self.now.zero = zero as i64;
                Some(Moved)
            }
            (Some(ScalarOp::Max | ScalarOp::Min), Rounded | Moved | Bounded) => {
                self.bound(node, other?, self.now.zero as f32).then_some(Bounded)
            }
            (None, Rounded | Moved | Bounded) if node.is("cast") => {
                matches!(to, DType::U8 | DType::I8).then_some(Stored)
            }
            _ => None,
        }
    }

    /// The vector of one number a column that a value repeats, if it lies in memory.
    fn column(&self, v: ValueId) -> Option<ValueId> {
        let column = Sym::Local(u32::MAX - 2);
        let idx = (self.block.index)(&Dim::sym(Sym::Local(u32::MAX - 1)), &Dim::sym(column.clone()));
        let seen = view(self.graph, v, &idx, &Dim::clone);
        let by_column = seen.at.linear_in(&column).is_some_and(|(c, rest)| c.is(1) && rest.is(0));
        (by_column && !self.group.inside.contains(&seen.base)).then_some(seen.base)
    }

    /// A value whose elements are all the same.
    fn single(&self, v: ValueId) -> Option<ValueId> {
        let idx = vec![Dim::ZERO; self.graph.tensor_ty(v).rank()];
        let seen = view(self.graph, v, &idx, &Dim::clone);
        self.graph.tensor_ty(seen.base).elems().is(1).then_some(seen.base)
    }

    /// Narrows the bounds; those after rounding are integers and lie `zero` higher.
    fn bound(&mut self, node: &Node, v: ValueId, zero: f32) -> bool {
        let Some(v) = bound_of(self.graph, v) else { return false };
        if self.stage >= Stage::Rounded && v.fract() != 0.0 {
            return false;
        }
        let (v, (lo, hi)) = (v - zero, self.now.clamp);
        let low = node.op.scalar == Some(ScalarOp::Max);
        if (low && v > hi) || (!low && v < lo) {
            return false;
        }
        self.now.clamp = if low { (lo.max(v), hi) } else { (lo, hi.min(v)) };
        true
    }
}

impl Stored {
    /// The kernel's number for what is stored.
    fn store(&self) -> i64 {
        match self.dtype {
            DType::I32 => 0,
            DType::F32 => 1,
            DType::U8 => 2,
            _ => 3,
        }
    }

    /// The words of the epilogue, from the flags on.
    fn words(&self, e: &mut Emitter, block: &Block, o: &Operands) -> Vec<Arg> {
        let (lo, hi) = self.clamp;
        let flag = |set: bool, flag: i64| if set { flag } else { 0 };
        let flags = flag(self.bias.is_some(), BIAS)
            | flag(lo > f32::NEG_INFINITY || hi < f32::INFINITY, CLAMP)
            | flag(o.signed, A_SIGNED)
            | flag(self.float_bias.is_some(), FLOAT_BIAS);
        let mut column = |v: Option<ValueId>| match v {
            Some(v) => Arg::Ptr(e.buffer(v, Access::Read), block.n0.clone()),
            None => Arg::Null,
        };
        let (bias, scale, float_bias) = (column(self.bias), column(self.scale), column(self.float_bias));
        let factor = match self.factor {
            Some(v) => Arg::Local(e.value(v, &vec![Dim::ZERO; e.shape(v).len()])),
            None => Arg::F32(1.0),
        };
        let int = |v: i64| Arg::Int(Dim::int(v));
        vec![
            int(flags),
            int(self.store()),
            o.a_zero.clone(),
            o.b_zero.clone(),
            o.sums.clone(),
            bias,
            scale,
            factor,
            float_bias,
            int(self.zero),
            Arg::F32(lo),
            Arg::F32(hi),
        ]
    }
}

/// Calls `i8_gemm` for a block and does the rest of the group's code on it.
pub(crate) fn call_and_finish(
    e: &mut Emitter,
    group: &Group,
    anchor: ValueId,
    bias: Option<ValueId>,
    block: Block,
    o: Operands,
) {
    let k = (o.taps.clone() * o.kc.clone()).ceil_div(&Dim::int(BYTES_PER_FLOAT));
    e.cost = super::gemm::cost(&block.rows, &block.columns, &k);
    let stored = peel(e.graph, group, anchor, bias, &block);
    let held = epilogue::place(e, group, &block, (stored.reached, stored.dtype), false);
    let epilogue = stored.words(e, &block, &o);
    let mut args = vec![Arg::Ptr(held.mem, held.at.clone()), Arg::Int(held.row_stride.clone())];
    args.extend([Arg::Int(block.m_len.clone()), Arg::Int(block.n_len.clone())]);
    args.extend(o.a);
    args.extend([Arg::Int(o.taps), Arg::Int(o.kc), o.b, Arg::Int(o.panel)]);
    args.extend(epilogue);
    e.kb.call(I8_GEMM.0, I8_GEMM.1, args);
    epilogue::rest(e, group, &block, held);
}
