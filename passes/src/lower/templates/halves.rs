//! Constant right operands whose numbers all fit f16 or bf16, as the weights of models in half precision do:
//! their panels stay narrow in the artifact, and a kernel widens those that it is about to read.

use super::PANEL;
use super::blocks::BlockSize;
use crate::lower::emit::Emitter;
use half::{bf16, f16};
use nnc_ir::tile::{Arg, Expr, Mem, Turns};
use nnc_ir::{DType, Dim, Graph, ValueId};

/// Fewer elements are not worth a conversion in every run.
const LEAST: usize = 1 << 14;

/// Steps of k of a piece for the most rows.
const DEPTH: i64 = 512;

/// Steps of k of a piece for the fewest rows.
const LEAST_DEPTH: i64 = 64;

/// Widened elements that stay in the second-level cache.
const ROOM: i64 = 1 << 16;

/// Rows for which it pays to widen one more panel at a time.
const ROWS_A_PANEL: i64 = 8;

/// The most rows of a block.
const MOST_ROWS: i64 = 504;

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

/// Rows and columns of a block with panels of a type, where so many are wanted.
pub(crate) fn blocks(
    panels: DType,
    (rows, columns): (BlockSize, BlockSize),
    k: i64,
) -> (BlockSize, BlockSize) {
    if panels == DType::F32 {
        return (rows, columns);
    }
    // As many rows as possible share what is widened.
    let rows = rows.0.saturating_mul(4).min(MOST_ROWS);
    (BlockSize(rows), BlockSize(columns.0.min(panels_of(k.min(DEPTH)) * PANEL)))
}

/// Panels of `k` elements that the second-level cache holds once they are widened.
fn panels_of(k: i64) -> i64 {
    (ROOM / k.max(1) / PANEL).clamp(1, 64)
}

/// How a product widens its right operand: a piece after the other, some panels wide and some steps of k deep.
/// The fewer rows, the smaller the pieces: what is read once should not leave the first-level cache between.
pub(crate) struct Widening {
    contract: (&'static str, u32),
    scratch: Mem,
    /// Panels of the block.
    panels: Dim,
    /// Panels of a piece.
    width: Dim,
    /// Steps of k of a piece, where k can be cut.
    depth: Option<Dim>,
}

/// A piece of the panels.
struct Piece {
    first: Dim,
    panels: Dim,
    k: Dim,
    depth: Dim,
}

/// Steps of k in the words of a product.
fn depth(words: &[Arg]) -> Option<i64> {
    match (words.get(4)?, words.get(5)?) {
        (Arg::Int(taps), Arg::Int(kc)) => Some(taps.as_const()? * kc.as_const()?),
        _ => None,
    }
}

/// A size that is computed once, where it is not known.
fn computed(e: &mut Emitter, size: Dim) -> Dim {
    if size.as_const().is_some() { size } else { e.kb.def(DType::I64, Expr::Index(size)).dim() }
}

impl Widening {
    /// For the words of a product over so many rows, which are written here; `None` where its panels are of f32.
    /// Columns are those of a block, and the most that one has.
    pub(crate) fn new(
        e: &mut Emitter,
        words: &[Arg],
        rows: &Dim,
        (columns, most): (&Dim, &Dim),
    ) -> Option<Widening> {
        let Some(Arg::Ptr(mem, _)) = words.get(6) else { return None };
        let contract = match e.kb.mem_dtype(*mem) {
            DType::F16 => ("f16_to_f32", 1),
            DType::BF16 => ("bf16_to_f32", 1),
            _ => return None,
        };
        let cut = matches!(words[0], Arg::Null) && matches!(&words[4], Arg::Int(taps) if taps.is(1));
        let k = depth(words)?;
        let deepest = if cut { k.min(DEPTH) } else { k };
        let panel = Dim::int(PANEL);
        let widest = Dim::int(panels_of(deepest)).min_with(&most.ceil_div(&panel));
        let scratch = e.kb.scratch(DType::F32, Dim::int(deepest) * panel.clone() * widest.clone());
        let shares = rows.floor_div(&Dim::int(ROWS_A_PANEL)).max_with(&Dim::ONE);
        let width = computed(e, shares.min_with(&widest));
        let depth = cut.then(|| computed(e, (shares * Dim::int(LEAST_DEPTH)).min_with(&Dim::int(deepest))));
        let panels = computed(e, columns.ceil_div(&panel));
        Some(Widening { contract, scratch, panels, width, depth })
    }

    /// Calls the product piece by piece: `call` writes a call for the columns from one on and at most so many, for the
    /// part of the sum that begins at a step of k, and for words.
    pub(crate) fn each(&self, e: &mut Emitter, words: &[Arg], call: impl Fn(&mut Emitter, Part, Vec<Arg>)) {
        let Some(k) = depth(words).map(Dim::int) else { return };
        let across = e.begin(Turns::Serial, self.panels.ceil_div(&self.width), &[]);
        let first = computed(e, across.index() * self.width.clone());
        let panels = computed(e, self.width.min_with(&(self.panels.clone() - first.clone())));
        let (column, columns) = (first.clone() * Dim::int(PANEL), panels.clone() * Dim::int(PANEL));
        match &self.depth {
            None => {
                let words = self.widen(e, words, &Piece { first, panels, k: Dim::ZERO, depth: k });
                call(e, Part { column, columns, accumulates: Dim::ZERO, is_last: Dim::ONE }, words);
            }
            Some(depth) => {
                let along = e.begin(Turns::Serial, k.ceil_div(depth), &[]);
                let at = computed(e, along.index() * depth.clone());
                let depth = computed(e, depth.min_with(&(k.clone() - at.clone())));
                let accumulates = at.min_with(&Dim::ONE);
                let is_last = (at.clone() + depth.clone()).floor_div(&k);
                let words = self.widen(e, words, &Piece { first, panels, k: at, depth });
                call(e, Part { column, columns, accumulates, is_last }, words);
                e.end(along, &[], &[]);
            }
        }
        e.end(across, &[], &[]);
    }

    /// Widens a piece: the product's words with it.
    fn widen(&self, e: &mut Emitter, words: &[Arg], piece: &Piece) -> Vec<Arg> {
        let mut words = words.to_vec();
        let [Arg::Ptr(narrow, at), Arg::Int(distance)] = &words[6..8] else { return words };
        let panel = piece.depth.clone() * Dim::int(PANEL);
        let at = at.clone() + piece.first.clone() * distance.clone() + piece.k.clone() * Dim::int(PANEL);
        let each = e.begin(Turns::Serial, piece.panels.clone(), &[]);
        let (to, from) = (each.index() * panel.clone(), at + each.index() * distance.clone());
        let args = vec![Arg::Ptr(self.scratch, to), Arg::Ptr(*narrow, from), Arg::Int(panel.clone())];
        e.kb.call(self.contract.0, self.contract.1, args);
        e.end(each, &[], &[]);
        if let Arg::Ptr(a, at) = &words[2] {
            words[2] = Arg::Ptr(*a, at.clone() + piece.k.clone());
        }
        if self.depth.is_some() {
            words[5] = Arg::Int(piece.depth.clone());
        }
        words[6] = Arg::Ptr(self.scratch, Dim::ZERO);
        words[7] = Arg::Int(panel);
        words
    }
}

/// A part of a product's result and of its sums.
pub(crate) struct Part {
    /// First column.
    pub(crate) column: Dim,
    /// The most columns.
    pub(crate) columns: Dim,
    /// 1 where the sums so far are added to.
    pub(crate) accumulates: Dim,
    /// 1 where the sums are then whole.
    pub(crate) is_last: Dim,
}
