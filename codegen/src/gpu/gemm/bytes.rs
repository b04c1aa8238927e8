//! Products of bytes by the warps' `mma`, and their epilogue: zero points, bias, scale, rounding.
//!
//! Eight warps share a tile, two along the rows and four along the columns, each a part of four or eight
//! results of an instruction.
//!
//! `Σ (a - za)(b - zb)` is `Σ ab - zb Σ a - za Σ b + depth · za · zb` in 32 bits that wrap: the sums of B's
//! columns come with the call, those of A's rows are made beside the products where B has zero points.

use super::super::Sm;
use super::super::call::{Pointer, dim_arg, flags_arg};
use super::super::index::divides;
use super::super::kernel::{Emitter, Result};
use super::super::ptx::{At, Float, Kind, Reg};
use super::finish::{Columns, Row, clamped, on};
use super::form::{Form, Place, WarpPlace, swizzle_of, swizzled, word};
use super::left::words_of;
use super::{Left, Product, Right, Thread, list, registers};
use nnc_ir::Dim;
use nnc_ir::tile::Arg;

const ACCUMULATE: i64 = 1;
const BIAS: i64 = 1 << 1;
const CLAMP: i64 = 1 << 3;
const A_SIGNED: i64 = 1 << 5;
const FLOAT_BIAS: i64 = 1 << 6;

/// Rows or columns of a fragment that a lane reads a word of.
const FRAGMENT: i32 = 8;
/// Columns of a result of `mma`.
const COLUMNS_AT_ONCE: usize = 2;

/// How a thread multiplies bytes.
pub(super) struct Sums {
    /// A's bytes have signs.
    signed: bool,
    /// What one instruction takes: rows of a lane, which stand for eight each, and words of k.
    shape: (usize, i32),
    /// The sums of A's own bytes, if they are needed.
    pub(super) rows: Vec<Reg>,
}

impl Sums {
    /// `rows`: whether the sums of A's own bytes are needed, and how many rows a thread has.
    fn new(e: &mut Emitter<'_>, signed: bool, rows: (bool, i32)) -> Sums {
        let shape = if e.sm == Sm::Sm75 { (1, 4) } else { (2, 8) };
        Sums { signed, shape, rows: registers(e, Kind::Word, if rows.0 { rows.1 } else { 0 }) }
    }

    /// Adds the products of what is in the buffer at `stage`.
    pub(super) fn multiply(&self, e: &mut Emitter<'_>, t: &Thread, stage: Reg) {
        let ((rows, words), form) = (self.shape, &t.form);
        let at = |e: &mut Emitter<'_>, from: &[Reg]| -> Vec<Reg> {
            from.iter().map(|x| word(e, "add.u32", *x, &stage)).collect()
        };
        let (left, right) = (at(e, &t.place.left), at(e, &t.place.right));
        for k in (0..form.depth).step_by(words as usize) {
            let mut read = |from: &[Reg], extent: i32, n: i32| -> Vec<Vec<Reg>> {
                let each = |i: i32| {
                    let steps = (k..k + words).step_by(4);
                    steps
                        .map(|k| {
                            e.t.op(Kind::Word, "ld.shared.b32", &[&at_word(form, from, extent, (n, i, k))])
                        })
                        .collect()
                };
                (0..n).map(each).collect()
            };
            let a = read(&left, form.rows, form.rows / 2 / FRAGMENT);
            let b = read(&right, form.columns, form.columns / 4 / FRAGMENT);
            for (i, a) in a.chunks(rows).enumerate() {
                // The words of all rows at one step of k come before those of the next.
                let a: Vec<Reg> = (0..words as usize / 4).flat_map(|k| a.iter().map(move |r| r[k])).collect();
                for (j, b) in b.iter().enumerate() {
                    let at = |r: usize| (i * rows + r) * t.place.columns.len() + j * COLUMNS_AT_ONCE;
                    let sums: Vec<Reg> = (0..rows)
                        .flat_map(|r| t.sums.products[at(r)..][..COLUMNS_AT_ONCE].to_vec())
                        .collect();
                    let sums = list(&sums);
                    e.t.put(self.instruction(), &[&sums, &list(&a), &list(b), &sums]);
                }
            }
            for (s, words) in self.rows.iter().zip(&a) {
                for x in words {
                    let dot = if self.signed { "dp4a.s32.u32" } else { "dp4a.u32.u32" };
                    e.t.put(dot, &[s, x, &"0x01010101", s]);
                }
            }
        }
    }

    fn instruction(&self) -> &'static str {
        match (self.shape.0, self.signed) {
            (1, false) => "mma.sync.aligned.m8n8k16.row.col.s32.u8.s8.s32",
            (1, true) => "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32",
            (_, false) => "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32",
            (_, true) => "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32",
        }
    }

    /// The sums of A's own bytes over the lanes that have parts of the same row.
    fn whole_rows(&self, e: &mut Emitter<'_>) {
        for s in &self.rows {
            for distance in [1, 2] {
                let other = e.shuffled(*s, distance);
                e.t.put("add.s32", &[s, s, &other]);
            }
        }
    }
}

