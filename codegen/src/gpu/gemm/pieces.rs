//! Products of floats on tensor cores: an operand is a sum of `P` pieces of 16 bits, and the products of
//! pieces `i + j < P` are summed in f32.
//!
//! | class | pieces | products |
//! |---|---|---|
//! | `f32` | three of bf16, which hold all 24 bits | 6 |
//! | `f32-fast` | two of bf16 | 3 |
//! | `bf16`, `f16` | one | 1 |
//!
//! All pieces but the last are cut off, so that the rest is exact and no number overflows; the last one is
//! rounded to nearest. The rest of an infinite number is 0. What is lost is an infinity times a number
//! whose lower pieces are 0 (1, say): the products of these are NaN.
//!
//! Tensor cores do not round sums to nearest: they cut them off. Where a class is that fine, each fragment's
//! products of 16 steps of k, the smallest first, are summed from zero, and added to the sum by an
//! instruction that rounds.

use super::super::Sm;
use super::super::kernel::Emitter;
use super::super::ptx::{At, Float, Kind, Reg};
use super::form::{COLUMNS_OF_STEP, Form, Order, Place, WarpPlace, word};
use super::{Thread, list, registers};
use crate::Precision;

/// Steps of k of an instruction, and of its halves on the oldest devices.
pub(super) const STEPS: i32 = 16;
/// Rows of a fragment.
const ROWS: i32 = 16;
/// Columns of a pair of fragments, which one `ldmatrix` brings.
const PAIR: i32 = 16;

/// A format of 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Half {
    F16,
    Bf16,
}

/// What an operand is split into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces {
    pub(super) count: i32,
    half: Half,
    /// What is left of a device's instructions: products of 8 steps of k, no conversion of pairs.
    oldest: bool,
}

impl Pieces {
    /// The pieces of a class; `None` where products are plain f32 arithmetic.
    pub(super) fn of(precision: Precision, sm: Sm) -> Option<Pieces> {
        let oldest = sm == Sm::Sm75;
        let (count, half) = match precision {
            Precision::F32Strict => return None,
            Precision::F16 => (1, Half::F16),
            // The oldest devices have no products of bf16.
            _ if oldest => return None,
            Precision::F32 => (3, Half::Bf16),
            Precision::F32Fast => (2, Half::Bf16),
            Precision::Bf16 => (1, Half::Bf16),
        };
        Some(Pieces { count, half, oldest })
    }

    /// Steps of k in shared memory at a time.
    pub(super) fn depth(self) -> i32 {
        if self.count == 1 { 32 } else { 16 }
    }

    /// Splits four floats and stores each piece of them.
    pub(super) fn store(self, e: &mut Emitter<'_>, to: Reg, piece_bytes: i32, x: &[Reg]) {
        let mut rest = x.to_vec();
        for piece in 0..self.count {
            let last = piece + 1 == self.count;
            let pairs: Vec<Reg> = rest
                .chunks(2)
                .map(|x| if last { self.rounded(e, x) } else { self.upper_halves(e, x) })
                .collect();
            e.t.put("st.shared.v2.b32", &[&At(to, piece * piece_bytes), &list(&pairs)]);
            if !last {
                rest = rest.into_iter().map(|x| self.less_piece(e, x)).collect();
            }
        }
    }

