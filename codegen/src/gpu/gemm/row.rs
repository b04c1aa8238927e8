//! Products of few rows: the right operand goes from memory straight to registers, and is read once.
//!
//! A warp has sixteen columns. Four of its lanes take four columns each, of four neighboring steps of k; the
//! eight such groups of lanes take the next steps. Warps for which no columns are left share k. The sums of
//! lanes meet by shuffles, those of warps in shared memory: in an order that the sizes alone decide.

use super::super::call::dim_arg;
use super::super::index::divides;
use super::super::kernel::{Emitter, Result, WARP};
use super::super::ptx::{At, Kind, Reg};
use super::finish::Finish;
use super::form::SIDE;
use super::left::Left;
use super::right::{Right, four};
use super::{Product, form_of_floats, list, noted, offset, registers, sum, tiles, times};
use nnc_ir::Dim;
use nnc_ir::tile::Arg;
use std::ops::Range;

/// Most rows that are made this way.
pub(super) const ROWS: i64 = 8;
/// Columns of a warp.
const COLUMNS: i64 = 16;
/// Neighboring steps of k of a lane.
const STEPS: i64 = 4;
/// Groups of lanes that share k in a warp.
const GROUPS: i64 = 8;

/// How the block shares the work, and what falls to a thread.
struct Thread {
    /// Warps side by side along the columns, and along k.
    across: i64,
    along: i64,
    /// First step of k and first column of the thread.
    k: Reg,
    column: Reg,
    /// The first group of lanes of its warp.
    leads: Reg,
    /// Where the block's sums are in shared memory, and where the thread's go.
    base: Reg,
    to: Reg,
    /// Rows, and for each whether it exists, where that is not certain.
    exists: Vec<Option<Reg>>,
    /// The thread's first column, or those behind it, may not exist.
    ragged: (bool, bool),
    /// Steps of k of a tap beyond a multiple of those that a thread takes at a time, if that is known.
    rest: Option<i64>,
    sums: Vec<Vec<Reg>>,
}

/// Code of a product of at most [`ROWS`] rows.
pub(super) fn product(e: &mut Emitter<'_>, args: &[Arg], right: Right, rest: &[Arg]) -> Result<()> {
    let (m, n, kc) = (dim_arg(&args[2])?, dim_arg(&args[3])?, dim_arg(&args[9])?);
    let left = Left::floats(e, &args[4..8], kc)?;
    let rest_of_k = if divides(STEPS, kc) { Some(0) } else { kc.as_const().map(|k| k % STEPS) };
    let form = form_of_floats(e, args)?;
    let p = Product::new(e, args, &form, (left, right), (kc, false))?;
    let finish = Finish::new(e, rest)?;
    e.free_tiles();
    let t = Thread::new(e, &p, (m, n), rest_of_k);
    let one = e.at_most(n, t.at_once());
    tiles(e, p.n, (one, t.at_once() as i32), &mut |e, n0| {
        columns(e, &p, &t, &finish, n0)?;
        if !one {
            // The next columns' sums take the place of these.
            e.t.barrier();
        }
        Ok(())
    })?;
    noted(e, args, rest);
    e.pending.tiles = one;
    Ok(())
}

impl Thread {
    fn new(e: &mut Emitter<'_>, p: &Product, (m, n): (&Dim, &Dim), rest: Option<i64>) -> Thread {
        let warps = i64::from(e.threads / WARP);
        let wanted = e.most(n).map_or(warps, |n| (n + COLUMNS - 1) / COLUMNS).clamp(1, warps);
        let across = (wanted as u64).next_power_of_two() as i64;
        let along = warps / across;
        let rows = e.most(m).map_or(ROWS, |m| m.clamp(1, ROWS));
        let exists = (0..rows).map(|r| {
            let row = e.t.int(Kind::Long, r);
            (m.as_const() != Some(rows)).then(|| e.t.compare("lt.s64", row, &p.m))
        });
        let exists = exists.collect();
        let base = e.tiles(4 * along * rows * across * COLUMNS);
        let base = e.t.op(Kind::Long, "mov.u64", &[&format!("shared+{base}")]);
        let warp = e.t.op(Kind::Word, "shr.u32", &[&e.thread, &WARP.trailing_zeros()]);
        let lane = e.t.op(Kind::Word, "and.b32", &[&e.thread, &(WARP - 1)]);
        let leads = e.t.compare("lt.u32", lane, &SIDE);
        let (part, place) =
            split(e, warp, across.trailing_zeros() as i32, (0, COLUMNS.trailing_zeros() as i32));
        let (group, within) = split(e, lane, 2, (2, 2));
        let k = offset(e, group, part, STEPS * GROUPS);
        let column = sum(e, place, within);
        let to = offset(e, base, part, 4 * rows * across * COLUMNS);
        let to = offset(e, to, column, 4);
        let by = |n: &Dim, d: i64| n.as_const().is_some_and(|n| n % d == 0);
        let ragged = (!by(n, across * COLUMNS), !by(n, i64::from(SIDE)));
        let sums = (0..rows).map(|_| registers(e, Kind::Single, SIDE)).collect();
        Thread { across, along, k, column, leads, base, to, exists, ragged, rest, sums }
    }

