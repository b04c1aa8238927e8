//! The matrix product on plain FMA: `f32_gemm`, whose right operand comes in panels of 16 columns as on
//! the CPU, and `f32_gemm_strided`, whose right operand lies anywhere with two strides.
//!
//! 256 threads make a tile of 64×64, each a square of 4×4 in registers. For every 16 steps of k the
//! block brings 16 columns of A, transposed, and 16 rows of B to shared memory. Sums run in order of k.

use super::call::{Pointer, dim_arg, flags_arg};
use super::kernel::{Emitter, Result, Space};
use super::order::pointed;
use super::ptx::{At, Float, Kind, Reg};
use nnc_ir::tile::Arg;

/// Rows and columns of a tile.
const TILE: i64 = 64;
/// Steps of k in shared memory at a time.
const DEPTH: i64 = 16;
/// Rows and columns of one thread.
const SIDE: i32 = 4;
/// Elements from one row of a tile in shared memory to the next: its threads then write to other banks.
const PITCH: i32 = 68;
/// Bytes of one operand's tile in shared memory.
const TILE_BYTES: i32 = DEPTH as i32 * PITCH * 4;
/// Columns of a panel.
const PANEL: i64 = 16;

const ACCUMULATE: i64 = 1;
const BIAS: i64 = 2;
const RESIDUAL: i64 = 4;
const CLAMP: i64 = 8;
const SCALE: i64 = 16;

/// Where the right operand's elements are.
enum Right {
    /// In panels: address, elements from panel to panel.
    Panels(Reg, Reg),
    /// Address and strides along k and the columns.
    Strided(Reg, Reg, Reg, Walk),
}

/// Along what neighboring threads read the right operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    Columns,
    Depth,
}

/// The left operand: an address and the distance of rows, or a table of rows' addresses.
enum Left {
    Rows(Pointer, Reg),
    Table(Pointer, Reg),
}

/// The operands of a product.
struct Product {
    c: Pointer,
    ldc: Reg,
    m: Reg,
    n: Reg,
    one_tile: (bool, bool),
    left: Left,
    taps: Option<Reg>,
    depth: Reg,
    /// The depth is a multiple of that of a tile: no check along k.
    even: bool,
    right: Right,
}

/// What is done to sums before they are stored.
struct Finish {
    flags: i64,
    bias: Option<Pointer>,
    scale: Option<Pointer>,
    residual: Option<(Pointer, Reg)>,
    bounds: (Reg, Reg),
}

/// Registers of a thread: what it loads and computes.
struct Thread {
    /// Row and first step of k of the four elements of A that it loads.
    a_row: Reg,
    a_depth: Reg,
    /// The same for B: four columns of a row of B, or four steps of k of a column.
    b_depth: Reg,
    b_column: Reg,
    /// First row and column that it computes.
    row: Reg,
    column: Reg,
    /// Shared addresses: where its elements of A and B go, and from where it reads.
    a_to: Reg,
    b_to: Reg,
    a_from: Reg,
    b_from: Reg,
    sums: Vec<Reg>,
}

/// Code of `f32_gemm`. The buffer of zeros, its last argument, is of no use here.
pub(super) fn packed(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let [b, panel] = [&args[10], &args[11]];
    let address = e.pointer_arg(b)?.ok_or("a product without right operand")?;
    global(address)?;
    let right = Right::Panels(address.at, e.int_arg(panel)?);
    product(e, args, right, &args[12..])
}

/// Code of `f32_gemm_strided`: slots as in `f32_gemm`, but slot 11 is the stride of B along k, and the
/// stride along the columns follows it.
pub(super) fn strided(e: &mut Emitter<'_>, args: &[Arg]) -> Result<()> {
    let address = e.pointer_arg(&args[10])?.ok_or("a product without right operand")?;
    global(address)?;
    let walk = if dim_arg(&args[11])?.is(1) { Walk::Depth } else { Walk::Columns };
    let right = Right::Strided(address.at, e.int_arg(&args[11])?, e.int_arg(&args[12])?, walk);
    product(e, args, right, &args[13..])
}

fn global(p: Pointer) -> Result<()> {
    if p.space == Space::Global {
        Ok(())
    } else {
        Err("the right operand of a product in shared memory".into())
    }
}

