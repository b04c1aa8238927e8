//! Which locals of a lanes loop vary, and whether all of it has a vector form.

use super::super::emitter::Emitter;
use super::super::float::tile_function;
use super::{LANES, VECTOR, neutral};
use nnc_ir::tile::{Expr, Local, Loop, Mem, Stmt, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, ScalarOp, Sym};
use std::collections::{HashMap, HashSet};

/// The roles of the locals in a lanes loop.
pub(super) struct Plan {
    varying: HashSet<Local>,
    /// Expressions over axes, by local.
    indices: HashMap<Local, Dim>,
}

/// A plan being made.
struct Planner<'p, 'a, 'f> {
    e: &'p Emitter<'a, 'f>,
    axis: Local,
    plan: Plan,
    types: HashMap<Local, DType>,
}

impl Plan {
    /// The plan of a loop, if all of its body has a vector form.
    pub(super) fn of(e: &Emitter<'_, '_>, l: &Loop) -> Option<Plan> {
        let plan = Plan { varying: HashSet::new(), indices: HashMap::new() };
        let mut planner = Planner { e, axis: l.axis.local, plan, types: HashMap::new() };
        planner.body(&l.body)?;
        for r in &l.reduces {
            let dtype = planner.dtype(r.value);
            planner.reduction(r.op, dtype)?;
        }
        Some(planner.plan)
    }

    pub(super) fn is_varying(&self, local: Local) -> bool {
        self.varying.contains(&local)
    }

    /// The expression of a local that is an index.
    pub(super) fn index(&self, local: Local) -> Option<&Dim> {
        self.indices.get(&local)
    }

    pub(super) fn expanded(&self, dim: &Dim) -> Dim {
        dim.substitute(&|s| match s {
            Sym::Local(n) => self.indices.get(&Local(*n)).cloned(),
            Sym::Name(_) => None,
        })
    }

    /// True if the (expanded) expression mentions a varying local.
    pub(super) fn mentions_varying(&self, dim: &Dim) -> bool {
        let mut found = false;
        dim.visit_syms(&mut |s| {
            if let Sym::Local(n) = s {
                found |= self.varying.contains(&Local(*n));
            }
        });
        found
    }

    /// The number of vectors that sixteen elements of a type take.
    pub(super) fn vectors(&self, dtype: DType) -> usize {
        LANES * dtype.size() / VECTOR
    }
}

