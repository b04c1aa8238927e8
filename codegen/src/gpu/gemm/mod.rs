//! Matrix products: of floats on tensor cores or by plain FMA, of bytes by `mma`.
//!
//! | contract | right operand |
//! |---|---|
//! | `f32_gemm` | panels of 16 columns, as on the CPU |
//! | `f32_gemm_strided` | lies anywhere with two strides |
//! | `f32_gemm_nibbles` | panels of numbers of four bits with scales for blocks of k |
//! | `i8_gemm` | panels of 16 columns and groups of four bytes along k |
//!
//! 256 threads make a tile, by steps along k: while one buffer of shared memory is multiplied, what goes into
//! the other is on its way. `left` and `right` know how an operand's elements are read, `form` where they go,
//! `pieces`, `group`, `words` and `bytes` how they are multiplied, `finish` what is done to the sums. Sums run in order
//! of k. Where a product has few rows, `row` takes the place of all this.

mod bytes;
mod cursor;
mod finish;
mod form;
mod group;
mod left;
mod pieces;
mod right;
mod row;
mod words;

use super::Sm;
use super::call::{Pointer, dim_arg};
use super::index::divides;
use super::kernel::{Emitter, Result};
use super::order::pointed;
use super::ptx::{Kind, Reg};
use cursor::Cursor;
use form::{Elements, Form, Order, Place, Share};
use left::Left;
use nnc_ir::Dim;
use nnc_ir::tile::Arg;
use right::Right;

/// The operands of a product.
struct Product {
    c: Pointer,
    ldc: Reg,
    m: Reg,
    n: Reg,
    one_tile: (bool, bool),
    left: Left,
    taps: Option<Reg>,
    /// Steps of k of a tap.
    depth: Reg,
    /// The depth is a multiple of that of a tile: no check along k.
    even: bool,
    /// Of four steps of k, or of four columns, all exist or none does.
    by_fours: bool,
    columns_by_fours: bool,
    right: Right,
}

/// What a thread does for a tile.
struct Thread {
    form: Form,
    /// What it brings of each operand.
    left: Share,
    right: Share,
    /// What it computes.
    place: Place,
    sums: Sums,
}

/// A thread's sums, by rows.
struct Sums {
    products: Vec<Reg>,
    bytes: Option<bytes::Sums>,
}

impl Sums {
    fn clear(&self, e: &mut Emitter<'_>) {
        let rows = self.bytes.iter().flat_map(|b| &b.rows);
        for s in self.products.iter().chain(rows) {
            e.t.set(*s, if s.kind == Kind::Single { &"0f00000000" } else { &"0" });
        }
    }
}

fn registers(e: &mut Emitter<'_>, kind: Kind, n: i32) -> Vec<Reg> {
    (0..n).map(|_| e.t.reg(kind)).collect()
}

/// Code of `f32_gemm`. The buffer of zeros, its last argument, is of no use here.
pub(super) fn packed(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let right = Right::panels(e, &args[10], dim_arg(&args[11])?)?;
    floats(e, args, right, &args[12..])
}

/// Code of `f32_gemm_strided`: slots as in `f32_gemm`, but slot 11 is the stride of B along k, and the
/// stride along the columns follows it.
pub(super) fn strided(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let right = Right::strided(e, &args[10..13])?;
    floats(e, args, right, &args[13..])
}

/// Code of `f32_gemm_nibbles`: slots as in `f32_gemm`, but from slot 10 on, as in `f32_unpack4`, the packed
/// panels, the bytes from one to the next, the rows that share a scale, scales, zero points, the zero
/// point where there are none, and the elements from the scales of a panel to those of the next.
pub(super) fn nibbles(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let right = Right::nibbles(e, &args[10..17])?;
    floats(e, args, right, &args[17..])
}

/// Shared memory that the tiles of a product of floats take.
pub(super) fn shared_of_floats(e: &Emitter<'_>, args: &[Arg]) -> i64 {
    // Arguments that are no sizes are refused when the code is made.
    form_of_floats(e, args).map_or(0, |form| form.shared_bytes())
}

/// Shared memory that the tiles of a product of bytes take.
pub(super) fn shared_of_bytes(_: &Emitter<'_>, _: &[Arg]) -> i64 {
    Form::bytes().shared_bytes()
}

/// Tiles begin at multiples of so many bytes of shared memory.
pub(super) fn alignment(sm: Sm) -> i64 {
    if sm == Sm::Sm90a { group::ALIGNMENT } else { 16 }
}