    /// Columns that the block makes at once.
    fn at_once(&self) -> i64 {
        self.across * COLUMNS
    }

    /// Steps of k from one turn of a thread to its next.
    fn turn(&self) -> i64 {
        self.along * GROUPS * STEPS
    }

    fn rows(&self) -> i64 {
        self.sums.len() as i64
    }
}

/// Makes and stores the columns from `n0` on.
fn columns(e: &mut Emitter<'_>, p: &Product, t: &Thread, finish: &Finish, n0: Reg) -> Result<()> {
    t.sums.iter().flatten().for_each(|s| e.t.set(*s, &"0f00000000"));
    let column = sum(e, n0, t.column);
    // A thread without columns has nothing to do until sums meet.
    let first = match t.ragged.0 {
        true => {
            let some = e.t.compare("lt.s64", column, &p.n);
            e.t.choose(some, t.k, p.depth)
        }
        false => t.k,
    };
    match p.taps {
        None => {
            let only = e.t.int(Kind::Long, 0);
            tap(e, p, t, (first, column), only)?;
        }
        Some(n) => tiles(e, n, (false, 1), &mut |e, at| tap(e, p, t, (first, column), at))?,
    }
    meet(e, t);
    store(e, p, t, finish, n0);
    Ok(())
}

/// Where a thread is in its walk along k.
struct Walk {
    k: Reg,
    /// The elements of each row of the left operand.
    a: Vec<Reg>,
    b: Reg,
    column: Reg,
    /// Bytes from the first of the thread's columns to each, where the right operand has a stride.
    columns: Vec<Reg>,
}

/// Adds the products of one tap to the thread's sums.
fn tap(e: &mut Emitter<'_>, p: &Product, t: &Thread, (first, column): (Reg, Reg), tap: Reg) -> Result<()> {
    let line = e.t.op(Kind::Long, "mad.lo.s64", &[&tap, &p.depth, &t.k]);
    let b = p.right.at(e, line, column);
    let a = (0..t.rows()).zip(&t.exists).map(|(r, exists)| {
        let row = e.t.int(Kind::Long, r);
        let at = p.left.row(e, row, *exists, tap);
        let at = offset(e, at, t.k, 4);
        e.t.copy(at)
    });
    let a = a.collect();
    let columns = column_offsets(e, p, t, column);
    let w = Walk { k: e.t.copy(first), a, b: e.t.copy(b), column, columns };
    let step_of_b = p.right.advance(e, t.turn() as i32);
    let whole = match t.rest == Some(0) {
        true => p.depth,
        false => e.t.op(Kind::Long, "sub.s64", &[&p.depth, &(STEPS - 1)]),
    };
    let (turn, rest, done) = (e.t.label(), e.t.label(), e.t.label());
    e.t.place(turn);
    let over = e.t.compare("ge.s64", w.k, &whole);
    e.t.jump_if(over, true, rest);
    multiply(e, p, t, &w, 0..STEPS);
    for a in &w.a {
        e.t.put("add.s64", &[a, a, &(4 * t.turn())]);
    }
    e.t.put("add.s64", &[&w.b, &w.b, &step_of_b]);
    e.t.put("add.s64", &[&w.k, &w.k, &t.turn()]);
    e.t.jump(turn);
    e.t.place(rest);
    // Fewer steps than a thread takes at a time, where it is known as many as there are.
    let each = t.rest.map_or(1, |rest| rest.max(1));
    for i in (0..t.rest.unwrap_or(STEPS - 1)).step_by(each as usize) {
        let left = e.t.op(Kind::Long, "sub.s64", &[&p.depth, &w.k]);
        let over = e.t.compare("le.s64", left, &i);
        e.t.jump_if(over, true, done);
        multiply(e, p, t, &w, i..i + each);
    }
    e.t.place(done);
    Ok(())
}

/// Multiplies steps of k, counted from where the thread is.
fn multiply(e: &mut Emitter<'_>, p: &Product, t: &Thread, w: &Walk, steps: Range<i64>) {
    let b: Vec<Vec<Reg>> = right_rows(e, p, w, steps.clone());
    let name = format!("ld.{}.f32", p.left.space().name());
    for ((a, exists), sums) in w.a.iter().zip(&t.exists).zip(&t.sums) {
        for (i, b) in steps.clone().zip(&b) {
            let a = At(*a, 4 * i as i32);
            let a = match exists {
                None => e.t.op(Kind::Single, &name, &[&a]),
                Some(exists) => {
                    let x = e.t.float(Kind::Single, 0.0);
                    e.t.put_if(*exists, &name, &[&x, &a]);
                    x
                }
            };
            for (s, b) in sums.iter().zip(b) {
                e.t.put("fma.rn.f32", &[s, &a, b, s]);
            }
        }
    }
}

