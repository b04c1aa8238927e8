//! A stream of a device: copies, launches, recordings (graphs of the driver), times by events.
#![allow(unsafe_code)]

use super::super::{DeviceError, DeviceLaunch, Queue};
use super::staging::{Landing, Uploads};
use super::{Opened, failed};
use cudarc::driver::result;
use cudarc::driver::sys;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// A stream and what belongs to it.
pub(super) struct CudaQueue {
    stream: sys::CUstream,
    uploads: Uploads,
    landing: Landing,
    /// The recording under way.
    building: Option<Building>,
    recordings: HashMap<u64, sys::CUgraphExec>,
    next: u64,
    /// Events with times; the first `n_marks` are marks.
    events: Vec<sys::CUevent>,
    n_marks: usize,
    params: Vec<*mut c_void>,
    /// Last, since all else lives in its context.
    opened: Arc<Opened>,
}

/// A graph whose nodes follow one another.
struct Building {
    graph: sys::CUgraph,
    last: Option<sys::CUgraphNode>,
}

impl Drop for Building {
    fn drop(&mut self) {
        // SAFETY: the graph was made for this recording; what is started is a copy.
        let _ = unsafe { result::graph::destroy(self.graph) };
    }
}

// SAFETY: streams, events and graphs may be used from any thread that has made their context current, which
// every operation here does, one at a time as all of them take `&mut self`. The pointers in `params` are
// made anew for each launch.
unsafe impl Send for CudaQueue {}

impl CudaQueue {
    pub(super) fn new(opened: &Arc<Opened>) -> Result<CudaQueue, DeviceError> {
        let action = "make a stream";
        opened.enter(action)?;
        // Nothing here uses the default stream, and the application may.
        let uploads = Uploads::new().map_err(failed(action))?;
        let stream =
            result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed(action))?;
        Ok(CudaQueue {
            stream,
            uploads,
            landing: Landing::default(),
            building: None,
            recordings: HashMap::new(),
            next: 0,
            events: Vec::new(),
            n_marks: 0,
            params: Vec::new(),
            opened: Arc::clone(opened),
        })
    }

    fn wait(&mut self, action: &'static str) -> Result<(), DeviceError> {
        // SAFETY: the stream lives as long as the queue.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed(action))?;
        self.uploads.passed();
        self.landing.passed();
        Ok(())
    }

    /// Adds a launch to the recording under way.
    fn add_node(
        building: &mut Building,
        launch: &DeviceLaunch<'_>,
        function: sys::CUfunction,
        params: &mut [*mut c_void],
    ) -> Result<(), result::DriverError> {
        let node = sys::CUDA_KERNEL_NODE_PARAMS {
            func: function,
            gridDimX: launch.blocks,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: launch.threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            kernelParams: params.as_mut_ptr(),
            extra: std::ptr::null_mut(),
        };
        let mut added = std::ptr::null_mut();
        let before = building.last.as_slice();
        // SAFETY: the graph is whole and `before` a node of it; the parameters are words in the order of the
        // entry, which the driver copies before it returns.
        unsafe {
            sys::cuGraphAddKernelNode(
                &raw mut added,
                building.graph,
                before.as_ptr(),
                before.len(),
                &raw const node,
            )
        }
        .result()?;
        building.last = Some(added);
        Ok(())
    }
}

