//! Launches: addresses of buffers, scratch of threads, chunks of the grid.

use super::RunError;
use super::call::{Address, Call};
use super::program::{Home, LaunchInfo};
use super::run::Run;
use crate::os::Block;
use crate::pool::{for_chunks, grain};
use nnc_tensor::plan::BufferId;
use std::sync::atomic::{AtomicBool, Ordering};

/// Scratch of different threads lies this far apart at least: two cache lines, since CPUs fetch pairs.
const SCRATCH_ALIGN: usize = 128;

impl Run<'_> {
    /// Executes one kernel over its grid.
    pub(crate) fn launch(&mut self, l: &LaunchInfo) -> Result<(), RunError> {
        for id in &l.late {
            self.make_room(*id)?;
        }
        // Blocks have moved where they will; only now are addresses good.
        for id in &l.late {
            self.memory.addresses[id.index()] = self.address(*id)?;
        }
        if let Some(device) = self.artifact.device() {
            return self.launch_on(device, l);
        }
        let grid = self.size(l.grid)? as i64;
        if grid == 0 {
            return Ok(());
        }
        let step = grain(grid, self.dim(l.cost_ns)?);
        let kernel = &self.program.kernels[l.kernel];
        let threads = if step >= grid { 1 } else { self.executor.threads().max(1) };
        let stride = self.size(kernel.scratch)?.checked_next_multiple_of(SCRATCH_ALIGN);
        let all =
            stride.and_then(|s| s.checked_mul(threads)).ok_or_else(|| RunError::NoMemory(usize::MAX))?;
        self.memory.grow_scratch(all, &self.limits)?;
        self.gather(l)?;
        let call = Call {
            code: self.artifact.code(),
            entry: kernel.offset,
            table: self.artifact.table(),
            buffers: &self.memory.launch_buffers,
            dims: &self.memory.launch_dims,
            scratch: Address::new(self.memory.scratch.start(), 0),
            stride: all / threads,
        };
        if !self.limits.watched() {
            for_chunks(self.executor, grid, step, &|worker, begin, end| call.chunk(worker, begin, end));
            return Ok(());
        }
        let (limits, stopped) = (&self.limits, AtomicBool::new(false));
        for_chunks(self.executor, grid, step, &|worker, begin, end| {
            if !stopped.load(Ordering::Relaxed) {
                match limits.poll() {
                    Ok(()) => call.chunk(worker, begin, end),
                    Err(_) => stopped.store(true, Ordering::Relaxed),
                }
            }
        });
        if stopped.into_inner() { self.limits.poll() } else { Ok(()) }
    }

    /// Writes the launch's arguments to where the kernel reads them.
    fn gather(&mut self, l: &LaunchInfo) -> Result<(), RunError> {
        self.memory.launch_buffers.clear();
        self.memory.launch_dims.clear();
        for id in &l.buffers {
            let address = self.memory.addresses[id.index()];
            self.memory.launch_buffers.push(address);
        }
        for id in &l.dims {
            let value = self.dim(*id)?;
            self.memory.launch_dims.push(value);
        }
        Ok(())
    }

    /// Gives a late block room for its declared size where that is known.
    fn make_room(&mut self, id: BufferId) -> Result<(), RunError> {
        let b = self.program.buffer(id);
        if let Home::Late(i) = b.home
            && !b.is_view()
        {
            match self.declared_len(id) {
                Some(len) => {
                    let len = len?;
                    self.memory.size_late(i, len, &self.limits)?;
                    let (shape, dims) = (&mut self.memory.late[i].shape, &self.memory.dims);
                    shape.clear();
                    // `declared_len` found every size known and not negative.
                    shape.extend(b.shape.iter().map(|d| usize::try_from(dims[d.index()]).unwrap_or(0)));
                    self.memory.late[i].known = true;
                }
                None if self.memory.late[i].known => {}
                None => {
                    for d in &b.shape {
                        self.size(*d)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Addresses of all buffers that are not late.
    pub(crate) fn address_all(&mut self) {
        for at in 0..self.program.buffers.len() {
            let id = BufferId(at as u32);
            if !self.program.buffers[at].late
                && let Ok(address) = self.address(id)
            {
                self.memory.addresses[at] = address;
            }
        }
    }

    fn address(&self, id: BufferId) -> Result<Address, RunError> {
        let span = self.span(id)?;
        let block = |b: &Block| b.start();
        let base = match self.program.buffer(id).home {
            Home::Input(i) => self.memory.staged[i].of(self.inputs[i].data).as_ptr().cast_mut(),
            Home::Constant(_) => self.artifact.weights().as_ptr().cast_mut(),
            Home::Arena(_) => block(&self.memory.arena),
            Home::Late(i) => block(&self.memory.late[i].block),
            Home::Slot(_) => return Err(RunError::NotComputed),
        };
        Ok(Address::new(base, span.offset))
    }
}
