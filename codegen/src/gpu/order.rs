//! Which accesses of a block's threads have to be kept apart by barriers.
//!
//! Between two barriers no thread may touch what another one writes. Only objects that the kernel
//! writes can be in conflict; the turns of one lanes loop never are, nor are two such loops in which each
//! turn touches the same one element: a thread has the same turns of both.

use nnc_ir::tile::{Arg, Expr, Kernel, Local, Mem, Stmt, Turns};
use nnc_ir::{Dim, Sym};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Objects, each with the index of the one element that a turn of a lanes loop touches, in which `LANE`
/// stands for the turn; without one where it may be others.
pub(super) type Touched = BTreeMap<Mem, Option<Dim>>;

const LANE: u32 = u32::MAX;

/// Accesses since the last barrier.
#[derive(Clone, Default)]
pub(super) struct Pending {
    written: Vec<Mem>,
    reads: Touched,
    writes: Touched,
    /// Threads may still read the shared memory in which microkernels and reductions take turns.
    pub(super) tiles: bool,
}

fn add(to: &mut Touched, mem: Mem, index: Option<Dim>) {
    let held = to.entry(mem).or_insert_with(|| index.clone());
    if *held != index {
        *held = None;
    }
}

fn add_all(to: &mut Touched, from: &Touched) {
    for (mem, index) in from {
        add(to, *mem, index.clone());
    }
}

/// Some object is in both, and not by the same element alone.
fn meet(a: &Touched, b: &Touched) -> bool {
    a.iter().any(|(mem, index)| b.get(mem).is_some_and(|other| index.is_none() || other != index))
}

impl Pending {
    /// Nothing, in a kernel.
    pub(super) fn of(kernel: &Kernel) -> Pending {
        let params = kernel.written().map(Mem::Param);
        Pending::new(params.chain((0..kernel.scratch.len()).map(|i| Mem::Scratch(i as u32))).collect())
    }

    /// Nothing, in a kernel that writes these objects.
    fn new(written: Vec<Mem>) -> Pending {
        Pending { written, ..Pending::default() }
    }

    /// True if a barrier has to come before these accesses: then nothing is pending.
    pub(super) fn conflict(&mut self, reads: &Touched, writes: &Touched) -> bool {
        let conflict = meet(reads, &self.writes) || meet(writes, &self.writes) || meet(writes, &self.reads);
        if conflict {
            self.clear();
        }
        conflict
    }

    /// Notes accesses.
    pub(super) fn note(&mut self, reads: &Touched, writes: &Touched) {
        for (mem, index) in reads.iter().filter(|(mem, _)| self.written.contains(mem)) {
            add(&mut self.reads, *mem, index.clone());
        }
        add_all(&mut self.writes, writes);
    }

    /// There was a barrier.
    pub(super) fn clear(&mut self) {
        self.reads.clear();
        self.writes.clear();
        self.tiles = false;
    }

    /// True if a barrier has to come before the same code runs again: then nothing is pending.
    pub(super) fn settle(&mut self) -> bool {
        let some = !(self.reads.is_empty() && self.writes.is_empty()) || self.tiles;
        self.clear();
        some
    }

    /// The same where another grid point comes next: points share nothing but the block's scratch.
    pub(super) fn settle_point(&mut self) -> bool {
        let mut touched = self.reads.keys().chain(self.writes.keys());
        let some = touched.any(|m| matches!(m, Mem::Scratch(_))) || self.tiles;
        self.clear();
        some
    }

    /// Adds what may be pending by another way to this place.
    pub(super) fn join(&mut self, other: &Pending) {
        add_all(&mut self.reads, &other.reads);
        add_all(&mut self.writes, &other.writes);
        self.tiles |= other.tiles;
    }
}

/// The memory objects that a statement touches.
#[derive(Default)]
pub(super) struct Accesses {
    pub(super) reads: Touched,
    pub(super) writes: Touched,
    /// The turn of the lanes loop around, and what is defined in that loop.
    lane: Option<Local>,
    inside: Vec<u32>,
}

impl Accesses {
    /// What a statement reads and writes, and all statements in it.
    pub(super) fn of(s: &Stmt) -> Accesses {
        let mut all = Accesses::default();
        if let Stmt::For(l) = s
            && l.turns == Turns::Lanes
        {
            all.lane = Some(l.axis.local);
            all.body(&l.body);
        } else {
            all.body(std::slice::from_ref(s));
        }
        all
    }

