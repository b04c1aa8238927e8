//! CUDA devices through the driver, which is looked for when a device is opened: nothing of CUDA is
//! needed to build.
//!
//! All work goes to the default stream of the device's primary context, so that it happens in the order
//! of the calls.
#![allow(unsafe_code)]

use super::{Device, DeviceError, DeviceLaunch};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::Mutex;

/// Blocks of 256 threads that fit a multiprocessor.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 8;

/// A CUDA device.
pub struct CudaDevice {
    device: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    capability: (u32, u32),
    multiprocessors: u32,
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
unsafe impl Send for CudaDevice {}
// SAFETY: as above.
unsafe impl Sync for CudaDevice {}

fn failed(action: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |e| {
        let words = e.error_string().ok().map(|s| s.to_string_lossy().into_owned());
        DeviceError::Failed { action, why: words.unwrap_or_else(|| format!("{e:?}")) }
    }
}

impl CudaDevice {
    /// Opens a device by its number.
    pub(super) fn open(name: &str, number: u16) -> Result<CudaDevice, DeviceError> {
        let missing = |why: String| DeviceError::Missing { name: name.to_owned(), why };
        // SAFETY: only looks for the driver's library and loads it.
        if !unsafe { sys::is_culib_present() } {
            return Err(missing("there is no CUDA driver on this machine".to_owned()));
        }
        let in_words = |e: DriverError| missing(failed("open")(e).to_string());
        result::init().map_err(in_words)?;
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
        Ok(CudaDevice {
            device,
            context,
            name: full_name,
            capability: (major, minor),
            multiprocessors,
            modules: Mutex::default(),
        })
    }

    fn enter(&self, action: &'static str) -> Result<(), DeviceError> {
        // SAFETY: the context is retained as long as the device lives.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed(action))
    }
}

impl Drop for CudaDevice {
    fn drop(&mut self) {
        // SAFETY: the context was retained once; nothing of it is used afterwards. A failure leaves it
        // to the end of the process.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl Device for CudaDevice {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn capability(&self) -> (u32, u32) {
        self.capability
    }

    fn parallel_blocks(&self) -> u32 {
        self.multiprocessors.max(1) * BLOCKS_PER_MULTIPROCESSOR
    }

    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError> {
        let action = "load the code";
        self.enter(action)?;
        let no_zero = |_| DeviceError::Failed { action, why: "its text holds a zero".to_owned() };
        let image = CString::new(text).map_err(no_zero)?;
        // SAFETY: the image is text that ends in a zero, as the driver expects.
        let module =
            unsafe { result::module::load_data(image.as_ptr().cast::<c_void>()) }.map_err(failed(action))?;
        let mut functions = Vec::with_capacity(entries.len());
        for name in entries {
            let name = CString::new(*name).map_err(no_zero)?;
            // SAFETY: the module has just been loaded.
            functions.push(unsafe { result::module::get_function(module, name) }.map_err(failed(action))?);
        }
        let mut modules = self.modules.lock().unwrap_or_else(|e| e.into_inner());
        modules.next += 1;
        let number = modules.next;
        modules.loaded.insert(number, Loaded { module, functions });
        Ok(number)
    }

    fn unload(&self, module: u64) {
        let loaded = self.modules.lock().unwrap_or_else(|e| e.into_inner()).loaded.remove(&module);
        if let Some(loaded) = loaded
            && self.enter("unload the code").is_ok()
        {
            // SAFETY: the module was loaded here and is in no list any more. A failure leaves it to the
            // end of the process.
            let _ = unsafe { result::module::unload(loaded.module) };
        }
    }

    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError> {
        let action = "allocate memory";
        self.enter(action)?;
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
        if self.enter("free memory").is_ok() {
            // SAFETY: the address came from `alloc`; its owner is gone.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    fn upload(&self, to: u64, from: &[u8]) -> Result<(), DeviceError> {
        let action = "copy to its memory";
        self.enter(action)?;
        // SAFETY: the bytes are there to be read; the driver checks the range of its own memory.
        unsafe { result::memcpy_htod_sync(to, from) }.map_err(failed(action))
    }

    fn download(&self, from: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        let action = "copy from its memory";
        self.enter(action)?;
        // SAFETY: the bytes are there to be written; the driver checks the range of its own memory.
        unsafe { result::memcpy_dtoh_sync(to, from) }.map_err(failed(action))
    }

    fn launch(&self, launch: &DeviceLaunch<'_>) -> Result<(), DeviceError> {
        let action = "launch a kernel";
        self.enter(action)?;
        let function = {
            let modules = self.modules.lock().unwrap_or_else(|e| e.into_inner());
            let found = modules.loaded.get(&launch.module).and_then(|m| m.functions.get(launch.entry));
            *found.ok_or_else(|| DeviceError::Failed { action, why: "it is not loaded".to_owned() })?
        };
        let mut params: Vec<*mut c_void> =
            launch.params.iter().map(|p| std::ptr::from_ref(p).cast_mut().cast::<c_void>()).collect();
        let stream = std::ptr::null_mut();
        // SAFETY: the function is loaded, the parameters are words in the order of the entry, which the
        // driver copies before it returns.
        unsafe {
            result::launch_kernel(
                function,
                (launch.blocks, 1, 1),
                (launch.threads, 1, 1),
                0,
                stream,
                &mut params,
            )
        }
        .map_err(failed(action))
    }

    fn finish(&self) -> Result<(), DeviceError> {
        self.enter("wait")?;
        result::ctx::synchronize().map_err(failed("finish a kernel"))
    }
}
