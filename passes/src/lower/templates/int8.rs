//! Operands of products of 8-bit numbers: what `(x - zero)` in 32 bits stands for in memory.
//!
//! Quantized models reach this stage as contractions and convolutions of i32, each operand a difference of
//! widened bytes and a zero point. The kernel `i8_gemm` reads the bytes; zero points are its arguments.

use crate::fold::known::{line, uniform};
use crate::lower::emit::{Constant, Emitter};
use nnc_ir::plan::{BytePanels, Packing, PanelAxis};
use nnc_ir::tile::{Access, Arg};
use nnc_ir::{DType, Dim, Graph, ValueId};

/// What is taken from every element of an operand.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Zero {
    /// A number.
    Known(i64),
    /// A number for each column.
    Columns(Vec<i64>),
    /// A value of one element in memory.
    Read(ValueId),
}

impl Zero {
    /// The value that has to be read.
    pub(crate) fn read(&self) -> Option<ValueId> {
        match self {
            Zero::Read(v) => Some(*v),
            _ => None,
        }
    }
}

/// Bytes in memory less a zero point.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    /// The value in memory.
    pub(crate) value: ValueId,
    /// Its zero point.
    pub(crate) zero: Zero,
}

fn is_byte(graph: &Graph, v: ValueId) -> bool {
    matches!(graph.tensor_ty(v).dtype, DType::U8 | DType::I8)
}

/// The bytes that a cast to 32 bits widens.
fn widened(graph: &Graph, v: ValueId) -> Option<ValueId> {
    let x = graph.def_if(v, "cast")?.inputs[0];
    is_byte(graph, x).then_some(x)
}

/// Both operands of a difference; of anything else the value itself and nothing.
fn difference(graph: &Graph, v: ValueId) -> (ValueId, Option<ValueId>) {
    match graph.def_if(v, "sub") {
        Some(node) => (node.inputs[0], Some(node.inputs[1])),
        None => (v, None),
    }
}

/// The left operand of a product.
pub(crate) fn activations(graph: &Graph, v: ValueId) -> Option<Factor> {
    let (x, zero) = difference(graph, v);
    let value = widened(graph, x)?;
    let zero = match zero {
        None => Zero::Known(0),
        Some(z) => match uniform(graph, z) {
            Some(known) => Zero::Known(known as i64),
            None => Zero::Read(element(graph, z)?),
        },
    };
    let fits = !matches!(zero, Zero::Known(z) if !(-128..=255).contains(&z));
    fits.then_some(Factor { value, zero })
}

/// The one element behind broadcasts and conversions of bytes.
fn element(graph: &Graph, v: ValueId) -> Option<ValueId> {
    let mut v = v;
    while let Some(node) = graph.def_node(v) {
        match node.op.name {
            "broadcast" | "reshape" => v = node.inputs[0],
            "cast" if is_byte(graph, node.inputs[0]) => v = node.inputs[0],
            _ => break,
        }
    }
    graph.tensor_ty(v).elems().is(1).then_some(v)
}

/// The right operand of a product: a constant.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// The constant: bytes, or 32-bit integers that differ by less than 256.
    pub(crate) value: ValueId,
    /// What packing takes from its elements.
    pub(crate) shift: i64,
    /// The zero point of what is packed.
    pub(crate) zero: Zero,
}