impl Planner<'_, '_, '_> {
    fn dtype(&self, local: Local) -> DType {
        self.types.get(&local).copied().unwrap_or_else(|| self.e.dtype(local))
    }

    fn varies(&self, local: Local) -> bool {
        local == self.axis || self.plan.varying.contains(&local) || self.plan.indices.contains_key(&local)
    }

    fn dim_varies(&self, dim: &Dim) -> bool {
        let mut found = false;
        dim.visit_syms(&mut |s| {
            if let Sym::Local(n) = s {
                found |= self.varies(Local(*n));
            }
        });
        found
    }

    fn body(&mut self, body: &[Stmt]) -> Option<()> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &Stmt) -> Option<()> {
        match s {
            Stmt::Let { local, dtype, expr } => {
                self.types.insert(*local, *dtype);
                if let Expr::Index(d) = expr
                    && self.dim_varies(d)
                {
                    let d = self.plan.expanded(d);
                    self.plan.indices.insert(*local, d);
                    return Some(());
                }
                if self.expr_varies(expr) {
                    self.varying_expr(expr, *dtype)?;
                    self.plan.varying.insert(*local);
                }
                Some(())
            }
            Stmt::Store { mem, index, .. } => {
                let storage = self.e.mem_dtype(*mem);
                (self.dim_varies(index) && !storage.is_packed()).then_some(())
            }
            Stmt::For(l) => self.serial(l),
            Stmt::StorePtr { .. } | Stmt::If { .. } | Stmt::Call { .. } => None,
        }
    }

    /// Carried values are uniform if they start so and stay so.
    fn serial(&mut self, l: &Loop) -> Option<()> {
        if l.turns == Turns::Lanes || self.dim_varies(&l.axis.extent) {
            return None;
        }
        for c in &l.carries {
            self.types.insert(c.inside, self.dtype(c.init));
            self.types.insert(c.result, self.dtype(c.init));
            if self.varies(c.init) {
                self.plan.varying.insert(c.inside);
            }
        }
        loop {
            let before = (self.plan.varying.clone(), self.plan.indices.clone());
            self.body(&l.body)?;
            let late: Vec<Local> = l
                .carries
                .iter()
                .filter(|c| self.varies(c.next) && !self.plan.varying.contains(&c.inside))
                .map(|c| c.inside)
                .collect();
            if late.is_empty() {
                break;
            }
            (self.plan.varying, self.plan.indices) = before;
            self.plan.varying.extend(late);
        }
        for c in &l.carries {
            if self.plan.varying.contains(&c.inside) {
                self.plan.varying.insert(c.result);
            }
        }
        for r in &l.reduces {
            self.types.insert(r.result, self.dtype(r.init));
            if self.varies(r.init) || self.varies(r.value) {
                self.reduction(r.op, self.dtype(r.init))?;
                self.plan.varying.insert(r.result);
            }
        }
        Some(())
    }

    fn reduction(&self, op: ScalarOp, dtype: DType) -> Option<()> {
        neutral(op, dtype)?;
        has_vector_form(op, dtype).then_some(())
    }

    fn expr_varies(&self, e: &Expr) -> bool {
        match e {
            Expr::Float(_) | Expr::Int(_) => false,
            Expr::Index(d) | Expr::Load(_, d) => self.dim_varies(d),
            Expr::Op(_, args) => args.iter().any(|a| self.varies(*a)),
            Expr::Fma(a, b, c) | Expr::Select(a, b, c) => [a, b, c].into_iter().any(|l| self.varies(*l)),
            Expr::Cast(x) | Expr::RoundTo(_, x) | Expr::Bitcast(x) => self.varies(*x),
        }
    }

    /// `None` if the expression has no vector form.
    fn varying_expr(&self, e: &Expr, to: DType) -> Option<()> {
        let supported = match e {
            Expr::Float(_) | Expr::Int(_) | Expr::Index(_) => true,
            Expr::Load(mem, _) => !self.storage(*mem).is_packed(),
            Expr::Op(op, args) => has_vector_form(*op, self.dtype(args[0])),
            Expr::Fma(..) => self.e.target.has_fma(),
            Expr::Select(..) => true,
            Expr::Cast(x) => has_vector_cast(self.dtype(*x), to),
            Expr::RoundTo(d, _) => arithmetic_type(*d) == DType::F32 || arithmetic_type(*d) == *d,
            Expr::Bitcast(x) => self.dtype(*x) != DType::Bool && to != DType::Bool,
        };
        supported.then_some(())
    }

    fn storage(&self, mem: Mem) -> DType {
        self.e.mem_dtype(mem)
    }
}

/// True if a function of operands of a type has vector code.
fn has_vector_form(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    match dtype {
        DType::F32 | DType::F64 => tile_function(op).is_none() && op != Mod,
        DType::Bool => matches!(op, And | Or | Xor | Not | Max | Min | Eq | Ne),
        _ => match op {
            Add | Sub | Neg | And | Or | Xor | Not | Eq | Ne => true,
            Mul => dtype.bits() >= 16,
            Lt | Le | Gt | Ge | Max | Min => dtype != DType::U64,
            Abs | Sign => true,
            _ => false,
        },
    }
}

/// True if a conversion has vector code.
fn has_vector_cast(from: DType, to: DType) -> bool {
    let small = |d: DType| d.bits() <= 32 && !d.is_float();
    match (from, to) {
        _ if from == to => true,
        (_, DType::Bool) => true,
        (DType::F32, DType::F64) | (DType::F64, DType::F32) => true,
        (DType::F32, to) => small(to),
        (from, DType::F32) => small(from),
        (DType::F64, _) | (_, DType::F64) => false,
        _ => true,
    }
}
