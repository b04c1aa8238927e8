//! The interpreter of PTX as a device, which reports what a GPU would not: races, memory never written,
//! accesses out of bounds.

use nnc_ptx::{HostError, Memory, Module, Options, Use};
use nnc_runtime::device::{Device, DeviceBuffer, DeviceError, DeviceLaunch, Queue};
use nnc_runtime::{Artifact, ArtifactError, LoadOptions, Session};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How a device interprets.
#[derive(Clone)]
pub struct Settings {
    /// Its compute capability.
    pub capability: (u32, u32),
    /// Most instructions, counted for each thread, that a launch may take.
    pub limit: u64,
    /// Most blocks of a launch: few, so that each has several points of the grid.
    pub blocks: u32,
    /// The text to run in place of the artifact's.
    pub text: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { capability: (8, 0), limit: u64::MAX, blocks: u32::MAX, text: None }
    }
}

/// A device that interprets its code.
pub struct Interpreted(Arc<Shared>);

struct Shared {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    modules: Vec<(Module, Vec<String>)>,
    instructions: u64,
    replays: u64,
    conflicts: u64,
    work: Vec<Work>,
}

/// What a launch did.
#[derive(Clone, Debug)]
pub struct Work {
    /// The entry.
    pub entry: String,
    /// Threads of all blocks.
    pub threads: u64,
    /// Instructions, counted for each thread that ran them.
    pub instructions: u64,
}

impl Interpreted {
    /// A device that interprets in this way.
    pub fn new(settings: Settings) -> Interpreted {
        Interpreted(Arc::new(Shared { settings, state: Mutex::default() }))
    }

    /// Instructions of all launches, counted for each thread that ran them.
    pub fn instructions(&self) -> u64 {
        self.0.state().instructions
    }

    /// Recordings that were started.
    pub fn replays(&self) -> u64 {
        self.0.state().replays
    }

    /// How often lanes waited for others at a bank of shared memory, in all launches.
    pub fn conflicts(&self) -> u64 {
        self.0.state().conflicts
    }

    /// What each launch did, in order.
    pub fn work(&self) -> Vec<Work> {
        self.0.state().work.clone()
    }

