//! A device that computes sums and writes down what it was told.

use nnc_runtime::device::{Device, DeviceError, DeviceLaunch, Queue};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The device.
#[derive(Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    memory: BTreeMap<u64, Vec<u8>>,
    next: u64,
    /// Most bytes that it has.
    most: Option<usize>,
    log: Vec<String>,
    entries: Vec<String>,
    recordings: Vec<Vec<Launch>>,
    queues: usize,
    /// The launch that fails, counted down.
    fails: Option<usize>,
}

#[derive(Clone)]
struct Launch {
    entry: usize,
    params: Vec<u64>,
    lens: Vec<usize>,
}

impl Fake {
    /// What the device was told since the last time.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0).log)
    }

    /// The device has no more than so many bytes.
    pub(crate) fn limit(&self, most: usize) {
        lock(&self.0).most = Some(most);
    }

    /// The launch after `n` others fails.
    pub(crate) fn fail_after(&self, n: usize) {
        lock(&self.0).fails = Some(n);
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.0).memory.values().map(Vec::len).sum()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

impl State {
    fn note(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    /// A range, which must lie in one block.
    fn range(&mut self, address: u64, len: usize) -> &mut [u8] {
        let (start, block) = self.memory.range_mut(..=address).next_back().expect("an address of a block");
        let from = (address - start) as usize;
        &mut block[from..from + len]
    }

    fn words(&mut self, address: u64, len: usize) -> Vec<i64> {
        self.range(address, len).chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// `out[i] = in[0][i] + in[1][i] + … + dims…`, an input repeated where it is shorter.
    fn run(&mut self, l: &Launch) {
        let (n, last) = (l.lens.len() - 1, l.params.len() - 2);
        let inputs: Vec<Vec<i64>> = (0..n).map(|i| self.words(l.params[i], l.lens[i])).collect();
        let plus: i64 = l.params[n + 1..last].iter().map(|d| *d as i64).sum();
        let out: Vec<u8> = (0..l.lens[n] / 8)
            .map(|i| inputs.iter().map(|x| x[i % x.len()]).sum::<i64>() + plus)
            .flat_map(i64::to_le_bytes)
            .collect();
        self.range(l.params[n], l.lens[n]).copy_from_slice(&out);
    }
}

impl Device for Fake {
    fn name(&self) -> String {
        "fake".into()
    }

    fn capability(&self) -> (u32, u32) {
        (8, 0)
    }

    fn parallel_blocks(&self) -> u32 {
        4
    }

    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError> {
        if text != "text" {
            return Err(DeviceError::Failed { action: "load the code", why: format!("{text} is no text") });
        }
        lock(&self.0).entries = entries.iter().map(|e| (*e).to_owned()).collect();
        Ok(7)
    }

    fn unload(&self, module: u64) {
        lock(&self.0).note(format!("unload {module}"));
    }

    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError> {
        let mut state = lock(&self.0);
        let used: usize = state.memory.values().map(Vec::len).sum();
        let free = state.most.unwrap_or(usize::MAX).saturating_sub(used);
        if bytes > free {
            return Err(DeviceError::Memory { asked: bytes, free });
        }
        state.next += 1;
        let address = state.next << 32;
        state.memory.insert(address, vec![0xaa; bytes]);
        Ok(address)
    }

    fn free(&self, address: u64) {
        lock(&self.0).memory.remove(&address).expect("it was allocated");
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DeviceError> {
        let mut state = lock(&self.0);
        state.queues += 1;
        Ok(Box::new(FakeQueue { state: Arc::clone(&self.0), recording: None, marks: 0 }))
    }
}

struct FakeQueue {
    state: Arc<Mutex<State>>,
    recording: Option<Vec<Launch>>,
    marks: u64,
}

impl FakeQueue {
    fn note(&self, what: impl Into<String>) {
        assert!(self.recording.is_none(), "nothing else goes into a recording");
        lock(&self.state).note(what);
    }
}

impl Queue for FakeQueue {
    fn upload(&mut self, to: u64, from: &[u8]) -> Result<(), DeviceError> {
        self.note(format!("upload {}", from.len()));
        lock(&self.state).range(to, from.len()).copy_from_slice(from);
        Ok(())
    }

    fn download(&mut self, from: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        self.note(format!("download {}", to.len()));
        to.copy_from_slice(lock(&self.state).range(from, to.len()));
        Ok(())
    }

    fn prefetch(&mut self, _: u64, len: usize) -> Result<(), DeviceError> {
        self.note(format!("prefetch {len}"));
        Ok(())
    }

    fn copy(&mut self, from: u64, to: u64, len: usize) -> Result<(), DeviceError> {
        self.note(format!("copy {len}"));
        let mut state = lock(&self.state);
        let bytes = state.range(from, len).to_vec();
        state.range(to, len).copy_from_slice(&bytes);
        Ok(())
    }

    fn launch(&mut self, l: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        assert_eq!(l.module, 7);
        let lens = l.buffers[..l.buffers.len() - 1].iter().map(|b| b.bytes).collect();
        let launch = Launch { entry: l.entry, params: l.params.to_vec(), lens };
        let mut state = lock(&self.state);
        if state.fails == Some(0) {
            state.fails = None;
            return Err(DeviceError::Failed { action: "launch a kernel", why: "it was told to".into() });
        }
        state.fails = state.fails.map(|n| n - 1);
        match &mut self.recording {
            Some(recording) => recording.push(launch),
            None => {
                let name = state.entries[launch.entry].clone();
                state.note(format!("launch {name}"));
                state.run(&launch);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.note("finish");
        Ok(())
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        self.recording = Some(Vec::new());
        Ok(())
    }

    fn recorded(&mut self) -> Result<u64, DeviceError> {
        let recording = self.recording.take().expect("a recording was begun");
        let mut state = lock(&self.state);
        let number = state.recordings.len();
        state.note(format!("record {} as {number}", recording.len()));
        state.recordings.push(recording);
        Ok(number as u64)
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.note(format!("replay {recording}"));
        let mut state = lock(&self.state);
        for launch in state.recordings[recording as usize].clone() {
            state.run(&launch);
        }
        Ok(())
    }

    fn forget(&mut self, recording: u64) {
        self.note(format!("forget {recording}"));
        lock(&self.state).recordings[recording as usize].clear();
    }

    fn mark(&mut self) -> Result<(), DeviceError> {
        self.marks += 1;
        Ok(())
    }

    fn times(&mut self) -> Result<Vec<u64>, DeviceError> {
        Ok((0..std::mem::take(&mut self.marks)).map(|n| n * 1000).collect())
    }
}
