//! Tensors: a data type, a shape and little-endian bytes, owned or borrowed from a shared mapping.

use crate::{DType, Element};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Bytes that several tensors may share: owned, or a range of something that lives elsewhere
/// (a mapped file).
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

/// Memory aligned to eight bytes.
struct Words {
    words: Vec<u64>,
    len: usize,
}

impl Words {
    fn copy_of(bytes: &[u8]) -> Words {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Words { words, len: bytes.len() }
    }
}

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

impl Bytes {
    /// A copy of `bytes`, aligned to eight.
    pub fn copy_of(bytes: &[u8]) -> Bytes {
        Bytes { range: 0..bytes.len(), owner: Arc::new(Words::copy_of(bytes)) }
    }

    /// A range of shared memory, or `None` if it does not lie inside.
    pub fn shared(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Bytes> {
        (*owner).as_ref().get(range.clone())?;
        Some(Bytes { owner, range })
    }
}

/// Memory for results that follow each other: each takes the place of the one before, once nobody holds a
/// tensor over that any more. New memory costs a page fault for every 4 KiB.
#[derive(Default)]
pub struct Recycled(Option<Arc<Words>>);

impl Recycled {
    /// A copy of `bytes`, aligned to eight.
    pub fn copy_of(&mut self, bytes: &[u8]) -> Bytes {
        let n = bytes.len().div_ceil(8);
        let held = self.0.take().and_then(|mut held| {
            let words =
                Arc::get_mut(&mut held).filter(|w| (n..=n.saturating_mul(2)).contains(&w.words.len()))?;
            bytemuck::cast_slice_mut::<u64, u8>(&mut words.words)[..bytes.len()].copy_from_slice(bytes);
            words.len = bytes.len();
            Some(held)
        });
        let owner = held.unwrap_or_else(|| Arc::new(Words::copy_of(bytes)));
        self.0 = Some(Arc::clone(&owner));
        Bytes { range: 0..bytes.len(), owner }
    }

    /// Bytes held, by tensors too.
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |w| w.words.len() * size_of::<u64>())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

#[derive(Clone)]
enum Data {
    Bytes(Bytes),
    Strings(Arc<Vec<Vec<u8>>>),
}

/// A dense row-major tensor. Packed types hold their first element in the lowest bits.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

/// Why a tensor cannot be made or read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorError {
    /// The shape's number of elements or bytes overflows.
    #[error("shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// Wrong number of bytes for the shape.
    #[error("{dtype}{shape:?} takes {expected} bytes, found {found}")]
    Length {
        /// Element type.
        dtype: DType,
        /// Shape.
        shape: Vec<usize>,
        /// Bytes the shape takes.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Another element type was expected.
    #[error("expected elements of type {expected}, found {found}")]
    Type {
        /// Asked for.
        expected: DType,
        /// The tensor's.
        found: DType,
    },
    /// Wrong number of elements for the shape.
    #[error("{shape:?} takes {expected} elements, found {found}")]
    Count {
        /// Shape.
        shape: Vec<usize>,
        /// Elements the shape takes.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// Text that was to be read as a number.
    #[error("expected a number, found \"{0}\"")]
    NotANumber(String),
    /// An argument that does not fit the tensor: an axis, a permutation, an index.
    #[error("{0}")]
    Argument(String),
}

impl Tensor {
    /// A tensor over bytes in the layout described above.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Result<Tensor, TensorError> {
        let expected = byte_len(dtype, &shape)?;
        if bytes.len() != expected {
            return Err(TensorError::Length { dtype, shape, expected, found: bytes.len() });
        }
        Ok(Tensor { dtype, shape, data: Data::Bytes(bytes) })
    }

    /// A tensor of copied bytes.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> Result<Tensor, TensorError> {
        Tensor::new(dtype, shape, Bytes::copy_of(bytes))
    }