fn form_of_floats(e: &Emitter<'_>, args: &[Arg]) -> Result<Form> {
    Ok(Form::floats(e, (dim_arg(&args[2])?, dim_arg(&args[3])?)))
}

fn floats(e: &mut Emitter<'_>, args: &[Arg], right: Right, rest: &[Arg]) -> Result<()> {
    if e.at_most(dim_arg(&args[2])?, row::ROWS) {
        return row::product(e, args, right, rest);
    }
    let kc = dim_arg(&args[9])?;
    let left = Left::floats(e, &args[4..8], kc)?;
    let form = form_of_floats(e, args)?;
    let even = divides(form.depth.into(), kc);
    let p = Product::new(e, args, &form, (left, right), (kc, even))?;
    let finish = finish::Finish::new(e, rest)?;
    let sums = registers(e, Kind::Single, form.rows * form.columns / 256);
    let sums = Sums { products: sums, bytes: None };
    product(e, &p, (form, sums), &mut |e, t, at| finish.store(e, &p, t, at))?;
    noted(e, args, rest);
    Ok(())
}

/// Notes what is pending: a barrier is behind the last reading of an operand, so only the last reading of tiles
/// and what finishes and stores the sums come after it.
fn noted(e: &mut Emitter<'_>, args: &[Arg], rest: &[Arg]) {
    e.pending.note(&pointed(rest), &pointed(&args[..1]));
    e.pending.tiles = true;
}

/// Code of `i8_gemm`.
pub(super) fn i8(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    bytes::product(e, args)
}

impl Product {
    /// The operands in a call's first words, of `depth` steps a tap; `even`: they fill tiles.
    fn new(
        e: &mut Emitter<'_>,
        args: &[Arg],
        form: &Form,
        (left, right): (Left, Right),
        (depth, even): (&Dim, bool),
    ) -> Result<Product> {
        let (m, n, taps) = (dim_arg(&args[2])?, dim_arg(&args[3])?, dim_arg(&args[8])?);
        Ok(Product {
            c: e.pointer_arg(&args[0])?.ok_or("a product without result")?,
            ldc: e.int_arg(&args[1])?,
            m: e.index(m)?,
            n: e.index(n)?,
            one_tile: (e.at_most(m, form.rows.into()), e.at_most(n, form.columns.into())),
            left,
            taps: if taps.is(1) { None } else { Some(e.index(taps)?) },
            depth: e.index(depth)?,
            even,
            by_fours: divides(4, depth),
            columns_by_fours: divides(4, n),
            right,
        })
    }

    /// The right operand is copied to shared memory as it is, past the registers.
    fn copies_right(&self, e: &Emitter<'_>, t: &Thread) -> bool {
        e.sm >= Sm::Sm80 && matches!((&self.right, t.form.elements), (Right::Panels(..), Elements::Words(_)))
    }
}

/// Stores the sums of a tile, which begins at a row and a column.
type Store<'s> = dyn FnMut(&mut Emitter<'_>, &Thread, (Reg, Reg)) -> Result<()> + 's;

fn product(
    e: &mut Emitter<'_>,
    p: &Product,
    (form, sums): (Form, Sums),
    store: &mut Store<'_>,
) -> Result<()> {
    let thread = Thread::new(e, p, form, sums);
    let stage = e.t.int(Kind::Word, 0);
    e.free_tiles();
    tiles(e, p.m, (p.one_tile.0, form.rows), &mut |e, m0| {
        tiles(e, p.n, (p.one_tile.1, form.columns), &mut |e, n0| {
            sums_of_tile(e, p, &thread, stage, (m0, n0));
            store(e, &thread, (m0, n0))
        })
    })
}

/// `base + factor · x`, in bytes.
fn offset(e: &mut Emitter<'_>, base: Reg, x: Reg, factor: i64) -> Reg {
    e.t.op(Kind::Long, "mad.lo.s64", &[&x, &factor, &base])
}

fn sum(e: &mut Emitter<'_>, a: Reg, b: Reg) -> Reg {
    e.t.op(Kind::Long, "add.s64", &[&a, &b])
}

fn times(e: &mut Emitter<'_>, a: Reg, b: Reg) -> Reg {
    e.t.op(Kind::Long, "mul.lo.s64", &[&a, &b])
}

