//! The interpreter of PTX as a device, which reports what a GPU would not: races, memory never written,
//! accesses out of bounds.

use nnc_ptx::{Memory, Module};
use nnc_runtime::device::{Device, DeviceError, DeviceLaunch};
use nnc_runtime::{Artifact, ArtifactError, LoadOptions, Session};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device that interprets its code.
pub struct Interpreted {
    capability: (u32, u32),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    modules: Vec<(Module, Vec<String>)>,
    instructions: u64,
}

impl Interpreted {
    /// A device of this compute capability.
    pub fn new(capability: (u32, u32)) -> Interpreted {
        Interpreted { capability, state: Mutex::default() }
    }

    /// Instructions of all launches, counted for each thread that ran them.
    pub fn instructions(&self) -> u64 {
        self.state().instructions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one case says nothing about the next, which has a device of its own.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(action: &'static str, why: impl ToString) -> DeviceError {
    DeviceError::Failed { action, why: why.to_string() }
}

impl Device for Interpreted {
    fn name(&self) -> String {
        "interpreter".into()
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn parallel_blocks(&self) -> u32 {
        3
    }

    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError> {
        let module = Module::parse(text).map_err(|e| failed("load the code", e))?;
        let mut state = self.state();
        state.modules.push((module, entries.iter().map(|e| (*e).to_owned()).collect()));
        Ok(state.modules.len() as u64 - 1)
    }

    fn unload(&self, _: u64) {}

    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError> {
        Ok(self.state().memory.alloc(bytes))
    }

    fn free(&self, address: u64) {
        self.state().memory.free(address);
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<(), DeviceError> {
        self.state().memory.write(to, from).map_err(|e| failed("copy to its memory", e))
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.state();
        to.copy_from_slice(state.memory.read(from, to.len()).map_err(|e| failed("copy from its memory", e))?);
        Ok(())
    }

    fn launch(&self, l: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        let State { memory, modules, instructions } = &mut *self.state();
        let (module, entries) = &modules[l.module as usize];
        let params: Vec<u8> = l.params.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (grid, block) = ([l.blocks, 1, 1], [l.threads, 1, 1]);
        let run = module.launch(memory, &entries[l.entry], grid, block, 0, &params);
        *instructions += run.map_err(|e| failed("run a kernel", e))?.instructions;
        Ok(())
    }

    fn finish(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// A session that runs an artifact's code for devices by the interpreter, with the device.
pub fn open(path: &Path) -> Result<(Session, Arc<Interpreted>), ArtifactError> {
    let interpreted = Arc::new(Interpreted::new((7, 5)));
    let device: Arc<dyn Device> = interpreted.clone();
    let load = LoadOptions { device: Some(&device), ..LoadOptions::default() };
    Ok((Session::new(Arc::new(Artifact::open_with(path, &load)?)), interpreted))
}
