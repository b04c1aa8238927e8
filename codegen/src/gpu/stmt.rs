//! Statements and expressions.

use super::kernel::{Emitter, Result};
use super::ptx::{Kind, Reg};
use super::scalar::kind_of;
use nnc_ir::tile::{Expr, Local, Loop, Stmt, Turns};
use nnc_ir::{DType, ScalarOp};
use nnc_tensor::Range;

impl Emitter<'_> {
    /// Emits statements in order.
    pub(super) fn body(&mut self, body: &[Stmt]) -> Result<()> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &Stmt) -> Result<()> {
        // What a rows loop touches is kept apart as a whole; inside, each warp has its own.
        let nested = matches!(s, Stmt::If { .. }) || matches!(s, Stmt::For(l) if l.turns == Turns::Serial);
        if !self.alone && !nested {
            self.ordered(s);
        }
        match s {
            Stmt::Let { local, dtype, expr } => {
                let value = self.kept_or(expr, *dtype)?;
                if matches!(expr, Expr::Index(d) if self.at_least_zero(d)) {
                    self.ranges.insert(local.0, Range::length());
                }
                self.define(*local, *dtype, value);
                Ok(())
            }
            Stmt::Store { mem, index, value } => {
                let value = self.read(*value)?;
                self.store(*mem, index, value)
            }
            Stmt::StorePtr { table, index, mem, element } => {
                let (space, word) = self.pointer(*mem, element)?;
                if space != super::kernel::Space::Global {
                    return Err("the address of shared memory in a table".into());
                }
                self.store(*table, index, word)
            }
            Stmt::For(l) if l.turns == Turns::Lanes && !self.alone => self.lanes(l),
            Stmt::For(l) if l.turns == Turns::Rows && !self.alone => self.rows(l),
            Stmt::For(l) => self.serial(l),
            Stmt::If { cond, then, otherwise } => self.branch(*cond, then, otherwise),
            Stmt::Call { contract, version, args } if !self.alone => self.call(contract, *version, args),
            Stmt::Call { contract, .. } => Err(format!("call {contract} inside lanes")),
        }
    }

    fn branch(&mut self, cond: Local, then: &[Stmt], otherwise: &[Stmt]) -> Result<()> {
        let cond = self.read(cond)?;
        let (no, after) = (self.t.label(), self.t.label());
        let before = self.pending.clone();
        self.t.jump_if(cond, false, no);
        self.part(then)?;
        let taken = std::mem::replace(&mut self.pending, before);
        if otherwise.is_empty() {
            self.t.place(no);
            self.pending.join(&taken);
            return Ok(());
        }
        self.t.jump(after);
        self.t.place(no);
        self.part(otherwise)?;
        self.t.place(after);
        self.pending.join(&taken);
        Ok(())
    }

    /// A loop whose turns every thread takes one after the other.
    fn serial(&mut self, l: &Loop) -> Result<()> {
        let extent = self.index(&l.axis.extent)?;
        let mut held = Vec::new();
        for init in l.carries.iter().map(|c| c.init).chain(l.reduces.iter().map(|r| r.init)) {
            let value = self.read(init)?;
            held.push(self.t.copy(value));
        }
        let zero = self.t.int(Kind::Long, 0);
        let counter = self.t.copy(zero);
        let (turn, done) = (self.t.label(), self.t.label());
        self.t.place(turn);
        let over = self.t.compare("ge.s64", counter, &extent);
        self.t.jump_if(over, true, done);
        self.define_axis(&l.axis, counter);
        for (c, reg) in l.carries.iter().zip(&held) {
            self.define(c.inside, self.dtype(c.init), *reg);
        }
        let before = self.pending.clone();
        self.part(&l.body)?;
        self.advance(l, &held)?;
        if !self.alone && self.pending.settle() {
            self.barrier();
        }
        // Without a turn nothing of the body has settled what came before.
        self.pending.join(&before);
        self.t.put("add.s64", &[&counter, &counter, &1]);
        self.t.jump(turn);
        self.t.place(done);
        self.results(l, &held);
        Ok(())
    }

    /// Moves carried values and reductions on by one turn.
    pub(super) fn advance(&mut self, l: &Loop, held: &[Reg]) -> Result<()> {
        let (carries, sums) = held.split_at(l.carries.len());
        // All are read before any is written: they may change places.
        let mut next = Vec::new();
        for (c, reg) in l.carries.iter().zip(carries) {
            let value = self.read(c.next)?;
            let moves = carries.len() > 1 && value != *reg;
            next.push(if moves { self.t.copy(value) } else { value });
        }
        for (reg, value) in carries.iter().zip(next) {
            self.t.set(*reg, &value);
        }
        for (r, sum) in l.reduces.iter().zip(sums) {
            let value = self.read(r.value)?;
            let total = self.apply(r.op, self.dtype(r.value), &[*sum, value])?;
            self.t.set(*sum, &total);
        }
        Ok(())
    }

    pub(super) fn results(&mut self, l: &Loop, held: &[Reg]) {
        let pairs =
            l.carries.iter().map(|c| (c.init, c.result)).chain(l.reduces.iter().map(|r| (r.init, r.result)));
        for ((init, result), reg) in pairs.zip(held) {
            self.define(result, self.dtype(init), *reg);
        }
    }

    /// What a reduction starts with where it has no start of its own.
    pub(super) fn neutral(&mut self, op: ScalarOp, dtype: DType) -> Result<Reg> {
        if dtype == DType::Bool {
            let v = i64::from(matches!(op, ScalarOp::And | ScalarOp::Min | ScalarOp::Mul));
            return self.int_constant(dtype, v);
        }
        let low = dtype.int_range();
        Ok(match op {
            ScalarOp::Add | ScalarOp::Or => self.constant(dtype, 0)?,
            ScalarOp::Mul => self.constant(dtype, 1)?,
            ScalarOp::And => self.constant(dtype, -1)?,
            ScalarOp::Max | ScalarOp::Min => match low {
                Some((a, b)) => self.int_constant(dtype, (if op == ScalarOp::Max { a } else { b }) as i64)?,
                None => {
                    let v = if op == ScalarOp::Max { f64::NEG_INFINITY } else { f64::INFINITY };
                    self.t.float(kind_of(dtype)?, v)
                }
            },
            _ => return Err(format!("a reduction by {}", op.name())),
        })
    }

    fn constant(&mut self, dtype: DType, v: i64) -> Result<Reg> {
        if dtype.is_float() {
            Ok(self.t.float(kind_of(dtype)?, v as f64))
        } else {
            self.int_constant(dtype, v)
        }
    }

    fn int_constant(&mut self, dtype: DType, v: i64) -> Result<Reg> {
        let kind = kind_of(dtype)?;
        Ok(match dtype {
            DType::Bool => {
                let word = self.t.int(Kind::Word, i64::from(v != 0));
                self.t.compare("ne.s32", word, &0)
            }
            DType::U32 => self.t.int(kind, i64::from(v as u32)),
            DType::I32 => self.t.int(kind, i64::from(v as i32)),
            DType::I64 | DType::U64 => self.t.int(kind, v),
            _ => {
                let word = self.t.int(kind, i64::from(v as i32));
                self.wrap(dtype, word)
            }
        })
    }

    /// `p ? a : b`.
    pub(super) fn select(&mut self, p: Reg, a: Reg, b: Reg) -> Reg {
        if a.kind != Kind::Pred {
            return self.t.choose(p, a, b);
        }
        let not = self.t.op(Kind::Pred, "not.pred", &[&p]);
        let (yes, no) = (self.t.both(p, a), self.t.both(not, b));
        self.t.op(Kind::Pred, "or.pred", &[&yes, &no])
    }

    pub(super) fn expr(&mut self, e: &Expr, to: DType) -> Result<Reg> {
        match e {
            Expr::Float(v) => Ok(self.t.float(kind_of(to)?, *v)),
            Expr::Int(v) => self.int_constant(to, *v),
            Expr::Index(d) => self.index(d),
            Expr::Load(mem, index) => self.load(*mem, index),
            Expr::Op(op, args) => {
                let values = args.iter().map(|a| self.read(*a)).collect::<Result<Vec<_>>>()?;
                self.apply(*op, self.dtype(args[0]), &values)
            }
            Expr::Fma(a, b, c) => {
                let (a, b, c) = (self.read(*a)?, self.read(*b)?, self.read(*c)?);
                Ok(self.t.fma(a, b, c))
            }
            Expr::Cast(x) => {
                let value = self.read(*x)?;
                self.cast(value, self.dtype(*x), to)
            }
            Expr::RoundTo(d, x) => {
                let value = self.read(*x)?;
                self.round_to(*d, value)
            }
            Expr::Select(c, a, b) => {
                let (c, a, b) = (self.read(*c)?, self.read(*a)?, self.read(*b)?);
                Ok(self.select(c, a, b))
            }
            Expr::Bitcast(x) => {
                let value = self.read(*x)?;
                self.bitcast(value, self.dtype(*x), to)
            }
        }
    }
}
