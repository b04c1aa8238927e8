//! Shared memory of a block: its bytes and, for each granule, who touched it last.

use super::cell::{Cell, Conflict, FRESH};
use super::clocks::Clocks;
use super::fault::{Access, FaultKind};

/// What a granule is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Plain,
    /// An asynchronous copy to it has begun and was not waited for.
    InFlight,
    /// It is part of an mbarrier.
    Object,
}

/// Shared memory with its shadow.
pub(crate) struct Shared {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    states: Vec<State>,
    shift: u32,
    /// Agents have numbers from here on.
    first_agent: u32,
}

type Checked<T> = Result<T, FaultKind>;

impl Shared {
    /// Memory of so many bytes; `granule` is a power of two.
    pub(crate) fn new(bytes: usize, granule: u32, first_agent: u32) -> Shared {
        let shift = granule.trailing_zeros();
        let n = (bytes >> shift) + 1;
        let (cells, states) = (vec![FRESH; n], vec![State::Plain; n]);
        Shared { bytes: vec![0; bytes], cells, states, shift, first_agent }
    }

    /// The granule is neither on its way nor part of an object.
    #[inline]
    fn plain(&self, i: usize) -> Checked<()> {
        match self.states[i] {
            State::Plain => Ok(()),
            State::InFlight => Err(FaultKind::InFlight { address: self.address(i) }),
            State::Object => {
                let why = "an mbarrier is accessed as if it were plain memory".to_owned();
                Err(FaultKind::Barrier { why })
            }
        }
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

    fn race(&self, access: Access, cell: usize, conflict: Conflict) -> FaultKind {
        let Conflict { earlier, thread: other } = conflict;
        FaultKind::Race { space: "shared", access, earlier, address: self.address(cell), other }
    }

    /// The bytes after a thread's read was checked and recorded.
    pub(crate) fn read(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<&[u8]> {
        for i in self.range(at, len)? {
            self.check_read(clocks, thread, i, Access::Read)?;
            self.cells[i].read(thread, clocks.now());
        }
        Ok(&self.bytes[at as usize..(at + len) as usize])
    }

    fn check_read(&self, clocks: &Clocks, thread: u32, i: usize, access: Access) -> Checked<()> {
        let address = self.address(i);
        self.plain(i)?;
        if self.cells[i].is_blank() {
            return Err(FaultKind::UninitializedMemory { space: "shared", address });
        }
        self.cells[i].check_read(clocks, thread, access).map_err(|c| self.race(access, i, c))
    }

    /// Stores a thread's bytes after the check.
    pub(crate) fn write(&mut self, clocks: &Clocks, thread: u32, at: u64, from: &[u8]) -> Checked<()> {
        for i in self.range(at, from.len() as u64)? {
            let same = || self.bytes[at as usize..][..from.len()] == *from;
            self.check_write(clocks, thread, i, Access::Write, same)?;
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
        same: impl FnOnce() -> bool,
    ) -> Checked<()> {
        self.plain(i)?;
        self.cells[i].check_write(clocks, thread, access, same).map_err(|c| self.race(access, i, c))
    }

    /// The bytes of an atomic operation, which reads and may write them.
    pub(crate) fn atomic(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<&mut [u8]> {
        for i in self.range(at, len)? {
            self.check_read(clocks, thread, i, Access::Atomic)?;
            self.check_write(clocks, thread, i, Access::Atomic, || false)?;
            self.cells[i].written(thread, clocks.now(), true);
        }
        Ok(&mut self.bytes[at as usize..(at + len) as usize])
    }

    /// Begins an asynchronous copy to these bytes on behalf of a thread.
    pub(crate) fn begin_copy(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<()> {
        for i in self.range(at, len)? {
            self.check_write(clocks, thread, i, Access::Write, || false)?;
            self.cells[i].written(thread, clocks.now(), false);
            self.states[i] = State::InFlight;
        }
        Ok(())
    }

    /// The same for a copy that sees memory by the asynchronous proxy.
    pub(crate) fn begin_bulk(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<()> {
        for i in self.range(at, len)? {
            self.check_fenced(clocks, thread, i)?;
        }
        self.begin_copy(clocks, thread, at, len)
    }

    /// What a thread wrote has passed a fence before an agent sees it that `starter` starts.
    fn check_fenced(&self, clocks: &Clocks, starter: u32, i: usize) -> Checked<()> {
        match self.cells[i].last_write() {
            Some((by, stamp)) if by < self.first_agent && !clocks.is_fenced(by, stamp, starter) => {
                Err(FaultKind::Unfenced { what: "shared memory that a thread wrote" })
            }
            _ => Ok(()),
        }
    }

    /// The bytes that an agent reads which a thread starts: what comes before the thread comes before it.
    pub(crate) fn read_by_agent(
        &mut self,
        clocks: &Clocks,
        (starter, agent): (u32, u32),
        at: u64,
        len: u64,
    ) -> Checked<&[u8]> {
        for i in self.range(at, len)? {
            self.check_read(clocks, starter, i, Access::Read)?;
            self.check_fenced(clocks, starter, i)?;
            self.cells[i].read(agent, clocks.now());
        }
        Ok(&self.bytes[at as usize..(at + len) as usize])
    }

    /// Makes an object of some bytes: plain accesses of them are errors until it ends.
    pub(crate) fn make_object(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<()> {
        for i in self.range(at, len)? {
            if self.states[i] == State::InFlight {
                return Err(FaultKind::InFlight { address: self.address(i) });
            }
            let checked = self.cells[i].check_write(clocks, thread, Access::Write, || false);
            checked.map_err(|c| self.race(Access::Write, i, c))?;
            self.cells[i].written(thread, clocks.now(), false);
            self.states[i] = State::Object;
        }
        Ok(())
    }

    /// The bytes are plain memory again.
    pub(crate) fn end_object(&mut self, clocks: &Clocks, thread: u32, at: u64, len: u64) -> Checked<()> {
        for i in self.range(at, len)? {
            self.states[i] = State::Plain;
            self.cells[i].written(thread, clocks.now(), false);
        }
        Ok(())
    }

    /// Ends an asynchronous copy: the bytes are there as if `actor` had written them now.
    pub(crate) fn end_copy(&mut self, clocks: &Clocks, actor: u32, at: u64, from: &[u8]) -> Checked<()> {
        for i in self.range(at, from.len() as u64)? {
            self.states[i] = State::Plain;
            self.cells[i].written(actor, clocks.now(), false);
        }
        self.bytes[at as usize..][..from.len()].copy_from_slice(from);
        Ok(())
    }
}
