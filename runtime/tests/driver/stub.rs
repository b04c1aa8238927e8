//! A driver of devices that are the host's memory: what `device/cuda` calls, with its types and orders.
//!
//! A stream's work is done as late as it may be, when somebody waits for it, so that memory which is given back
//! or written too early is found; an address outside all allocations ends the process. Every kernel has two
//! buffers of 64-bit integers and a number as its parameters: `y[i] = x[i] + plus`. The environment says how many
//! devices there are (STUB_DEVICES), how old the driver is (STUB_VERSION), what memory it has (STUB_MEMORY), and
//! where it writes what it was asked for (STUB_LOG). Compiled by the test, as `libcuda.so`.
#![allow(non_snake_case, clippy::missing_safety_doc, missing_docs, clippy::not_unsafe_ptr_arg_deref)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::io::Write;
use std::sync::{Mutex, MutexGuard};

const INVALID: i32 = 1;
const OUT_OF_MEMORY: i32 = 2;
const INVALID_DEVICE: i32 = 101;
const INVALID_IMAGE: i32 = 200;
const INVALID_PTX: i32 = 218;

#[derive(Clone)]
enum Op {
    Copy { to: u64, from: u64, len: usize },
    Kernel([u64; 5]),
    Event(u64),
    Graph(Vec<[u64; 5]>),
}

#[derive(Default)]
struct Driver {
    next: u64,
    memory: BTreeMap<u64, usize>,
    pinned: BTreeMap<u64, usize>,
    streams: BTreeMap<u64, Vec<Op>>,
    events: BTreeMap<u64, Option<u64>>,
    graphs: BTreeMap<u64, Vec<[u64; 5]>>,
    links: BTreeMap<u64, Vec<u8>>,
    clock: u64,
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

struct Held(MutexGuard<'static, Option<Driver>>);

impl std::ops::Deref for Held {
    type Target = Driver;
    fn deref(&self) -> &Driver {
        self.0.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Driver {
        self.0.get_or_insert_default()
    }
}

fn driver() -> Held {
    let mut held = DRIVER.lock().unwrap();
    held.get_or_insert_default();
    Held(held)
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn log(what: &str) {
    if let Some(path) = std::env::var_os("STUB_LOG") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.unwrap(), "{what}").unwrap();
    }
}

fn end(why: &str) -> ! {
    eprintln!("stub driver: {why}");
    std::process::abort()
}

impl Driver {
    fn handle(&mut self) -> u64 {
        self.next += 8;
        self.next
    }

    /// Device memory, and with it the pinned memory of the host.
    fn check(&self, address: u64, len: usize, pinned: bool) {
        let map = if pinned { &self.pinned } else { &self.memory };
        let block = map.range(..=address).next_back();
        if !block.is_some_and(|(start, size)| address + len as u64 <= start + *size as u64) {
            end(&format!("{len} bytes at {address:x} lie nowhere"));
        }
    }

    fn kernel(&self, [x, y, plus, grid, _]: [u64; 5]) {
        self.check(x, 8 * grid as usize, false);
        self.check(y, 8 * grid as usize, false);
        for i in 0..grid as usize {
            // SAFETY: both ranges were checked.
            unsafe { *(y as *mut u64).add(i) = (*(x as *const u64).add(i)).wrapping_add(plus) };
        }
    }

    fn run(&mut self, stream: u64) {
        let Some(ops) = self.streams.get_mut(&stream) else { end("no such stream") };
        for op in std::mem::take(ops) {
            self.clock += 1;
            match op {
                Op::Copy { to, from, len } => {
                    // What is no device memory is the host's, which pinned memory outlives.
                    // SAFETY: the ranges were checked when the copy was asked for, and those of the device
                    // cannot go without a wait.
                    unsafe { (to as *mut u8).copy_from(from as *const u8, len) }
                }
                Op::Kernel(params) => self.kernel(params),
                Op::Graph(nodes) => nodes.into_iter().for_each(|n| self.kernel(n)),
                Op::Event(event) => drop(self.events.insert(event, Some(self.clock))),
            }
        }
    }

    fn run_all(&mut self) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.run(stream);
        }
    }
}