    /// The name of the pieces' format.
    pub(super) fn type_name(self) -> &'static str {
        match self.half {
            Half::F16 => "f16",
            Half::Bf16 => "bf16",
        }
    }

    /// Two floats rounded, the first in the low half.
    fn rounded(self, e: &mut Emitter<'_>, x: &[Reg]) -> Reg {
        if self.oldest {
            let halves = [0, 1].map(|i| e.t.op(Kind::Short, "cvt.rn.f16.f32", &[&x[i]]));
            return e.t.op(Kind::Word, "mov.b32", &[&list(&halves)]);
        }
        e.t.op(Kind::Word, &format!("cvt.rn.{}x2.f32", self.type_name()), &[&x[1], &x[0]])
    }

    /// The first bf16 pieces of two floats.
    fn upper_halves(self, e: &mut Emitter<'_>, x: &[Reg]) -> Reg {
        e.t.op(Kind::Word, "prmt.b32", &[&x[0], &x[1], &"0x7632"])
    }

    /// A float less its first bf16 piece; of an infinite one nothing is left.
    fn less_piece(self, e: &mut Emitter<'_>, x: Reg) -> Reg {
        let piece = e.t.op(Kind::Single, "and.b32", &[&x, &"0xffff0000"]);
        let rest = e.t.op(Kind::Single, "sub.f32", &[&x, &piece]);
        let whole = e.t.compare("eq.f32", x, &piece);
        e.t.op(Kind::Single, "selp.f32", &[&Float(Kind::Single, 0.0), &rest, &whole])
    }

    /// What the lanes of the warps compute, and where the rows of fragments lie that each tells `ldmatrix`.
    pub(super) fn place(self, e: &mut Emitter<'_>, form: &Form, order: Order, bases: (Reg, Reg)) -> Place {
        let warp = WarpPlace::new(e, form);
        let lane = warp.lane;
        // Of A the lanes name rows 0 to 15, for the first eight steps of k, then for the others.
        let (low, high) = (word(e, "and.b32", lane, &15), word(e, "shr.u32", lane, &4));
        let row = word(e, "add.u32", warp.row, &low);
        let at = form.run_of_row(e, row, high);
        let left = self.by_slice(e, form, at, bases.0);
        let right = match order {
            // Of B columns 0 to 7 for both halves of the steps, then columns 8 to 15.
            Order::Depth => {
                let within = word(e, "and.b32", lane, &7);
                let column = e.t.op(Kind::Word, "mad.lo.u32", &[&high, &8, &within]);
                let column = word(e, "add.u32", warp.column, &column);
                let half = word(e, "shr.u32", lane, &3);
                let half = word(e, "and.b32", half, &1);
                let at = form.run_of_row(e, column, half);
                self.by_slice(e, form, at, bases.1)
            }
            // Steps 0 to 15 for columns 0 to 7, then for columns 8 to 15.
            Order::Across => {
                let run = word(e, "shr.u32", warp.column, &3);
                let run = word(e, "add.u32", run, &high);
                let at = form.run_of_step(e, form.columns, (low, run));
                let pairs = form.columns / 4 / PAIR;
                (0..pairs).map(|j| moved(e, at, 2 * j, bases.1)).collect()
            }
        };
        warp.results(e, form, (left, right))
    }

    /// The address of a run of a row for each slice of 16 steps.
    fn by_slice(self, e: &mut Emitter<'_>, form: &Form, at: Reg, base: Reg) -> Vec<Reg> {
        (0..form.depth / STEPS).map(|slice| moved(e, at, 2 * slice, base)).collect()
    }

    /// Adds the products of what is in the buffer at `stage`.
    pub(super) fn multiply(self, e: &mut Emitter<'_>, t: &Thread, stage: Reg) {
        let at = |e: &mut Emitter<'_>, from: &[Reg]| -> Vec<Reg> {
            from.iter().map(|x| word(e, "add.u32", *x, &stage)).collect()
        };
        let (left, right) = (at(e, &t.place.left), at(e, &t.place.right));
        for slice in 0..t.form.depth / STEPS {
            let b = self.columns(e, t, &right, slice);
            for i in 0..t.form.rows / 2 / ROWS {
                let a = self.rows(e, t, left[slice as usize], i);
                for (j, b) in b.iter().enumerate() {
                    self.fragment(e, &fragment_of(t, i as usize, j), &a, b);
                }
            }
        }
    }

    /// The fragments of B, by columns, then by pieces.
    fn columns(self, e: &mut Emitter<'_>, t: &Thread, from: &[Reg], slice: i32) -> Vec<Vec<Vec<Reg>>> {
        let (form, pairs) = (&t.form, t.form.columns / 4 / PAIR);
        let piece_bytes = form.piece_bytes(form.columns);
        let mut all = vec![Vec::new(); 2 * pairs as usize];
        for j in 0..pairs {
            let (name, base, offset) = match t.right.order {
                Order::Depth => (
                    "ldmatrix.sync.aligned.m8n8.x4.shared.b16",
                    from[slice as usize],
                    j * PAIR * 2 * form.depth,
                ),
                Order::Across => (
                    "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16",
                    from[j as usize],
                    slice * STEPS * 2 * COLUMNS_OF_STEP,
                ),
            };
            for piece in 0..self.count {
                let x = registers(e, Kind::Word, 4);
                e.t.put(name, &[&list(&x), &At(base, offset + piece * piece_bytes)]);
                for (half, x) in x.chunks(2).enumerate() {
                    all[2 * j as usize + half].push(x.to_vec());
                }
            }
        }
        all
    }

    /// The fragments of 16 rows of A, by pieces.
    fn rows(self, e: &mut Emitter<'_>, t: &Thread, from: Reg, i: i32) -> Vec<Vec<Reg>> {
        let (form, piece_bytes) = (&t.form, t.form.piece_bytes(t.form.rows));
        let read = |piece: i32| {
            let x = registers(e, Kind::Word, 4);
            let at = At(from, i * ROWS * 2 * form.depth + piece * piece_bytes);
            e.t.put("ldmatrix.sync.aligned.m8n8.x4.shared.b16", &[&list(&x), &at]);
            x
        };
        (0..self.count).map(read).collect()
    }

    /// Adds the products of the pieces of two fragments.
    fn fragment(self, e: &mut Emitter<'_>, sums: &[Reg], a: &[Vec<Reg>], b: &[Vec<Reg>]) {
        if self.count == 1 {
            return self.mma(e, sums, sums, &a[0], &b[0]);
        }
        let part = registers(e, Kind::Single, 4);
        let zero = e.t.float(Kind::Single, 0.0);
        let mut start = vec![zero; 4];
        for (i, j) in in_order(self.count) {
            self.mma(e, &part, &start, &a[i as usize], &b[j as usize]);
            start.clone_from(&part);
        }
        for (s, x) in sums.iter().zip(&part) {
            e.t.put("add.rn.f32", &[s, s, x]);
        }
    }

    fn mma(self, e: &mut Emitter<'_>, to: &[Reg], start: &[Reg], a: &[Reg], b: &[Reg]) {
        if self.oldest {
            let name = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32";
            e.t.put(name, &[&list(to), &list(&a[..2]), &list(&b[..1]), &list(start)]);
            e.t.put(name, &[&list(to), &list(&a[2..]), &list(&b[1..]), &list(to)]);
            return;
        }
        let half = self.type_name();
        let name = format!("mma.sync.aligned.m16n8k16.row.col.f32.{half}.{half}.f32");
        e.t.put(&name, &[&list(to), &list(a), &list(b), &list(start)]);
    }
}

/// Which pieces of the operands are multiplied, the smallest first.
pub(super) fn in_order(count: i32) -> impl Iterator<Item = (i32, i32)> {
    (0..count).rev().flat_map(|order| (0..=order).map(move |i| (i, order - i)))
}

/// The address of the run that is so many further in the same row, whose number has these bits at 0.
fn moved(e: &mut Emitter<'_>, at: Reg, runs: i32, base: Reg) -> Reg {
    let at = if runs == 0 { at } else { word(e, "xor.b32", at, &(16 * runs)) };
    word(e, "add.u32", at, &base)
}

/// A lane's sums of the fragment at row `i` and column `j`: two of a row, two of the eighth from there.
pub(super) fn fragment_of(t: &Thread, i: usize, j: usize) -> [Reg; 4] {
    let width = t.place.columns.len();
    let at = |row: usize, column: usize| t.sums.products[(2 * i + row) * width + 2 * j + column];
    [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
}