    /// The text of the first module.
    pub fn text(&self) -> String {
        self.0.state().modules.first().map_or_else(String::new, |(module, _)| module.text().to_owned())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one case says nothing about the next, which has a device of its own.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A launch's parameters with addresses from which only the buffers can be reached that they are of.
fn params(memory: &mut Memory, l: &DeviceLaunch<'_>) -> Result<Vec<u8>, HostError> {
    let mut words = l.params.to_vec();
    let last = words.len() - 1;
    for (i, b) in l.buffers.iter().enumerate().filter(|(_, b)| b.bytes > 0) {
        let apart = |other: &DeviceBuffer| {
            other.address + other.bytes as u64 <= b.address || b.address + b.bytes as u64 <= other.address
        };
        let usage = match b.writes {
            true => Use::Write,
            false if l.buffers.iter().all(|other| !other.writes || apart(other)) => Use::Constant,
            false => Use::Read,
        };
        if b.blank {
            memory.blank(b.address, b.bytes)?;
        }
        // The workspace is the last parameter.
        let place = if i + 1 == l.buffers.len() { last } else { i };
        words[place] = memory.view(b.address, b.bytes, usage)?;
    }
    Ok(words.iter().flat_map(|w| w.to_le_bytes()).collect())
}

fn failed(action: &'static str, why: impl ToString) -> DeviceError {
    DeviceError::Failed { action, why: why.to_string() }
}

impl Device for Interpreted {
    fn name(&self) -> String {
        "interpreter".into()
    }

    fn capability(&self) -> (u32, u32) {
        self.0.settings.capability
    }

    fn parallel_blocks(&self) -> u32 {
        3
    }

    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError> {
        let text = self.0.settings.text.as_deref().unwrap_or(text);
        let module = Module::parse(text).map_err(|e| failed("load the code", e))?;
        let options = Options { limit: self.0.settings.limit, ..Options::default() };
        let module = module.with_options(options);
        let mut state = self.0.state();
        state.modules.push((module, entries.iter().map(|e| (*e).to_owned()).collect()));
        Ok(state.modules.len() as u64 - 1)
    }

    fn unload(&self, _: u64) {}

    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError> {
        Ok(self.0.state().memory.alloc(bytes))
    }

    fn free(&self, address: u64) {
        self.0.state().memory.free(address);
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DeviceError> {
        let shared = Arc::clone(&self.0);
        Ok(Box::new(InterpretedQueue {
            shared,
            recordings: Vec::new(),
            is_recording: false,
            marks: Vec::new(),
        }))
    }
}

/// Launches at once, and so in the order of the calls.
struct InterpretedQueue {
    shared: Arc<Shared>,
    /// The last one may be under way; those that are forgotten are empty.
    recordings: Vec<Vec<Launch>>,
    is_recording: bool,
    marks: Vec<Instant>,
}

/// A launch that was written down.
struct Launch {
    module: u64,
    entry: usize,
    blocks: u32,
    threads: u32,
    params: Vec<u64>,
    buffers: Vec<DeviceBuffer>,
}

impl Launch {
    fn of(l: &DeviceLaunch<'_>) -> Launch {
        let DeviceLaunch { module, entry, blocks, threads, params, buffers } = *l;
        Launch { module, entry, blocks, threads, params: params.to_vec(), buffers: buffers.to_vec() }
    }

    fn again(&self) -> DeviceLaunch<'_> {
        let Launch { module, entry, blocks, threads, params, buffers } = self;
        let (module, entry, blocks, threads) = (*module, *entry, *blocks, *threads);
        DeviceLaunch { module, entry, blocks, threads, params, buffers }
    }
}

impl Shared {
    fn launch(&self, l: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        let State { memory, modules, instructions, conflicts, work, .. } = &mut *self.state();
        let (module, entries) = &modules[l.module as usize];
        let params = params(memory, l).map_err(|e| failed("find the buffers", e))?;
        let (grid, block) = ([l.blocks.min(self.settings.blocks), 1, 1], [l.threads, 1, 1]);
        let run = module.launch(memory, &entries[l.entry], grid, block, 0, &params);
        let stats = run.map_err(|e| failed("run a kernel", e))?;
        *instructions += stats.instructions;
        *conflicts += stats.conflicts;
        let threads = u64::from(grid[0]) * u64::from(l.threads);
        work.push(Work { entry: entries[l.entry].clone(), threads, instructions: stats.instructions });
        Ok(())
    }
}

impl Queue for InterpretedQueue {
    fn upload(&mut self, to: u64, from: &[u8]) -> Result<(), DeviceError> {
        self.shared.state().memory.write(to, from).map_err(|e| failed("copy to its memory", e))
    }

    fn download(&mut self, from: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.shared.state();
        to.copy_from_slice(state.memory.read(from, to.len()).map_err(|e| failed("copy from its memory", e))?);
        Ok(())
    }

    fn copy(&mut self, from: u64, to: u64, len: usize) -> Result<(), DeviceError> {
        let mut bytes = vec![0; len];
        self.download(from, &mut bytes)?;
        self.upload(to, &bytes)
    }

    fn launch(&mut self, l: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        match self.recordings.last_mut().filter(|_| self.is_recording) {
            Some(recording) => recording.push(Launch::of(l)),
            None => self.shared.launch(l)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        self.recordings.push(Vec::new());
        self.is_recording = true;
        Ok(())
    }

    fn recorded(&mut self) -> Result<u64, DeviceError> {
        self.is_recording = false;
        Ok(self.recordings.len() as u64 - 1)
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.shared.state().replays += 1;
        self.recordings[recording as usize].iter().try_for_each(|l| self.shared.launch(&l.again()))
    }

    fn forget(&mut self, recording: u64) {
        self.recordings[recording as usize].clear();
    }

    fn mark(&mut self) -> Result<(), DeviceError> {
        self.marks.push(Instant::now());
        Ok(())
    }

    fn times(&mut self) -> Result<Vec<u64>, DeviceError> {
        let marks = std::mem::take(&mut self.marks);
        Ok(marks.iter().map(|m| m.duration_since(marks[0]).as_nanos() as u64).collect())
    }
}

/// A session that runs an artifact's code for devices by the interpreter, with the device.
pub fn open(path: &Path, settings: Settings) -> Result<(Session, Arc<Interpreted>), ArtifactError> {
    let interpreted = Arc::new(Interpreted::new(settings));
    let device: Arc<dyn Device> = interpreted.clone();
    let load = LoadOptions { device: Some(&device), ..LoadOptions::default() };
    Ok((Session::new(Arc::new(Artifact::open_with(path, &load)?)), interpreted))
}