fn product(e: &mut Emitter<'_>, args: &[Arg], right: Right, rest: &[Arg]) -> Result<()> {
    let none = || "a product without result or left operand".to_owned();
    let table = e.pointer_arg(&args[4])?;
    let left = match table {
        Some(t) => Left::Table(t, e.int_arg(&args[5])?),
        None => {
            let a = e.pointer_arg(&args[6])?.ok_or_else(none)?;
            Left::Rows(a, e.int_arg(&args[7])?)
        }
    };
    let (m, n, kc) = (dim_arg(&args[2])?, dim_arg(&args[3])?, dim_arg(&args[9])?);
    let taps = dim_arg(&args[8])?;
    let p = Product {
        c: e.pointer_arg(&args[0])?.ok_or_else(none)?,
        ldc: e.int_arg(&args[1])?,
        m: e.index(m)?,
        n: e.index(n)?,
        one_tile: (e.at_most(m, TILE), e.at_most(n, TILE)),
        left,
        taps: if taps.is(1) { None } else { Some(e.index(taps)?) },
        depth: e.index(kc)?,
        even: kc.as_const().is_some_and(|k| k % DEPTH == 0),
        right,
    };
    let finish = finish_of(e, rest)?;
    let thread = thread(e, &p);
    e.free_tiles();
    let (m, n) = (p.m, p.n);
    tiles(e, m, p.one_tile.0, &mut |e, m0| {
        tiles(e, n, p.one_tile.1, &mut |e, n0| tile(e, &p, &finish, &thread, m0, n0))
    })?;
    // A barrier is behind each step of k: only what finishes and stores the sums comes after the last.
    e.pending.note(&pointed(rest), &pointed(&args[..1]));
    Ok(())
}