    /// A tensor of copied elements.
    pub fn from_slice<T: Element>(shape: &[usize], data: &[T]) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(T::DTYPE, shape.to_vec(), bytemuck::cast_slice(data))
    }

    /// A tensor of booleans.
    pub fn from_bools(shape: &[usize], data: &[bool]) -> Result<Tensor, TensorError> {
        let bytes: Vec<u8> = data.iter().map(|b| u8::from(*b)).collect();
        Tensor::from_bytes(DType::Bool, shape.to_vec(), &bytes)
    }

    /// A tensor of strings.
    pub fn from_strings(shape: &[usize], data: Vec<Vec<u8>>) -> Result<Tensor, TensorError> {
        let expected = elem_count(shape)?;
        if data.len() != expected {
            let (shape, found) = (shape.to_vec(), data.len());
            return Err(TensorError::Length { dtype: DType::Str, shape, expected, found });
        }
        Ok(Tensor { dtype: DType::Str, shape: shape.to_vec(), data: Data::Strings(Arc::new(data)) })
    }

    /// All elements zero (empty strings).
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        if dtype == DType::Str {
            return Tensor::from_strings(shape, vec![Vec::new(); elem_count(shape)?]);
        }
        Tensor::from_bytes(dtype, shape.to_vec(), &vec![0; byte_len(dtype, shape)?])
    }

    /// A scalar (shape `[]`).
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor {
            dtype: T::DTYPE,
            shape: Vec::new(),
            data: Data::Bytes(Bytes::copy_of(bytemuck::bytes_of(&value))),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// No elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Bytes(b) => b,
            Data::Strings(_) => &[],
        }
    }

    /// The bytes as a shareable handle, unless strings.
    pub fn shared_bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Bytes(b) => Some(b),
            Data::Strings(_) => None,
        }
    }

    /// The strings; empty for other types.
    pub fn strings(&self) -> &[Vec<u8>] {
        match &self.data {
            Data::Bytes(_) => &[],
            Data::Strings(s) => s,
        }
    }

    /// The elements as Rust values, copied only where the memory is not aligned.
    pub fn elems<T: Element>(&self) -> Result<Cow<'_, [T]>, TensorError> {
        if T::DTYPE != self.dtype && !(self.dtype == DType::Bool && T::DTYPE == DType::U8) {
            return Err(TensorError::Type { expected: T::DTYPE, found: self.dtype });
        }
        Ok(match bytemuck::try_cast_slice(self.bytes()) {
            Ok(s) => Cow::Borrowed(s),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(self.bytes())),
        })
    }

    /// The same elements under another shape of equal size.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Tensor, TensorError> {
        let (expected, found) = (elem_count(&shape)?, self.len());
        if expected != found {
            return Err(TensorError::Length { dtype: self.dtype, shape, expected, found });
        }
        Ok(Tensor { dtype: self.dtype, shape, data: self.data.clone() })
    }
}

/// Number of elements of a shape, checked.
pub(crate) fn elem_count(shape: &[usize]) -> Result<usize, TensorError> {
    // A zero anywhere makes the tensor empty, but the other sizes still have to be sane.
    shape
        .iter()
        .filter(|d| **d != 0)
        .try_fold(1usize, |a, d| a.checked_mul(*d))
        .filter(|n| *n <= isize::MAX.unsigned_abs())
        .map(|n| if shape.contains(&0) { 0 } else { n })
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

/// Number of bytes of a shape, checked.
pub(crate) fn byte_len(dtype: DType, shape: &[usize]) -> Result<usize, TensorError> {
    dtype
        .bytes_for(elem_count(shape)?)
        .filter(|n| *n <= isize::MAX.unsigned_abs())
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && self.bytes() == other.bytes()
            && self.strings() == other.strings()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_once_nobody_reads_it() {
        let mut memory = Recycled::default();
        let first = memory.copy_of(&[1; 24]);
        let second = memory.copy_of(&[2; 24]);
        assert_eq!((&first[..], &second[..]), (&[1; 24][..], &[2; 24][..]));
        let at = second.as_ptr();
        drop(second);
        let third = memory.copy_of(&[3; 13]);
        assert_eq!((third.as_ptr(), &third[..]), (at, &[3; 13][..]));
        drop(third);
        assert_eq!(memory.copy_of(&[4; 8]).len(), 8);
        assert_eq!(memory.capacity(), 8, "three times what is needed is not kept");
    }
}
