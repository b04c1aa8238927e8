//! Tensors that stay in a device's memory between runs: caches, states, what one model hands to the next.

use super::{Device, DeviceBlock, DeviceError};
use crate::exec::TensorView;
use nnc_tensor::{Bytes, DType, Tensor, TensorError, Value};
use std::sync::Arc;

/// A tensor in a device's memory. Its content never changes; copies of it share the memory.
#[derive(Clone)]
pub struct DeviceTensor {
    block: Arc<DeviceBlock>,
    /// Where it starts in the block, and its bytes.
    offset: u64,
    len: usize,
    dtype: DType,
    shape: Vec<usize>,
}

impl DeviceTensor {
    /// Copies a tensor of numbers to a device.
    ///
    /// # Errors
    /// Text lies in no device's memory; that memory may be full.
    pub fn from_host(device: &Arc<dyn Device>, tensor: &Tensor) -> Result<DeviceTensor, DeviceError> {
        if tensor.dtype() == DType::Str {
            let why = "it holds text".to_owned();
            return Err(DeviceError::Failed { action: "take a tensor", why });
        }
        let bytes = tensor.bytes();
        let block = DeviceBlock::new(device, bytes.len())?;
        let mut queue = device.queue()?;
        queue.upload(block.address(), bytes)?;
        queue.finish()?;
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        Ok(DeviceTensor { block: Arc::new(block), offset: 0, len: bytes.len(), dtype, shape })
    }

    /// Copies the tensor to the host.
    pub fn to_host(&self) -> Result<Tensor, DeviceError> {
        let mut bytes = vec![0; self.len];
        self.block.device().queue()?.download(self.address(), &mut bytes)?;
        Tensor::new(self.dtype, self.shape.clone(), Bytes::copy_of(&bytes)).map_err(|e: TensorError| {
            DeviceError::Failed { action: "give a tensor back", why: e.to_string() }
        })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where it lies.
    pub fn device(&self) -> &Arc<dyn Device> {
        self.block.device()
    }

    /// A range of a block that nobody writes any more.
    pub(crate) fn new(
        block: Arc<DeviceBlock>,
        (offset, len): (usize, usize),
        dtype: DType,
        shape: Vec<usize>,
    ) -> DeviceTensor {
        DeviceTensor { block, offset: offset as u64, len, dtype, shape }
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> u64 {
        self.block.address() + self.offset
    }

    /// Type and shape as an input's; its bytes are not the host's to see.
    pub(crate) fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, data: &[] }
    }
}

impl std::fmt::Debug for DeviceTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?} on {}", self.dtype, self.shape, self.device().name())
    }
}

/// A value, wherever it lies.
#[derive(Clone, Debug)]
pub enum Located {
    /// In the host's memory.
    Host(Value),
    /// In a device's memory.
    Device(DeviceTensor),
}

impl Located {
    /// The value in the host's memory.
    pub fn to_host(&self) -> Result<Value, DeviceError> {
        match self {
            Located::Host(value) => Ok(value.clone()),
            Located::Device(tensor) => Ok(tensor.to_host()?.into()),
        }
    }
}

impl From<Value> for Located {
    fn from(value: Value) -> Located {
        Located::Host(value)
    }
}

impl From<Tensor> for Located {
    fn from(tensor: Tensor) -> Located {
        Located::Host(tensor.into())
    }
}

impl From<DeviceTensor> for Located {
    fn from(tensor: DeviceTensor) -> Located {
        Located::Device(tensor)
    }
}
