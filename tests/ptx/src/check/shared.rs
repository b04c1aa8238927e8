//! Shared memory of a block: its bytes and, for each granule, who touched it last.
//!
//! A granule is as wide as the narrowest access of the kernel, so that no two accesses share one without
//! sharing a byte. Readers are remembered as the lanes of the last two warps that read: enough to find some
//! pair of racing threads, not all of them.

use super::clocks::Clocks;
use super::fault::{Access, FaultKind};

const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Readers {
    warp: u32,
    lanes: u32,
    stamp: u32,
}

#[derive(Clone, Copy)]
struct Cell {
    writer: u32,
    stamp: u32,
    atomic: bool,
    /// An asynchronous copy to this granule has begun and was not waited for.
    in_flight: bool,
    readers: [Readers; 2],
}

const FRESH: Cell = Cell {
    writer: NOBODY,
    stamp: 0,
    atomic: false,
    in_flight: false,
    readers: [Readers { warp: 0, lanes: 0, stamp: 0 }; 2],
};

/// Shared memory with its shadow.
pub(crate) struct Shared {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    shift: u32,
}

type Checked<T> = Result<T, FaultKind>;

impl Shared {
    /// Memory of so many bytes; `granule` is a power of two.
    pub(crate) fn new(bytes: usize, granule: u32) -> Shared {
        let shift = granule.trailing_zeros();
        Shared { bytes: vec![0; bytes], cells: vec![FRESH; (bytes >> shift) + 1], shift }
    }

    fn range(&self, at: u64, len: u64) -> Checked<std::ops::Range<usize>> {
        let end = at.checked_add(len).filter(|end| *end <= self.bytes.len() as u64);
        if end.is_none() {
            return Err(FaultKind::OutOfBounds { space: "shared", address: at, bytes: len });
        }
        let last = (at + len.max(1) - 1) >> self.shift;
        Ok((at >> self.shift) as usize..last as usize + 1)
    }

    fn address(&self, cell: usize) -> u64 {
        (cell as u64) << self.shift
    }

    /// The bytes after a thread's read was checked and recorded.
    pub(crate) fn read(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<&[u8]> {
        for i in self.range(at, len)? {
            self.check_read(clocks, thread, i, Access::Read)?;
            self.cells[i].add_reader(thread, clocks.now());
        }
        Ok(&self.bytes[at as usize..(at + len) as usize])
    }

    fn check_read(&self, clocks: &Clocks, thread: u32, i: usize, access: Access) -> Checked<()> {
        let (cell, address) = (&self.cells[i], self.address(i));
        if cell.in_flight {
            return Err(FaultKind::InFlight { address });
        }
        if cell.writer == NOBODY {
            return Err(FaultKind::UninitializedMemory { space: "shared", address });
        }
        let together = access == Access::Atomic && cell.atomic;
        if !together && !clocks.ordered(cell.writer, cell.stamp, thread) {
            let earlier = if cell.atomic { Access::Atomic } else { Access::Write };
            return Err(FaultKind::SharedRace { access, earlier, address, other: cell.writer });
        }
        Ok(())
    }

    /// Stores a thread's bytes after the check.
    pub(crate) fn write(&mut self, clocks: &Clocks, thread: u32, at: u64, from: &[u8]) -> Checked<()> {
        for i in self.range(at, from.len() as u64)? {
            self.check_write(clocks, thread, i, Access::Write, Some((at, from)))?;
            self.cells[i].written(thread, clocks.now(), false);
        }
        self.bytes[at as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }

    fn check_write(
        &self,
        clocks: &Clocks,
        thread: u32,
        i: usize,
        access: Access,
        same: Option<(u64, &[u8])>,
    ) -> Checked<()> {
        let (cell, address) = (&self.cells[i], self.address(i));
        if cell.in_flight {
            return Err(FaultKind::InFlight { address });
        }
        let together = access == Access::Atomic && cell.atomic;
        let race = |earlier, other| Err(FaultKind::SharedRace { access, earlier, address, other });
        if cell.writer != NOBODY && !together && !clocks.ordered(cell.writer, cell.stamp, thread) {
            // Lanes of one warp that store the same value at the same place agree on the outcome.
            let agree = cell.writer / 32 == thread / 32 && cell.stamp == clocks.now();
            let held = &self.bytes[(at_of(same)) as usize..][..len_of(same)];
            if !(agree && same.is_some_and(|(_, from)| from == held)) {
                return race(if cell.atomic { Access::Atomic } else { Access::Write }, cell.writer);
            }
        }
        for readers in cell.readers {
            let mut lanes = readers.lanes;
            while lanes != 0 {
                let reader = readers.warp * 32 + lanes.trailing_zeros();
                if !clocks.ordered(reader, readers.stamp, thread) {
                    return race(Access::Read, reader);
                }
                lanes &= lanes - 1;
            }
        }
        Ok(())
    }

    /// The bytes of an atomic operation, which reads and may write them.
    pub(crate) fn atomic(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<&mut [u8]> {
        for i in self.range(at, len)? {
            self.check_read(clocks, thread, i, Access::Atomic)?;
            self.check_write(clocks, thread, i, Access::Atomic, None)?;
            self.cells[i].written(thread, clocks.now(), true);
        }
        Ok(&mut self.bytes[at as usize..(at + len) as usize])
    }

    /// Begins an asynchronous copy to these bytes on behalf of a thread.
    pub(crate) fn begin_copy(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<()> {
        for i in self.range(at, len)? {
            self.check_write(clocks, thread, i, Access::Write, None)?;
            self.cells[i].written(thread, clocks.now(), false);
            self.cells[i].in_flight = true;
        }
        Ok(())
    }

    /// Ends an asynchronous copy: the bytes are there as if `actor` had written them now.
    pub(crate) fn end_copy(&mut self, clocks: &Clocks, actor: u32, at: u64, from: &[u8]) -> Checked<()> {
        for i in self.range(at, from.len() as u64)? {
            self.cells[i].in_flight = false;
            self.cells[i].written(actor, clocks.now(), false);
        }
        self.bytes[at as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
}

fn at_of(same: Option<(u64, &[u8])>) -> u64 {
    same.map_or(0, |(at, _)| at)
}

fn len_of(same: Option<(u64, &[u8])>) -> usize {
    same.map_or(0, |(_, from)| from.len())
}

impl Cell {
    fn written(&mut self, thread: u32, stamp: u32, atomic: bool) {
        (self.writer, self.stamp, self.atomic) = (thread, stamp, atomic);
        self.readers = FRESH.readers;
    }

    fn add_reader(&mut self, thread: u32, stamp: u32) {
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
