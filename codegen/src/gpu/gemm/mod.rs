//! Matrix products: of floats on plain FMA, of bytes by `mma`.
//!
//! | contract | right operand |
//! |---|---|
//! | `f32_gemm` | panels of 16 columns, as on the CPU |
//! | `f32_gemm_strided` | lies anywhere with two strides |
//! | `f32_gemm_nibbles` | panels of numbers of four bits with scales for blocks of k |
//! | `i8_gemm` | panels of 16 columns and groups of four bytes along k |
//!
//! 256 threads make a tile of 64×64, each four rows by four columns in registers. For every 16 steps of k
//! the block brings 16 columns of A, transposed, and 16 rows of B to shared memory; of bytes, a step is the
//! word of four along k. Sums run in order of k.

mod bytes;
mod finish;
mod left;
mod right;

use super::call::{Pointer, dim_arg};
use super::kernel::{Emitter, Result};
use super::order::pointed;
use super::ptx::{At, Kind, Reg};
use left::Left;
use nnc_ir::tile::Arg;
use right::Right;

/// Rows and columns of a tile.
const TILE: i64 = 64;
/// Steps of k in shared memory at a time.
const DEPTH: i64 = 16;
/// Rows and columns of one thread, and the elements of each operand that it loads.
const SIDE: i32 = 4;

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
    right: Right,
}

/// Registers of a thread: what it loads and computes.
struct Thread {
    /// Row and first step of k of the four elements of A that it loads.
    a_row: Reg,
    a_depth: Reg,
    /// The same for B: four columns of a row of B, or four steps of k of a column.
    b_depth: Reg,
    b_column: Reg,
    /// First row and column that it computes; all of them lie at [`Sums::rows`] and [`Sums::columns`] from
    /// there.
    row: Reg,
    column: Reg,
    /// Shared addresses: where its elements of A and B go, and from where it reads.
    a_to: Reg,
    b_to: Reg,
    a_from: Reg,
    b_from: Reg,
    sums: Sums,
}

/// A thread's sums, by rows.
struct Sums {
    products: Vec<Reg>,
    bytes: Option<bytes::Sums>,
}

impl Sums {
    fn floats(e: &mut Emitter<'_>) -> Sums {
        Sums { products: registers(e, Kind::Single, SIDE * SIDE), bytes: None }
    }

    /// Words from one row of a tile in shared memory to the next. Threads that write floats do so to other
    /// banks; lanes that read a fragment of bytes read all banks once.
    fn pitch(&self) -> i32 {
        if self.bytes.is_some() { 72 } else { 68 }
    }

    /// Bytes of one operand's tile in shared memory.
    fn tile_bytes(&self) -> i32 {
        DEPTH as i32 * self.pitch() * 4
    }

    /// The rows of a thread.
    fn rows(&self) -> [i32; SIDE as usize] {
        if self.bytes.is_some() { bytes::ROWS } else { [0, 1, 2, 3] }
    }

