//! What is done to sums of floats before they are stored: scale, bias, residual, bounds.

use super::super::call::{Pointer, flags_arg};
use super::super::kernel::{Emitter, Result};
use super::super::ptx::{At, Kind, Reg};
use super::{Product, Thread, offset, sum, times};
use nnc_ir::tile::Arg;

const ACCUMULATE: i64 = 1;
const BIAS: i64 = 2;
const RESIDUAL: i64 = 4;
const CLAMP: i64 = 8;
const SCALE: i64 = 16;

/// The epilogue of a product of floats.
pub(super) struct Finish {
    flags: i64,
    bias: Option<Pointer>,
    scale: Option<Pointer>,
    residual: Option<(Pointer, Reg)>,
    bounds: (Reg, Reg),
}

/// The columns of a thread: the first, how far from there each is, and whether it exists.
pub(super) struct Columns {
    first: Reg,
    offsets: Vec<i32>,
    exist: Vec<Reg>,
}

impl Columns {
    /// The thread's columns of the tile that begins at column `n0`.
    pub(super) fn new(e: &mut Emitter<'_>, p: &Product, t: &Thread, n0: Reg) -> Columns {
        let (first, offsets) = (sum(e, n0, t.place.column), t.place.columns.clone());
        let exist = |j: &i32| {
            let at = e.t.op(Kind::Long, "add.s64", &[&first, j]);
            e.t.compare("lt.s64", at, &p.n)
        };
        Columns { first, exist: offsets.iter().map(exist).collect(), offsets }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The elements of a vector with one for each column, 32 bits wide; zero where there is no column.
    pub(super) fn read(&self, e: &mut Emitter<'_>, from: Pointer, kind: Kind) -> Vec<Reg> {
        let at = offset(e, from.at, self.first, 4);
        let load = |(j, ok): (i32, &Reg)| {
            let x = e.t.reg(kind);
            e.t.set(x, if kind == Kind::Single { &"0f00000000" } else { &"0" });
            let name = format!("ld.{}.{}", from.space.name(), kind.moved());
            e.t.put_if(*ok, &name, &[&x, &At(at, 4 * j)]);
            x
        };
        self.offsets.iter().copied().zip(&self.exist).map(load).collect()
    }

    /// Writes code for each row of the thread.
    pub(super) fn rows(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        t: &Thread,
        m0: Reg,
        each: &mut dyn FnMut(&mut Emitter<'_>, usize, &Row) -> Result<()>,
    ) -> Result<()> {
        let first = sum(e, m0, t.place.row);
        for (i, offset) in t.place.rows.iter().enumerate() {
            let row = e.t.op(Kind::Long, "add.s64", &[&first, offset]);
            let ok = e.t.compare("lt.s64", row, &p.m);
            let columns = self.offsets.iter().zip(&self.exist).map(|(j, c)| (*j, e.t.both(ok, *c)));
            let columns = columns.collect();
            each(e, i, &Row { row, first: self.first, columns })?;
        }
        Ok(())
    }
}

/// A row of a thread.
pub(super) struct Row {
    row: Reg,
    first: Reg,
    /// How far from the first each column is, and whether this row has an element there.
    pub(super) columns: Vec<(i32, Reg)>,
}

impl Row {
    /// The address of the thread's first element in a matrix with elements of so many bytes.
    pub(super) fn address(&self, e: &mut Emitter<'_>, to: Pointer, distance: Reg, size: i64) -> Reg {
        let at = times(e, self.row, distance);
        let at = sum(e, at, self.first);
        offset(e, to.at, at, size)
    }
}

impl Finish {
    /// The epilogue in a call's last words, from the flags on.
    pub(super) fn new(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Finish> {
        let flags = flags_arg(&args[0])?;
        let known = ACCUMULATE | BIAS | RESIDUAL | CLAMP | SCALE;
        if flags & !known != 0 {
            return Err(format!("flags {flags:#x} of a product"));
        }
        let on = |flag: i64, at: usize, e: &mut Emitter<'_>| on(e, flags & flag != 0, &args[at]);
        let (bias, scale) = (on(BIAS, 1, e)?, on(SCALE, 2, e)?);
        let residual = match on(RESIDUAL, 3, e)? {
            Some(p) => Some((p, e.int_arg(&args[4])?)),
            None => None,
        };
        Ok(Finish { flags, bias, scale, residual, bounds: (e.float_arg(&args[5])?, e.float_arg(&args[6])?) })
    }

    /// Finishes and stores the thread's sums of the tile at a row and a column.
    pub(super) fn store(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        t: &Thread,
        (m0, n0): (Reg, Reg),
    ) -> Result<()> {
        let columns = Columns::new(e, p, t, n0);
        let mut by_column = |from: Option<Pointer>| from.map(|from| columns.read(e, from, Kind::Single));
        let (bias, scale) = (by_column(self.bias), by_column(self.scale));
        columns.rows(e, p, t, m0, &mut |e, i, row| {
            let c = row.address(e, p.c, p.ldc, 4);
            let residual = self.residual.map(|(from, distance)| (row.address(e, from, distance, 4), from));
            for (j, (offset, ok)) in row.columns.iter().enumerate() {
                let at = |base: Reg| At(base, 4 * offset);
                let load = |e: &mut Emitter<'_>, from: Pointer, base: Reg| {
                    let x = e.t.float(Kind::Single, 0.0);
                    e.t.put_if(*ok, &format!("ld.{}.f32", from.space.name()), &[&x, &at(base)]);
                    x
                };
                let others = Others {
                    before: (self.flags & ACCUMULATE != 0).then(|| load(e, p.c, c)),
                    scale: scale.as_ref().map(|s| s[j]),
                    bias: bias.as_ref().map(|b| b[j]),
                    residual: residual.map(|(base, from)| load(e, from, base)),
                };
                let v = self.finished(e, t.sums.products[i * row.columns.len() + j], others);
                e.t.put_if(*ok, &format!("st.{}.f32", p.c.space.name()), &[&at(c), &v]);
            }
            Ok(())
        })
    }

    /// Finishes and stores the sum at a row and a column.
    pub(super) fn store_one(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        products: Reg,
        (row, column): (Reg, Reg),
    ) {
        let in_row = |e: &mut Emitter<'_>, from: Pointer, distance: Reg| {
            let at = times(e, row, distance);
            let at = sum(e, at, column);
            offset(e, from.at, at, 4)
        };
        let load = |e: &mut Emitter<'_>, from: Pointer, at: Reg| {
            e.t.op(Kind::Single, &format!("ld.{}.f32", from.space.name()), &[&At(at, 0)])
        };
        let by_column = |e: &mut Emitter<'_>, from: Option<Pointer>| {
            from.map(|from| {
                let at = offset(e, from.at, column, 4);
                load(e, from, at)
            })
        };
        let c = in_row(e, p.c, p.ldc);
        let others = Others {
            before: (self.flags & ACCUMULATE != 0).then(|| load(e, p.c, c)),
            scale: by_column(e, self.scale),
            bias: by_column(e, self.bias),
            residual: self.residual.map(|(from, distance)| {
                let at = in_row(e, from, distance);
                load(e, from, at)
            }),
        };
        let v = self.finished(e, products, others);
        e.t.put(&format!("st.{}.f32", p.c.space.name()), &[&At(c, 0), &v]);
    }

    /// What is stored in place of a sum.
    fn finished(&self, e: &mut Emitter<'_>, products: Reg, others: Others) -> Reg {
        let mut v = products;
        if let Some(before) = others.before {
            v = e.t.add(before, v);
        }
        if let Some(scale) = others.scale {
            v = e.t.mul(v, scale);
        }
        if let Some(bias) = others.bias {
            v = e.t.add(v, bias);
        }
        if let Some(residual) = others.residual {
            v = e.t.add(v, residual);
        }
        if self.flags & CLAMP != 0 { clamped(e, v, self.bounds) } else { v }
    }
}

/// What an element of the result takes beside its sum of products.
struct Others {
    before: Option<Reg>,
    scale: Option<Reg>,
    bias: Option<Reg>,
    residual: Option<Reg>,
}

/// The operand of a flag, if that is set.
pub(super) fn on(e: &mut Emitter<'_>, set: bool, arg: &Arg) -> Result<Option<Pointer>> {
    match set {
        true => e.pointer_arg(arg)?.ok_or_else(|| "a flag without its operand".to_owned()).map(Some),
        false => Ok(None),
    }
}

/// A value moved into bounds; NaN stays.
pub(super) fn clamped(e: &mut Emitter<'_>, v: Reg, (lo, hi): (Reg, Reg)) -> Reg {
    let below = e.t.compare("lt.f32", v, &lo);
    let v = e.t.choose(below, lo, v);
    let above = e.t.compare("gt.f32", v, &hi);
    e.t.choose(above, hi, v)
}
