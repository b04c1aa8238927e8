//! The left operand: rows at an even distance, or at addresses from a table, on their way to shared memory.

use super::super::call::{Pointer, dim_arg};
use super::super::kernel::{Emitter, Result, Space};
use super::super::ptx::{At, Kind, Reg};
use super::{Product, SIDE, Thread, inside, list, offset, registers, sum, times};
use nnc_ir::Dim;
use nnc_ir::tile::Arg;

/// Where rows begin.
enum Rows {
    /// An address and the distance of rows.
    Even(Pointer, Reg),
    /// A table of addresses, and its words for each tap.
    Table(Pointer, Reg),
}

/// What a row is made of.
enum Elements {
    Floats,
    Bytes {
        /// Bytes of a tap of a row.
        len: Reg,
        /// Bytes that can be read at once where a row's address is a multiple of that.
        together: i64,
    },
}

/// The left operand.
pub(super) struct Left {
    rows: Rows,
    elements: Elements,
}

fn rows(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Rows> {
    Ok(match e.pointer_arg(&args[0])? {
        Some(table) => Rows::Table(table, e.int_arg(&args[1])?),
        None => {
            let a = e.pointer_arg(&args[2])?.ok_or("a product without left operand")?;
            Rows::Even(a, e.int_arg(&args[3])?)
        }
    })
}

impl Left {
    /// Rows of floats; `args` are the table, its stride, an address and the distance of rows.
    pub(super) fn floats(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Left> {
        Ok(Left { rows: rows(e, args)?, elements: Elements::Floats })
    }

    /// Rows of bytes, `len` a tap.
    pub(super) fn bytes(e: &mut Emitter<'_>, args: &[Arg], len: &Arg) -> Result<Left> {
        let len = dim_arg(len)?;
        let divided = |n: i64| len.as_const().is_some_and(|l| l % n == 0);
        let together = if divided(16) { 16 } else { if divided(4) { 4 } else { 1 } };
        Ok(Left { rows: rows(e, args)?, elements: Elements::Bytes { len: e.index(len)?, together } })
    }

    /// Where the thread's elements of a tap begin, in a register of its own.
    pub(super) fn start(&self, e: &mut Emitter<'_>, t: &Thread, (row, ok): (Reg, Reg), tap: Reg) -> Reg {
        let start = match &self.rows {
            Rows::Even(a, distance) => {
                let at = times(e, row, *distance);
                let size = if matches!(self.elements, Elements::Floats) { 4 } else { 1 };
                offset(e, a.at, at, size)
            }
            Rows::Table(table, stride) => {
                let line = times(e, tap, *stride);
                let entry = sum(e, line, row);
                let entry = offset(e, table.at, entry, 8);
                let address = e.t.reg(Kind::Long);
                e.t.set(address, &0);
                e.t.put_if(ok, &format!("ld.{}.u64", table.space.name()), &[&address, &At(entry, 0)]);
                address
            }
        };
        let a = offset(e, start, t.a_depth, 4);
        e.t.copy(a)
    }

    /// Brings the thread's elements of the steps from `k0` on to shared memory.
    pub(super) fn load(&self, e: &mut Emitter<'_>, p: &Product, t: &Thread, a: Reg, ok: Reg, k0: Reg) {
        // Tables hold addresses of buffers, never of scratch.
        let space = match &self.rows {
            Rows::Even(a, _) => a.space,
            Rows::Table(..) => Space::Global,
        };
        let x = match &self.elements {
            Elements::Floats => (0..SIDE)
                .map(|i| {
                    let ok = inside(e, p, ok, k0, t.a_depth, i);
                    let x = e.t.float(Kind::Single, 0.0);
                    e.t.put_if(ok, &format!("ld.{}.f32", space.name()), &[&x, &At(a, 4 * i)]);
                    x
                })
                .collect(),
            Elements::Bytes { len, together } => bytes(e, p, t, (a, space), ok, k0, (*len, *together)),
        };
        for (i, x) in x.iter().enumerate() {
            let to = At(t.a_to, 4 * t.sums.pitch() * i as i32);
            e.t.put(&format!("st.shared.{}", x.kind.moved()), &[&to, x]);
        }
    }
}

/// Four words of bytes; those beyond a tap's end are zero.
fn bytes(
    e: &mut Emitter<'_>,
    p: &Product,
    t: &Thread,
    (a, space): (Reg, Space),
    ok: Reg,
    k0: Reg,
    (len, together): (Reg, i64),
) -> Vec<Reg> {
    let words = registers(e, Kind::Word, SIDE);
    words.iter().for_each(|w| e.t.set(*w, &0));
    let (apart, done) = (e.t.label(), e.t.label());
    if together > 1 {
        let low = e.t.op(Kind::Long, "and.b64", &[&a, &(together - 1)]);
        let odd = e.t.compare("ne.s64", low, &0);
        e.t.jump_if(odd, true, apart);
        if together == 16 {
            let ok = inside(e, p, ok, k0, t.a_depth, 0);
            e.t.put_if(ok, &format!("ld.{}.v4.b32", space.name()), &[&list(&words), &At(a, 0)]);
        } else {
            for (i, w) in (0..SIDE).zip(&words) {
                let ok = inside(e, p, ok, k0, t.a_depth, i);
                e.t.put_if(ok, &format!("ld.{}.b32", space.name()), &[w, &At(a, 4 * i)]);
            }
        }
        e.t.jump(done);
        e.t.place(apart);
    }
    let k = sum(e, k0, t.a_depth);
    let first = e.t.op(Kind::Long, "shl.b64", &[&k, &2]);
    let left = e.t.op(Kind::Long, "sub.s64", &[&len, &first]);
    for (i, w) in (0..SIDE).zip(&words) {
        for b in 0..4 {
            let at = 4 * i + b;
            let some = e.t.compare("gt.s64", left, &at);
            let ok = e.t.both(ok, some);
            let x = e.t.int(Kind::Word, 0);
            e.t.put_if(ok, &format!("ld.{}.u8", space.name()), &[&x, &At(a, at)]);
            e.t.put("bfi.b32", &[w, &x, w, &(8 * b), &8]);
        }
    }
    e.t.place(done);
    words
}

/// Steps of four bytes.
pub(super) fn words_of(len: &Dim) -> Dim {
    len.ceil_div(&Dim::int(4))
}
