//! The shape of a product's tiles: how the threads of a block share the work on one, and where an operand's
//! elements lie in shared memory.
//!
//! A thread brings groups of four elements that are neighbors along k or across it, and computes rows and
//! columns at fixed distances. Elements are words in rows by steps of k, or pieces of 16 bits as `ldmatrix`
//! reads them: rows of 8·n elements, of which each run of eight (16 bytes) is moved by the row's number so
//! that neither those who write nor those who read meet in a bank.

use super::super::Sm;
use super::super::kernel::{Emitter, MOST_THREADS};
use super::super::ptx::{Kind, Reg};
use super::pieces::Pieces;
use nnc_ir::tile::Kernel;
use nnc_ir::{Dim, Sym};
use nnc_tensor::Range;
use std::fmt::Display;

/// Threads that make a tile.
const THREADS: i32 = MOST_THREADS as i32;
/// Elements of a group.
pub(super) const SIDE: i32 = 4;
/// Buffers of tiles: one is read while the next is filled.
const STAGES: i32 = 2;

/// Rows or columns of a tile, as a rule.
const SMALL: i32 = 64;
/// The same where the schedule made blocks of so many.
const LARGE: i32 = 128;

/// Rows or columns of a tile of a product that has `extent` of them, as its kernel says: a block of more than a small
/// tile's and no more than a large one's was made to be one.
fn side(kernel: &Kernel, extent: &Dim) -> i32 {
    let known = |s: &Sym| match s {
        Sym::Name(_) => Range::length(),
        // Loops' variables are not known before the loops are made.
        Sym::Local(n) => kernel.grid.iter().find(|a| a.local.0 == *n).map_or_else(Range::default, |axis| {
            let last = axis.extent.clone() - Dim::ONE;
            Range { low: Some(0), high: last.as_const().map(|n| n.max(0)), top: Some(last) }
        }),
    };
    let most = extent.bounds(&known).1;
    let large = |n: i64| i64::from(SMALL) < n && n <= i64::from(LARGE);
    if most.is_some_and(large) { LARGE } else { SMALL }
}

/// Columns of a line, where pieces lie by steps of k.
pub(super) const COLUMNS_OF_STEP: i32 = 64;

/// What lies in shared memory.
#[derive(Clone, Copy)]
pub(super) enum Elements {
    /// Words; a row of them is longer than the tile by so many.
    Words(i32),
    /// Pieces of floats.
    Pieces(Pieces),
    /// Pieces of floats for products of warpgroups.
    Grouped(Pieces),
}

/// The shape of a tile.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Rows of the result.
    pub(super) rows: i32,
    /// Its columns.
    pub(super) columns: i32,
    /// Steps of k in shared memory at a time.
    pub(super) depth: i32,
    pub(super) elements: Elements,
}

/// Along what the elements of a group are neighbors, in memory and in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Depth,
    Across,
}

impl Form {
    /// The form of products of floats with so many rows and columns.
    pub(super) fn floats(e: &Emitter<'_>, (m, n): (&Dim, &Dim)) -> Form {
        let rows = side(e.kernel, m);
        let columns = if rows == LARGE { side(e.kernel, n) } else { SMALL };
        match Pieces::of(e.precision, e.sm) {
            Some(p) => {
                // Two warpgroups make 64 rows each.
                let grouped = e.sm == Sm::Sm90a && rows == LARGE;
                let elements = if grouped { Elements::Grouped(p) } else { Elements::Pieces(p) };
                Form { rows, columns, depth: p.depth(), elements }
            }
            // Threads that read four of a row and threads that read four others meet in no bank.
            None => Form { rows, columns, depth: 16, elements: Elements::Words(4) },
        }
    }

    /// The form of products of bytes, of which a word holds four steps of k.
    pub(super) fn bytes() -> Form {
        // Lanes that read a fragment of bytes read all banks once.
        Form { rows: SMALL, columns: SMALL, depth: 16, elements: Elements::Words(8) }
    }

    /// Bytes of an operand's tile of so many rows or columns.
    pub(super) fn operand_bytes(&self, extent: i32) -> i32 {
        match self.elements {
            Elements::Words(padding) => self.depth * (extent + padding) * 4,
            Elements::Pieces(p) | Elements::Grouped(p) => p.count * self.piece_bytes(extent),
        }
    }

    /// Bytes of one piece of them.
    pub(super) fn piece_bytes(&self, extent: i32) -> i32 {
        self.depth * extent * 2
    }

    /// Bytes of both operands' tiles.
    pub(super) fn stage_bytes(&self) -> i32 {
        self.operand_bytes(self.rows) + self.operand_bytes(self.columns)
    }