    /// The columns of a thread.
    fn columns(&self) -> [i32; SIDE as usize] {
        if self.bytes.is_some() { bytes::COLUMNS } else { [0, 1, 2, 3] }
    }

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

fn floats(e: &mut Emitter<'_>, args: &[Arg], right: Right, rest: &[Arg]) -> Result<()> {
    let kc = dim_arg(&args[9])?;
    let left = Left::floats(e, &args[4..8])?;
    let even = kc.as_const().is_some_and(|k| k % DEPTH == 0);
    let p = Product::new(e, args, (left, right), (kc, even))?;
    let finish = finish::Finish::new(e, rest)?;
    let sums = Sums::floats(e);
    product(e, &p, sums, &mut |e, t, at| finish.store(e, &p, t, at))?;
    noted(e, args, rest);
    Ok(())
}

/// Notes what is pending: a barrier is behind each step of k, so only what finishes and stores the sums comes
/// after the last.
fn noted(e: &mut Emitter<'_>, args: &[Arg], rest: &[Arg]) {
    e.pending.note(&pointed(rest), &pointed(&args[..1]));
}

/// Code of `i8_gemm`.
pub(super) fn i8(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    bytes::product(e, args)
}

impl Product {
    /// The operands in a call's first words, of `depth` steps a tap.
    fn new(
        e: &mut Emitter<'_>,
        args: &[Arg],
        (left, right): (Left, Right),
        (depth, even): (&nnc_ir::Dim, bool),
    ) -> Result<Product> {
        let (m, n, taps) = (dim_arg(&args[2])?, dim_arg(&args[3])?, dim_arg(&args[8])?);
        Ok(Product {
            c: e.pointer_arg(&args[0])?.ok_or("a product without result")?,
            ldc: e.int_arg(&args[1])?,
            m: e.index(m)?,
            n: e.index(n)?,
            one_tile: (e.at_most(m, TILE), e.at_most(n, TILE)),
            left,
            taps: if taps.is(1) { None } else { Some(e.index(taps)?) },
            depth: e.index(depth)?,
            even,
            right,
        })
    }
}

/// Stores the sums of a tile, which begins at a row and a column.
type Store<'s> = dyn FnMut(&mut Emitter<'_>, &Thread, (Reg, Reg)) -> Result<()> + 's;

