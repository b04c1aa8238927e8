//! Kernels on a device: its copies of the buffers, and which copy is the latest.
//!
//! Every buffer has its place on the host whether a device is there or not; on the device it has one of
//! the same size. A launch brings to the device what is newer on the host; whatever reads a buffer on
//! the host (routines, copies, conditions, outputs) fetches it first.

use super::RunError;
use super::memory::Memory;
use super::program::{Home, LaunchInfo, Program};
use super::run::Run;
use crate::artifact::{DeviceCode, DeviceEntry};
use crate::device::{Device, DeviceBlock, DeviceBuffer, DeviceError, DeviceLaunch};
use nnc_tensor::plan::BufferId;
use std::sync::Arc;

/// The code and the weights of an artifact on a device.
pub(crate) struct DeviceProgram {
    device: Arc<dyn Device>,
    module: u64,
    entries: Vec<DeviceEntry>,
    weights: DeviceBlock,
}

impl Drop for DeviceProgram {
    fn drop(&mut self) {
        self.device.unload(self.module);
    }
}

impl DeviceProgram {
    /// Loads the newest text that the device takes, and the weights.
    pub(crate) fn load(
        device: Arc<dyn Device>,
        code: DeviceCode,
        weights: &[u8],
    ) -> Result<DeviceProgram, DeviceError> {
        let has = device.capability();
        let fits = |t: &&crate::artifact::DeviceText| {
            let needs = (t.major, t.minor);
            if t.exact { needs == has } else { needs <= has }
        };
        let text =
            code.texts.iter().filter(fits).max_by_key(|t| (t.major, t.minor)).ok_or_else(|| {
                DeviceError::Capability { device: device.name(), major: has.0, minor: has.1 }
            })?;
        let names: Vec<&str> = code.entries.iter().map(|e| e.name.as_str()).collect();
        let block = DeviceBlock::new(&device, weights.len())?;
        device.upload(block.address(), weights)?;
        let module = device.load(&text.text, &names)?;
        Ok(DeviceProgram { device, module, entries: code.entries, weights: block })
    }

    /// The device.
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
}

/// Where a buffer's latest content is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Side {
    /// It has none.
    #[default]
    Nowhere,
    Host,
    Device,
    Both,
}

/// One buffer's place and state on the device.
#[derive(Default)]
struct Copy {
    side: Side,
    /// A block of its own, where it is not in the arena.
    block: Option<DeviceBlock>,
}

/// A session's memory on a device.
#[derive(Default)]
pub(crate) struct DeviceMemory {
    arena: Option<DeviceBlock>,
    workspace: Option<DeviceBlock>,
    inputs: Vec<Copy>,
    in_arena: Vec<Copy>,
    late: Vec<Copy>,
    params: Vec<u64>,
    buffers: Vec<DeviceBuffer>,
}

impl DeviceMemory {
    /// Nothing is anywhere but the inputs, which the caller holds.
    pub(crate) fn begin(&mut self, program: &Program) {
        self.inputs.resize_with(program.inputs.len(), Copy::default);
        self.in_arena.resize_with(program.arena.len(), Copy::default);
        self.late.resize_with(program.n_late, Copy::default);
        self.inputs.iter_mut().for_each(|c| c.side = Side::Host);
        self.in_arena.iter_mut().chain(&mut self.late).for_each(|c| c.side = Side::Nowhere);
    }

    fn of(&mut self, home: Home) -> Option<&mut Copy> {
        match home {
            Home::Input(i) => self.inputs.get_mut(i),
            Home::Arena(i) => self.in_arena.get_mut(i),
            Home::Late(i) => self.late.get_mut(i),
            Home::Constant(_) | Home::Slot(_) => None,
        }
    }

    /// Two late buffers change places.
    pub(crate) fn swap_late(&mut self, a: usize, b: usize) {
        if a < self.late.len() && b < self.late.len() {
            self.late.swap(a, b);
        }
    }
}

/// A block of at least so many bytes in place of a smaller one; what that held is lost.
fn room<'b>(
    device: &Arc<dyn Device>,
    block: &'b mut Option<DeviceBlock>,
    len: usize,
) -> Result<&'b DeviceBlock, DeviceError> {
    if block.as_ref().is_none_or(|b| b.len() < len) {
        // Given back first: there may not be room for both.
        *block = None;
        *block = Some(DeviceBlock::new(device, len)?);
    }
    block.as_ref().ok_or(DeviceError::Memory { asked: len, free: 0 })
}

