//! What `device` is in a program without the feature `device`: types without values, so that nothing is left
//! in the program of the code that asks for them.

use super::RunError;
use super::program::LaunchInfo;
use super::run::Run;
use crate::device::{Device, DeviceTensor, Located};
use nnc_tensor::plan::BufferId;
use std::marker::PhantomData;
use std::sync::Arc;

/// No code on a device.
pub(crate) enum DeviceProgram {}

/// No launches on a device.
pub(crate) enum Group {}

/// No memory on a device.
#[derive(Default)]
pub(crate) struct DeviceMemory;

/// Nothing of a run's inputs and outputs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Resident<'a>(PhantomData<&'a DeviceTensor>);

impl DeviceProgram {
    /// The device.
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        match *self {}
    }
}

impl Group {
    /// Steps of the plan.
    pub(crate) fn n_steps(&self) -> usize {
        match *self {}
    }

    /// The node of its first launch.
    pub(crate) fn node(&self) -> u32 {
        match *self {}
    }
}

impl DeviceMemory {
    /// Bytes of the arena.
    pub(crate) fn arena_len(&self) -> usize {
        0
    }

    /// Nothing changes places.
    pub(crate) fn swap_late(&mut self, _: usize, _: usize) {}
}

impl<'a> Resident<'a> {
    /// Nothing is there.
    pub(crate) fn new(_: &'a [Option<DeviceTensor>], _: &'a [bool]) -> Resident<'a> {
        Resident(PhantomData)
    }

    /// None.
    pub(crate) fn input(&self, _: usize) -> Option<&'a DeviceTensor> {
        None
    }
}

impl Run<'_> {
    /// There is none to begin on.
    pub(crate) fn begin_on(&mut self, on: &DeviceProgram) -> Result<(), RunError> {
        match *on {}
    }

    /// There is none to wait for.
    pub(crate) fn settle(&mut self, on: &DeviceProgram) -> Result<(), RunError> {
        match *on {}
    }

    /// There are no groups.
    pub(crate) fn group(&mut self, _: &DeviceProgram, g: &Group) -> Result<(), RunError> {
        match *g {}
    }

    /// There is none to launch on.
    pub(crate) fn launch_on(&mut self, on: &DeviceProgram, _: &LaunchInfo) -> Result<(), RunError> {
        match *on {}
    }

    /// All is on the host.
    pub(crate) fn fetch(&mut self, _: BufferId) -> Result<(), RunError> {
        Ok(())
    }

    /// Nobody else has to know.
    pub(crate) fn wrote(&mut self, _: BufferId) {}

    /// Nothing is copied elsewhere.
    pub(crate) fn copy_there(&mut self, _: BufferId, _: BufferId) -> Result<bool, RunError> {
        Ok(false)
    }

    /// Nothing is kept elsewhere.
    pub(crate) fn take_kept(&mut self, _: usize) -> Option<Located> {
        None
    }
}
