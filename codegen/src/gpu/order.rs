//! Which accesses of a block's threads have to be kept apart by barriers.
//!
//! Between two barriers no thread may touch what another one writes. Only objects that the kernel
//! writes can be in conflict; the turns of one lanes loop never are.

use nnc_ir::tile::Mem;
use std::collections::BTreeSet;

/// Accesses since the last barrier.
#[derive(Clone, Default)]
pub(super) struct Pending {
    written: BTreeSet<Mem>,
    reads: BTreeSet<Mem>,
    writes: BTreeSet<Mem>,
}

impl Pending {
    /// Nothing, in a kernel that writes these objects.
    pub(super) fn new(written: BTreeSet<Mem>) -> Pending {
        Pending { written, ..Pending::default() }
    }

    /// Notes accesses; true if a barrier has to come before them.
    pub(super) fn access(&mut self, reads: &BTreeSet<Mem>, writes: &BTreeSet<Mem>) -> bool {
        let mut touched = reads.union(writes);
        let conflict =
            touched.any(|m| self.writes.contains(m)) || writes.iter().any(|m| self.reads.contains(m));
        if conflict {
            self.clear();
        }
        self.reads.extend(reads.intersection(&self.written).copied().collect::<Vec<_>>());
        self.writes.extend(writes);
        conflict
    }

    /// There was a barrier.
    pub(super) fn clear(&mut self) {
        self.reads.clear();
        self.writes.clear();
    }

    /// True if a barrier has to come before the same code runs again: then nothing is pending.
    pub(super) fn settle(&mut self) -> bool {
        let some = !(self.reads.is_empty() && self.writes.is_empty());
        self.clear();
        some
    }

    /// The same where another grid point comes next: points share nothing but the block's scratch.
    pub(super) fn settle_point(&mut self) -> bool {
        let some = self.reads.iter().chain(&self.writes).any(|m| matches!(m, Mem::Scratch(_)));
        self.clear();
        some
    }

    /// Adds what may be pending by another way to this place.
    pub(super) fn join(&mut self, other: &Pending) {
        self.reads.extend(&other.reads);
        self.writes.extend(&other.writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barriers_stand_between_conflicts_alone() {
        let (a, b) = (BTreeSet::from([Mem::Scratch(0)]), BTreeSet::from([Mem::Param(0)]));
        let none = BTreeSet::new();
        let mut p = Pending::new(a.clone());
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
    }
}
