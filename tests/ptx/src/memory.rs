//! Global memory: allocations with bounds, which bytes were written, and which threads touched them.
//!
//! An allocation's number is in the high bits of its addresses, so that an address a little or a lot outside
//! of one never falls into another. A view is a second address of some bytes of an allocation, with bounds of
//! its own: a buffer within an arena. Who touched what is kept for one launch at a time, by pages that are
//! made when they are touched.

use crate::check::fault::{Access, FaultKind};
use crate::check::global::{Pages, Who};
use std::collections::HashMap;

const SHIFT: u32 = 36;
/// Views have this bit in their addresses, below the windows of other spaces.
const VIEW: u64 = 1 << 55;

/// Global memory of a device.
#[derive(Default)]
pub struct Memory {
    allocations: Vec<Allocation>,
    views: Vec<View>,
    numbers: HashMap<View, u64>,
    /// Allocations that were touched in this launch.
    touched: Vec<usize>,
    granule: u32,
    /// Where the variables of a module lie, by the module's number.
    pub(crate) modules: HashMap<u64, Vec<u64>>,
}

#[derive(Default)]
struct Allocation {
    bytes: Vec<u8>,
    written: Vec<bool>,
    pages: Pages,
}

/// Some bytes of an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct View {
    number: usize,
    start: u64,
    len: u64,
    writable: bool,
    /// Nobody writes these bytes in the launches that get this view, so nobody can race.
    constant: bool,
}

/// How the bytes of a view are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// They are read, and nobody writes them meanwhile.
    Constant,
    /// They are read through this view, but may be written through another.
    Read,
    /// They are read and written.
    Write,
}

/// A host's access that no allocation holds, or of bytes that nobody wrote.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("host access of {bytes} bytes at {address:#x}: {why}")]
pub struct HostError {
    /// The first address.
    pub address: u64,
    /// How many bytes.
    pub bytes: usize,
    /// What is wrong.
    pub why: &'static str,
}

type Checked<T> = Result<T, FaultKind>;

impl Memory {
    /// Memory without allocations.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// The address, a multiple of 256, of so many new bytes that nobody has written.
    pub fn alloc(&mut self, bytes: usize) -> u64 {
        let (content, written) = (vec![0xcd; bytes], vec![false; bytes]);
        self.allocations.push(Allocation { bytes: content, written, pages: Pages::default() });
        (self.allocations.len() as u64) << SHIFT
    }

    /// Gives an allocation back; its addresses are never used again.
    pub fn free(&mut self, address: u64) {
        let number = ((address >> SHIFT) as usize).wrapping_sub(1);
        if let Some(allocation) = self.allocations.get_mut(number) {
            *allocation = Allocation::default();
        }
    }

    /// Another address of some bytes; with it no others can be reached. The same one for the same bytes.
    pub fn view(&mut self, address: u64, bytes: usize, usage: Use) -> Result<u64, HostError> {
        let (number, at) = self.of_host(address, bytes)?;
        let (writable, constant) = (usage == Use::Write, usage == Use::Constant);
        let view = View { number, start: at as u64, len: bytes as u64, writable, constant };
        let views = &mut self.views;
        let index = *self.numbers.entry(view).or_insert_with(|| {
            views.push(view);
            views.len() as u64 - 1
        });
        // What it is aligned to stays.
        Ok(VIEW | (index << SHIFT) | (view.start % 256))
    }

    /// Forgets what some bytes hold, as if nobody had written them.
    pub fn blank(&mut self, address: u64, bytes: usize) -> Result<(), HostError> {
        let (number, at) = self.of_host(address, bytes)?;
        self.allocations[number].written[at..at + bytes].fill(false);
        Ok(())
    }

