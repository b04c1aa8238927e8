//! Loops that are dealt out: the turns of a lanes loop to threads, those of a rows loop to warps.
//!
//! Where rows are folded and their lengths are known, a thread has few turns of each loop over a row. They are
//! written out one by one, and what one loop has loaded or computed is in a register when the next one
//! asks for it.

use super::kernel::{Emitter, Result, WARP};
use super::order::Pending;
use super::ptx::{Kind, Reg};
use nnc_ir::tile::{Access, Expr, Loop, Mem, Stmt, Turns};
use nnc_ir::{DType, Dim, Sym};
use std::collections::HashMap;

/// Most turns of a thread that are written out: each keeps a few registers.
const TURNS: i64 = 32;
/// Most statements that they may come to.
const STATEMENTS: i64 = 1024;

/// Values that turns which were written out have left in registers.
#[derive(Default)]
pub(super) struct Kept {
    /// Turns are being written out.
    on: bool,
    /// The extent that the turn in question may be beyond: then its values hold for such turns alone.
    within: Option<i64>,
    /// By the expression with registers for operands, and what it holds within.
    values: HashMap<(Option<i64>, String), Reg>,
}

/// True if lanes loops of a body fold: then what they load is loaded again by others.
pub(super) fn folds(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::For(l) => (l.turns == Turns::Lanes && !l.reduces.is_empty()) || folds(&l.body),
        Stmt::If { then, otherwise, .. } => folds(then) || folds(otherwise),
        _ => false,
    })
}

/// A body that can be written out: straight-line code in 32 bits, besides indices.
fn is_plain(body: &[Stmt]) -> bool {
    body.iter().all(|s| match s {
        Stmt::Let { dtype, expr, .. } => dtype.size() <= 4 || matches!(expr, Expr::Index(_)),
        Stmt::Store { .. } => true,
        _ => false,
    })
}

