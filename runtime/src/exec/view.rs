//! Borrowed inputs and outputs, for runs that allocate nothing.

use nnc_tensor::{DType, Element, Tensor};

/// A tensor in the caller's memory: row-major, little-endian.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
    /// The elements' bytes.
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A view of Rust values; `None` where their number does not fit the shape.
    pub fn new<T: Element>(shape: &'a [usize], data: &'a [T]) -> Option<TensorView<'a>> {
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let bytes = bytemuck::cast_slice(data);
        (count == data.len()).then_some(TensorView { dtype: T::DTYPE, shape, data: bytes })
    }
}

impl<'a> From<&'a Tensor> for TensorView<'a> {
    fn from(t: &'a Tensor) -> TensorView<'a> {
        TensorView { dtype: t.dtype(), shape: t.shape(), data: t.bytes() }
    }
}

/// Most dimensions of an output that is written to the caller's memory.
const MAX_RANK: usize = 16;

/// The caller's memory for one output, and the shape that the run gave it.
#[derive(Debug)]
pub struct OutputMem<'a> {
    data: &'a mut [u8],
    shape: [usize; MAX_RANK],
    rank: usize,
}

impl<'a> OutputMem<'a> {
    /// Memory for an output; it may be larger than the output.
    pub fn new(data: &'a mut [u8]) -> OutputMem<'a> {
        OutputMem { data, shape: [0; MAX_RANK], rank: 0 }
    }

    /// The output's shape, after a run.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    /// The memory; the output's bytes come first.
    pub fn data(&self) -> &[u8] {
        self.data
    }

    /// Sets the shape; false where it has too many dimensions.
    pub(crate) fn set_shape(&mut self, sizes: impl Iterator<Item = usize>) -> bool {
        self.rank = 0;
        for size in sizes {
            let Some(slot) = self.shape.get_mut(self.rank) else { return false };
            *slot = size;
            self.rank += 1;
        }
        true
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.data
    }
}