impl Run<'_> {
    /// Brings the latest content of a buffer to the host.
    pub(crate) fn fetch(&mut self, id: BufferId) -> Result<(), RunError> {
        let Some(on) = self.artifact.device() else { return Ok(()) };
        let home = self.program.buffer(id).home;
        if self.memory.device.of(home).is_none_or(|c| c.side != Side::Device) {
            return Ok(());
        }
        let span = self.base(home)?;
        let Memory { arena, late, device, .. } = &mut *self.memory;
        let (from, to) = match home {
            Home::Arena(_) => {
                let start = device.arena.as_ref().map_or(0, DeviceBlock::address);
                (start + span.offset as u64, arena.get_mut(span.offset..span.offset + span.len))
            }
            Home::Late(i) => {
                let start = device.late[i].block.as_ref().map_or(0, DeviceBlock::address);
                (start, late[i].block.get_mut(..span.len))
            }
            Home::Input(_) | Home::Constant(_) | Home::Slot(_) => return Ok(()),
        };
        on.device().download(from, to.ok_or(RunError::OutOfBounds)?)?;
        if let Some(copy) = device.of(home) {
            copy.side = Side::Both;
        }
        Ok(())
    }

    /// The host has written a buffer.
    pub(crate) fn wrote(&mut self, id: BufferId) {
        let home = self.program.buffer(id).home;
        if self.artifact.device().is_some()
            && let Some(copy) = self.memory.device.of(home)
        {
            copy.side = Side::Host;
        }
    }

    /// The address of a buffer on the device, its latest content there.
    fn bring(&mut self, on: &DeviceProgram, id: BufferId) -> Result<u64, RunError> {
        let (home, span) = (self.program.buffer(id).home, self.span(id)?);
        if let Home::Constant(_) = home {
            return Ok(on.weights.address() + span.offset as u64);
        }
        let base = self.base(home)?;
        let total = self.binding.layout.total;
        let memory = &mut *self.memory;
        let within = match home {
            Home::Arena(_) => {
                let start = room(on.device(), &mut memory.device.arena, total)?.address();
                start + base.offset as u64
            }
            _ => {
                let copy = memory.device.of(home).ok_or(RunError::NotComputed)?;
                room(on.device(), &mut copy.block, base.len)?.address()
            }
        };
        if memory.device.of(home).is_some_and(|c| c.side == Side::Host) {
            let bytes = match home {
                Home::Input(i) => memory.input(i, self.inputs),
                Home::Late(i) => &memory.late[i].block,
                _ => &memory.arena,
            };
            let bytes = bytes.get(base.offset..base.offset + base.len).ok_or(RunError::OutOfBounds)?;
            on.device().upload(within, bytes)?;
            if let Some(copy) = memory.device.of(home) {
                copy.side = Side::Both;
            }
        }
        Ok(within + (span.offset - base.offset) as u64)
    }

    /// Starts a kernel on the device.
    pub(crate) fn launch_on(&mut self, on: &DeviceProgram, l: &LaunchInfo) -> Result<(), RunError> {
        let grid = self.size(l.grid)?;
        if grid == 0 {
            return Ok(());
        }
        let entry = &on.entries[l.kernel];
        let mut params = std::mem::take(&mut self.memory.device.params);
        let mut buffers = std::mem::take(&mut self.memory.device.buffers);
        params.clear();
        buffers.clear();
        let written = &self.artifact.plan().kernels[l.kernel].writes;
        for (i, id) in l.buffers.iter().enumerate() {
            let (address, bytes) = (self.bring(on, *id)?, self.span(*id)?.len);
            let copy = self.memory.device.of(self.program.buffer(*id).home);
            let blank = copy.is_some_and(|c| c.side == Side::Nowhere);
            params.push(address);
            let writes = written.contains(&(i as u32));
            buffers.push(DeviceBuffer { address, bytes, writes, blank });
        }
        for id in &l.dims {
            params.push(self.dim(*id)? as u64);
        }
        let owners_in_block = if entry.thread_per_point { entry.threads as usize } else { 1 };
        let workspace = self.size(entry.workspace)?;
        let most = if workspace > 0 { on.device().parallel_blocks() } else { i32::MAX as u32 };
        let blocks = u32::try_from(grid.div_ceil(owners_in_block)).unwrap_or(u32::MAX).min(most);
        let bytes = workspace.checked_mul(owners_in_block).and_then(|n| n.checked_mul(blocks as usize));
        let bytes = bytes.ok_or(RunError::NoMemory(usize::MAX))?;
        let workspace = match bytes {
            0 => 0,
            n => room(on.device(), &mut self.memory.device.workspace, n)?.address(),
        };
        params.extend([grid as u64, workspace]);
        buffers.push(DeviceBuffer { address: workspace, bytes, writes: true, blank: true });
        on.device().launch(&DeviceLaunch {
            module: on.module,
            entry: l.kernel,
            blocks,
            threads: entry.threads,
            params: &params,
            buffers: &buffers,
        })?;
        (self.memory.device.params, self.memory.device.buffers) = (params, buffers);
        for at in written {
            let home = self.program.buffer(l.buffers[*at as usize]).home;
            if let Some(copy) = self.memory.device.of(home) {
                copy.side = Side::Device;
            }
        }
        if self.profile.is_some() {
            on.device().finish()?;
        }
        Ok(())
    }
}
