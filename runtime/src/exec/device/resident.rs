//! Inputs and outputs that stay in the device's memory: states and caches that go from run to run.

use super::{DeviceProgram, Home};
use crate::device::{DeviceBlock, DeviceError, DeviceTensor, Located};
use crate::exec::RunError;
use crate::exec::run::Run;
use nnc_tensor::plan::BufferId;
use std::sync::Arc;

/// What of a run's inputs and outputs is on the device; by default, nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Resident<'a> {
    /// By input, those that lie there.
    inputs: &'a [Option<DeviceTensor>],
    /// By output, whether it stays there.
    keep: &'a [bool],
}

impl<'a> Resident<'a> {
    /// These inputs, and the outputs that are to stay.
    pub(crate) fn new(inputs: &'a [Option<DeviceTensor>], keep: &'a [bool]) -> Resident<'a> {
        Resident { inputs, keep }
    }

    /// Whether the output of that number stays on the device.
    pub(super) fn keeps(&self, at: usize) -> bool {
        self.keep.get(at) == Some(&true)
    }

    /// The input of that number, if it lies on the device.
    pub(crate) fn input(&self, at: usize) -> Option<&'a DeviceTensor> {
        self.inputs.get(at)?.as_ref()
    }
}

/// Memory that outputs have lain in, by output: a value that is the next run's input changes places with the
/// one that this run makes, so that two are kept.
#[derive(Default)]
pub(super) struct Spares(Vec<[Option<Arc<DeviceBlock>>; 2]>);

impl Spares {
    /// A block for `len` bytes that nobody else holds.
    fn block(&mut self, on: &DeviceProgram, at: usize, len: usize) -> Result<Arc<DeviceBlock>, DeviceError> {
        if self.0.len() <= at {
            self.0.resize_with(at + 1, <[_; 2]>::default);
        }
        let spares = &mut self.0[at];
        let is_free = |b: &&Arc<DeviceBlock>| Arc::strong_count(b) == 1 && b.len() >= len;
        if let Some(block) = spares.iter().flatten().find(is_free) {
            return Ok(Arc::clone(block));
        }
        // A sixteenth more, since a cache that has grown will grow again.
        let room = len.saturating_add(len / 16);
        let slot = spares.iter().position(|s| s.as_ref().is_none_or(|b| Arc::strong_count(b) == 1));
        let slot = &mut spares[slot.unwrap_or(0)];
        *slot = None;
        let block = Arc::new(DeviceBlock::new(on.device(), room)?);
        *slot = Some(Arc::clone(&block));
        Ok(block)
    }
}

impl Run<'_> {
    /// Gives outputs that are to stay and have a place in the arena one of their own instead: kernels then
    /// write them where they stay.
    pub(super) fn place_kept(&mut self, on: &DeviceProgram) -> Result<(), RunError> {
        let program = self.program;
        for (at, port) in program.outputs.iter().enumerate().filter(|(at, _)| self.resident.keeps(*at)) {
            let Home::Arena(i) = program.buffer(port.buffer).home else { continue };
            let len = self.binding.arena[i].len;
            let device = &mut self.memory.device;
            if device.in_arena[i].stays.is_none() {
                let block = device.spares.block(on, at, len)?;
                device.given.push(block.address());
                device.in_arena[i].stays = Some(block);
            }
        }
        Ok(())
    }

    /// An output's value on the device, where it is or as a copy, which is under way.
    pub(super) fn keep(&mut self, on: &DeviceProgram, at: usize, id: BufferId) -> Result<Located, RunError> {
        let b = self.program.buffer(id);
        if let Home::Slot(_) = b.home {
            return Ok(Located::Host(self.value(id)?));
        }
        let shape: Result<Vec<usize>, RunError> = (0..self.rank(id)).map(|a| self.size_of(id, a)).collect();
        let (shape, span) = (shape?, self.span(id)?);
        if let Home::Arena(i) = b.home
            && let Some(block) = self.memory.device.in_arena[i].stays.clone()
        {
            // Steps of the host may have written it last.
            self.bring(on, id)?;
            let within = span.offset - self.binding.arena[i].offset;
            return Ok(DeviceTensor::new(block, (within, span.len), b.dtype, shape).into());
        }
        let block = self.memory.device.spares.block(on, at, span.len)?;
        if let Home::Constant(_) = b.home {
            let bytes = self.artifact.weights().get(span.offset..span.offset + span.len);
            let bytes = bytes.ok_or(RunError::OutOfBounds)?;
            self.memory.device.queue()?.upload(block.address(), bytes)?;
        } else if span.len > 0 {
            let from = self.bring(on, id)?;
            self.memory.device.queue()?.copy(from, block.address(), span.len)?;
        }
        Ok(DeviceTensor::new(block, (0, span.len), b.dtype, shape).into())
    }

    /// The outputs that are to stay, each once.
    pub(crate) fn take_kept(&mut self, at: usize) -> Option<Located> {
        self.memory.device.kept.get_mut(at)?.take()
    }
}