fn finish_of(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Finish> {
    let flags = flags_arg(&args[0])?;
    let known = ACCUMULATE | BIAS | RESIDUAL | CLAMP | SCALE;
    if flags & !known != 0 {
        return Err(format!("flags {flags:#x} of a product"));
    }
    let needed = |p: Option<Pointer>| p.ok_or_else(|| "a flag without its operand".to_owned());
    let on = |flag: i64, at: usize, e: &mut Emitter<'_>| -> Result<Option<Pointer>> {
        if flags & flag == 0 { Ok(None) } else { needed(e.pointer_arg(&args[at])?).map(Some) }
    };
    let (bias, scale) = (on(BIAS, 1, e)?, on(SCALE, 2, e)?);
    let residual = match on(RESIDUAL, 3, e)? {
        Some(p) => Some((p, e.int_arg(&args[4])?)),
        None => None,
    };
    Ok(Finish { flags, bias, scale, residual, bounds: (e.float_arg(&args[5])?, e.float_arg(&args[6])?) })
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

/// What a thread does, by its number.
fn thread(e: &mut Emitter<'_>, p: &Product) -> Thread {
    let at = e.tiles(2 * i64::from(TILE_BYTES));
    let base = e.t.op(Kind::Long, "mov.u64", &[&format!("shared+{at}")]);
    let number = e.thread;
    let split = |e: &mut Emitter<'_>, bits: i64, quads: (bool, bool)| {
        let high = e.t.op(Kind::Word, "shr.u32", &[&number, &bits]);
        let low = e.t.op(Kind::Word, "and.b32", &[&number, &((1 << bits) - 1)]);
        let [high, low] = [(high, quads.0), (low, quads.1)].map(|(x, quad)| {
            let x = if quad { e.t.op(Kind::Word, "shl.b32", &[&x, &2]) } else { x };
            e.t.op(Kind::Long, "cvt.u64.u32", &[&x])
        });
        (high, low)
    };
    let (a_row, a_depth) = split(e, 2, (false, true));
    let by_depth = matches!(p.right, Right::Strided(_, _, _, Walk::Depth));
    let (b_depth, b_column) = if by_depth {
        let (column, depth) = split(e, 2, (false, true));
        (depth, column)
    } else {
        split(e, 4, (false, true))
    };
    let (row, column) = split(e, 4, (true, true));
    let a_at = offset(e, base, a_depth, 4 * i64::from(PITCH));
    let a_to = offset(e, a_at, a_row, 4);
    let second = e.t.op(Kind::Long, "add.s64", &[&base, &TILE_BYTES]);
    let b_at = offset(e, second, b_depth, 4 * i64::from(PITCH));
    let b_to = offset(e, b_at, b_column, 4);
    let (a_from, b_from) = (offset(e, base, row, 4), offset(e, second, column, 4));
    let sums = (0..SIDE * SIDE).map(|_| e.t.reg(Kind::Single)).collect();
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

/// One tile of the result.
fn tile(e: &mut Emitter<'_>, p: &Product, finish: &Finish, t: &Thread, m0: Reg, n0: Reg) -> Result<()> {
    for s in &t.sums {
        e.t.set(*s, &Float(Kind::Single, 0.0));
    }
    let row = sum(e, m0, t.a_row);
    let row_ok = e.t.compare("lt.s64", row, &p.m);
    let column = sum(e, n0, t.b_column);
    let column_ok = e.t.compare("lt.s64", column, &p.n);
    match p.taps {
        None => {
            let first = e.t.int(Kind::Long, 0);
            tap(e, p, t, (row, row_ok), (column, column_ok), first)?;
        }
        Some(n) => {
            steps(e, n, 1, &mut |e, at| tap(e, p, t, (row, row_ok), (column, column_ok), at))?;
        }
    }
    store(e, p, finish, t, m0, n0);
    Ok(())
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
    let start = match &p.left {
        Left::Rows(a, lda) => {
            let at = times(e, row, *lda);
            offset(e, a.at, at, 4)
        }
        Left::Table(table, stride) => {
            let line = times(e, tap, *stride);
            let entry = sum(e, line, row);
            let entry = offset(e, table.at, entry, 8);
            let address = e.t.reg(Kind::Long);
            e.t.set(address, &0);
            e.t.put_if(row_ok, &format!("ld.{}.u64", table.space.name()), &[&address, &At(entry, 0)]);
            address
        }
    };
    let a = offset(e, start, t.a_depth, 4);
    let a = e.t.copy(a);
    let (b, steps_of_b) = right_start(e, p, t, column, tap);
    let b = e.t.copy(b);
    let depth = p.depth;
    steps(e, depth, DEPTH, &mut |e, k0| {
        load_left(e, p, t, a, row_ok, k0);
        load_right(e, p, t, (b, column), column_ok, k0);
        e.t.barrier();
        multiply(e, t);
        e.t.barrier();
        e.t.put("add.s64", &[&a, &a, &(4 * DEPTH)]);
        e.t.put("add.s64", &[&b, &b, &steps_of_b]);
        Ok(())
    })
}

/// Where the thread's elements of B begin, and the bytes from one tile to the next along k.
fn right_start(e: &mut Emitter<'_>, p: &Product, t: &Thread, column: Reg, tap: Reg) -> (Reg, Reg) {
    let line = times(e, tap, p.depth);
    let line = sum(e, line, t.b_depth);
    match &p.right {
        Right::Panels(b, panel) => {
            let which = e.t.op(Kind::Long, "shr.s64", &[&column, &4]);
            let within = e.t.op(Kind::Long, "and.b64", &[&column, &(PANEL - 1)]);
            let at = times(e, which, *panel);
            let at = offset(e, at, line, PANEL);
            let at = sum(e, at, within);
            let step = e.t.int(Kind::Long, 4 * PANEL * DEPTH);
            (offset(e, *b, at, 4), step)
        }
        Right::Strided(b, along_k, along_n, _) => {
            let (x, y) = (times(e, line, *along_k), times(e, column, *along_n));
            let at = sum(e, x, y);
            let step = e.t.op(Kind::Long, "mul.lo.s64", &[along_k, &(4 * DEPTH)]);
            (offset(e, *b, at, 4), step)
        }
    }
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

/// An element, or zero where the condition does not hold.
fn element(e: &mut Emitter<'_>, ok: Reg, space: Space, at: At) -> Reg {
    let x = e.t.float(Kind::Single, 0.0);
    e.t.put_if(ok, &format!("ld.{}.f32", space.name()), &[&x, &at]);
    x
}

fn load_left(e: &mut Emitter<'_>, p: &Product, t: &Thread, a: Reg, ok: Reg, k0: Reg) {
    // Tables hold addresses of buffers, never of scratch.
    let space = match &p.left {
        Left::Rows(a, _) => a.space,
        Left::Table(..) => Space::Global,
    };
    for i in 0..SIDE {
        let ok = inside(e, p, ok, k0, t.a_depth, i);
        let x = element(e, ok, space, At(a, 4 * i));
        e.t.put("st.shared.f32", &[&At(t.a_to, 4 * PITCH * i), &x]);
    }
}

fn load_right(e: &mut Emitter<'_>, p: &Product, t: &Thread, (b, column): (Reg, Reg), ok: Reg, k0: Reg) {
    match &p.right {
        Right::Panels(..) => {
            // The last panel is padded: four columns are there if the first is.
            let ok = inside(e, p, ok, k0, t.b_depth, 0);
            let quad: Vec<Reg> = (0..SIDE).map(|_| e.t.float(Kind::Single, 0.0)).collect();
            let list = format!("{{{}, {}, {}, {}}}", quad[0], quad[1], quad[2], quad[3]);
            e.t.put_if(ok, "ld.global.v4.f32", &[&list, &At(b, 0)]);
            e.t.put("st.shared.v4.f32", &[&At(t.b_to, 0), &list]);
        }
        Right::Strided(_, along_k, _, Walk::Depth) => {
            let mut at = b;
            for i in 0..SIDE {
                let ok = inside(e, p, ok, k0, t.b_depth, i);
                let x = element(e, ok, Space::Global, At(at, 0));
                e.t.put("st.shared.f32", &[&At(t.b_to, 4 * PITCH * i), &x]);
                at = offset(e, at, *along_k, 4);
            }
        }
        Right::Strided(_, _, along_n, Walk::Columns) => {
            let row_ok = inside(e, p, ok, k0, t.b_depth, 0);
            let mut at = b;
            for i in 0..SIDE {
                let next = e.t.op(Kind::Long, "add.s64", &[&column, &i]);
                let some = e.t.compare("lt.s64", next, &p.n);
                let ok = e.t.both(row_ok, some);
                let x = element(e, ok, Space::Global, At(at, 0));
                e.t.put("st.shared.f32", &[&At(t.b_to, 4 * i), &x]);
                at = offset(e, at, *along_n, 4);
            }
        }
    }
}

/// Multiplies what is in shared memory.
fn multiply(e: &mut Emitter<'_>, t: &Thread) {
    let quad = |e: &mut Emitter<'_>, at: At| -> Vec<Reg> {
        let x: Vec<Reg> = (0..SIDE).map(|_| e.t.reg(Kind::Single)).collect();
        let list = format!("{{{}, {}, {}, {}}}", x[0], x[1], x[2], x[3]);
        e.t.put("ld.shared.v4.f32", &[&list, &at]);
        x
    };
    for k in 0..DEPTH as i32 {
        let (a, b) = (quad(e, At(t.a_from, 4 * PITCH * k)), quad(e, At(t.b_from, 4 * PITCH * k)));
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                let s = t.sums[i * SIDE as usize + j];
                e.t.put("fma.rn.f32", &[&s, x, y, &s]);
            }
        }
    }
}