/// Where a lane's word of fragment `i` of `n` lies for the steps of k from a multiple of four on: the place of
/// words among those of a step changes with the step, within the warp's part by the fragment's number, beyond it
/// by the address.
fn at_word(form: &Form, from: &[Reg], extent: i32, (n, i, k): (i32, i32, i32)) -> At {
    let moved = swizzle_of(k);
    At(from[(moved & !(n - 1)) as usize], 4 * (form.pitch(extent) * k + FRAGMENT * (i ^ moved & (n - 1))))
}

/// What the lanes of the warps compute, and where the words lie that each reads.
pub(super) fn place(e: &mut Emitter<'_>, form: &Form, (left, right): (Reg, Reg)) -> Place {
    let warp = WarpPlace::new(e, form);
    let (group, member) = (word(e, "shr.u32", warp.lane, &2), word(e, "and.b32", warp.lane, &3));
    let mut from = |base: Reg, first: Reg, extent: i32| {
        let own = word(e, "add.u32", first, &group);
        let base = e.t.op(Kind::Word, "mad.lo.u32", &[&member, &(4 * form.pitch(extent)), &base]);
        swizzled(e, base, own)
    };
    let from = (from(left, warp.row, form.rows), from(right, warp.column, form.columns));
    warp.results(e, form, from)
}

/// What is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    Sums,
    Floats,
    /// The scaled sums, rounded and moved by a zero point, with a sign or without.
    Bytes(bool),
}

/// What is done to sums of bytes before they are stored.
struct Finish {
    accumulates: bool,
    stored: Stored,
    depth: Dim,
    /// Zero point of A; `None` where it is 0.
    a_zero: Option<Reg>,
    b_zero: Option<Pointer>,
    column_sums: Option<Pointer>,
    bias: Option<Pointer>,
    scale: Option<Pointer>,
    factor: Reg,
    float_bias: Option<Pointer>,
    out_zero: i64,
    clamp: Option<(Reg, Reg)>,
}

/// Code of `i8_gemm`.
pub(super) fn product(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let (kc, taps) = (dim_arg(&args[9])?, dim_arg(&args[8])?);
    let left = Left::bytes(e, &args[4..8], &args[9])?;
    let right = Right::panels(e, &args[10], &dim_arg(&args[11])?.floor_div(&Dim::int(4)))?;
    let form = Form::bytes();
    let even = divides(4 * i64::from(form.depth), kc);
    let p = Product::new(e, args, &form, (left, right), (&words_of(kc), even))?;
    let signed = flags_arg(&args[12])? & A_SIGNED != 0;
    let finish = Finish::new(e, &args[12..], taps.clone() * kc.clone())?;
    let bytes = Sums::new(e, signed, (finish.b_zero.is_some(), form.rows / 16));
    let products = registers(e, Kind::Word, form.rows * form.columns / 256);
    let sums = super::Sums { products, bytes: Some(bytes) };
    super::product(e, &p, (form, sums), &mut |e, t, at| finish.store(e, &p, t, at))?;
    super::noted(e, args, &args[12..]);
    Ok(())
}