fn product(e: &mut Emitter<'_>, p: &Product, sums: Sums, store: &mut Store<'_>) -> Result<()> {
    let thread = thread(e, p, sums);
    e.free_tiles();
    tiles(e, p.m, p.one_tile.0, &mut |e, m0| {
        tiles(e, p.n, p.one_tile.1, &mut |e, n0| {
            sums_of_tile(e, p, &thread, m0, n0)?;
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

/// The bits of a thread's number above `bits`, and those below, each times a power of two.
fn split(e: &mut Emitter<'_>, number: Reg, bits: i32, shifts: (i32, i32)) -> (Reg, Reg) {
    let high = e.t.op(Kind::Word, "shr.u32", &[&number, &bits]);
    let low = e.t.op(Kind::Word, "and.b32", &[&number, &((1 << bits) - 1)]);
    let scaled = |e: &mut Emitter<'_>, x: Reg, shift: i32| {
        let x = if shift > 0 { e.t.op(Kind::Word, "shl.b32", &[&x, &shift]) } else { x };
        e.t.op(Kind::Long, "cvt.u64.u32", &[&x])
    };
    (scaled(e, high, shifts.0), scaled(e, low, shifts.1))
}

/// What a thread does, by its number.
fn thread(e: &mut Emitter<'_>, p: &Product, sums: Sums) -> Thread {
    let (pitch, tile_bytes) = (i64::from(sums.pitch()), sums.tile_bytes());
    let at = e.tiles(2 * i64::from(tile_bytes));
    let base = e.t.op(Kind::Long, "mov.u64", &[&format!("shared+{at}")]);
    let second = e.t.op(Kind::Long, "add.s64", &[&base, &tile_bytes]);
    let number = e.thread;
    let (a_row, a_depth) = split(e, number, 2, (0, 2));
    let (b_depth, b_column) = if p.right.walks_depth() {
        let (column, depth) = split(e, number, 2, (0, 2));
        (depth, column)
    } else {
        split(e, number, 4, (0, 2))
    };
    let a_at = offset(e, base, a_depth, 4 * pitch);
    let a_to = offset(e, a_at, a_row, 4);
    let b_at = offset(e, second, b_depth, 4 * pitch);
    let b_to = offset(e, b_at, b_column, 4);
    let (row, column, a_from, b_from) = if sums.bytes.is_some() {
        bytes::place(e, (base, second), pitch)
    } else {
        let (row, column) = split(e, number, 4, (2, 2));
        (row, column, offset(e, base, row, 4), offset(e, second, column, 4))
    };
    Thread { a_row, a_depth, b_depth, b_column, row, column, a_to, b_to, a_from, b_from, sums }
}

/// Runs code for each tile along an extent.
fn tiles(
    e: &mut Emitter<'_>,
    extent: Reg,
    one: bool,
    inside: &mut dyn FnMut(&mut Emitter<'_>, Reg) -> Result<()>,
) -> Result<()> {
    let zero = e.t.int(Kind::Long, 0);
    if one {
        return inside(e, zero);
    }
    steps(e, extent, TILE, inside)
}

/// Runs code for `at` from zero to an extent, by steps.
fn steps(
    e: &mut Emitter<'_>,
    extent: Reg,
    step: i64,
    inside: &mut dyn FnMut(&mut Emitter<'_>, Reg) -> Result<()>,
) -> Result<()> {
    let zero = e.t.int(Kind::Long, 0);
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

/// The sums of one tile of the result.
fn sums_of_tile(e: &mut Emitter<'_>, p: &Product, t: &Thread, m0: Reg, n0: Reg) -> Result<()> {
    t.sums.clear(e);
    let row = sum(e, m0, t.a_row);
    let row_ok = e.t.compare("lt.s64", row, &p.m);
    let column = sum(e, n0, t.b_column);
    let column_ok = e.t.compare("lt.s64", column, &p.n);
    match p.taps {
        None => {
            let first = e.t.int(Kind::Long, 0);
            tap(e, p, t, (row, row_ok), (column, column_ok), first)
        }
        Some(n) => steps(e, n, 1, &mut |e, at| tap(e, p, t, (row, row_ok), (column, column_ok), at)),
    }
}

/// Adds the products of one tap.
fn tap(
    e: &mut Emitter<'_>,
    p: &Product,
    t: &Thread,
    (row, row_ok): (Reg, Reg),
    (column, column_ok): (Reg, Reg),
    tap: Reg,
) -> Result<()> {
    let a = p.left.start(e, t, (row, row_ok), tap);
    let (b, steps_of_b) = p.right.start(e, p, t, column, tap);
    steps(e, p.depth, DEPTH, &mut |e, k0| {
        p.left.load(e, p, t, a, row_ok, k0);
        p.right.load(e, p, t, (b, column), column_ok, k0);
        e.t.barrier();
        multiply(e, t);
        e.t.barrier();
        e.t.put("add.s64", &[&a, &a, &(4 * DEPTH)]);
        e.t.put("add.s64", &[&b, &b, &steps_of_b]);
        Ok(())
    })
}

/// True where step `k0 + own + i` of k exists and `ok` holds.
fn inside(e: &mut Emitter<'_>, p: &Product, ok: Reg, k0: Reg, own: Reg, i: i32) -> Reg {
    if p.even {
        return ok;
    }
    let k = sum(e, k0, own);
    let k = e.t.op(Kind::Long, "add.s64", &[&k, &i]);
    let some = e.t.compare("lt.s64", k, &p.depth);
    e.t.both(ok, some)
}

/// Multiplies what is in shared memory.
fn multiply(e: &mut Emitter<'_>, t: &Thread) {
    if let Some(sums) = &t.sums.bytes {
        return sums.multiply(e, t);
    }
    let pitch = t.sums.pitch();
    let read = |e: &mut Emitter<'_>, at: At| -> Vec<Reg> {
        let x = registers(e, Kind::Single, SIDE);
        e.t.put("ld.shared.v4.f32", &[&list(&x), &at]);
        x
    };
    for k in 0..DEPTH as i32 {
        let (a, b) = (read(e, At(t.a_from, 4 * pitch * k)), read(e, At(t.b_from, 4 * pitch * k)));
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                let s = t.sums.products[i * SIDE as usize + j];
                e.t.put("fma.rn.f32", &[&s, x, y, &s]);
            }
        }
    }
}