    /// Bytes of shared memory.
    pub(super) fn shared_bytes(&self) -> i64 {
        i64::from(STAGES * self.stage_bytes())
    }

    /// Words from one step of k to the next, where elements are words.
    pub(super) fn pitch(&self, extent: i32) -> i32 {
        match self.elements {
            Elements::Words(padding) => extent + padding,
            Elements::Pieces(_) | Elements::Grouped(_) => 0,
        }
    }

    /// Where in an operand's tile an element lies, the first of a group, in bytes.
    fn place(&self, e: &mut Emitter<'_>, order: Order, extent: i32, (own, k): (Reg, Reg)) -> Reg {
        match (self.elements, order) {
            (Elements::Words(_), _) => {
                let own = swizzled_word(e, own, k);
                let at = e.t.op(Kind::Word, "mad.lo.u32", &[&k, &self.pitch(extent), &own]);
                word(e, "shl.b32", at, &2)
            }
            (_, Order::Depth) => {
                let run = word(e, "shr.u32", k, &3);
                let at = self.run_of_row(e, own, run);
                let half = word(e, "and.b32", k, &4);
                e.t.op(Kind::Word, "mad.lo.u32", &[&half, &2, &at])
            }
            (_, Order::Across) => {
                let run = word(e, "shr.u32", own, &3);
                let at = self.run_of_step(e, extent, (k, run));
                let half = word(e, "and.b32", own, &4);
                e.t.op(Kind::Word, "mad.lo.u32", &[&half, &2, &at])
            }
        }
    }

    /// Where a run of eight steps of k lies in the tile of an operand by rows.
    pub(super) fn run_of_row(&self, e: &mut Emitter<'_>, own: Reg, run: Reg) -> Reg {
        // Rows that fill 128 bytes together lie in different banks anyway.
        let runs = self.depth / 8;
        let together = word(e, "shr.u32", own, &(8 / runs).trailing_zeros());
        let moved = word(e, "and.b32", together, &(runs - 1));
        let run = word(e, "xor.b32", run, &moved);
        let line = word(e, "mul.lo.u32", own, &(2 * self.depth));
        e.t.op(Kind::Word, "mad.lo.u32", &[&run, &16, &line])
    }

    /// Where a run of eight rows or columns lies in the tile of an operand by steps of k: behind the lines of all
    /// steps are those of the next columns.
    pub(super) fn run_of_step(&self, e: &mut Emitter<'_>, extent: i32, (k, run): (Reg, Reg)) -> Reg {
        let moved = word(e, "and.b32", k, &7);
        let mut run = word(e, "xor.b32", run, &moved);
        let mut line = word(e, "mul.lo.u32", k, &(2 * COLUMNS_OF_STEP));
        if extent > COLUMNS_OF_STEP {
            let further = word(e, "shr.u32", run, &3);
            run = word(e, "and.b32", run, &7);
            let bytes = 2 * COLUMNS_OF_STEP * self.depth;
            line = e.t.op(Kind::Word, "mad.lo.u32", &[&further, &bytes, &line]);
        }
        e.t.op(Kind::Word, "mad.lo.u32", &[&run, &16, &line])
    }
}

/// The place of a row or column among the words of a step of k: threads that write neighbors along k as
/// neighbors across it would meet in a bank.
fn swizzled_word(e: &mut Emitter<'_>, own: Reg, k: Reg) -> Reg {
    let moved = word(e, "shl.b32", k, &1);
    let moved = word(e, "and.b32", moved, &0x18);
    word(e, "xor.b32", own, &moved)
}

/// Among how many words, times eight, step `k` of words is moved.
pub(super) fn swizzle_of(k: i32) -> i32 {
    k >> 2 & 3
}

/// A 32-bit operation.
pub(super) fn word(e: &mut Emitter<'_>, name: &str, a: Reg, b: &dyn Display) -> Reg {
    e.t.op(Kind::Word, name, &[&a, b])
}

/// A 32-bit number as 64 bits.
pub(super) fn long(e: &mut Emitter<'_>, x: Reg) -> Reg {
    e.t.op(Kind::Long, "cvt.u64.u32", &[&x])
}

/// What a thread brings of an operand for each step: groups of four elements.
pub(super) struct Share {
    pub(super) order: Order,
    /// Row or column of the tile, and step of k, of the first group.
    pub(super) own: Reg,
    pub(super) depth: Reg,
    /// The same from each group to the next.
    pub(super) apart: (i32, i32),
    /// Where each group goes in shared memory, in the first of the buffers.
    pub(super) to: Vec<Reg>,
}

