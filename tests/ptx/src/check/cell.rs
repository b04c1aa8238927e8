//! A granule of memory: which threads of a block touched it last, and whether the next access races.
//!
//! A granule is as wide as the narrowest access of the kernel, so that no two accesses share one without
//! sharing a byte. Readers are remembered as the lanes of the last two warps that read: enough to find some
//! pair of racing threads, not all of them.

use super::clocks::Clocks;
use super::fault::Access;

const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Readers {
    warp: u32,
    lanes: u32,
    stamp: u32,
}

/// Who touched a granule.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    writer: u32,
    stamp: u32,
    atomic: bool,
    readers: [Readers; 2],
}

/// A granule that nobody touched.
pub(crate) const FRESH: Cell =
    Cell { writer: NOBODY, stamp: 0, atomic: false, readers: [Readers { warp: 0, lanes: 0, stamp: 0 }; 2] };

/// An earlier access that the present one races with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) earlier: Access,
    pub(crate) thread: u32,
}

impl Cell {
    /// Nobody has written it.
    pub(crate) fn is_blank(&self) -> bool {
        self.writer == NOBODY
    }

    /// Who wrote it last, and when.
    pub(crate) fn last_write(&self) -> Option<(u32, u32)> {
        (!self.is_blank()).then_some((self.writer, self.stamp))
    }

    fn last(&self) -> Conflict {
        let earlier = if self.atomic { Access::Atomic } else { Access::Write };
        Conflict { earlier, thread: self.writer }
    }

    fn unordered_write(&self, clocks: &Clocks, thread: u32, access: Access) -> bool {
        let together = access == Access::Atomic && self.atomic;
        self.writer != NOBODY && !together && !clocks.ordered(self.writer, self.stamp, thread)
    }

    /// A read, or the part of an atomic operation that reads.
    #[inline]
    pub(crate) fn check_read(&self, clocks: &Clocks, thread: u32, access: Access) -> Result<(), Conflict> {
        if self.unordered_write(clocks, thread, access) { Err(self.last()) } else { Ok(()) }
    }

    /// A write; `same` where it leaves what is there as it is.
    pub(crate) fn check_write(
        &self,
        clocks: &Clocks,
        thread: u32,
        access: Access,
        same: impl FnOnce() -> bool,
    ) -> Result<(), Conflict> {
        if self.unordered_write(clocks, thread, access) {
            // Lanes of one warp that store the same value at the same place agree on the outcome.
            let agree = self.writer / 32 == thread / 32 && self.stamp == clocks.now();
            if !(agree && same()) {
                return Err(self.last());
            }
        }
        for readers in self.readers {
            let mut lanes = readers.lanes;
            while lanes != 0 {
                let reader = readers.warp * 32 + lanes.trailing_zeros();
                if !clocks.ordered(reader, readers.stamp, thread) {
                    return Err(Conflict { earlier: Access::Read, thread: reader });
                }
                lanes &= lanes - 1;
            }
        }
        Ok(())
    }

    /// Records a write.
    pub(crate) fn written(&mut self, thread: u32, stamp: u32, atomic: bool) {
        (self.writer, self.stamp, self.atomic) = (thread, stamp, atomic);
        self.readers = FRESH.readers;
    }

    /// Records a read.
    #[inline]
    pub(crate) fn read(&mut self, thread: u32, stamp: u32) {
        let (warp, lane) = (thread / 32, 1 << (thread % 32));
        if self.readers[0].warp != warp && self.readers[0].lanes != 0 {
            self.readers.swap(0, 1);
        }
        let mine = &mut self.readers[0];
        let same = mine.warp == warp && mine.stamp == stamp;
        let lanes = if same { mine.lanes | lane } else { lane };
        *mine = Readers { warp, lanes, stamp };
    }
}