    /// An index by the turn alone, besides what has one value throughout.
    fn element(&self, index: &Dim) -> Option<Dim> {
        let lane = self.lane?;
        let varies = Cell::new(false);
        let element = index.substitute(&|s| match s {
            Sym::Local(n) if *n == lane.0 => Some(Dim::sym(Sym::Local(LANE))),
            Sym::Local(n) => {
                varies.set(varies.get() || self.inside.contains(n));
                None
            }
            Sym::Name(_) => None,
        });
        (!varies.get()).then_some(element)
    }

    fn body(&mut self, body: &[Stmt]) {
        for s in body {
            match s {
                Stmt::Let { local, expr, .. } => {
                    if let Expr::Load(mem, index) = expr {
                        let element = self.element(index);
                        add(&mut self.reads, *mem, element);
                    }
                    self.inside.push(local.0);
                }
                Stmt::Store { mem, index, .. } | Stmt::StorePtr { table: mem, index, .. } => {
                    let element = self.element(index);
                    add(&mut self.writes, *mem, element);
                }
                Stmt::For(l) => {
                    self.inside.push(l.axis.local.0);
                    self.inside.extend(l.carries.iter().map(|c| c.inside.0));
                    self.body(&l.body);
                }
                Stmt::If { then, otherwise, .. } => {
                    self.body(then);
                    self.body(otherwise);
                }
                Stmt::Call { args, .. } => {
                    let mems = pointed(args);
                    // The first argument of a microkernel is what it writes.
                    if let Some(Arg::Ptr(mem, _)) = args.first() {
                        add(&mut self.writes, *mem, None);
                    }
                    add_all(&mut self.reads, &mems);
                }
            }
        }
    }
}

/// The objects that arguments point to.
pub(super) fn pointed(args: &[Arg]) -> Touched {
    let mem = |a: &Arg| match a {
        Arg::Ptr(mem, _) => Some((*mem, None)),
        _ => None,
    };
    args.iter().filter_map(mem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Pending {
        fn access(&mut self, reads: &Touched, writes: &Touched) -> bool {
            let conflict = self.conflict(reads, writes);
            self.note(reads, writes);
            conflict
        }
    }

    fn some(mem: Mem) -> Touched {
        Touched::from([(mem, None)])
    }

    #[test]
    fn barriers_stand_between_conflicts_alone() {
        let (a, b) = (some(Mem::Scratch(0)), some(Mem::Param(0)));
        let none = Touched::new();
        let mut p = Pending::new(vec![Mem::Scratch(0)]);
        assert!(!p.access(&b, &a), "the first write");
        assert!(p.access(&a, &none), "read after write");
        assert!(!p.access(&a, &none), "read after read");
        assert!(p.access(&none, &a), "write after read");
        assert!(p.access(&none, &a), "write after write");
        assert!(p.settle());
        assert!(!p.access(&b, &none), "what is never written");
        assert!(!p.settle());
        assert!(!p.access(&none, &b), "a buffer");
        assert!(!p.settle_point(), "points write buffers apart");
        p.tiles = true;
        assert!(p.settle_point() && !p.settle_point(), "tiles are read until there is a barrier");
    }

    #[test]
    fn a_thread_s_own_elements_need_no_barrier() {
        let own = |offset: i64| {
            let index = Dim::sym(Sym::Local(LANE)) + Dim::named("row") + Dim::int(offset);
            Touched::from([(Mem::Scratch(0), Some(index))])
        };
        let none = Touched::new();
        let mut p = Pending::new(vec![Mem::Scratch(0)]);
        assert!(!p.access(&none, &own(0)));
        assert!(!p.access(&own(0), &own(0)), "the same element again");
        assert!(p.access(&own(1), &none), "a neighbor's");
        assert!(!p.access(&own(0), &none), "both are read only");
        assert!(p.access(&none, &own(0)), "two were read");
        let mut other = p.clone();
        assert!(!other.access(&own(0), &own(0)));
        other.access(&none, &some(Mem::Scratch(0)));
        p.join(&other);
        assert!(p.access(&own(0), &none), "another way touched others");
    }
}