    /// Copies bytes from the host.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostError> {
        let (number, at) = self.of_host(address, from.len())?;
        let allocation = &mut self.allocations[number];
        allocation.bytes[at..at + from.len()].copy_from_slice(from);
        allocation.written[at..at + from.len()].fill(true);
        Ok(())
    }

    /// Bytes for the host; each must have been written.
    pub fn read(&self, address: u64, len: usize) -> Result<&[u8], HostError> {
        let (number, at) = self.of_host(address, len)?;
        let allocation = &self.allocations[number];
        if allocation.written[at..at + len].contains(&false) {
            return Err(HostError { address, bytes: len, why: "some bytes were never written" });
        }
        Ok(&allocation.bytes[at..at + len])
    }

    fn of_host(&self, address: u64, bytes: usize) -> Result<(usize, usize), HostError> {
        let place = self.find(address, bytes as u64);
        let place = place.ok_or(HostError { address, bytes, why: "outside of any allocation" })?;
        Ok((place.number, place.at))
    }

    #[inline]
    fn find(&self, address: u64, len: u64) -> Option<Place> {
        let within = address & ((1 << SHIFT) - 1);
        if address & VIEW != 0 {
            let view = self.views.get(((address ^ VIEW) >> SHIFT) as usize)?;
            let offset = within.checked_sub(view.start % 256)?;
            let fits = offset.checked_add(len)? <= view.len;
            let at = (view.start + offset) as usize;
            let exists = at + len as usize <= self.allocations[view.number].bytes.len();
            let View { number, writable, constant, .. } = *view;
            return (fits && exists).then_some(Place { number, at, writable, constant });
        }
        let number = ((address >> SHIFT) as usize).checked_sub(1)?;
        let size = self.allocations.get(number)?.bytes.len() as u64;
        let place = Place { number, at: within as usize, writable: true, constant: false };
        (within.checked_add(len)? <= size).then_some(place)
    }

    fn place(&self, address: u64, len: u64) -> Checked<Place> {
        self.find(address, len).ok_or(FaultKind::OutOfBounds { space: "global", address, bytes: len })
    }

    /// Forgets who touched what: a new launch begins, of a kernel whose narrowest access is so wide.
    pub(crate) fn begin_launch(&mut self, granule: u32) {
        for number in self.touched.drain(..) {
            self.allocations[number].pages = Pages::default();
        }
        self.granule = granule;
    }

    fn pages(&mut self, number: usize) -> &mut Pages {
        let pages = &mut self.allocations[number].pages;
        if pages.is_empty() {
            self.touched.push(number);
        }
        pages
    }

    /// The bytes of a read after its check.
    #[inline]
    pub(crate) fn load(&mut self, who: &Who<'_>, address: u64, len: u64) -> Checked<&[u8]> {
        let Place { number, at, constant, .. } = self.place(address, len)?;
        let end = at + len as usize;
        self.check_written(number, at, end, address)?;
        if !constant {
            let granule = self.granule;
            self.pages(number).read(who, at..end, granule, address)?;
        }
        Ok(&self.allocations[number].bytes[at..end])
    }

    fn check_written(&self, number: usize, at: usize, end: usize, address: u64) -> Checked<()> {
        match self.allocations[number].written[at..end].iter().position(|w| !w) {
            Some(i) => Err(FaultKind::UninitializedMemory { space: "global", address: address + i as u64 }),
            None => Ok(()),
        }
    }

    /// Stores a thread's bytes after the check.
    pub(crate) fn store(&mut self, who: &Who<'_>, address: u64, from: &[u8]) -> Checked<()> {
        let Place { number, at, writable, .. } = self.place(address, from.len() as u64)?;
        if !writable {
            return Err(FaultKind::ReadOnly { access: Access::Write, address });
        }
        let end = at + from.len();
        let same = self.allocations[number].bytes[at..end] == *from;
        let granule = self.granule;
        self.pages(number).write(who, at..end, granule, (address, same))?;
        let allocation = &mut self.allocations[number];
        allocation.bytes[at..end].copy_from_slice(from);
        allocation.written[at..end].fill(true);
        Ok(())
    }

    /// The bytes of an atomic operation. Atomic operations of blocks do not race with each other, and what
    /// a block learns by one is not followed here, so neither does anything with them.
    pub(crate) fn atomic(&mut self, address: u64, len: u64) -> Checked<&mut [u8]> {
        let Place { number, at, writable, .. } = self.place(address, len)?;
        if !writable {
            return Err(FaultKind::ReadOnly { access: Access::Atomic, address });
        }
        let end = at + len as usize;
        self.check_written(number, at, end, address)?;
        Ok(&mut self.allocations[number].bytes[at..end])
    }
}

/// Bytes of an allocation, and what may be done with them.
struct Place {
    number: usize,
    at: usize,
    writable: bool,
    constant: bool,
}
