//! Lanes loops with functions that only microkernels compute: strips of 256 lanes, in phases.
//!
//! The loop becomes a serial loop over strips. In it the body is cut into *phases*, each a lanes loop
//! over the strip that needs no such function; between them the functions run over whole strips.
//! What one phase defines and another reads lies in strip buffers, which are scratch objects. Serial
//! loops that contain such functions move outside the phases; their carried values live in strips.
//! This is a rewriting of tile programs: the result is a kernel like any other.

mod build;
mod cut;
mod direct;
mod rename;

use super::float::tile_function;
use super::vary::{accesses, defines, spread_all, varying};
use nnc_ir::tile::{Expr, Kernel, Local, Loop, Mem, Scratch, Stmt, Turns};
use nnc_ir::{DType, Dim, ScalarOp};
use std::collections::{HashMap, HashSet};

/// Lanes of a strip: 1 KiB of f32, so that a few strips stay in the first-level cache.
const STRIP: i64 = 256;
/// Loops of fewer turns stay as they are.
const FEWEST: i64 = 4;

/// The kernel with its loops rewritten.
pub(super) fn mine(kernel: &Kernel) -> Kernel {
    let mut miner = Miner { types: HashMap::new(), kernel: kernel.clone(), free: Vec::new() };
    for axis in &kernel.grid {
        miner.types.insert(axis.local, DType::I64);
    }
    miner.note_types(&kernel.body);
    miner.kernel.body = miner.body(&kernel.body);
    miner.kernel
}

struct Miner {
    types: HashMap<Local, DType>,
    /// The kernel to be; its body is replaced at the end.
    kernel: Kernel,
    /// Strip buffers that no open loop uses.
    free: Vec<(DType, Mem)>,
}

/// A lanes loop being rewritten.
struct Mined<'m> {
    miner: &'m mut Miner,
    /// Locals that differ between lanes.
    varying: HashSet<Local>,
    /// Locals that are index expressions, and those in terms of axes.
    indices: HashMap<Local, Dim>,
    /// Where the values of locals lie that several phases use.
    strips: HashMap<Local, Mem>,
    used: Vec<(DType, Mem)>,
    /// Where operands and results of microkernels lie in the kernel's own memory, for this strip.
    direct: HashMap<Local, (Mem, Dim)>,
    /// The axis of the lanes loop and the number of the strip.
    axis: Local,
    strip: Local,
    /// Lanes of this strip.
    len: Dim,
    /// Reductions inside the strip loop: the value so far, by number.
    sums: Vec<Local>,
}

impl Miner {
    fn note_types(&mut self, body: &[Stmt]) {
        for s in body {
            match s {
                Stmt::Let { local, dtype, .. } => drop(self.types.insert(*local, *dtype)),
                Stmt::For(l) => {
                    self.types.insert(l.axis.local, DType::I64);
                    for c in &l.carries {
                        let dtype = self.types[&c.init];
                        self.types.extend([(c.inside, dtype), (c.result, dtype)]);
                    }
                    self.note_types(&l.body);
                    for r in &l.reduces {
                        self.types.insert(r.result, self.types[&r.init]);
                    }
                }
                Stmt::If { then, otherwise, .. } => {
                    self.note_types(then);
                    self.note_types(otherwise);
                }
                Stmt::Store { .. } | Stmt::StorePtr { .. } | Stmt::Call { .. } => {}
            }
        }
    }

    fn local(&mut self, dtype: DType) -> Local {
        let local = Local(self.kernel.n_locals);
        self.kernel.n_locals += 1;
        self.types.insert(local, dtype);
        local
    }

    fn storage(&self, mem: Mem) -> DType {
        match mem {
            Mem::Param(i) => self.kernel.params[i as usize].dtype,
            Mem::Scratch(i) => self.kernel.scratch[i as usize].dtype,
        }
    }

    fn buffer(&mut self, dtype: DType) -> Mem {
        if let Some(at) = self.free.iter().position(|(d, _)| *d == dtype) {
            return self.free.swap_remove(at).1;
        }
        self.kernel.scratch.push(Scratch { dtype, elems: Dim::int(STRIP) });
        Mem::Scratch(self.kernel.scratch.len() as u32 - 1)
    }

    fn body(&mut self, body: &[Stmt]) -> Vec<Stmt> {
        body.iter().map(|s| self.stmt(s)).collect()
    }

    fn stmt(&mut self, s: &Stmt) -> Stmt {
        match s {
            Stmt::For(l) if l.turns == Turns::Lanes => match self.lanes(l) {
                Some(mined) => mined,
                None => s.clone(),
            },
            Stmt::For(l) => Stmt::For(Loop { body: self.body(&l.body), ..l.clone() }),
            Stmt::If { cond, then, otherwise } => {
                Stmt::If { cond: *cond, then: self.body(then), otherwise: self.body(otherwise) }
            }
            other => other.clone(),
        }
    }

