//! Kernels on a device: its copies of the buffers, and which copy is the latest.
//!
//! Every buffer has its place on the host whether a device is there or not; on the device it has one of
//! the same size. A launch brings to the device what is newer on the host; whatever reads a buffer on
//! the host (routines, conditions, outputs) fetches it first. Each session has a queue of its own, and
//! waits for it where the host needs a value and at the end of a run.

mod group;
mod resident;
mod tapes;
mod weights;

use super::RunError;
use super::memory::Memory;
use super::program::{Home, LaunchInfo, Program};
use super::run::Run;
use crate::artifact::{DeviceCode, DeviceEntry, DeviceText};
use crate::device::{Device, DeviceBlock, DeviceBuffer, DeviceError, DeviceLaunch, Located, Queue};
pub(crate) use group::Group;
use nnc_tensor::plan::{BufferId, Plan};
pub(crate) use resident::Resident;
use resident::Spares;
use std::sync::Arc;
use std::time::Instant;
use tapes::Tapes;
use weights::Weights;

/// The code and the weights of an artifact on a device, which all sessions share.
pub(crate) struct DeviceProgram {
    code: Loaded,
    entries: Vec<DeviceEntry>,
    weights: Weights,
    /// Groups of launches.
    groups: usize,
}

/// A module, forgotten when dropped.
struct Loaded {
    device: Arc<dyn Device>,
    module: u64,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.device.unload(self.module);
    }
}

impl DeviceProgram {
    /// Loads the newest text that the device takes while the weights go there, and makes groups of the
    /// program's launches.
    pub(crate) fn load(
        device: &Arc<dyn Device>,
        code: DeviceCode,
        plan: &Plan,
        program: &mut Program,
        weights: &[u8],
    ) -> Result<DeviceProgram, DeviceError> {
        let has = device.capability();
        let fits = |t: &&DeviceText| {
            let needs = (t.major, t.minor);
            if t.exact { needs == has } else { needs <= has }
        };
        let text =
            code.texts.iter().filter(fits).max_by_key(|t| (t.major, t.minor)).ok_or_else(|| {
                DeviceError::Capability { device: device.name(), major: has.0, minor: has.1 }
            })?;
        let names: Vec<&str> = code.entries.iter().map(|e| e.name.as_str()).collect();
        let failed = |why: String| DeviceError::Failed { action: "take the weights", why };
        let (module, weights) = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("nnc-upload".to_owned());
            let upload = thread.spawn_scoped(scope, || Weights::upload(device, plan, weights));
            let upload = upload.map_err(|e| failed(e.to_string()))?;
            let module = device.load(&text.text, &names);
            let module = module.map(|module| Loaded { device: Arc::clone(device), module });
            let weights = upload.join().map_err(|_| failed("their upload ended early".to_owned()))?;
            Ok((module?, weights?))
        })?;
        let groups = group::group(program, plan, &code.entries);
        Ok(DeviceProgram { code: module, entries: code.entries, weights, groups })
    }

    /// The device.
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.code.device
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
    /// The block that it is to stay in after the run, in place of the arena.
    stays: Option<Arc<DeviceBlock>>,
}

/// A session's memory on a device.
#[derive(Default)]
pub(crate) struct DeviceMemory {
    /// First, so that it has come to its end before memory is given back.
    queue: Option<Box<dyn Queue>>,
    arena: Option<DeviceBlock>,
    workspace: Option<DeviceBlock>,
    inputs: Vec<Copy>,
    in_arena: Vec<Copy>,
    late: Vec<Copy>,
    /// A block that recordings know has moved.
    moved: bool,
    tapes: Tapes,
    /// Addresses of the inputs that the caller keeps on the device, zero for the others, and of the blocks
    /// of outputs that stay there.
    given: Vec<u64>,
    /// What outputs that stay on the device lie in.
    spares: Spares,
    /// The outputs of the last run that stay there.
    kept: Vec<Option<Located>>,
    params: Vec<u64>,
    buffers: Vec<DeviceBuffer>,
    /// The time of the queue's first mark, and the number of the profile's events before the run.
    profiled: Option<(Instant, usize)>,
}

