//! CUDA devices through the driver, which is looked for when a device is opened: nothing of CUDA is
//! needed to build.
//!
//! Modules and memory belong to the device's primary context, which all sessions share; each has a
//! stream of its own ([`queue`]).
#![allow(unsafe_code)]

mod cache;
mod module;
mod queue;
mod staging;

use super::{Device, DeviceError, Queue};
use cache::Cache;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use module::Build;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard};

/// Blocks of 256 threads that fit a multiprocessor.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 8;
/// The oldest driver that has all functions that are called, by the CUDA version that it came with.
const OLDEST_DRIVER: i32 = 11040;

/// A CUDA device.
pub struct CudaDevice(Arc<Opened>);

/// A device's context and what is loaded into it.
struct Opened {
    device: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    capability: (u32, u32),
    multiprocessors: u32,
    /// The driver's version.
    driver: i32,
    cache: Cache,
    modules: Mutex<Modules>,
}

#[derive(Default)]
struct Modules {
    next: u64,
    loaded: HashMap<u64, Loaded>,
}

struct Loaded {
    module: sys::CUmodule,
    functions: Vec<sys::CUfunction>,
}

// SAFETY: contexts, modules and functions of the driver may be used from any thread once the thread has
// made the context current, which every operation here does; the list of modules is behind a lock.
unsafe impl Send for Opened {}
// SAFETY: as above.
unsafe impl Sync for Opened {}

fn failed(action: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |e| DeviceError::Failed { action, why: words(e) }
}

/// What the driver says of an error.
fn words(e: DriverError) -> String {
    let words = e.error_string().ok().map(|s| s.to_string_lossy().into_owned());
    words.unwrap_or_else(|| format!("{e:?}"))
}

impl CudaDevice {
    /// Opens a device by its number.
    pub(super) fn open(name: &str, number: u16) -> Result<CudaDevice, DeviceError> {
        let missing = |why: String| DeviceError::Missing { name: name.to_owned(), why };
        let in_words = |e: DriverError| missing(words(e));
        // SAFETY: only looks for the driver's library and loads it.
        if !unsafe { sys::is_culib_present() } {
            return Err(missing("there is no CUDA driver on this machine".to_owned()));
        }
        let mut driver = 0;
        // SAFETY: writes one number; may be called before all else.
        unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().map_err(in_words)?;
        if driver < OLDEST_DRIVER {
            let version = |v: i32| format!("{}.{}", v / 1000, v % 1000 / 10);
            let (found, expected) = (version(driver), version(OLDEST_DRIVER));
            return Err(missing(format!("its driver is for CUDA {found}, {expected} is needed")));
        }
        result::init().map_err(in_words)?;
        let count = result::device::get_count().map_err(in_words)?;
        if i32::from(number) >= count {
            return Err(missing(match count {
                0 => "the driver knows no device".to_owned(),
                1 => "there is one device, cuda:0".to_owned(),
                n => format!("there are {n} devices, cuda:0 to cuda:{}", n - 1),
            }));
        }
        let device = result::device::get(i32::from(number)).map_err(in_words)?;
        let attribute = |which| {
            // SAFETY: the device is one that the driver gave.
            let value = unsafe { result::device::get_attribute(device, which) }.map_err(in_words)?;
            Ok::<u32, DeviceError>(u32::try_from(value).unwrap_or(0))
        };
        use sys::CUdevice_attribute_enum as Attribute;
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let full_name = result::device::get_name(device).map_err(in_words)?;
        // SAFETY: as above; released when dropped.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(in_words)?;
        Ok(CudaDevice(Arc::new(Opened {
            device,
            context,
            name: full_name,
            capability: (major, minor),
            multiprocessors,
            driver,
            cache: Cache::of_the_user(),
            modules: Mutex::default(),
        })))
    }
}

impl Opened {
    fn enter(&self, action: &'static str) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as the device lives.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed(action))
    }

    fn modules(&self) -> MutexGuard<'_, Modules> {
        self.modules.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An entry of a module; good as long as the module is loaded.
    fn function(&self, module: u64, entry: usize) -> Option<sys::CUfunction> {
        self.modules().loaded.get(&module)?.functions.get(entry).copied()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: the context was retained once; nothing of it is used afterwards. A failure leaves it
        // to the end of the process.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl Device for CudaDevice {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn capability(&self) -> (u32, u32) {
        self.0.capability
    }

    fn parallel_blocks(&self) -> u32 {
        self.0.multiprocessors.max(1) * BLOCKS_PER_MULTIPROCESSOR
    }

    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError> {
        let action = "load the code";
        self.0.enter(action)?;
        let opened = &*self.0;
        let build = Build { text, name: &opened.name, capability: opened.capability, driver: opened.driver };
        let module = build.load(&opened.cache)?;
        let mut functions = Vec::with_capacity(entries.len());
        for name in entries {
            let name = CString::new(*name)
                .map_err(|_| DeviceError::Failed { action, why: "a name holds a zero".to_owned() })?;
            // SAFETY: the module has just been loaded.
            functions.push(unsafe { result::module::get_function(module, name) }.map_err(failed(action))?);
        }
        let mut modules = self.0.modules();
        modules.next += 1;
        let number = modules.next;
        modules.loaded.insert(number, Loaded { module, functions });
        Ok(number)
    }

    fn unload(&self, module: u64) {
        let loaded = self.0.modules().loaded.remove(&module);
        if let Some(loaded) = loaded
            && self.0.enter("unload the code").is_ok()
            // A run that failed may have left launches behind.
            && result::ctx::synchronize().is_ok()
        {
            // SAFETY: the module was loaded here, is in no list any more, and no launch uses it. A failure
            // leaves it to the end of the process.
            let _ = unsafe { result::module::unload(loaded.module) };
        }
    }

    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError> {
        let action = "allocate memory";
        self.0.enter(action)?;
        // SAFETY: asks for memory; nothing is done with it here.
        unsafe { result::malloc_sync(bytes) }.map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let free = result::mem_get_info().map_or(0, |(free, _)| free);
                DeviceError::Memory { asked: bytes, free }
            }
            _ => failed(action)(e),
        })
    }

    fn free(&self, address: u64) {
        if self.0.enter("free memory").is_ok() {
            // SAFETY: the address came from `alloc`; its owner is gone. The driver waits for launches that
            // may use it.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    fn queue(&self) -> Result<Box<dyn Queue>, DeviceError> {
        Ok(Box::new(queue::CudaQueue::new(&self.0)?))
    }
}
