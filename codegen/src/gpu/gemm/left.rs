//! The left operand: rows at an even distance, or at addresses from a table.

use super::super::call::{Pointer, dim_arg};
use super::super::index::divides;
use super::super::kernel::{Emitter, Result, Space};
use super::super::ptx::{At, Kind, Reg};
use super::cursor::{Group, Step, neighbors};
use super::form::SIDE;
use super::{Product, list, offset, sum, times};
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
    Floats {
        /// Groups of four may be read at once where their addresses are multiples of that.
        together: bool,
    },
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
    /// Rows of floats, `depth` a tap; `args` are the table, its stride, an address and the distance of rows.
    pub(super) fn floats(e: &mut Emitter<'_>, args: &[Arg], depth: &Dim) -> Result<Left> {
        let rows = rows(e, args)?;
        let together = match (&rows, &args[3]) {
            (Rows::Even(..), Arg::Int(distance)) => divides(4, distance),
            (Rows::Even(..), _) => false,
            // Rows begin at multiples of the depth as a rule.
            (Rows::Table(..), _) => divides(4, depth),
        };
        Ok(Left { rows, elements: Elements::Floats { together } })
    }

    /// Rows of bytes, `len` a tap.
    pub(super) fn bytes(e: &mut Emitter<'_>, args: &[Arg], len: &Arg) -> Result<Left> {
        let len = dim_arg(len)?;
        let divided = |n: i64| len.as_const().is_some_and(|l| l % n == 0);
        let together = if divided(16) { 16 } else { if divided(4) { 4 } else { 1 } };
        Ok(Left { rows: rows(e, args)?, elements: Elements::Bytes { len: e.index(len)?, together } })
    }

    /// Groups of four floats may be read at once.
    pub(super) fn together(&self) -> bool {
        matches!(self.elements, Elements::Floats { together: true })
    }

    /// Puts the address of a group at the first step of a tap.
    pub(super) fn start(&self, e: &mut Emitter<'_>, g: &Group, tap: Reg) {
        let start = self.row(e, g.own, Some(g.exists), tap);
        let at = offset(e, start, g.depth, 4);
        g.start(e, at);
    }

    /// The address of a row at the first step of a tap; that of a row which does not exist is not looked up.
    pub(super) fn row(&self, e: &mut Emitter<'_>, row: Reg, exists: Option<Reg>, tap: Reg) -> Reg {
        match &self.rows {
            Rows::Even(a, distance) => {
                let at = times(e, row, *distance);
                let size = if matches!(self.elements, Elements::Floats { .. }) { 4 } else { 1 };
                offset(e, a.at, at, size)
            }
            Rows::Table(table, stride) => {
                let line = times(e, tap, *stride);
                let entry = sum(e, line, row);
                let entry = offset(e, table.at, entry, 8);
                let load = format!("ld.{}.u64", table.space.name());
                let Some(exists) = exists else { return e.t.op(Kind::Long, &load, &[&At(entry, 0)]) };
                let address = e.t.int(Kind::Long, 0);
                e.t.put_if(exists, &load, &[&address, &At(entry, 0)]);
                address
            }
        }
    }

    /// Where its elements are.
    pub(super) fn space(&self) -> Space {
        match &self.rows {
            Rows::Even(a, _) => a.space,
            // Tables hold addresses of buffers, never of scratch.
            Rows::Table(..) => Space::Global,
        }
    }

    /// Reads a group; what does not exist becomes zero.
    pub(super) fn fetch(&self, e: &mut Emitter<'_>, p: &Product, g: &Group, step: &Step) {
        let space = self.space();
        match &self.elements {
            Elements::Floats { .. } => {
                let exist = step.each(e, p, g);
                neighbors(e, space, g, exist);
            }
            Elements::Bytes { len, together } => bytes(e, p, g, space, step, (*len, *together)),
        }
    }
}

/// Four words of bytes; those beyond a tap's end are zero.
fn bytes(
    e: &mut Emitter<'_>,
    p: &Product,
    g: &Group,
    space: Space,
    step: &Step,
    (len, together): (Reg, i64),
) {
    let (words, at) = (&g.held, g.at);
    words.iter().for_each(|w| e.t.set(*w, &0));
    let (apart, done) = (e.t.label(), e.t.label());
    if together > 1 {
        let low = e.t.op(Kind::Long, "and.b64", &[&at, &(together - 1)]);
        let odd = e.t.compare("ne.s64", low, &0);
        e.t.jump_if(odd, true, apart);
        if together == 16 {
            let ok = step.inside(e, p, g, 0);
            e.t.put_if(ok, &format!("ld.{}.v4.b32", space.name()), &[&list(words), &At(at, 0)]);
        } else {
            for (i, w) in (0..SIDE).zip(words) {
                let ok = step.inside(e, p, g, i);
                e.t.put_if(ok, &format!("ld.{}.b32", space.name()), &[w, &At(at, 4 * i)]);
            }
        }
        e.t.jump(done);
        e.t.place(apart);
    }
    let k = sum(e, step.first, g.depth);
    let first = e.t.op(Kind::Long, "shl.b64", &[&k, &2]);
    let left = e.t.op(Kind::Long, "sub.s64", &[&len, &first]);
    let some = e.t.both(g.exists, step.more);
    for (i, w) in (0..SIDE).zip(words) {
        for b in 0..4 {
            let byte = 4 * i + b;
            let ok = e.t.compare("gt.s64", left, &byte);
            let ok = e.t.both(some, ok);
            let x = e.t.int(Kind::Word, 0);
            e.t.put_if(ok, &format!("ld.{}.u8", space.name()), &[&x, &At(at, byte)]);
            e.t.put("bfi.b32", &[w, &x, w, &(8 * b), &8]);
        }
    }
    e.t.place(done);
}

/// Steps of four bytes.
pub(super) fn words_of(len: &Dim) -> Dim {
    len.ceil_div(&Dim::int(4))
}
