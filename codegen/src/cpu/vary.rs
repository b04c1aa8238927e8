//! Which locals of a loop depend on its axis, and small walks over statements.

use nnc_ir::tile::{Arg, Expr, Local, Loop, Stmt};
use nnc_ir::{Dim, Sym};
use std::collections::HashSet;

/// Calls `f` for every local of an expression.
pub(super) fn locals_of(dim: &Dim, f: &mut dyn FnMut(Local)) {
    dim.visit_syms(&mut |s| {
        if let Sym::Local(n) = s {
            f(Local(*n));
        }
    });
}

/// Calls `f` for every local that an expression reads.
pub(super) fn reads_of(e: &Expr, f: &mut dyn FnMut(Local)) {
    match e {
        Expr::Float(_) | Expr::Int(_) => {}
        Expr::Index(d) | Expr::Load(_, d) => locals_of(d, f),
        Expr::Op(_, args) => args.iter().for_each(|a| f(*a)),
        Expr::Fma(a, b, c) | Expr::Select(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
        Expr::Cast(x) | Expr::RoundTo(_, x) | Expr::Bitcast(x) => f(*x),
    }
}

/// Calls `f` for every local that a statement reads, nested ones included.
pub(super) fn reads(s: &Stmt, f: &mut dyn FnMut(Local)) {
    match s {
        Stmt::Let { expr, .. } => reads_of(expr, f),
        Stmt::Store { index, value, .. } => {
            f(*value);
            locals_of(index, f);
        }
        Stmt::StorePtr { index, element, .. } => {
            locals_of(index, f);
            locals_of(element, f);
        }
        Stmt::For(l) => {
            locals_of(&l.axis.extent, f);
            l.carries.iter().flat_map(|c| [c.init, c.next]).for_each(&mut *f);
            l.reduces.iter().flat_map(|r| [r.init, r.value]).for_each(&mut *f);
            l.body.iter().for_each(|s| reads(s, f));
        }
        Stmt::If { cond, then, otherwise } => {
            f(*cond);
            then.iter().chain(otherwise).for_each(|s| reads(s, f));
        }
        Stmt::Call { args, .. } => args.iter().for_each(|a| match a {
            Arg::Ptr(_, d) | Arg::Int(d) => locals_of(d, f),
            Arg::Local(l) => f(*l),
            Arg::Null | Arg::F32(_) => {}
        }),
    }
}

/// Calls `f` for every local that a statement defines, nested ones included.
pub(super) fn defines(s: &Stmt, f: &mut dyn FnMut(Local)) {
    match s {
        Stmt::Let { local, .. } => f(*local),
        Stmt::For(l) => {
            f(l.axis.local);
            l.carries.iter().flat_map(|c| [c.inside, c.result]).for_each(&mut *f);
            l.reduces.iter().for_each(|r| f(r.result));
            l.body.iter().for_each(|s| defines(s, f));
        }
        _ => {}
    }
}

/// Whether a statement loads and whether it stores.
pub(super) fn accesses(s: &Stmt) -> (bool, bool) {
    match s {
        Stmt::Let { expr, .. } => (matches!(expr, Expr::Load(..)), false),
        Stmt::Store { .. } => (false, true),
        Stmt::For(l) => l.body.iter().map(accesses).fold((false, false), |(a, b), (c, d)| (a || c, b || d)),
        _ => (true, true),
    }
}

/// The locals of a loop's body that differ from turn to turn, its axis among them.
pub(super) fn varying(l: &Loop) -> HashSet<Local> {
    let mut set = HashSet::from([l.axis.local]);
    spread_all(&l.body, &mut set);
    set
}

/// Adds all locals that depend on those of the set.
pub(super) fn spread_all(body: &[Stmt], set: &mut HashSet<Local>) {
    loop {
        let before = set.len();
        spread(body, set);
        if set.len() == before {
            return;
        }
    }
}

fn spread(body: &[Stmt], set: &mut HashSet<Local>) {
    for s in body {
        match s {
            Stmt::Let { local, expr, .. } => {
                let mut any = false;
                reads_of(expr, &mut |l| any |= set.contains(&l));
                if any {
                    set.insert(*local);
                }
            }
            Stmt::For(l) => {
                let mut any = false;
                locals_of(&l.axis.extent, &mut |l| any |= set.contains(&l));
                if any {
                    set.insert(l.axis.local);
                }
                for c in &l.carries {
                    if any || set.contains(&c.init) || set.contains(&c.next) {
                        set.extend([c.inside, c.result]);
                    }
                }
                for r in &l.reduces {
                    if any || set.contains(&r.init) || set.contains(&r.value) {
                        set.insert(r.result);
                    }
                }
                spread(&l.body, set);
            }
            Stmt::If { then, otherwise, .. } => {
                spread(then, set);
                spread(otherwise, set);
            }
            Stmt::Store { .. } | Stmt::StorePtr { .. } | Stmt::Call { .. } => {}
        }
    }
}