    /// Rewrites a lanes loop if it has a function for microkernels and nothing in the way.
    fn lanes(&mut self, l: &Loop) -> Option<Stmt> {
        let few = l.axis.extent.as_const().is_some_and(|n| n < FEWEST);
        let l = Loop { body: self.without_modulo(&l.body), ..l.clone() };
        let varying = phase_varying(&l);
        if few || !has_tile(&l.body, &varying) || !is_plain(&l.body, &varying) {
            return None;
        }
        let strip = self.local(DType::I64);
        let left = l.axis.extent.clone() - strip.dim() * Dim::int(STRIP);
        let len = match l.axis.extent.as_const() {
            Some(n) if n <= STRIP => Dim::int(n),
            Some(n) if n % STRIP == 0 => Dim::int(STRIP),
            _ => Dim::int(STRIP).min_with(&left),
        };
        let sums = l.reduces.iter().map(|r| self.types[&r.init]).collect::<Vec<_>>();
        let sums = sums.into_iter().map(|d| self.local(d)).collect();
        let mut mined = Mined {
            varying,
            indices: HashMap::new(),
            strips: HashMap::new(),
            used: Vec::new(),
            direct: HashMap::new(),
            axis: l.axis.local,
            strip,
            len,
            sums,
            miner: self,
        };
        let outer = mined.rewrite(&l);
        let used = mined.used;
        self.free.extend(used);
        Some(Stmt::For(outer))
    }

    /// Floats' `mod` in terms of the remainder, for which there is a microkernel.
    fn without_modulo(&mut self, body: &[Stmt]) -> Vec<Stmt> {
        let mut out = Vec::new();
        for s in body {
            match s {
                Stmt::Let { local, dtype, expr: Expr::Op(ScalarOp::Mod, args) } if dtype.is_float() => {
                    self.modulo(*local, *dtype, args[0], args[1], &mut out);
                }
                Stmt::For(l) => out.push(Stmt::For(Loop { body: self.without_modulo(&l.body), ..l.clone() })),
                other => out.push(other.clone()),
            }
        }
        out
    }

    fn modulo(&mut self, result: Local, dtype: DType, x: Local, y: Local, out: &mut Vec<Stmt>) {
        let mut define = |dtype: DType, expr: Expr| {
            let local = self.local(dtype);
            out.push(Stmt::Let { local, dtype, expr });
            local
        };
        let remainder = define(dtype, Expr::Op(ScalarOp::Rem, vec![x, y]));
        let zero = define(dtype, Expr::Float(0.0));
        let some = define(DType::Bool, Expr::Op(ScalarOp::Ne, vec![remainder, zero]));
        let below = define(DType::Bool, Expr::Op(ScalarOp::Lt, vec![remainder, zero]));
        let divisor_below = define(DType::Bool, Expr::Op(ScalarOp::Lt, vec![y, zero]));
        let differ = define(DType::Bool, Expr::Op(ScalarOp::Xor, vec![below, divisor_below]));
        let fix = define(DType::Bool, Expr::Op(ScalarOp::And, vec![some, differ]));
        let fixed = define(dtype, Expr::Op(ScalarOp::Add, vec![remainder, y]));
        out.push(Stmt::Let { local: result, dtype, expr: Expr::Select(fix, fixed, remainder) });
    }
}

/// The locals that differ between lanes, and those that loops inside phases define along with them:
/// such a loop runs in each lane, and so do all its results.
fn phase_varying(l: &Loop) -> HashSet<Local> {
    let mut set = varying(l);
    loop {
        let before = set.len();
        add_results(&l.body, &mut set);
        spread_all(&l.body, &mut set);
        if set.len() == before {
            return set;
        }
    }
}

fn add_results(body: &[Stmt], set: &mut HashSet<Local>) {
    for s in body {
        let Stmt::For(l) = s else { continue };
        if has_tile(&l.body, set) {
            add_results(&l.body, set);
            continue;
        }
        let mut differs = accesses(s).1;
        defines(s, &mut |local| differs |= set.contains(&local));
        if differs {
            set.extend(l.carries.iter().flat_map(|c| [c.inside, c.result]));
            set.extend(l.reduces.iter().map(|r| r.result));
        }
    }
}

/// The microkernel of a statement that needs one for its lanes.
fn tile_of(s: &Stmt, varying: &HashSet<Local>) -> Option<&'static str> {
    match s {
        Stmt::Let { local, dtype, expr: Expr::Op(op, _) } if varying.contains(local) => {
            tile_function(*op, *dtype)
        }
        _ => None,
    }
}

fn has_tile(body: &[Stmt], varying: &HashSet<Local>) -> bool {
    body.iter().any(|s| match s {
        Stmt::For(l) => has_tile(&l.body, varying),
        s => tile_of(s, varying).is_some(),
    })
}

/// Nothing but definitions, stores that differ between lanes, and serial loops of the same turns in
/// all lanes.
fn is_plain(body: &[Stmt], varying: &HashSet<Local>) -> bool {
    let uniform = |d: &Dim| {
        let mut found = false;
        super::vary::locals_of(d, &mut |l| found |= varying.contains(&l));
        !found
    };
    body.iter().all(|s| match s {
        Stmt::Let { .. } => true,
        Stmt::Store { index, .. } => !uniform(index),
        Stmt::For(l) => l.turns == Turns::Serial && uniform(&l.axis.extent) && is_plain(&l.body, varying),
        Stmt::StorePtr { .. } | Stmt::If { .. } | Stmt::Call { .. } => false,
    })
}