/// What the formula has for each of a thread's columns.
struct ByColumn {
    /// What zero points and bias add, whatever the row.
    offset: Vec<Option<Reg>>,
    b_zero: Option<Vec<Reg>>,
    scale: Vec<Reg>,
    float_bias: Option<Vec<Reg>>,
}

impl Finish {
    fn new(e: &mut Emitter<'_>, args: &[Arg], depth: Dim) -> Result<Finish> {
        let flags = flags_arg(&args[0])?;
        let known = ACCUMULATE | BIAS | CLAMP | A_SIGNED | FLOAT_BIAS;
        if flags & !known != 0 {
            return Err(format!("flags {flags:#x} of a product of bytes"));
        }
        let set = |flag: i64| flags & flag != 0;
        let stored = match dim_arg(&args[1])?.as_const() {
            Some(0) => Stored::Sums,
            Some(1) => Stored::Floats,
            Some(2) => Stored::Bytes(false),
            Some(3) => Stored::Bytes(true),
            _ => return Err("an unknown form of a product of bytes".into()),
        };
        let a_zero = match &args[2] {
            Arg::Int(d) if d.is(0) => None,
            other => Some(e.word_arg(other)?),
        };
        Ok(Finish {
            accumulates: set(ACCUMULATE),
            stored,
            depth,
            a_zero,
            b_zero: e.pointer_arg(&args[3])?,
            column_sums: e.pointer_arg(&args[4])?,
            bias: on(e, set(BIAS), &args[5])?,
            scale: e.pointer_arg(&args[6])?,
            factor: e.float_arg(&args[7])?,
            float_bias: on(e, set(FLOAT_BIAS), &args[8])?,
            out_zero: dim_arg(&args[9])?.as_const().ok_or("a zero point that is not constant")?,
            clamp: match set(CLAMP) {
                true => Some((e.float_arg(&args[10])?, e.float_arg(&args[11])?)),
                false => None,
            },
        })
    }

    fn by_column(&self, e: &mut Emitter<'_>, columns: &Columns) -> Result<ByColumn> {
        let read = |e: &mut Emitter<'_>, from: Option<Pointer>, kind| from.map(|p| columns.read(e, p, kind));
        let b_zero = read(e, self.b_zero, Kind::Word);
        let bias = read(e, self.bias, Kind::Word);
        let mut offset: Vec<Option<Reg>> = match bias {
            Some(bias) => bias.into_iter().map(Some).collect(),
            None => vec![None; columns.len()],
        };
        if let Some(zero) = self.a_zero {
            let sums = self.column_sums.ok_or("a zero point without the sums of columns")?;
            let sums = read(e, Some(sums), Kind::Word).unwrap_or_default();
            let depth = e.index(&self.depth)?;
            let depth = e.resize(depth, false, Kind::Word);
            let least = e.t.op(Kind::Word, "neg.s32", &[&zero]);
            for (j, (offset, sum)) in offset.iter_mut().zip(sums).enumerate() {
                // -za · (Σ b - depth · zb)
                let sum = match &b_zero {
                    Some(zeros) => {
                        let both = e.t.op(Kind::Word, "mul.lo.s32", &[&depth, &zeros[j]]);
                        e.t.op(Kind::Word, "sub.s32", &[&sum, &both])
                    }
                    None => sum,
                };
                *offset = Some(match *offset {
                    Some(bias) => e.t.op(Kind::Word, "mad.lo.s32", &[&least, &sum, &bias]),
                    None => e.t.op(Kind::Word, "mul.lo.s32", &[&least, &sum]),
                });
            }
        }
        let scale = match read(e, self.scale.filter(|_| self.stored != Stored::Sums), Kind::Single) {
            Some(scale) => scale.into_iter().map(|s| e.t.mul(s, self.factor)).collect(),
            None => vec![self.factor; columns.len()],
        };
        let float_bias = read(e, self.float_bias, Kind::Single);
        Ok(ByColumn { offset, b_zero, scale, float_bias })
    }

