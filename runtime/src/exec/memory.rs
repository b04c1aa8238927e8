//! A session's memory: arena, late blocks, slots, scratch. It only grows, so that a run with shapes
//! that were seen before allocates nothing, and never by much more than the largest run needs.

use super::bind::Binding;
use super::call::Address;
use super::device::DeviceMemory;
use super::limits::Limits;
use super::program::Program;
use super::{RunError, TensorView};
use crate::artifact::Artifact;
use crate::os::Block;
use nnc_tensor::Value;

/// A buffer whose size is found during the run.
pub(crate) struct LateBlock {
    pub(crate) block: Block,
    /// Bytes in use.
    pub(crate) len: usize,
    /// Sizes in use.
    pub(crate) shape: Vec<usize>,
    /// The buffer has a value in this run.
    pub(crate) known: bool,
}

/// An aligned copy of an input.
pub(crate) struct Staged {
    block: Block,
    /// Bytes of the copy; none where the caller's are good.
    len: Option<usize>,
}

impl Staged {
    /// Room for a copy of `len` bytes, used from now on.
    pub(crate) fn room(&mut self, len: usize) -> Result<&mut [u8], RunError> {
        if !self.block.make_room(len) {
            return Err(RunError::NoMemory(len));
        }
        self.len = Some(len);
        Ok(&mut self.block[..len])
    }

    /// The copy, or the caller's bytes.
    pub(crate) fn of<'a>(&'a self, data: &'a [u8]) -> &'a [u8] {
        self.len.map_or(data, |len| &self.block[..len])
    }
}

/// All memory of a session.
pub(crate) struct Memory {
    pub(crate) values: Vec<i64>,
    pub(crate) dims: Vec<i64>,
    pub(crate) arena: Block,
    pub(crate) late: Vec<LateBlock>,
    pub(crate) slots: Vec<Option<Value>>,
    pub(crate) scratch: Block,
    /// Inputs that the caller gave at addresses which their elements do not allow.
    pub(crate) staged: Vec<Staged>,
    /// By buffer; those of late buffers are made just before a launch.
    pub(crate) addresses: Vec<Address>,
    /// Arguments of the launch under way.
    pub(crate) launch_buffers: Vec<Address>,
    pub(crate) launch_dims: Vec<i64>,
    /// Bytes of one turn of a loop on their way to the collected output.
    pub(crate) moving: Vec<u8>,
    /// What a device holds of the buffers.
    pub(crate) device: DeviceMemory,
    /// A shape on its way from one buffer to another.
    pub(crate) sizes: Vec<usize>,
}

impl Memory {
    pub(crate) fn new(program: &Program) -> Memory {
        let late = |_| LateBlock { block: Block::EMPTY, len: 0, shape: Vec::new(), known: false };
        Memory {
            values: Vec::new(),
            dims: Vec::new(),
            arena: Block::EMPTY,
            late: (0..program.n_late).map(late).collect(),
            slots: vec![None; program.n_slots],
            scratch: Block::EMPTY,
            staged: program.inputs.iter().map(|_| Staged { block: Block::EMPTY, len: None }).collect(),
            addresses: vec![Address::NONE; program.buffers.len()],
            launch_buffers: Vec::new(),
            launch_dims: Vec::new(),
            moving: Vec::new(),
            device: DeviceMemory::default(),
            sizes: Vec::new(),
        }
    }

    /// Makes the memory ready for a run with a binding.
    pub(crate) fn begin(
        &mut self,
        program: &Program,
        binding: &Binding,
        limits: &Limits,
    ) -> Result<(), RunError> {
        self.values.clone_from(&binding.values);
        self.dims.clone_from(&binding.dims);
        for late in &mut self.late {
            late.known = false;
        }
        self.slots.fill(None);
        for (slot, strings) in &program.strings {
            self.slots[*slot] = Some(Value::Tensor(strings.clone()));
        }
        let more = binding.layout.total.saturating_sub(self.arena.len());
        if more > 0 {
            limits.allow(self.held(), more)?;
            let total = binding.layout.total;
            if !self.arena.make_room(total) {
                return Err(RunError::NoMemory(total));
            }
        }
        limits.allow(self.held(), 0)
    }

    /// Copies inputs whose addresses their elements do not allow.
    pub(crate) fn stage(&mut self, inputs: &[TensorView<'_>]) -> Result<(), RunError> {
        for (staged, input) in self.staged.iter_mut().zip(inputs) {
            let align = input.dtype.size().max(1).next_power_of_two();
            staged.len = None;
            if input.data.as_ptr().align_offset(align) != 0 {
                staged.room(input.data.len())?.copy_from_slice(input.data);
            }
        }
        Ok(())
    }

    /// Bytes of the arena where the artifact's launches find it.
    pub(crate) fn arena_len(&self, artifact: &Artifact) -> usize {
        if artifact.device().is_some() { self.device.arena_len() } else { self.arena.len() }
    }

    /// Bytes of all blocks.
    pub(crate) fn held(&self) -> u64 {
        let late = self.late.iter().map(|l| &l.block);
        let staged = self.staged.iter().map(|s| &s.block);
        late.chain(staged).chain([&self.arena, &self.scratch]).map(|b| b.len() as u64).sum()
    }

    /// Gives a late block room for `len` new bytes.
    pub(crate) fn size_late(&mut self, at: usize, len: usize, limits: &Limits) -> Result<(), RunError> {
        let have = self.late[at].block.len();
        if len > have {
            limits.allow(self.held(), len - have)?;
            if !self.late[at].block.make_room(len) {
                return Err(RunError::NoMemory(len));
            }
        }
        self.late[at].len = len;
        Ok(())
    }

    /// Makes room for `len` bytes in a late block and keeps what it holds.
    pub(crate) fn grow_late(&mut self, at: usize, len: usize, limits: &Limits) -> Result<(), RunError> {
        let have = self.late[at].block.len();
        if len > have {
            limits.allow(self.held(), len - have)?;
            let kept = self.late[at].len;
            if !self.late[at].block.grow(len, kept) {
                return Err(RunError::NoMemory(len));
            }
        }
        self.late[at].len = len;
        Ok(())
    }

    /// Makes room for `len` bytes of scratch.
    pub(crate) fn grow_scratch(&mut self, len: usize, limits: &Limits) -> Result<(), RunError> {
        if len > self.scratch.len() {
            limits.allow(self.held(), len - self.scratch.len())?;
            if !self.scratch.make_room(len) {
                return Err(RunError::NoMemory(len));
            }
        }
        Ok(())
    }
}

impl Limits {
    /// Checks the memory limit for `more` bytes beside those held.
    pub(crate) fn allow(&self, held: u64, more: usize) -> Result<(), RunError> {
        let needed = held.saturating_add(more as u64);
        if needed > self.max_memory {
            return Err(RunError::Limit { needed, allowed: self.max_memory });
        }
        Ok(())
    }
}