/// How far each of a thread's columns is from its first. One that does not exist has the last one's elements:
/// its sums are not stored.
fn column_offsets(e: &mut Emitter<'_>, p: &Product, t: &Thread, column: Reg) -> Vec<Reg> {
    let Right::Strided(s) = &p.right else { return Vec::new() };
    let last = e.t.op(Kind::Long, "sub.s64", &[&p.n, &column]);
    let last = e.t.op(Kind::Long, "sub.s64", &[&last, &1]);
    (0..i64::from(SIDE))
        .map(|j| {
            let own = e.t.int(Kind::Long, j);
            let own = if t.ragged.1 { e.t.op(Kind::Long, "min.s64", &[&own, &last]) } else { own };
            let elements = times(e, own, s.along_n);
            e.t.op(Kind::Long, "shl.b64", &[&elements, &2])
        })
        .collect()
}

/// The thread's columns of the right operand for some steps of k.
fn right_rows(e: &mut Emitter<'_>, p: &Product, w: &Walk, steps: Range<i64>) -> Vec<Vec<Reg>> {
    match &p.right {
        Right::Panels(..) => {
            let bytes = 4 * COLUMNS as i32;
            steps.map(|i| four(e, None, At(w.b, bytes * i as i32))).collect()
        }
        Right::Strided(s) => {
            let mut rows = Vec::new();
            for i in steps {
                let row = offset(e, w.b, s.along_k, 4 * i);
                let element = |column: &Reg| {
                    let at = sum(e, row, *column);
                    e.t.op(Kind::Single, "ld.global.f32", &[&At(at, 0)])
                };
                rows.push(w.columns.iter().map(element).collect());
            }
            rows
        }
        Right::Nibbles(n) => {
            let shared = n.rows_of_block().as_const().is_some_and(|rows| rows % STEPS == 0);
            let mut by_block = None;
            let mut rows = Vec::new();
            for i in steps {
                let k = e.t.op(Kind::Long, "add.s64", &[&w.k, &i]);
                let by = match by_block.take().filter(|_| shared) {
                    Some(by) => by,
                    None => n.of_block(e, k, w.column, None),
                };
                rows.push(n.numbers(e, At(w.b, COLUMNS as i32 / 2 * i as i32), w.column, None, &by));
                by_block = Some(by);
            }
            rows
        }
    }
}

/// Adds up the sums of a warp's groups and brings them to shared memory: `[warp along k, row, column]`.
fn meet(e: &mut Emitter<'_>, t: &Thread) {
    for sums in &t.sums {
        for s in sums {
            for distance in [4, 8, 16] {
                let other = e.shuffled(*s, distance);
                e.t.put("add.f32", &[s, s, &other]);
            }
        }
    }
    let after = e.t.label();
    e.t.jump_if(t.leads, false, after);
    for (r, sums) in (0..).zip(&t.sums) {
        let to = At(t.to, 4 * t.at_once() as i32 * r);
        e.t.put("st.shared.v4.f32", &[&to, &list(sums)]);
    }
    e.t.place(after);
    e.t.barrier();
}

/// Adds up the sums of the warps, an element a thread, and stores what the epilogue makes of them.
fn store(e: &mut Emitter<'_>, p: &Product, t: &Thread, finish: &Finish, n0: Reg) {
    let (elements, threads) = (t.rows() * t.at_once(), i64::from(e.threads));
    for first in (0..elements).step_by(threads as usize) {
        let element = e.t.op(Kind::Word, "add.s32", &[&e.thread, &first]);
        let (row, column) = split(e, element, t.at_once().trailing_zeros() as i32, (0, 0));
        let column = sum(e, n0, column);
        let after = e.t.label();
        if first + threads > elements {
            let none = e.t.compare("ge.u32", element, &elements);
            e.t.jump_if(none, true, after);
        }
        if t.ragged.0 {
            let none = e.t.compare("ge.s64", column, &p.n);
            e.t.jump_if(none, true, after);
        }
        if t.exists[0].is_some() {
            let none = e.t.compare("ge.s64", row, &p.m);
            e.t.jump_if(none, true, after);
        }
        let at = e.t.op(Kind::Long, "mul.wide.u32", &[&element, &4]);
        let at = sum(e, t.base, at);
        let part = |e: &mut Emitter<'_>, w: i64| {
            e.t.op(Kind::Single, "ld.shared.f32", &[&At(at, (4 * w * elements) as i32)])
        };
        let start = part(e, 0);
        let products = (1..t.along).fold(start, |total, w| {
            let next = part(e, w);
            e.t.add(total, next)
        });
        finish.store_one(e, p, products, (row, column));
        e.t.place(after);
    }
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
