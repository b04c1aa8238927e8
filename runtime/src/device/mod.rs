//! Devices that run kernels beside the CPU: memory of their own, code by text.
//!
//! The runtime knows a device by two traits alone: a [`Device`] has memory and code, a [`Queue`] of it
//! copies and launches, one after the other. CUDA devices are behind the feature `cuda`; tests put an
//! interpreter in their place. Addresses are numbers that mean something to the device only.

#[cfg(feature = "cuda")]
mod cuda;
mod tensor;

#[cfg(feature = "cuda")]
pub use cuda::CudaDevice;
pub use tensor::{DeviceTensor, Located};

use std::sync::Arc;

/// What a device refused or failed at.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is no such device, or nothing to reach it by.
    #[error("no device \"{name}\": {why}")]
    Missing {
        /// The device that was asked for.
        name: String,
        /// What is missing.
        why: String,
    },
    /// None of an artifact's texts is for this device.
    #[error("the artifact has no code for {device} of compute capability {major}.{minor}")]
    Capability {
        /// Its name.
        device: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Its memory is full.
    #[error("the device has no memory for {asked} bytes, {free} are free")]
    Memory {
        /// Bytes that were asked for.
        asked: usize,
        /// Bytes that were free.
        free: usize,
    },
    /// Anything else, in the driver's words.
    #[error("the device cannot {action}: {why}")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// What the driver said.
        why: String,
    },
}

/// One launch.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLaunch<'a> {
    /// What [`Device::load`] gave.
    pub module: u64,
    /// Number of the entry in the list that was given to [`Device::load`].
    pub entry: usize,
    /// Blocks.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Words of the parameters: addresses of buffers, sizes, grid points, the address of the workspace.
    pub params: &'a [u64],
    /// The buffers in the order of the parameters, then the workspace: all that the kernel may touch. A
    /// device that checks accesses looks at them, others need not.
    pub buffers: &'a [DeviceBuffer],
}

/// What a kernel may do with one of its buffers.
#[derive(Clone, Copy, Debug)]
pub struct DeviceBuffer {
    /// Where it starts.
    pub address: u64,
    /// How long it is.
    pub bytes: usize,
    /// The kernel may write it.
    pub writes: bool,
    /// It holds nothing yet.
    pub blank: bool,
}

/// A device: memory and code, which all queues share.
pub trait Device: Send + Sync {
    /// Its name, for messages.
    fn name(&self) -> String;
    /// Its compute capability, as major and minor number.
    fn capability(&self) -> (u32, u32);
    /// Blocks that it runs side by side, roughly: no more get a workspace.
    fn parallel_blocks(&self) -> u32;
    /// Compiles a text and finds its entries.
    fn load(&self, text: &str, entries: &[&str]) -> Result<u64, DeviceError>;
    /// Forgets a module.
    fn unload(&self, module: u64);
    /// Memory for so many bytes, aligned to 256.
    fn alloc(&self, bytes: usize) -> Result<u64, DeviceError>;
    /// Gives memory back.
    fn free(&self, address: u64);
    /// A queue of its own for a caller.
    fn queue(&self) -> Result<Box<dyn Queue>, DeviceError>;
}

/// What a device is told to do, in the order of the calls. Nobody waits but where it says so.
pub trait Queue: Send {
    /// Copies bytes to the device; they may change once this returns.
    fn upload(&mut self, to: u64, from: &[u8]) -> Result<(), DeviceError>;
    /// Copies bytes from the device, and waits for them.
    fn download(&mut self, from: u64, to: &mut [u8]) -> Result<(), DeviceError>;
    /// Says that these bytes will be downloaded before anything else is done, so that their copy may begin.
    fn prefetch(&mut self, from: u64, len: usize) -> Result<(), DeviceError> {
        let _ = (from, len);
        Ok(())
    }
    /// Copies bytes on the device between ranges that do not overlap.
    fn copy(&mut self, from: u64, to: u64, len: usize) -> Result<(), DeviceError>;
    /// Starts a kernel.
    fn launch(&mut self, launch: &DeviceLaunch<'_>) -> Result<(), DeviceError>;
    /// Waits until all is done.
    fn finish(&mut self) -> Result<(), DeviceError>;
    /// Launches up to [`Queue::recorded`] are written down and not started. An earlier recording that did
    /// not come to its end is forgotten.
    fn record(&mut self) -> Result<(), DeviceError>;
    /// Ends a recording and gives its number.
    fn recorded(&mut self) -> Result<u64, DeviceError>;
    /// Starts the launches of a recording, with the parameters that they were recorded with.
    fn replay(&mut self, recording: u64) -> Result<(), DeviceError>;
    /// Forgets a recording.
    fn forget(&mut self, recording: u64);
    /// Asks for the time at which the device gets here.
    fn mark(&mut self) -> Result<(), DeviceError>;
    /// Waits, and gives the nanoseconds from the first mark to each, which are then forgotten.
    fn times(&mut self) -> Result<Vec<u64>, DeviceError>;
}

/// Memory of a device, given back when dropped.
pub(crate) struct DeviceBlock {
    device: Arc<dyn Device>,
    address: u64,
    len: usize,
}

impl DeviceBlock {
    /// Memory for at least one byte.
    pub(crate) fn new(device: &Arc<dyn Device>, len: usize) -> Result<DeviceBlock, DeviceError> {
        let address = device.alloc(len.max(1))?;
        Ok(DeviceBlock { device: Arc::clone(device), address, len })
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whose memory it is.
    pub(crate) fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        self.device.free(self.address);
    }
}

/// The device of that name: `cuda:0`.
pub fn open_device(name: &str) -> Result<Arc<dyn Device>, DeviceError> {
    let missing = |why: &str| DeviceError::Missing { name: name.to_owned(), why: why.to_owned() };
    let number = match name.split_once(':') {
        None if name == "cuda" => Some(0),
        Some(("cuda", n)) => n.parse::<u16>().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| missing("devices are named cuda:0, cuda:1 and so on"))?;
    open_cuda(name, number)
}

/// Opens a device, or gives the one that is open already: tensors on it are then everybody's.
#[cfg(feature = "cuda")]
fn open_cuda(name: &str, number: u16) -> Result<Arc<dyn Device>, DeviceError> {
    use std::sync::{Mutex, PoisonError, Weak};
    static OPEN: Mutex<Vec<(u16, Weak<CudaDevice>)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|(_, device)| device.strong_count() > 0);
    if let Some(device) = open.iter().find(|(n, _)| *n == number).and_then(|(_, d)| d.upgrade()) {
        return Ok(device);
    }
    let device = Arc::new(CudaDevice::open(name, number)?);
    open.push((number, Arc::downgrade(&device)));
    Ok(device)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(name: &str, _: u16) -> Result<Arc<dyn Device>, DeviceError> {
    let why = "this program was built without the feature \"cuda\"".to_owned();
    Err(DeviceError::Missing { name: name.to_owned(), why })
}
