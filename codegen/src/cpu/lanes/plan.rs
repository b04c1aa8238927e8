//! Which locals of a lanes loop are vectors, and whether all of it has a vector form.

use super::super::emitter::Emitter;
use super::super::float::tile_function;
use super::super::vary::{accesses, defines, locals_of, reads, reads_of, varying};
use super::{LANES, VECTOR, neutral};
use nnc_ir::tile::{Expr, Local, Loop, Stmt, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, ScalarOp, Sym};
use std::collections::{HashMap, HashSet};

/// The roles of the locals in a lanes loop.
pub(super) struct Plan {
    /// Locals that differ between lanes and are no index expressions; the axis is none of them.
    vectors: HashSet<Local>,
    /// Expressions over axes, by local.
    indices: HashMap<Local, Dim>,
}

/// A plan being made.
struct Planner<'p, 'a, 'f> {
    e: &'p Emitter<'a, 'f>,
    /// Locals that differ between lanes.
    varying: HashSet<Local>,
    plan: Plan,
    types: HashMap<Local, DType>,
}

impl Plan {
    /// The plan of a loop, if all of its body has a vector form.
    pub(super) fn of(e: &Emitter<'_, '_>, l: &Loop) -> Option<Plan> {
        let varying = varying(l);
        let mut vectors = varying.clone();
        vectors.remove(&l.axis.local);
        let plan = Plan { vectors, indices: HashMap::new() };
        let mut planner = Planner { e, varying, plan, types: HashMap::new() };
        planner.body(&l.body)?;
        for r in &l.reduces {
            has_reduction(r.op, planner.dtype(r.value))?;
        }
        Some(planner.plan)
    }

    pub(super) fn is_varying(&self, local: Local) -> bool {
        self.vectors.contains(&local)
    }

    /// The statements that do the same in all turns and may run before the loop, since no lane reads
    /// what another one stores, and the others.
    pub(super) fn parts<'l>(&self, body: &'l [Stmt]) -> (Vec<&'l Stmt>, Vec<&'l Stmt>) {
        let mut inside = HashSet::new();
        body.iter().partition(|s| {
            let mut uniform = !accesses(s).1;
            reads(s, &mut |l| uniform &= !inside.contains(&l));
            defines(s, &mut |l| uniform &= !self.vectors.contains(&l) && !self.indices.contains_key(&l));
            if !uniform {
                defines(s, &mut |l| {
                    inside.insert(l);
                });
            }
            uniform
        })
    }

    /// The expression of a local that is an index.
    pub(super) fn index(&self, local: Local) -> Option<&Dim> {
        self.indices.get(&local)
    }

    /// An index expression with those locals replaced that are expressions themselves.
    pub(super) fn expanded(&self, dim: &Dim) -> Dim {
        dim.substitute(&|s| match s {
            Sym::Local(n) => self.indices.get(&Local(*n)).cloned(),
            Sym::Name(_) => None,
        })
    }

    /// True if the (expanded) expression mentions a local that is a vector.
    pub(super) fn mentions_varying(&self, dim: &Dim) -> bool {
        let mut found = false;
        locals_of(dim, &mut |l| found |= self.vectors.contains(&l));
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

    fn dim_varies(&self, dim: &Dim) -> bool {
        let mut found = false;
        locals_of(dim, &mut |l| found |= self.varying.contains(&l));
        found
    }

    fn body(&mut self, body: &[Stmt]) -> Option<()> {
        body.iter().try_for_each(|s| self.stmt(s))
    }

    fn stmt(&mut self, s: &Stmt) -> Option<()> {
        match s {
            Stmt::Let { local, dtype, expr } => {
                self.types.insert(*local, *dtype);
                match expr {
                    _ if !self.varying.contains(local) => Some(()),
                    Expr::Index(d) => {
                        self.plan.indices.insert(*local, self.plan.expanded(d));
                        self.plan.vectors.remove(local);
                        Some(())
                    }
                    _ => self.has_form(expr, *dtype).then_some(()),
                }
            }
            Stmt::Store { mem, index, .. } => {
                let packed = self.e.mem_dtype(*mem).is_packed();
                (self.dim_varies(index) && !packed).then_some(())
            }
            Stmt::For(l) => self.serial(l),
            Stmt::StorePtr { .. } | Stmt::If { .. } | Stmt::Call { .. } => None,
        }
    }

    fn serial(&mut self, l: &Loop) -> Option<()> {
        if l.turns == Turns::Lanes || self.dim_varies(&l.axis.extent) {
            return None;
        }
        for c in &l.carries {
            self.types.extend([c.inside, c.result].map(|local| (local, self.dtype(c.init))));
        }
        self.body(&l.body)?;
        for r in &l.reduces {
            self.types.insert(r.result, self.dtype(r.init));
            if self.varying.contains(&r.result) {
                has_reduction(r.op, self.dtype(r.init))?;
            }
        }
        Some(())
    }

    /// True if a varying expression has vector code.
    fn has_form(&self, e: &Expr, to: DType) -> bool {
        let mut reads_anything = false;
        reads_of(e, &mut |_| reads_anything = true);
        reads_anything
            && match e {
                Expr::Float(_) | Expr::Int(_) | Expr::Index(_) | Expr::Select(..) => true,
                Expr::Load(mem, _) => !self.e.mem_dtype(*mem).is_packed(),
                Expr::Op(op, args) => has_vector_form(*op, self.dtype(args[0])),
                Expr::Fma(..) => self.e.target.has_fma(),
                Expr::Cast(x) => has_vector_cast(self.dtype(*x), to),
                Expr::RoundTo(d, _) => arithmetic_type(*d) == DType::F32 || arithmetic_type(*d) == *d,
                Expr::Bitcast(x) => self.dtype(*x) != DType::Bool && to != DType::Bool,
            }
    }
}

fn has_reduction(op: ScalarOp, dtype: DType) -> Option<()> {
    neutral(op, dtype)?;
    has_vector_form(op, dtype).then_some(())
}

/// True if a function of operands of a type has vector code.
fn has_vector_form(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    match dtype {
        DType::F32 | DType::F64 => tile_function(op, dtype).is_none() && op != Mod,
        DType::Bool => matches!(op, And | Or | Xor | Not | Max | Min | Eq | Ne),
        _ => match op {
            Add | Sub | Neg | And | Or | Xor | Not | Eq | Ne | Abs | Sign => true,
            Mul => dtype.bits() >= 16,
            Lt | Le | Gt | Ge | Max | Min => dtype != DType::U64,
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
