//! Checks a kernel: definitions before uses, types, shapes of loops.

use super::{Arg, Expr, Kernel, Local, Loop, Mem, Stmt, Turns, arithmetic_type};
use crate::{DType, Dim, ScalarOp, Sym};
use std::collections::HashMap;

struct Scope<'k> {
    kernel: &'k Kernel,
    types: HashMap<Local, DType>,
    visible: Vec<Local>,
}

/// The first broken rule of a kernel, in words.
pub fn verify(kernel: &Kernel) -> Result<(), String> {
    let mut scope = Scope { kernel, types: HashMap::new(), visible: Vec::new() };
    for axis in &kernel.grid {
        scope.size(&axis.extent)?;
        scope.define(axis.local, DType::I64)?;
    }
    for s in &kernel.scratch {
        scope.size(&s.elems)?;
        if s.dtype.is_packed() || s.dtype == DType::Str {
            return Err(format!("scratch cannot hold {}", s.dtype));
        }
    }
    scope.body(&kernel.body, false)
}

impl Scope<'_> {
    fn define(&mut self, local: Local, dtype: DType) -> Result<(), String> {
        if self.types.insert(local, dtype).is_some() {
            return Err(format!("{local} is defined twice"));
        }
        self.visible.push(local);
        Ok(())
    }

    fn read(&self, local: Local) -> Result<DType, String> {
        if !self.visible.contains(&local) {
            return Err(format!("{local} is read where it is not defined"));
        }
        Ok(self.types[&local])
    }

    /// A size may not depend on locals.
    fn size(&self, d: &Dim) -> Result<(), String> {
        let mut bad = None;
        d.visit_syms(&mut |s| {
            if let Sym::Local(n) = s {
                bad = Some(*n);
            }
        });
        bad.map_or(Ok(()), |n| Err(format!("size {d} depends on local %{n}")))
    }

    fn index(&self, d: &Dim) -> Result<(), String> {
        let mut result = Ok(());
        d.visit_syms(&mut |s| {
            if let Sym::Local(n) = s
                && result.is_ok()
            {
                result = self.read(Local(*n)).and_then(|t| {
                    if t == DType::I64 { Ok(()) } else { Err(format!("%{n} in an index is {t}, not i64")) }
                });
            }
        });
        result
    }

    fn mem(&self, mem: Mem) -> Result<DType, String> {
        let found = match mem {
            Mem::Param(i) => self.kernel.params.get(i as usize).map(|p| p.dtype),
            Mem::Scratch(i) => self.kernel.scratch.get(i as usize).map(|s| s.dtype),
        };
        found.ok_or_else(|| format!("{mem} does not exist"))
    }

    fn body(&mut self, body: &[Stmt], in_lanes: bool) -> Result<(), String> {
        body.iter().try_for_each(|s| self.stmt(s, in_lanes))
    }

    fn stmt(&mut self, s: &Stmt, in_lanes: bool) -> Result<(), String> {
        match s {
            Stmt::Let { local, dtype, expr } => {
                self.expr(expr, *dtype).map_err(|e| format!("{local}: {dtype} = {expr}: {e}"))?;
                self.define(*local, *dtype)
            }
            Stmt::Store { mem, index, value } => {
                self.index(index)?;
                let (stored, given) = (arithmetic_type(self.mem(*mem)?), self.read(*value)?);
                if stored != given {
                    return Err(format!("store of {given} into {mem} of {stored}"));
                }
                Ok(())
            }
            Stmt::StorePtr { table, index, mem, element } => {
                self.index(index)?;
                self.index(element)?;
                self.mem(*mem)?;
                if self.mem(*table)? != DType::U64 {
                    Err(format!("pointer table {table} is not u64"))
                } else {
                    Ok(())
                }
            }
            Stmt::For(l) => self.counted(l, in_lanes),
            Stmt::If { cond, then, otherwise } => {
                if self.read(*cond)? != DType::Bool {
                    return Err(format!("condition {cond} is not boolean"));
                }
                let mark = self.visible.len();
                self.body(then, in_lanes)?;
                self.visible.truncate(mark);
                self.body(otherwise, in_lanes)?;
                self.visible.truncate(mark);
                Ok(())
            }
            Stmt::Call { contract, args, .. } => args.iter().try_for_each(|a| {
                match a {
                    Arg::Ptr(m, d) => self.mem(*m).and_then(|_| self.index(d)),
                    Arg::Int(d) => self.index(d),
                    Arg::Local(l) => self.read(*l).map(|_| ()),
                    Arg::Null | Arg::F32(_) => Ok(()),
                }
                .map_err(|e| format!("call {contract}: {e}"))
            }),
        }
    }

    fn counted(&mut self, l: &Loop, in_lanes: bool) -> Result<(), String> {
        self.index(&l.axis.extent)?;
        if l.turns == Turns::Lanes && (in_lanes || !l.carries.is_empty()) {
            return Err("a lanes loop is innermost among lanes and carries only reductions".into());
        }
        if l.turns == Turns::Rows
            && (in_lanes || !l.carries.is_empty() || !l.reduces.is_empty() || !is_row(&l.body))
        {
            return Err("a rows loop is around lanes, carries and reduces nothing and calls nothing".into());
        }
        for c in &l.carries {
            self.read(c.init)?;
        }
        for r in &l.reduces {
            self.read(r.init)?;
        }
        let mark = self.visible.len();
        self.define(l.axis.local, DType::I64)?;
        for c in &l.carries {
            let t = self.types[&c.init];
            self.define(c.inside, t)?;
        }
        self.body(&l.body, in_lanes || l.turns == Turns::Lanes)?;
        for (inner, init) in
            l.carries.iter().map(|c| (c.next, c.init)).chain(l.reduces.iter().map(|r| (r.value, r.init)))
        {
            if self.read(inner)? != self.types[&init] {
                return Err(format!("{inner} and {init} of one loop differ in type"));
            }
        }
        self.visible.truncate(mark);
        for (result, init) in
            l.carries.iter().map(|c| (c.result, c.init)).chain(l.reduces.iter().map(|r| (r.result, r.init)))
        {
            let t = self.types[&init];
            self.define(result, t)?;
        }
        Ok(())
    }

    fn expr(&self, e: &Expr, to: DType) -> Result<(), String> {
        let expect = |ok: bool, what: &str| if ok { Ok(()) } else { Err(what.to_owned()) };
        match e {
            Expr::Float(_) => expect(to.is_float(), "float constant of an integer type"),
            Expr::Int(_) => expect(!to.is_float(), "integer constant of a float type"),
            Expr::Index(d) => self.index(d).and_then(|()| expect(to == DType::I64, "an index is i64")),
            Expr::Load(m, d) => {
                self.index(d)?;
                expect(arithmetic_type(self.mem(*m)?) == to, "type differs from the buffer's")
            }
            Expr::Op(op, args) => self.op(*op, args, to),
            Expr::Fma(a, b, c) => {
                let all = [self.read(*a)?, self.read(*b)?, self.read(*c)?];
                expect(all.iter().all(|t| *t == to && t.is_float()), "fma takes floats of one type")
            }
            Expr::Cast(x) => self.read(*x).map(|_| ()),
            Expr::RoundTo(d, x) => expect(
                self.read(*x)? == to && arithmetic_type(*d) == to,
                "rounding changes the arithmetic type",
            ),
            Expr::Select(c, a, b) => {
                let types = (self.read(*c)?, self.read(*a)?, self.read(*b)?);
                expect(types == (DType::Bool, to, to), "select takes bool, T, T")
            }
            Expr::Bitcast(x) => expect(self.read(*x)?.bits() == to.bits(), "bitcast changes the width"),
        }
    }

    fn op(&self, op: ScalarOp, args: &[Local], to: DType) -> Result<(), String> {
        if args.len() != op.n_operands() {
            return Err(format!("{} operands", args.len()));
        }
        let t = self.read(args[0])?;
        for a in args {
            if self.read(*a)? != t {
                return Err("operands differ in type".into());
            }
        }
        let result = if op.is_predicate() { DType::Bool } else { t };
        if result == to { Ok(()) } else { Err(format!("gives {result}")) }
    }
}

/// A body that may be a turn of a rows loop.
fn is_row(body: &[Stmt]) -> bool {
    body.iter().all(|s| match s {
        Stmt::For(l) => l.turns != Turns::Rows && is_row(&l.body),
        Stmt::If { then, otherwise, .. } => is_row(then) && is_row(otherwise),
        Stmt::Call { .. } => false,
        Stmt::Let { .. } | Stmt::Store { .. } | Stmt::StorePtr { .. } => true,
    })
}