impl Share {
    /// The share of a thread in an operand of so many rows or columns, whose tile begins at `base`.
    pub(super) fn new(e: &mut Emitter<'_>, form: &Form, order: Order, extent: i32, base: Reg) -> Share {
        let inner = match order {
            Order::Depth => form.depth / SIDE,
            Order::Across => extent / SIDE,
        };
        let number = e.thread;
        let first = word(e, "shr.u32", number, &inner.trailing_zeros());
        let second = word(e, "and.b32", number, &(inner - 1));
        let second = word(e, "shl.b32", second, &SIDE.trailing_zeros());
        let distance = THREADS / inner;
        let (n, mut to) = (extent * form.depth / (SIDE * THREADS), Vec::new());
        for i in 0..n {
            let first = if i == 0 { first } else { word(e, "add.u32", first, &(i * distance)) };
            let place = if order == Order::Depth { (first, second) } else { (second, first) };
            let at = form.place(e, order, extent, place);
            to.push(word(e, "add.u32", base, &at));
        }
        let (first, second) = (long(e, first), long(e, second));
        match order {
            Order::Depth => Share { order, own: first, depth: second, apart: (distance, 0), to },
            Order::Across => Share { order, own: second, depth: first, apart: (0, distance), to },
        }
    }
}

/// What a thread computes of a tile, and from where.
pub(super) struct Place {
    /// First row and column.
    pub(super) row: Reg,
    pub(super) column: Reg,
    /// All of them, from there.
    pub(super) rows: Vec<i32>,
    pub(super) columns: Vec<i32>,
    /// Shared addresses in the first of the buffers; what for is the affair of the way to multiply.
    pub(super) left: Vec<Reg>,
    pub(super) right: Vec<Reg>,
}

/// A thread's warp and lane as the warps that share a tile number them: two along the rows, four along the
/// columns.
pub(super) struct WarpPlace {
    /// First row and column of the warp.
    pub(super) row: Reg,
    pub(super) column: Reg,
    pub(super) lane: Reg,
}

impl WarpPlace {
    pub(super) fn new(e: &mut Emitter<'_>, form: &Form) -> WarpPlace {
        let number = e.thread;
        let lane = word(e, "and.b32", number, &31);
        let (high, low) = (word(e, "shr.u32", number, &7), word(e, "shr.u32", number, &5));
        let low = word(e, "and.b32", low, &3);
        let row = word(e, "mul.lo.u32", high, &(form.rows / 2));
        let column = word(e, "mul.lo.u32", low, &(form.columns / 4));
        WarpPlace { row, column, lane }
    }

    /// What a lane has of the results of `mma`: of each 16×8 rows `lane / 4` and eight more, columns
    /// `2 (lane % 4)` and one more.
    pub(super) fn results(&self, e: &mut Emitter<'_>, form: &Form, from: (Vec<Reg>, Vec<Reg>)) -> Place {
        let group = word(e, "shr.u32", self.lane, &2);
        let row = word(e, "add.u32", self.row, &group);
        let member = word(e, "and.b32", self.lane, &3);
        let column = e.t.op(Kind::Word, "mad.lo.u32", &[&member, &2, &self.column]);
        Place {
            row: long(e, row),
            column: long(e, column),
            rows: (0..form.rows / 16).map(|i| 8 * i).collect(),
            columns: (0..form.columns / 16).map(|j| 8 * (j / 2) + j % 2).collect(),
            left: from.0,
            right: from.1,
        }
    }
}

impl Form {
    /// The rows and columns of a thread that multiplies words by itself: four neighbors of each 64.
    pub(super) fn neighbors(&self, e: &mut Emitter<'_>, (left, right): (Reg, Reg)) -> Place {
        let number = e.thread;
        let (high, low) = (word(e, "shr.u32", number, &4), word(e, "and.b32", number, &15));
        let (row, column) = (word(e, "shl.b32", high, &2), word(e, "shl.b32", low, &2));
        let list = |extent: i32| (0..extent / 16).map(|i| 64 * (i / SIDE) + i % SIDE).collect();
        Place {
            row: long(e, row),
            column: long(e, column),
            rows: list(self.rows),
            columns: list(self.columns),
            left: swizzled(e, left, row),
            right: swizzled(e, right, column),
        }
    }
}

/// Addresses of a row or column among words of steps 0, 4, 8 and 12 of k, less the way to these.
pub(super) fn swizzled(e: &mut Emitter<'_>, base: Reg, own: Reg) -> Vec<Reg> {
    let each = |moved: i32| {
        let own = if moved == 0 { own } else { word(e, "xor.b32", own, &(8 * moved)) };
        e.t.op(Kind::Word, "mad.lo.u32", &[&own, &4, &base])
    };
    (0..4).map(each).collect()
}
