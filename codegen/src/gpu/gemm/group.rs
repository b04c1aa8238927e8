//! Products of pieces of floats by warpgroups: `wgmma`, which reads both operands from shared memory as
//! descriptors describe them.
//!
//! Each of a block's two groups of four warps makes 64 rows of a large tile. The pieces lie as they do for
//! `ldmatrix`, which moves runs of eight elements in a row the way that the hardware's swizzles do, as long as
//! tiles begin at multiples of [`ALIGNMENT`]. The instruction sees shared memory by another way than stores do
//! (the asynchronous proxy), so that these are fenced before the barrier.

use super::super::kernel::Emitter;
use super::super::ptx::{Kind, Reg};
use super::form::{COLUMNS_OF_STEP, Form, Order, Place, long, word};
use super::pieces::{Pieces, STEPS, fragment_of, in_order};
use super::{Thread, list, registers};

/// Tiles begin at multiples of so many bytes of shared memory: eight lines of the longest swizzle.
pub(super) const ALIGNMENT: i64 = 1024;

/// Rows of a group's products.
const ROWS: i32 = 64;

/// How an operand lies in shared memory, as a descriptor has it.
struct Layout {
    /// Bytes from 64 columns to the next, where steps of k are lines.
    leading: i32,
    /// Bytes from eight lines to the next.
    stride: i32,
    /// The pattern by which runs are moved.
    swizzle: u64,
    /// Bytes from 16 steps of k to the next.
    slice: i32,
}

impl Layout {
    fn new(form: &Form, order: Order) -> Layout {
        let line = match order {
            Order::Depth => 2 * form.depth,
            Order::Across => 2 * COLUMNS_OF_STEP,
        };
        Layout {
            leading: if order == Order::Across { line * form.depth } else { 16 },
            stride: 8 * line,
            // The patterns of 128, 64 and 32 bytes are 1, 2 and 3.
            swizzle: 8 - u64::from(line.trailing_zeros()),
            slice: if order == Order::Across { line * STEPS } else { 2 * STEPS },
        }
    }

    /// The descriptor of what begins at an address.
    fn descriptor(&self, e: &mut Emitter<'_>, at: Reg) -> Reg {
        let units = |bytes: i32| bytes as u64 >> 4;
        let rest = units(self.leading) << 16 | units(self.stride) << 32 | self.swizzle << 62;
        let at = word(e, "shr.u32", at, &4);
        let at = long(e, at);
        e.t.op(Kind::Long, "or.b64", &[&at, &format!("{rest:#x}")])
    }
}

/// A descriptor of what lies so many bytes further.
fn further(e: &mut Emitter<'_>, descriptor: Reg, bytes: i32) -> Reg {
    match bytes {
        0 => descriptor,
        bytes => e.t.op(Kind::Long, "add.s64", &[&descriptor, &(bytes >> 4)]),
    }
}

/// What the lanes have of the results of `wgmma`, and the descriptors of both operands: of each 16 rows of a warp
/// `lane / 4` and the eighth from there, of each eight columns `2 (lane % 4)` and the next.
pub(super) fn place(e: &mut Emitter<'_>, form: &Form, order: Order, (left, right): (Reg, Reg)) -> Place {
    let (warp, group) = (word(e, "shr.u32", e.thread, &5), word(e, "shr.u32", e.thread, &7));
    let lane = word(e, "and.b32", e.thread, &31);
    let (quad, member) = (word(e, "shr.u32", lane, &2), word(e, "and.b32", lane, &3));
    let row = e.t.op(Kind::Word, "mad.lo.u32", &[&warp, &16, &quad]);
    let column = word(e, "shl.b32", member, &1);
    let left = e.t.op(Kind::Word, "mad.lo.u32", &[&group, &(ROWS * 2 * form.depth), &left]);
    Place {
        row: long(e, row),
        column: long(e, column),
        rows: vec![0, 8],
        columns: (0..form.columns / 4).map(|j| 8 * (j / 2) + j % 2).collect(),
        left: vec![Layout::new(form, Order::Depth).descriptor(e, left)],
        right: vec![Layout::new(form, order).descriptor(e, right)],
    }
}

/// Makes what a thread stored in shared memory visible to products of groups, once a barrier is behind it.
pub(super) fn publish(e: &mut Emitter<'_>) {
    e.t.put("fence.proxy.async.shared::cta", &[]);
}

/// Adds the products of what is in the buffer at `stage`.
pub(super) fn multiply(pieces: Pieces, e: &mut Emitter<'_>, t: &Thread, stage: Reg) {
    let moved = word(e, "shr.u32", stage, &4);
    let moved = long(e, moved);
    let at = [t.place.left[0], t.place.right[0]].map(|from| e.t.op(Kind::Long, "add.s64", &[&from, &moved]));
    let sums: Vec<Reg> = (0..t.place.columns.len() / 2).flat_map(|j| fragment_of(t, 0, j)).collect();
    let one = pieces.count == 1;
    let to = if one { sums.clone() } else { registers(e, Kind::Single, sums.len() as i32) };
    let zero = e.t.int(Kind::Word, 0);
    let [starts, adds] = ["ne.s32", "eq.s32"].map(|name| e.t.compare(name, zero, &0));
    e.t.put("wgmma.fence.sync.aligned", &[]);
    let mut added = if one { adds } else { starts };
    for slice in 0..t.form.depth / STEPS {
        for (i, j) in in_order(pieces.count) {
            product(pieces, e, t, (&list(&to), added), (at, slice, [i, j]));
            added = adds;
        }
    }
    e.t.put("wgmma.commit_group.sync.aligned", &[]);
    e.t.put("wgmma.wait_group.sync.aligned", &[&0]);
    if !one {
        for (s, x) in sums.iter().zip(&to) {
            e.t.put("add.rn.f32", &[s, s, x]);
        }
    }
}

/// Adds the products of two pieces in 16 steps of k, or begins with them.
fn product(
    pieces: Pieces,
    e: &mut Emitter<'_>,
    t: &Thread,
    (to, added): (&str, Reg),
    (at, slice, which): ([Reg; 2], i32, [i32; 2]),
) {
    let form = &t.form;
    let mut operand = |i: usize, order: Order, extent: i32| {
        let bytes = slice * Layout::new(form, order).slice + which[i] * form.piece_bytes(extent);
        further(e, at[i], bytes)
    };
    let (a, b) = (operand(0, Order::Depth, form.rows), operand(1, t.right.order, form.columns));
    let transposed = i32::from(t.right.order == Order::Across);
    let name = pieces.type_name();
    let name = format!("wgmma.mma_async.sync.aligned.m64n{}k16.f32.{name}.{name}", form.columns);
    e.t.put(&name, &[&to, &a, &b, &added, &1, &1, &0, &transposed]);
}