/// Weights whose zero points lie along `axis`, if anywhere.
pub(crate) fn weights(graph: &Graph, v: ValueId, axis: Option<usize>) -> Option<Weights> {
    if let Some(t) = graph.constant(v) {
        let elems = t.elems::<i32>().ok()?;
        let (low, high) = elems.iter().fold((0, 0), |(l, h): (i32, i32), x| (l.min(*x), h.max(*x)));
        let (low, high) = (i64::from(low), i64::from(high));
        let shift = if low >= -128 && high <= 127 { 0 } else { low + 128 };
        return (high - low < 256).then_some(Weights { value: v, shift, zero: Zero::Known(-shift) });
    }
    let (x, zero) = difference(graph, v);
    let value = widened(graph, x).filter(|x| graph.constant(*x).is_some())?;
    let shift = if graph.tensor_ty(value).dtype == DType::U8 { 128 } else { 0 };
    let zero = match zero.map(|z| line(graph, z)) {
        None => Zero::Known(-shift),
        Some(None) => return None,
        Some(Some(l)) if l.axis.is_none() => Zero::Known(l.values[0] as i64 - shift),
        Some(Some(l)) if l.axis == axis => {
            Zero::Columns(l.values.iter().map(|z| *z as i64 - shift).collect())
        }
        Some(Some(_)) => return None,
    };
    Some(Weights { value, shift, zero })
}

/// The words of a call that say what A and B are, and how their zero points enter the sums.
pub(crate) struct Operands {
    /// From the table of rows to A's row stride.
    pub(crate) a: [Arg; 4],
    /// Taps.
    pub(crate) taps: Dim,
    /// Elements of a tap.
    pub(crate) kc: Dim,
    /// The first panel of B.
    pub(crate) b: Arg,
    /// Bytes from panel to panel.
    pub(crate) panel: Dim,
    /// A's bytes are signed.
    pub(crate) signed: bool,
    /// A's zero point.
    pub(crate) a_zero: Arg,
    /// B's zero points.
    pub(crate) b_zero: Arg,
    /// The sums of B's columns.
    pub(crate) sums: Arg,
}

impl Operands {
    /// The words for packed weights: `first` counts panels, `set` points of the batch, `column` columns of a
    /// point, of which there are `n`.
    pub(crate) fn new(
        e: &mut Emitter,
        (a, factor): ([Arg; 4], &Factor),
        (weights, panels): (&Weights, BytePanels),
        (set, column): (Dim, Dim),
    ) -> Operands {
        let points = |axes: &[PanelAxis]| axes.iter().map(|a| a.len).product();
        let n = panels.n.len;
        let (taps, kc) = (Dim::int(points(&panels.taps)), Dim::int(points(&panels.k)));
        let panel = Dim::int(panels.panel());
        let at =
            set.clone() * Dim::int(panels.set()) + column.floor_div(&Dim::int(super::PANEL)) * panel.clone();
        let sums_at = set * Dim::int(n) + column.clone();
        let signed = e.dtype(factor.value) == DType::I8;
        let a_zero = match &factor.zero {
            Zero::Known(z) => Arg::Int(Dim::int(*z)),
            Zero::Columns(_) => unreachable!("rows have no zero points of their own"),
            Zero::Read(v) => {
                let mem = e.buffer(*v, Access::Read);
                Arg::Local(e.kb.load(mem, Dim::ZERO))
            }
        };
        let value = weights.value;
        let packed = |packing| Constant::Packed { value, packing };
        let b = e.constant(packed(Packing::Bytes(panels.clone())));
        let sums = match factor.zero {
            Zero::Known(0) if !signed => Arg::Null,
            _ => Arg::Ptr(e.constant(packed(Packing::Sums(panels.clone()))), sums_at.clone()),
        };
        let b_zero = match &weights.zero {
            Zero::Known(0) => Arg::Null,
            Zero::Known(z) => integers(e, vec![*z; n as usize], column),
            // Those of a convolution run through all groups, those of a contraction are the same for all.
            Zero::Columns(z) if z.len() as i64 == n => integers(e, z.clone(), column),
            Zero::Columns(z) => integers(e, z.clone(), sums_at),
            Zero::Read(_) => unreachable!("weights are constants"),
        };
        Operands { a, taps, kc, b: Arg::Ptr(b, at), panel, signed, a_zero, b_zero, sums }
    }
}

fn integers(e: &mut Emitter, values: Vec<i64>, from: Dim) -> Arg {
    Arg::Ptr(e.constant(Constant::Integers(values.into_iter().map(|v| v as i32).collect())), from)
}