impl DeviceMemory {
    fn queue(&mut self) -> Result<&mut (dyn Queue + 'static), RunError> {
        self.queue.as_deref_mut().ok_or(RunError::NotComputed)
    }

    /// Nothing is anywhere but the inputs, which the caller holds.
    fn begin(
        &mut self,
        on: &DeviceProgram,
        program: &Program,
        given: &Resident<'_>,
    ) -> Result<(), DeviceError> {
        if self.queue.is_none() {
            self.queue = Some(on.device().queue()?);
        }
        self.inputs.resize_with(program.inputs.len(), Copy::default);
        self.in_arena.resize_with(program.arena.len(), Copy::default);
        self.late.resize_with(program.n_late, Copy::default);
        self.given.clear();
        for (i, copy) in self.inputs.iter_mut().enumerate() {
            let tensor = given.input(i);
            copy.side = if tensor.is_some() { Side::Device } else { Side::Host };
            self.given.push(tensor.map_or(0, |t| t.address()));
        }
        for copy in self.in_arena.iter_mut().chain(&mut self.late) {
            (copy.side, copy.stays) = (Side::Nowhere, None);
        }
        Ok(())
    }

    /// Bytes of the arena.
    pub(crate) fn arena_len(&self) -> usize {
        self.arena.as_ref().map_or(0, DeviceBlock::len)
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

/// The address of a block of at least so many bytes in place of a smaller one, and whether it moved; what it
/// held then is lost.
fn room(
    on: &DeviceProgram,
    queue: &mut Option<Box<dyn Queue>>,
    block: &mut Option<DeviceBlock>,
    len: usize,
) -> Result<(u64, bool), DeviceError> {
    if let Some(block) = block.as_ref().filter(|b| b.len() >= len) {
        return Ok((block.address(), false));
    }
    // Given back first, there may not be room for both; but not while a launch uses it.
    if let (Some(_), Some(queue)) = (&block, queue) {
        queue.finish()?;
    }
    *block = None;
    let new = block.insert(DeviceBlock::new(on.device(), len)?);
    Ok((new.address(), true))
}

impl Run<'_> {
    /// Makes the device ready for the run.
    pub(crate) fn begin_on(&mut self, on: &DeviceProgram) -> Result<(), RunError> {
        self.memory.device.begin(on, self.program, &self.resident)?;
        self.place_kept(on)?;
        self.memory.device.profiled = None;
        if let Some(profile) = &self.profile {
            let queue = self.memory.device.queue()?;
            queue.finish()?;
            queue.mark()?;
            queue.finish()?;
            self.memory.device.profiled = Some((Instant::now(), profile.events.len()));
        }
        Ok(())
    }

    /// Waits for the device. Outputs have then come to the host, but for those that stay.
    pub(crate) fn settle(&mut self, on: &DeviceProgram) -> Result<(), RunError> {
        let program = self.program;
        self.memory.device.kept.clear();
        for (at, port) in program.outputs.iter().enumerate() {
            let kept = if self.resident.keeps(at) { Some(self.keep(on, at, port.buffer)?) } else { None };
            self.memory.device.kept.push(kept);
        }
        for (at, port) in program.outputs.iter().enumerate() {
            if self.memory.device.kept[at].is_none() {
                self.prefetch(port.buffer)?;
            }
        }
        if let Some((epoch, before)) = self.memory.device.profiled
            && let Some(profile) = &mut self.profile
        {
            let times = self.memory.device.queue()?.times()?;
            profile.place_on_device(before, epoch, times.get(1..).unwrap_or_default());
        }
        Ok(self.memory.device.queue()?.finish()?)
    }

    /// Where the latest content of a buffer is, if only the device has it.
    fn only_on_device(&mut self, home: Home) -> Result<Option<u64>, RunError> {
        if self.memory.device.of(home).is_none_or(|c| c.side != Side::Device) {
            return Ok(None);
        }
        let base = self.base(home)?;
        let device = &self.memory.device;
        let start = |block: &Option<DeviceBlock>| block.as_ref().map_or(0, DeviceBlock::address);
        Ok(match home {
            Home::Arena(i) => Some(match &device.in_arena[i].stays {
                Some(block) => block.address(),
                None => start(&device.arena) + base.offset as u64,
            }),
            Home::Late(i) => Some(start(&device.late[i].block)),
            Home::Input(i) => self.resident.input(i).map(|t| t.address()),
            Home::Constant(_) | Home::Slot(_) => None,
        })
    }

    fn prefetch(&mut self, id: BufferId) -> Result<(), RunError> {
        let home = self.program.buffer(id).home;
        if let Some(from) = self.only_on_device(home)? {
            let len = self.base(home)?.len;
            self.memory.device.queue()?.prefetch(from, len)?;
        }
        Ok(())
    }

    /// Brings the latest content of a buffer to the host.
    pub(crate) fn fetch(&mut self, id: BufferId) -> Result<(), RunError> {
        if self.artifact.device().is_none() {
            return Ok(());
        }
        let home = self.program.buffer(id).home;
        let Some(from) = self.only_on_device(home)? else { return Ok(()) };
        let span = self.base(home)?;
        let Memory { arena, late, staged, device, .. } = &mut *self.memory;
        let to = match home {
            Home::Arena(_) => arena.get_mut(span.offset..span.offset + span.len),
            Home::Late(i) => late[i].block.get_mut(..span.len),
            Home::Input(i) => Some(staged[i].room(span.len)?),
            Home::Constant(_) | Home::Slot(_) => return Ok(()),
        };
        device.queue()?.download(from, to.ok_or(RunError::OutOfBounds)?)?;
        if let Some(copy) = device.of(home) {
            copy.side = Side::Both;
        }
        Ok(())
    }

    /// The host has written a buffer.
    pub(crate) fn wrote(&mut self, id: BufferId) {
        if self.artifact.device().is_some() {
            self.now_on(id, Side::Host);
        }
    }

    fn now_on(&mut self, id: BufferId, side: Side) {
        if let Some(copy) = self.memory.device.of(self.program.buffer(id).home) {
            copy.side = side;
        }
    }

    /// Copies a buffer to another one where only the device has it; says whether it did.
    pub(crate) fn copy_there(&mut self, from: BufferId, to: BufferId) -> Result<bool, RunError> {
        let Some(on) = self.artifact.device() else { return Ok(false) };
        let (source, target) = (self.program.buffer(from).home, self.program.buffer(to).home);
        // Ranges of one block may overlap, which the host can deal with.
        if source == target || self.only_on_device(source)?.is_none() {
            return Ok(false);
        }
        let len = self.span(from)?.len;
        let (from, place) = (self.bring(on, from)?, self.bring(on, to)?);
        if len > 0 {
            self.memory.device.queue()?.copy(from, place, len)?;
        }
        self.now_on(to, Side::Device);
        Ok(true)
    }

    /// The address of a buffer on the device, its latest content there.
    fn bring(&mut self, on: &DeviceProgram, id: BufferId) -> Result<u64, RunError> {
        let (home, span) = (self.program.buffer(id).home, self.span(id)?);
        if let Home::Constant(_) = home {
            return on.weights.address(span.offset).ok_or(RunError::OutOfBounds);
        }
        let base = self.base(home)?;
        let total = self.binding.layout.total;
        let memory = &mut *self.memory;
        let DeviceMemory { queue, arena, inputs, in_arena, late, moved, .. } = &mut memory.device;
        let within = match home {
            Home::Input(i) if self.resident.input(i).is_some() => {
                self.resident.input(i).map_or(0, |t| t.address())
            }
            Home::Arena(i) if in_arena[i].stays.is_some() => {
                in_arena[i].stays.as_ref().map_or(0, |block| block.address())
            }
            Home::Arena(_) => {
                let (start, new) = room(on, queue, arena, total)?;
                *moved |= new;
                start + base.offset as u64
            }
            Home::Input(i) => {
                let (start, new) = room(on, queue, &mut inputs[i].block, base.len)?;
                *moved |= new;
                start
            }
            // No recording knows a late block.
            Home::Late(i) => room(on, queue, &mut late[i].block, base.len)?.0,
            Home::Constant(_) | Home::Slot(_) => return Err(RunError::NotComputed),
        };
        if memory.device.of(home).is_some_and(|c| c.side == Side::Host) {
            let bytes = match home {
                Home::Input(i) => memory.staged[i].of(self.inputs[i].data),
                Home::Late(i) => &memory.late[i].block,
                _ => &memory.arena,
            };
            let bytes = bytes.get(base.offset..base.offset + base.len).ok_or(RunError::OutOfBounds)?;
            memory.device.queue()?.upload(within, bytes)?;
            self.now_on(id, Side::Both);
        }
        Ok(within + (span.offset - base.offset) as u64)
    }

    /// Starts a kernel on the device, its time taken where a profile is wanted.
    pub(crate) fn launch_on(&mut self, on: &DeviceProgram, l: &LaunchInfo) -> Result<(), RunError> {
        if self.profile.is_none() {
            return self.start(on, l);
        }
        let begin = Instant::now();
        // Copies to the device are not the kernel's time.
        for id in &l.buffers {
            self.bring(on, *id)?;
        }
        self.memory.device.queue()?.mark()?;
        self.start(on, l)?;
        self.memory.device.queue()?.mark()?;
        let bytes = l.buffers.iter().filter_map(|b| self.span(*b).ok()).map(|s| s.len as u64).sum();
        if let Some(profile) = &mut self.profile {
            let (node, kernel) = (self.program.node(l.node), &self.program.kernels[l.kernel].name);
            profile.record_on_device(self.step, node, kernel, begin, bytes);
        }
        Ok(())
    }

    fn start(&mut self, on: &DeviceProgram, l: &LaunchInfo) -> Result<(), RunError> {
        let grid = self.size(l.grid)?;
        if grid == 0 {
            return Ok(());
        }
        let entry = &on.entries[l.kernel];
        let written = &self.artifact.plan().kernels[l.kernel].writes;
        self.memory.device.params.clear();
        self.memory.device.buffers.clear();
        for (i, id) in l.buffers.iter().enumerate() {
            let (address, bytes) = (self.bring(on, *id)?, self.span(*id)?.len);
            let device = &mut self.memory.device;
            let copy = device.of(self.program.buffer(*id).home);
            let blank = copy.is_some_and(|c| c.side == Side::Nowhere);
            let writes = written.contains(&(i as u32));
            device.params.push(address);
            device.buffers.push(DeviceBuffer { address, bytes, writes, blank });
        }
        for id in &l.dims {
            let value = self.dim(*id)? as u64;
            self.memory.device.params.push(value);
        }
        let owners_in_block = if entry.thread_per_point { entry.threads as usize } else { 1 };
        let workspace = self.size(entry.workspace)?;
        let most = if workspace > 0 { on.device().parallel_blocks() } else { i32::MAX as u32 };
        let blocks = u32::try_from(grid.div_ceil(owners_in_block)).unwrap_or(u32::MAX).min(most);
        let bytes = workspace.checked_mul(owners_in_block).and_then(|n| n.checked_mul(blocks as usize));
        let bytes = bytes.ok_or(RunError::NoMemory(usize::MAX))?;
        let DeviceMemory { queue, workspace, moved, params, buffers, .. } = &mut self.memory.device;
        let (address, new) = if bytes == 0 { (0, false) } else { room(on, queue, workspace, bytes)? };
        *moved |= new;
        params.extend([grid as u64, address]);
        buffers.push(DeviceBuffer { address, bytes, writes: true, blank: true });
        queue.as_deref_mut().ok_or(RunError::NotComputed)?.launch(&DeviceLaunch {
            module: on.code.module,
            entry: l.kernel,
            blocks,
            threads: entry.threads,
            params,
            buffers,
        })?;
        for at in written {
            self.now_on(l.buffers[*at as usize], Side::Device);
        }
        Ok(())
    }
}