impl Emitter<'_> {
    /// Statements that may run never or more than once: values go neither in nor out.
    pub(super) fn part(&mut self, body: &[Stmt]) -> Result<()> {
        self.kept.values.clear();
        self.body(body)?;
        self.kept.values.clear();
        Ok(())
    }

    /// Waits for the threads that share the work: those of the block, or in a row those of the warp.
    pub(super) fn barrier(&mut self) {
        match self.in_row {
            true => self.t.put("bar.warp.sync", &[&"0xffffffff"]),
            false => self.t.barrier(),
        }
    }

    /// A loop whose turns are dealt out to the warps of the block. They share nothing, so that a warp need not
    /// wait for its lanes between them.
    pub(super) fn rows(&mut self, l: &Loop) -> Result<()> {
        let extent = self.index(&l.axis.extent)?;
        let (thread, first, threads) = (self.thread, self.first, self.threads);
        let warp = self.t.op(Kind::Word, "shr.u32", &[&thread, &WARP.trailing_zeros()]);
        self.thread = self.t.op(Kind::Word, "and.b32", &[&thread, &(WARP - 1)]);
        self.first = self.t.compare("eq.s32", self.thread, &0);
        (self.threads, self.in_row) = (WARP, true);
        let pending = std::mem::replace(&mut self.pending, Pending::of(self.kernel));
        let counter = self.t.op(Kind::Long, "cvt.u64.u32", &[&warp]);
        let (turn, done) = (self.t.label(), self.t.label());
        self.t.place(turn);
        let over = self.t.compare("ge.s64", counter, &extent);
        self.t.jump_if(over, true, done);
        self.define_axis(&l.axis, counter);
        self.part(&l.body)?;
        self.t.put("add.s64", &[&counter, &counter, &(threads / WARP)]);
        self.t.jump(turn);
        self.t.place(done);
        self.pending = pending;
        (self.thread, self.first, self.threads, self.in_row) = (thread, first, threads, false);
        Ok(())
    }

    /// A loop whose turns are dealt out to the threads that share the work.
    pub(super) fn lanes(&mut self, l: &Loop) -> Result<()> {
        let mut parts = Vec::new();
        for r in &l.reduces {
            // One thread starts with the start, the others with what changes nothing.
            let (init, dtype) = (self.read(r.init)?, self.dtype(r.init));
            let neutral = self.neutral(r.op, dtype)?;
            let start = self.select(self.first, init, neutral);
            parts.push(self.t.copy(start));
        }
        match self.turns_written_out(l) {
            Some(extent) => self.written_out(l, extent, &parts)?,
            None => self.turn_by_turn(l, &parts)?,
        }
        let mut totals = Vec::new();
        for (r, part) in l.reduces.iter().zip(parts) {
            totals.push(self.across(r.op, self.dtype(r.init), part)?);
        }
        self.results(l, &totals);
        Ok(())
    }

    fn turn_by_turn(&mut self, l: &Loop, parts: &[Reg]) -> Result<()> {
        let extent = self.index(&l.axis.extent)?;
        let counter = self.t.op(Kind::Long, "cvt.u64.u32", &[&self.thread]);
        let (turn, done) = (self.t.label(), self.t.label());
        self.t.place(turn);
        let over = self.t.compare("ge.s64", counter, &extent);
        self.t.jump_if(over, true, done);
        self.define_axis(&l.axis, counter);
        self.turn(l, parts)?;
        self.t.put("add.s64", &[&counter, &counter, &self.threads]);
        self.t.jump(turn);
        self.t.place(done);
        Ok(())
    }

    fn turn(&mut self, l: &Loop, parts: &[Reg]) -> Result<()> {
        self.alone = true;
        self.body(&l.body)?;
        self.advance(l, parts)?;
        self.alone = false;
        Ok(())
    }

    /// The extent of a loop whose turns are to be written out.
    fn turns_written_out(&self, l: &Loop) -> Option<i64> {
        let extent = l.axis.extent.as_const()?;
        let turns = (extent + i64::from(self.threads) - 1) / i64::from(self.threads);
        let short = turns <= TURNS && turns * l.body.len() as i64 <= STATEMENTS;
        (self.folds && short && is_plain(&l.body)).then_some(extent)
    }

    fn written_out(&mut self, l: &Loop, extent: i64, parts: &[Reg]) -> Result<()> {
        let threads = i64::from(self.threads);
        for first in (0..extent).step_by(threads as usize) {
            let index = self.turn_index(first);
            let after = self.t.label();
            self.kept.within = (first + threads > extent).then_some(extent);
            if self.kept.within.is_some() {
                let over = self.t.compare("ge.s64", index, &extent);
                self.t.jump_if(over, true, after);
            }
            self.define_axis(&l.axis, index);
            self.kept.on = true;
            self.turn(l, parts)?;
            self.kept.on = false;
            if self.kept.within.take().is_some() {
                self.t.place(after);
            }
        }
        Ok(())
    }

    /// The thread's number plus that of a loop's turn.
    fn turn_index(&mut self, first: i64) -> Reg {
        let key = (None, format!("turn {} {first}", self.thread));
        if let Some(index) = self.kept.values.get(&key) {
            return *index;
        }
        let index = self.t.op(Kind::Long, "cvt.u64.u32", &[&self.thread]);
        let index = if first > 0 { self.t.op(Kind::Long, "add.s64", &[&index, &first]) } else { index };
        self.kept.values.insert(key, index);
        index
    }

    /// The value of an expression: where turns are written out, from a register that holds it already.
    pub(super) fn kept_or(&mut self, expr: &Expr, to: DType) -> Result<Reg> {
        let Some(key) = self.kept.on.then(|| self.key(expr, to)).flatten() else {
            return self.expr(expr, to);
        };
        let key = (self.kept.within, key);
        let everywhere = (None, key.1.clone());
        if let Some(held) = self.kept.values.get(&key).or_else(|| self.kept.values.get(&everywhere)) {
            return Ok(*held);
        }
        let value = self.expr(expr, to)?;
        self.kept.values.insert(key, value);
        Ok(value)
    }

    /// What two expressions of one value have in common; `None` for memory that the kernel may write.
    fn key(&self, expr: &Expr, to: DType) -> Option<String> {
        let registers = |locals: &[nnc_ir::tile::Local]| -> Option<String> {
            let names = locals.iter().map(|l| self.read(*l).ok().map(|r| r.to_string()));
            Some(names.collect::<Option<Vec<_>>>()?.join(" "))
        };
        let index = |d: &Dim| {
            d.substitute(&|s| match s {
                Sym::Local(n) => {
                    let held = self.read(nnc_ir::tile::Local(*n)).ok()?;
                    Some(Dim::sym(Sym::Local(held.number)))
                }
                Sym::Name(_) => None,
            })
        };
        Some(match expr {
            Expr::Float(v) => format!("{to} {:x}", v.to_bits()),
            Expr::Int(v) => format!("{to} {v}"),
            Expr::Index(d) => format!("index {}", index(d)),
            Expr::Load(Mem::Param(i), d) if self.kernel.params[*i as usize].access == Access::Read => {
                format!("load {i} {}", index(d))
            }
            Expr::Load(..) => return None,
            Expr::Op(op, args) => format!("{to} {} {}", op.name(), registers(args)?),
            Expr::Fma(a, b, c) => format!("fma {}", registers(&[*a, *b, *c])?),
            Expr::Cast(x) => format!("{to} from {} {}", self.dtype(*x), registers(&[*x])?),
            Expr::RoundTo(d, x) => format!("round {d} {}", registers(&[*x])?),
            Expr::Select(c, a, b) => format!("select {}", registers(&[*c, *a, *b])?),
            Expr::Bitcast(x) => format!("{to} bits {} {}", self.dtype(*x), registers(&[*x])?),
        })
    }
}