/// Finishes and stores the thread's sums.
fn store(e: &mut Emitter<'_>, p: &Product, f: &Finish, t: &Thread, m0: Reg, n0: Reg) {
    let column = sum(e, n0, t.column);
    let mut columns = Vec::new();
    for j in 0..SIDE {
        let at = e.t.op(Kind::Long, "add.s64", &[&column, &j]);
        columns.push(e.t.compare("lt.s64", at, &p.n));
    }
    let by_column = |e: &mut Emitter<'_>, from: Option<Pointer>| -> Option<Vec<Reg>> {
        let from = from?;
        let at = offset(e, from.at, column, 4);
        let load = |(j, ok): (usize, &Reg)| {
            let x = e.t.float(Kind::Single, 0.0);
            e.t.put_if(*ok, &format!("ld.{}.f32", from.space.name()), &[&x, &At(at, 4 * j as i32)]);
            x
        };
        Some(columns.iter().enumerate().map(load).collect())
    };
    let (bias, scale) = (by_column(e, f.bias), by_column(e, f.scale));
    for i in 0..SIDE {
        let row = sum(e, m0, t.row);
        let row = e.t.op(Kind::Long, "add.s64", &[&row, &i]);
        let row_ok = e.t.compare("lt.s64", row, &p.m);
        let line = |e: &mut Emitter<'_>, to: Pointer, stride: Reg| {
            let at = times(e, row, stride);
            let at = sum(e, at, column);
            offset(e, to.at, at, 4)
        };
        let c = line(e, p.c, p.ldc);
        let residual = f.residual.map(|(from, stride)| (line(e, from, stride), from.space));
        for j in 0..SIDE as usize {
            let ok = e.t.both(row_ok, columns[j]);
            let load = |e: &mut Emitter<'_>, space: Space, at: Reg| {
                let x = e.t.float(Kind::Single, 0.0);
                e.t.put_if(ok, &format!("ld.{}.f32", space.name()), &[&x, &At(at, 4 * j as i32)]);
                x
            };
            let mut v = t.sums[i as usize * SIDE as usize + j];
            if f.flags & ACCUMULATE != 0 {
                let before = load(e, p.c.space, c);
                v = e.t.add(before, v);
            }
            if let Some(s) = &scale {
                v = e.t.mul(v, s[j]);
            }
            if let Some(b) = &bias {
                v = e.t.add(v, b[j]);
            }
            if let Some((at, space)) = residual {
                let r = load(e, space, at);
                v = e.t.add(v, r);
            }
            if f.flags & CLAMP != 0 {
                v = clamped(e, v, f.bounds);
            }
            e.t.put_if(ok, &format!("st.{}.f32", p.c.space.name()), &[&At(c, 4 * j as i32), &v]);
        }
    }
}

/// A value moved into bounds; NaN stays.
fn clamped(e: &mut Emitter<'_>, v: Reg, (lo, hi): (Reg, Reg)) -> Reg {
    let below = e.t.compare("lt.f32", v, &lo);
    let v = e.t.choose(below, lo, v);
    let above = e.t.compare("gt.f32", v, &hi);
    e.t.choose(above, hi, v)
}
