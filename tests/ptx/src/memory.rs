//! Global memory: allocations with bounds, which bytes were written, and which block touched them.
//!
//! An allocation's number is in the high bits of its addresses, so that an address a little or a lot outside
//! of one never falls into another. Who touched a byte is kept for one launch at a time, by pages that are
//! made when they are touched.

use crate::check::fault::FaultKind;
use std::collections::HashMap;

const SHIFT: u32 = 40;
const PAGE: usize = 1024;

/// Global memory of a device.
#[derive(Default)]
pub struct Memory {
    allocations: Vec<Allocation>,
    touched: Vec<(usize, usize)>,
    /// Where the variables of a module lie, by the module's number.
    pub(crate) modules: HashMap<u64, Vec<u64>>,
}

#[derive(Default)]
struct Allocation {
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// Per page and byte: one more than the block that wrote it in this launch.
    writers: Vec<Option<Box<[u32; PAGE]>>>,
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
        let writers = (0..bytes.div_ceil(PAGE)).map(|_| None).collect();
        self.allocations.push(Allocation { bytes: vec![0xcd; bytes], written: vec![false; bytes], writers });
        (self.allocations.len() as u64) << SHIFT
    }

    /// Gives an allocation back; its addresses are never used again.
    pub fn free(&mut self, address: u64) {
        let number = ((address >> SHIFT) as usize).wrapping_sub(1);
        if let Some(allocation) = self.allocations.get_mut(number) {
            *allocation = Allocation::default();
            self.touched.retain(|(n, _)| *n != number);
        }
    }

    /// Copies bytes from the host.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), HostError> {
        let (number, at) = self.find(address, from.len() as u64).ok_or(HostError {
            address,
            bytes: from.len(),
            why: "outside of any allocation",
        })?;
        let allocation = &mut self.allocations[number];
        allocation.bytes[at..at + from.len()].copy_from_slice(from);
        allocation.written[at..at + from.len()].fill(true);
        Ok(())
    }

    /// Bytes for the host; each must have been written.
    pub fn read(&self, address: u64, len: usize) -> Result<&[u8], HostError> {
        let error = |why| HostError { address, bytes: len, why };
        let (number, at) =
            self.find(address, len as u64).ok_or_else(|| error("outside of any allocation"))?;
        let allocation = &self.allocations[number];
        if allocation.written[at..at + len].contains(&false) {
            return Err(error("some bytes were never written"));
        }
        Ok(&allocation.bytes[at..at + len])
    }

    fn find(&self, address: u64, len: u64) -> Option<(usize, usize)> {
        let number = ((address >> SHIFT) as usize).checked_sub(1)?;
        let at = address & ((1 << SHIFT) - 1);
        let size = self.allocations.get(number)?.bytes.len() as u64;
        (at.checked_add(len)? <= size).then_some((number, at as usize))
    }

    fn place(&self, address: u64, len: u64) -> Checked<(usize, usize)> {
        self.find(address, len).ok_or(FaultKind::OutOfBounds { space: "global", address, bytes: len })
    }

    /// Forgets who touched what: a new launch begins.
    pub(crate) fn begin_launch(&mut self) {
        for (number, page) in self.touched.drain(..) {
            self.allocations[number].writers[page] = None;
        }
    }

    /// The bytes of a read after its check.
    #[inline]
    pub(crate) fn load(&self, address: u64, len: u64) -> Checked<&[u8]> {
        let (number, at) = self.place(address, len)?;
        self.check_written(number, at, len, address)?;
        Ok(&self.allocations[number].bytes[at..at + len as usize])
    }

    fn check_written(&self, number: usize, at: usize, len: u64, address: u64) -> Checked<()> {
        match self.allocations[number].written[at..at + len as usize].iter().position(|w| !w) {
            Some(i) => Err(FaultKind::UninitializedMemory { space: "global", address: address + i as u64 }),
            None => Ok(()),
        }
    }

    /// Stores a block's bytes after the check.
    pub(crate) fn store(&mut self, block: u32, address: u64, from: &[u8]) -> Checked<()> {
        let (number, at) = self.place(address, from.len() as u64)?;
        self.record(number, at, from.len(), block, address)?;
        let allocation = &mut self.allocations[number];
        allocation.bytes[at..at + from.len()].copy_from_slice(from);
        allocation.written[at..at + from.len()].fill(true);
        Ok(())
    }

    /// The bytes of an atomic operation. Atomic operations of blocks do not race with each other, and what
    /// a block learns by one is not followed here, so neither does anything with them.
    pub(crate) fn atomic(&mut self, address: u64, len: u64) -> Checked<&mut [u8]> {
        let (number, at) = self.place(address, len)?;
        self.check_written(number, at, len, address)?;
        Ok(&mut self.allocations[number].bytes[at..at + len as usize])
    }

    /// Records a write; two blocks may not write the same byte in one launch.
    fn record(&mut self, number: usize, at: usize, len: usize, block: u32, address: u64) -> Checked<()> {
        for i in at..at + len {
            let (page, slot) = (i / PAGE, i % PAGE);
            let writers = self.allocations[number].writers[page].get_or_insert_with(|| {
                self.touched.push((number, page));
                Box::new([0; PAGE])
            });
            let writer = writers[slot];
            if writer != 0 && writer != block + 1 {
                let address = address + (i - at) as u64;
                return Err(FaultKind::GlobalRace { address, other: writer - 1 });
            }
            writers[slot] = block + 1;
        }
        Ok(())
    }
}