unsafe fn give<T>(place: *mut T, value: T) -> i32 {
    // SAFETY: the caller gives a place for the answer.
    unsafe { *place = value };
    0
}

unsafe fn words(params: *mut *mut c_void) -> [u64; 5] {
    // SAFETY: the entry has five words.
    std::array::from_fn(|i| unsafe { **params.add(i).cast::<*const u64>() })
}

macro_rules! driver_functions {
    ($($name:ident($($arg:ident: $ty:ty),*) $body:block)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> i32 { $body }
    )* };
}

type Place = *mut u64;
type Text = *const c_char;

driver_functions! {
    cuInit(_flags: u32) { 0 }
    cuDriverGetVersion(version: *mut i32) { unsafe { give(version, setting("STUB_VERSION", 12040) as i32) } }
    cuDeviceGetCount(count: *mut i32) { unsafe { give(count, setting("STUB_DEVICES", 2) as i32) } }
    cuDeviceGet(device: *mut i32, number: i32) {
        if number as usize >= setting("STUB_DEVICES", 2) { return INVALID_DEVICE }
        unsafe { give(device, number) }
    }
    cuDeviceGetAttribute(value: *mut i32, which: i32, _device: i32) {
        // Major and minor number, multiprocessors.
        unsafe { give(value, match which { 75 => 8, 76 => 0, 16 => 4, _ => return INVALID }) }
    }
    cuDeviceGetName(name: *mut c_char, len: i32, _device: i32) {
        let text = c"stub";
        if (len as usize) < text.count_bytes() + 1 { return INVALID }
        unsafe { name.copy_from(text.as_ptr(), text.count_bytes() + 1) };
        0
    }
    cuDevicePrimaryCtxRetain(context: Place, device: i32) { unsafe { give(context, 1000 + device as u64) } }
    cuDevicePrimaryCtxRelease_v2(_device: i32) { log("release"); 0 }
    cuCtxSetCurrent(context: u64) { if context >= 1000 { 0 } else { INVALID } }
    cuCtxSynchronize() { driver().run_all(); 0 }
    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let most = setting("STUB_MEMORY", 1 << 30);
        let used: usize = driver().memory.values().sum();
        unsafe { give(total, most) + give(free, most - used) }
    }
    cuMemAlloc_v2(address: Place, len: usize) {
        let mut d = driver();
        let used: usize = d.memory.values().sum();
        if len == 0 { return INVALID }
        if used + len > setting("STUB_MEMORY", 1 << 30) { return OUT_OF_MEMORY }
        let block = Vec::<u64>::with_capacity(len.div_ceil(8)).leak();
        let start = block.as_mut_ptr() as u64;
        d.memory.insert(start, len);
        unsafe { give(address, start) }
    }
    cuMemFree_v2(address: u64) {
        let mut d = driver();
        d.run_all();
        // The memory itself is leaked: nothing may touch it again, and the checks tell.
        if d.memory.remove(&address).is_some() { 0 } else { INVALID }
    }
    cuMemHostAlloc(address: Place, len: usize, _flags: u32) {
        let block = Vec::<u64>::with_capacity(len.div_ceil(8)).leak();
        let start = block.as_mut_ptr() as u64;
        driver().pinned.insert(start, len);
        unsafe { give(address, start) }
    }
    cuMemFreeHost(address: u64) {
        let mut d = driver();
        let Some(len) = d.pinned.remove(&address) else { return INVALID };
        let inside = |a: u64| (address..address + len as u64).contains(&a);
        let used = |op: &Op| matches!(op, Op::Copy { to, from, .. } if inside(*to) || inside(*from));
        if d.streams.values().flatten().any(used) { end("pinned memory is given back under a copy") }
        0
    }
    cuMemcpyHtoDAsync_v2(to: u64, from: u64, len: usize, stream: u64) {
        let mut d = driver();
        d.check(to, len, false);
        d.check(from, len, true);
        d.streams.get_mut(&stream).unwrap().push(Op::Copy { to, from, len });
        0
    }
    cuMemcpyDtoHAsync_v2(to: u64, from: u64, len: usize, stream: u64) {
        let mut d = driver();
        d.check(from, len, false);
        d.streams.get_mut(&stream).unwrap().push(Op::Copy { to, from, len });
        0
    }
    cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: u64) {
        let mut d = driver();
        d.check(to, len, false);
        d.check(from, len, false);
        d.streams.get_mut(&stream).unwrap().push(Op::Copy { to, from, len });
        0
    }
    cuStreamCreate(stream: Place, flags: u32) {
        if flags != 1 { end("streams must not wait for the default stream") }
        let mut d = driver();
        let handle = d.handle();
        d.streams.insert(handle, Vec::new());
        unsafe { give(stream, handle) }
    }
    cuStreamDestroy_v2(stream: u64) {
        let ops = driver().streams.remove(&stream);
        if ops.is_some_and(|ops| !ops.is_empty()) { end("a stream ends with work to do") }
        0
    }
    cuStreamSynchronize(stream: u64) { driver().run(stream); 0 }
    cuEventCreate(event: Place, _flags: u32) {
        let mut d = driver();
        let handle = d.handle();
        d.events.insert(handle, None);
        unsafe { give(event, handle) }
    }
    cuEventRecord(event: u64, stream: u64) {
        driver().streams.get_mut(&stream).unwrap().push(Op::Event(event));
        0
    }
    cuEventSynchronize(event: u64) {
        let mut d = driver();
        let is_in = |ops: &Vec<Op>| ops.iter().any(|op| matches!(op, Op::Event(e) if *e == event));
        let found = d.streams.iter().find(|(_, ops)| is_in(ops)).map(|(s, _)| *s);
        if let Some(stream) = found { d.run(stream) }
        0
    }
    cuEventElapsedTime(time: *mut f32, from: u64, to: u64) {
        let d = driver();
        let (Some(Some(from)), Some(Some(to))) = (d.events.get(&from), d.events.get(&to)) else { return INVALID };
        unsafe { give(time, (*to as f32 - *from as f32) * 1e-3) }
    }
    cuEventDestroy_v2(event: u64) { if driver().events.remove(&event).is_some() { 0 } else { INVALID } }
    cuLinkCreate_v2(_n: u32, _options: *mut i32, _values: *mut *mut c_void, state: Place) {
        let mut d = driver();
        let handle = d.handle();
        d.links.insert(handle, b"stub code ".to_vec());
        unsafe { give(state, handle) }
    }
    cuLinkAddData_v2(
        state: u64, kind: i32, data: Text, len: usize, _name: Text, _n: u32, _options: *mut i32, _values: *mut c_void
    ) {
        let text = unsafe { CStr::from_ptr(data) };
        if kind != 1 || len != text.count_bytes() + 1 { return INVALID }
        log("link");
        let bytes = text.to_bytes();
        if bytes.starts_with(b"wrong") || bytes.starts_with(b"unlinkable") { return INVALID_PTX }
        driver().links.get_mut(&state).unwrap().extend(bytes);
        0
    }
    cuLinkComplete(state: u64, code: Place, len: *mut usize) {
        let d = driver();
        let link = &d.links[&state];
        unsafe { give(len, link.len()) + give(code, link.as_ptr() as u64) }
    }
    cuLinkDestroy(state: u64) { if driver().links.remove(&state).is_some() { 0 } else { INVALID } }
    cuModuleLoadData(module: Place, image: *const u8) {
        let start = unsafe { std::slice::from_raw_parts(image, 10) };
        log("load");
        if start == b"stub code " { unsafe { give(module, 1) } } else { INVALID_IMAGE }
    }
    cuModuleLoadDataEx(
        module: Place, image: Text, n: u32, options: *mut i32, values: *mut *mut c_void
    ) {
        log("compile");
        if !unsafe { CStr::from_ptr(image) }.to_bytes().starts_with(b"wrong") { return unsafe { give(module, 1) } }
        let (options, values) = unsafe {
            (std::slice::from_raw_parts(options, n as usize), std::slice::from_raw_parts(values, n as usize))
        };
        let at = |option| options.iter().position(|o| *o == option).map(|i| values[i]);
        let message = c"ptxas line 1; error : it is wrong\n";
        if let (Some(buffer), Some(len)) = (at(5), at(6)) && len as usize > message.count_bytes() {
            unsafe { buffer.cast::<c_char>().copy_from(message.as_ptr(), message.count_bytes() + 1) };
        }
        INVALID_PTX
    }
    cuModuleGetFunction(function: Place, module: u64, _name: Text) {
        if module == 1 { unsafe { give(function, 2) } } else { INVALID }
    }
    cuModuleUnload(_module: u64) { log("unload"); 0 }
    cuLaunchKernel(
        function: u64, _gx: u32, gy: u32, gz: u32, _bx: u32, by: u32, bz: u32, shared: u32, stream: u64,
        params: *mut *mut c_void, extra: *mut c_void
    ) {
        if (function, gy, gz, by, bz, shared) != (2, 1, 1, 1, 1, 0) || !extra.is_null() { return INVALID }
        let params = unsafe { words(params) };
        driver().streams.get_mut(&stream).unwrap().push(Op::Kernel(params));
        log("launch");
        0
    }
    cuGraphCreate(graph: Place, _flags: u32) {
        let mut d = driver();
        let handle = d.handle();
        d.graphs.insert(handle, Vec::new());
        unsafe { give(graph, handle) }
    }
    cuGraphAddKernelNode(node: Place, graph: u64, before: *const u64, n: usize, kernel: *const Kernel) {
        let mut d = driver();
        let Some(nodes) = d.graphs.get_mut(&graph) else { return INVALID };
        // Each follows the one before.
        let follows = if n == 0 { 0 } else { (unsafe { *before }) as usize };
        let kernel = unsafe { &*kernel };
        if n > 1 || follows != nodes.len() || kernel.function != 2 || kernel.sizes[1] != 1 { return INVALID }
        nodes.push(unsafe { words(kernel.params) });
        let number = nodes.len() as u64;
        unsafe { give(node, number) }
    }
    cuGraphInstantiateWithFlags(started: Place, graph: u64, _flags: u64) {
        let mut d = driver();
        let (handle, nodes) = (d.handle(), d.graphs[&graph].clone());
        d.graphs.insert(handle, nodes);
        unsafe { give(started, handle) }
    }
    cuGraphLaunch(graph: u64, stream: u64) {
        let mut d = driver();
        let Some(nodes) = d.graphs.get(&graph).cloned() else { return INVALID };
        d.streams.get_mut(&stream).unwrap().push(Op::Graph(nodes));
        log("graph");
        0
    }
    cuGraphDestroy(graph: u64) { if driver().graphs.remove(&graph).is_some() { 0 } else { INVALID } }
    cuGraphExecDestroy(graph: u64) { if driver().graphs.remove(&graph).is_some() { 0 } else { INVALID } }
    cuGetErrorString(error: i32, text: *mut Text) {
        let words = match error {
            OUT_OF_MEMORY => c"out of memory",
            INVALID_DEVICE => c"invalid device ordinal",
            INVALID_IMAGE => c"device kernel image is invalid",
            INVALID_PTX => c"a PTX JIT compilation failed",
            _ => c"invalid argument",
        };
        unsafe { give(text, words.as_ptr()) }
    }
}

/// CUDA_KERNEL_NODE_PARAMS.
#[repr(C)]
pub struct Kernel {
    function: u64,
    /// Of the grid, of a block, and of shared memory.
    sizes: [u32; 7],
    params: *mut *mut c_void,
    extra: *mut c_void,
}