impl Drop for CudaQueue {
    fn drop(&mut self) {
        if self.opened.enter("end a stream").is_err() {
            return;
        }
        // What is under way uses memory whose owner may be waiting for this. Failures here leave things to
        // the end of the process.
        let _ = self.wait("end a stream");
        self.building = None;
        for (_, recording) in self.recordings.drain() {
            // SAFETY: made by `recorded`, and not under way any more.
            let _ = unsafe { result::graph::exec_destroy(recording) };
        }
        for event in self.events.drain(..) {
            // SAFETY: made by `mark`.
            let _ = unsafe { result::event::destroy(event) };
        }
        // SAFETY: made by `new`.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}

impl Queue for CudaQueue {
    fn upload(&mut self, to: u64, from: &[u8]) -> Result<(), DeviceError> {
        let action = "copy to its memory";
        self.opened.enter(action)?;
        self.landing.clear();
        self.uploads.copy(to, from, self.stream).map_err(failed(action))
    }

    fn download(&mut self, from: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        let action = "copy from its memory";
        self.opened.enter(action)?;
        if to.is_empty() || self.landing.take(from, to, self.stream).map_err(failed(action))? {
            return Ok(());
        }
        // SAFETY: the bytes are there to be written until the wait below is over; the driver checks the
        // range of its own memory.
        unsafe { result::memcpy_dtoh_async(to, from, self.stream) }.map_err(failed(action))?;
        self.wait(action)
    }

    fn prefetch(&mut self, from: u64, len: usize) -> Result<(), DeviceError> {
        let action = "copy from its memory";
        self.opened.enter(action)?;
        self.landing.announce(from, len, self.stream).map_err(failed(action))
    }

    fn copy(&mut self, from: u64, to: u64, len: usize) -> Result<(), DeviceError> {
        let action = "copy in its memory";
        self.opened.enter(action)?;
        self.landing.clear();
        // SAFETY: the driver checks the ranges of its own memory.
        unsafe { result::memcpy_dtod_async(to, from, len, self.stream) }.map_err(failed(action))
    }

    fn launch(&mut self, launch: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        let action = "launch a kernel";
        self.opened.enter(action)?;
        let function = self.opened.function(launch.module, launch.entry);
        let function =
            function.ok_or_else(|| DeviceError::Failed { action, why: "it is not loaded".to_owned() })?;
        self.params.clear();
        let words = launch.params.iter().map(|p| std::ptr::from_ref(p).cast_mut().cast::<c_void>());
        self.params.extend(words);
        if let Some(building) = &mut self.building {
            return CudaQueue::add_node(building, launch, function, &mut self.params)
                .map_err(failed("record a kernel"));
        }
        self.landing.clear();
        let (blocks, threads) = ((launch.blocks, 1, 1), (launch.threads, 1, 1));
        // SAFETY: the function is loaded, the parameters are words in the order of the entry, which the
        // driver copies before it returns.
        unsafe { result::launch_kernel(function, blocks, threads, 0, self.stream, &mut self.params) }
            .map_err(failed(action))
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.opened.enter("wait")?;
        self.wait("finish a kernel")
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        let action = "record kernels";
        self.opened.enter(action)?;
        let mut graph = std::ptr::null_mut();
        // SAFETY: makes an empty graph.
        unsafe { sys::cuGraphCreate(&raw mut graph, 0) }.result().map_err(failed(action))?;
        self.building = Some(Building { graph, last: None });
        Ok(())
    }

    fn recorded(&mut self) -> Result<u64, DeviceError> {
        let action = "record kernels";
        self.opened.enter(action)?;
        let why = || DeviceError::Failed { action, why: "no recording is under way".to_owned() };
        let building = self.building.take().ok_or_else(why)?;
        // SAFETY: the graph is whole.
        let recording =
            unsafe { result::graph::instantiate(building.graph, sys::CUgraphInstantiate_flags(0)) };
        self.next += 1;
        self.recordings.insert(self.next, recording.map_err(failed(action))?);
        Ok(self.next)
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        let action = "start recorded kernels";
        self.opened.enter(action)?;
        self.landing.clear();
        let found = self.recordings.get(&recording);
        let found =
            *found.ok_or_else(|| DeviceError::Failed { action, why: "it is forgotten".to_owned() })?;
        // SAFETY: made by `recorded`; the session that recorded it knows that its memory is in place.
        unsafe { result::graph::launch(found, self.stream) }.map_err(failed(action))
    }

    fn forget(&mut self, recording: u64) {
        if let Some(recording) = self.recordings.remove(&recording)
            && self.opened.enter("forget recorded kernels").is_ok()
            && self.wait("forget recorded kernels").is_ok()
        {
            // SAFETY: made by `recorded`, in no list any more and not under way.
            let _ = unsafe { result::graph::exec_destroy(recording) };
        }
    }

    fn mark(&mut self) -> Result<(), DeviceError> {
        let action = "take a time";
        self.opened.enter(action)?;
        if self.n_marks == self.events.len() {
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
            self.events.push(event.map_err(failed(action))?);
        }
        // SAFETY: event and stream live as long as the queue.
        unsafe { result::event::record(self.events[self.n_marks], self.stream) }.map_err(failed(action))?;
        self.n_marks += 1;
        Ok(())
    }

    fn times(&mut self) -> Result<Vec<u64>, DeviceError> {
        let action = "take a time";
        self.opened.enter(action)?;
        self.wait(action)?;
        let marks = &self.events[..std::mem::take(&mut self.n_marks)];
        let Some(first) = marks.first() else { return Ok(Vec::new()) };
        // SAFETY: both events are of this stream, which has passed them.
        let milliseconds = marks.iter().map(|mark| unsafe { result::event::elapsed(*first, *mark) });
        let nanoseconds = milliseconds.map(|t| Ok((f64::from(t?) * 1e6) as u64));
        nanoseconds.collect::<Result<_, _>>().map_err(failed(action))
    }
}