    fn store(&self, e: &mut Emitter<'_>, p: &Product, t: &Thread, (m0, n0): (Reg, Reg)) -> Result<()> {
        let columns = Columns::new(e, p, t, n0);
        let by_column = self.by_column(e, &columns)?;
        if let Some(sums) = &t.sums.bytes {
            sums.whole_rows(e);
        }
        columns.rows(e, p, t, m0, &mut |e, i, row| {
            self.row(e, p, t, (i, row), &by_column);
            Ok(())
        })
    }

    fn row(&self, e: &mut Emitter<'_>, p: &Product, t: &Thread, (i, row): (usize, &Row), by: &ByColumn) {
        let size = if matches!(self.stored, Stored::Bytes(_)) { 1 } else { 4 };
        let c = row.address(e, p.c, p.ldc, i64::from(size));
        let row_sum = t.sums.bytes.as_ref().and_then(|b| b.rows.get(i).copied());
        for (j, (offset, ok)) in row.columns.iter().enumerate() {
            let at = At(c, size * offset);
            let mut s = t.sums.products[i * row.columns.len() + j];
            if let Some(offset) = by.offset[j] {
                s = e.t.op(Kind::Word, "add.s32", &[&s, &offset]);
            }
            if let (Some(zeros), Some(row_sum)) = (&by.b_zero, row_sum) {
                let both = e.t.op(Kind::Word, "mul.lo.s32", &[&zeros[j], &row_sum]);
                s = e.t.op(Kind::Word, "sub.s32", &[&s, &both]);
            }
            let space = p.c.space.name();
            match self.stored {
                Stored::Sums => {
                    if self.accumulates {
                        let before = e.t.int(Kind::Word, 0);
                        e.t.put_if(*ok, &format!("ld.{space}.b32"), &[&before, &at]);
                        s = e.t.op(Kind::Word, "add.s32", &[&before, &s]);
                    }
                    e.t.put_if(*ok, &format!("st.{space}.b32"), &[&at, &s]);
                }
                Stored::Floats => {
                    let y = self.scaled(e, s, j, by);
                    e.t.put_if(*ok, &format!("st.{space}.f32"), &[&at, &y]);
                }
                Stored::Bytes(signed) => {
                    let y = self.scaled(e, s, j, by);
                    let byte = self.rounded(e, y, signed);
                    e.t.put_if(*ok, &format!("st.{space}.u8"), &[&at, &byte]);
                }
            }
        }
    }

    /// A sum as a float.
    fn scaled(&self, e: &mut Emitter<'_>, s: Reg, j: usize, by: &ByColumn) -> Reg {
        let y = e.t.op(Kind::Single, "cvt.rn.f32.s32", &[&s]);
        let y = e.t.mul(y, by.scale[j]);
        let y = match &by.float_bias {
            Some(bias) => e.t.add(y, bias[j]),
            None => y,
        };
        self.clamp.map_or(y, |bounds| clamped(e, y, bounds))
    }

    /// A float as a byte: to the nearest integer, ties to even, moved and saturated. NaN becomes the least.
    fn rounded(&self, e: &mut Emitter<'_>, y: Reg, signed: bool) -> Reg {
        let (least, greatest) = if signed { (-128, 127) } else { (0, 255) };
        let [lo, hi] = [least, greatest].map(|v| Float(Kind::Single, (v - self.out_zero) as f64));
        let y = e.t.op(Kind::Single, "max.f32", &[&y, &lo]);
        let y = e.t.op(Kind::Single, "min.f32", &[&y, &hi]);
        let word = e.t.op(Kind::Word, "cvt.rni.s32.f32", &[&y]);
        e.t.op(Kind::Word, "add.s32", &[&word, &self.out_zero])
    }
}