/// Registers as the operand of a vector access.
fn list(x: &[Reg]) -> String {
    let names: Vec<String> = x.iter().map(Reg::to_string).collect();
    format!("{{{}}}", names.join(", "))
}

impl Thread {
    /// What a thread does, by its number.
    fn new(e: &mut Emitter<'_>, p: &Product, form: Form, sums: Sums) -> Thread {
        let at = e.tiles(form.shared_bytes());
        let base = e.t.op(Kind::Word, "mov.u32", &[&format!("shared+{at}")]);
        let second = e.t.op(Kind::Word, "add.u32", &[&base, &form.operand_bytes(form.rows)]);
        let left = Share::new(e, &form, Order::Depth, form.rows, base);
        let order = p.right.order();
        let right = Share::new(e, &form, order, form.columns, second);
        let place = match form.elements {
            Elements::Pieces(pieces) => pieces.place(e, &form, order, (base, second)),
            Elements::Grouped(_) => group::place(e, &form, order, (base, second)),
            Elements::Words(_) if sums.bytes.is_some() => bytes::place(e, &form, (base, second)),
            Elements::Words(_) => form.neighbors(e, (base, second)),
        };
        Thread { form, left, right, place, sums }
    }

    /// Adds the products of what is in the buffer at `stage`.
    fn multiply(&self, e: &mut Emitter<'_>, stage: Reg) {
        match (self.form.elements, &self.sums.bytes) {
            (Elements::Pieces(pieces), _) => pieces.multiply(e, self, stage),
            (Elements::Grouped(pieces), _) => group::multiply(pieces, e, self, stage),
            (Elements::Words(_), Some(sums)) => sums.multiply(e, self, stage),
            (Elements::Words(_), None) => words::multiply(e, self, stage),
        }
    }
}

impl Form {
    /// Stores a group of an operand of so many rows or columns.
    fn store(&self, e: &mut Emitter<'_>, order: Order, (to, extent): (Reg, i32), x: &[Reg]) {
        match self.elements {
            Elements::Pieces(pieces) | Elements::Grouped(pieces) => {
                pieces.store(e, to, self.piece_bytes(extent), x)
            }
            Elements::Words(_) => words::store(e, order, to, self.pitch(extent), x),
        }
    }
}

/// Runs code for each tile of so many rows or columns along an extent.
fn tiles(
    e: &mut Emitter<'_>,
    extent: Reg,
    (one, step): (bool, i32),
    inside: &mut dyn FnMut(&mut Emitter<'_>, Reg) -> Result<()>,
) -> Result<()> {
    let zero = e.t.int(Kind::Long, 0);
    if one {
        return inside(e, zero);
    }
    let at = e.t.copy(zero);
    let (turn, done) = (e.t.label(), e.t.label());
    e.t.place(turn);
    let over = e.t.compare("ge.s64", at, &extent);
    e.t.jump_if(over, true, done);
    inside(e, at)?;
    e.t.put("add.s64", &[&at, &at, &step]);
    e.t.jump(turn);
    e.t.place(done);
    Ok(())
}

/// The sums of one tile of the result. A turn begins to read what a step needs, multiplies what the one before
/// brought, and stores: the first has nothing to multiply, the last nothing to read. `stage` is the place of the
/// buffer that is filled next: between its last reading, in another tile too, and its filling is a barrier.
fn sums_of_tile(e: &mut Emitter<'_>, p: &Product, t: &Thread, stage: Reg, at: (Reg, Reg)) {
    t.sums.clear(e);
    let cursor = Cursor::new(e, p, t, at);
    let bytes = t.form.stage_bytes();
    let filled = e.t.int(Kind::Word, 0);
    let (turn, first, done) = (e.t.label(), e.t.label(), e.t.label());
    e.t.place(turn);
    cursor.fetch(e, p, t, stage);
    let none = e.t.compare("eq.s32", filled, &0);
    e.t.jump_if(none, true, first);
    let before = e.t.op(Kind::Word, "xor.b32", &[&stage, &bytes]);
    t.multiply(e, before);
    e.t.jump_if(cursor.more(), false, done);
    e.t.place(first);
    cursor.put(e, p, t, stage);
    if matches!(t.form.elements, Elements::Grouped(_)) {
        group::publish(e);
    }
    e.t.barrier();
    cursor.advance(e, p, t.form.depth);
    e.t.put("xor.b32", &[&stage, &stage, &bytes]);
    e.t.set(filled, &1);
    e.t.jump(turn);
    e.t.place(done);
}
