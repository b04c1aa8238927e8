//! Right operands that are stored narrow, as halves or numbers of four bits: a product makes panels of f32 of
//! the piece that it is about to read, and never of the whole.

use super::PANEL;
use super::blocks::BlockSize;
use super::gemm::{Left, Right};
use crate::lower::emit::Emitter;
use nnc_ir::tile::{Arg, Expr, Mem, Turns};
use nnc_ir::{DType, Dim};

/// Steps of k of a piece for the most rows.
const DEPTH: i64 = 512;

/// Widened elements that stay in the second-level cache.
const ROOM: i64 = 1 << 16;

/// Rows for which it pays to widen one more panel at a time.
const ROWS_A_PANEL: i64 = 8;

/// The most rows of a block.
const MOST_ROWS: i64 = 504;

/// Rows and columns of a block of `k` steps, where so many are wanted.
pub(crate) fn blocks((rows, columns): (BlockSize, BlockSize), k: i64) -> (BlockSize, BlockSize) {
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
    from: Narrow,
    scratch: Mem,
    /// Steps of k.
    k: i64,
    /// Panels of the block.
    panels: Dim,
    /// Panels of a piece.
    width: Dim,
    /// Steps of k of a piece, where k can be cut.
    depth: Option<Dim>,
}

/// What is widened.
enum Narrow {
    /// Panels of a narrower float: the contract that widens elements, where they begin, and the distance from one
    /// to the next.
    Halves((&'static str, u32), Mem, Dim, Dim),
    /// The words of numbers of four bits.
    Nibbles([Arg; 7]),
}

/// A piece of the panels.
struct Piece {
    first: Dim,
    panels: Dim,
    k: Dim,
    depth: Dim,
}

impl Narrow {
    fn of(e: &Emitter, right: &Right) -> Option<Narrow> {
        match right {
            Right::Nibbles(words) if e.schedule.unpacks => Some(Narrow::Nibbles(words.clone())),
            Right::Panels(mem, at, distance) => {
                let contract = match e.kb.mem_dtype(*mem) {
                    DType::F16 => ("f16_to_f32", 1),
                    DType::BF16 => ("bf16_to_f32", 1),
                    _ => return None,
                };
                Some(Narrow::Halves(contract, *mem, at.clone(), distance.clone()))
            }
            _ => None,
        }
    }

    /// Steps of k of the smallest piece: few enough that their widened form is read while the next of the narrow
    /// ones arrive from memory, and many enough to hide the calls.
    fn unit(&self) -> i64 {
        match self {
            Narrow::Halves(..) => 64,
            Narrow::Nibbles([_, _, Arg::Int(block), ..]) => {
                let block = block.as_const().unwrap_or(1).max(1);
                (256 + block - 1) / block * block
            }
            Narrow::Nibbles(_) => 256,
        }
    }

    /// Makes panels of f32 of a piece.
    fn widen(&self, e: &mut Emitter, to: Mem, piece: &Piece) {
        let panel = piece.depth.clone() * Dim::int(PANEL);
        match self {
            Narrow::Halves(contract, mem, at, distance) => {
                let at =
                    at.clone() + piece.first.clone() * distance.clone() + piece.k.clone() * Dim::int(PANEL);
                let each = e.begin(Turns::Serial, piece.panels.clone(), &[]);
                let (i, from) = (each.index(), at + each.index() * distance.clone());
                let args = vec![Arg::Ptr(to, i * panel.clone()), Arg::Ptr(*mem, from), Arg::Int(panel)];
                e.kb.call(contract.0, contract.1, args);
                e.end(each, &[], &[]);
            }
            Narrow::Nibbles([src, distance, block, scales, zeros, zero, of_scales]) => {
                let moved = |arg: &Arg, distance: &Arg, along_k: Dim| match (arg, distance) {
                    (Arg::Ptr(mem, at), Arg::Int(distance)) => {
                        Arg::Ptr(*mem, at.clone() + piece.first.clone() * distance.clone() + along_k)
                    }
                    _ => arg.clone(),
                };
                let Arg::Int(steps) = block else { return };
                let blocks = piece.k.floor_div(steps) * Dim::int(PANEL);
                let sizes = [&piece.depth, &piece.panels].map(|d| Arg::Int(d.clone()));
                let mut args = vec![Arg::Ptr(to, Dim::ZERO)];
                args.push(moved(src, distance, piece.k.clone() * Dim::int(PANEL / 2)));
                args.extend(sizes);
                args.extend([block.clone(), moved(scales, of_scales, blocks.clone())]);
                args.extend([moved(zeros, of_scales, blocks), zero.clone()]);
                args.extend([distance.clone(), of_scales.clone(), Arg::Int(panel)]);
                e.kb.call("f32_unpack4", 1, args);
            }
        }
    }
}

/// A size that is computed once, where it is not known.
fn computed(e: &mut Emitter, size: Dim) -> Dim {
    if size.as_const().is_some() { size } else { e.kb.def(DType::I64, Expr::Index(size)).dim() }
}

impl Widening {
    /// For a product over so many rows; `None` where its right operand is f32 or read as it is. Columns are those
    /// of a block, and the most that one has.
    pub(crate) fn new(
        e: &mut Emitter,
        (left, right): (&Left, &Right),
        rows: &Dim,
        (columns, most): (&Dim, &Dim),
    ) -> Option<Widening> {
        let from = Narrow::of(e, right)?;
        let (Arg::Int(taps), Arg::Int(kc)) = (&left[4], &left[5]) else { return None };
        let k = taps.as_const()? * kc.as_const()?;
        let cut = matches!(left[0], Arg::Null) && taps.is(1);
        let unit = from.unit();
        let deepest = if cut { k.min((DEPTH / unit).max(1) * unit) } else { k };
        let panel = Dim::int(PANEL);
        let widest = Dim::int(panels_of(deepest)).min_with(&most.ceil_div(&panel));
        let scratch = e.kb.scratch(DType::F32, Dim::int(deepest) * panel.clone() * widest.clone());
        let shares = rows.floor_div(&Dim::int(ROWS_A_PANEL)).max_with(&Dim::ONE);
        let width = computed(e, shares.min_with(&widest));
        let depth = cut.then(|| computed(e, (shares * Dim::int(unit)).min_with(&Dim::int(deepest))));
        let panels = computed(e, columns.ceil_div(&panel));
        Some(Widening { from, scratch, k, panels, width, depth })
    }

    /// Calls the product piece by piece: `call` writes the call of a part for the words of both operands.
    pub(crate) fn each(&self, e: &mut Emitter, left: &Left, call: impl Fn(&mut Emitter, Part, Vec<Arg>)) {
        let k = Dim::int(self.k);
        let across = e.begin(Turns::Serial, self.panels.ceil_div(&self.width), &[]);
        let first = computed(e, across.index() * self.width.clone());
        let panels = computed(e, self.width.min_with(&(self.panels.clone() - first.clone())));
        let (column, columns) = (first.clone() * Dim::int(PANEL), panels.clone() * Dim::int(PANEL));
        match &self.depth {
            None => {
                let words = self.widen(e, left, &Piece { first, panels, k: Dim::ZERO, depth: k });
                call(e, Part { column, columns, accumulates: Dim::ZERO, is_last: Dim::ONE }, words);
            }
            Some(depth) => {
                let along = e.begin(Turns::Serial, k.ceil_div(depth), &[]);
                let at = computed(e, along.index() * depth.clone());
                let depth = computed(e, depth.min_with(&(k.clone() - at.clone())));
                let accumulates = at.min_with(&Dim::ONE);
                let is_last = (at.clone() + depth.clone()).floor_div(&k);
                let words = self.widen(e, left, &Piece { first, panels, k: at, depth });
                call(e, Part { column, columns, accumulates, is_last }, words);
                e.end(along, &[], &[]);
            }
        }
        e.end(across, &[], &[]);
    }

    /// Widens a piece: the words of both operands of its product.
    fn widen(&self, e: &mut Emitter, left: &Left, piece: &Piece) -> Vec<Arg> {
        self.from.widen(e, self.scratch, piece);
        let mut words = left.to_vec();
        if let Arg::Ptr(a, at) = &left[2] {
            words[2] = Arg::Ptr(*a, at.clone() + piece.k.clone());
        }
        if self.depth.is_some() {
            words[5] = Arg::Int(piece.depth.clone());
        }
        let panel = piece.depth.clone() * Dim::int(PANEL);
        words.extend([Arg::Ptr(self.scratch, Dim::ZERO), Arg::Int(panel)]);
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
