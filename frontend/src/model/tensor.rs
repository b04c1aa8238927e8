//! Makes a constant tensor out of the many ways in which ONNX stores one.
//!
//! Whatever the way, the result is little-endian bytes (or strings) whose number agrees with the
//! dimensions; nobody after this has to check again.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::types::{ByteRange, TensorData, TensorRef};
use crate::error::Error;

/// ONNX's number for strings.
pub const ELEM_STRING: i32 = 8;

/// What errors call a tensor without a name.
pub(crate) const UNNAMED: &str = "(unnamed)";

/// Bits of one element of ONNX's type number `elem`; `None` for strings and unknown types.
pub fn elem_bits(elem: i32) -> Option<usize> {
    Some(match elem {
        1 | 6 | 12 => 32,
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        27 | 28 => 6,
        _ => return None,
    })
}

/// The fields of a `TensorProto` that hold its data, of which one is used.
#[derive(Default)]
pub(crate) struct TensorParts {
    pub(crate) name: String,
    pub(crate) elem: i32,
    pub(crate) dims: Vec<i64>,
    pub(crate) raw: Option<ByteRange>,
    pub(crate) floats: Vec<f32>,
    pub(crate) int32s: Vec<i32>,
    pub(crate) int64s: Vec<i64>,
    pub(crate) doubles: Vec<f64>,
    pub(crate) uint64s: Vec<u64>,
    pub(crate) strings: Vec<Vec<u8>>,
}

impl TensorParts {
    /// An error that names this tensor.
    pub(crate) fn bad(&self, reason: impl Into<String>) -> Error {
        let name = if self.name.is_empty() { UNNAMED } else { &self.name };
        Error::BadTensor { tensor: name.to_owned(), reason: reason.into() }
    }

    /// The number of elements.
    pub(crate) fn elem_count(&self) -> Result<usize, Error> {
        self.dims.iter().try_fold(1_usize, |count, &dim| {
            let size = usize::try_from(dim)
                .map_err(|_| self.bad(format!("dimension {dim} in {:?} is not a size", self.dims)))?;
            count.checked_mul(size).ok_or_else(|| self.bad(format!("dimensions {:?} overflow", self.dims)))
        })
    }

    /// The number of bytes that the dimensions ask for.
    pub(crate) fn byte_len(&self) -> Result<usize, Error> {
        let bits = elem_bits(self.elem)
            .ok_or_else(|| self.bad(format!("element type {} is unknown or has no bytes", self.elem)))?;
        let total = self.elem_count()?.checked_mul(bits).map(|bits| bits.div_ceil(8));
        total
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or_else(|| self.bad(format!("dimensions {:?} overflow", self.dims)))
    }

    /// The tensor, its data checked against its dimensions.
    pub(crate) fn finish(mut self) -> Result<TensorRef, Error> {
        let data = if self.elem == ELEM_STRING { self.string_data()? } else { self.byte_data()? };
        Ok(TensorRef { name: self.name, elem: self.elem, dims: self.dims, data })
    }

    fn string_data(&mut self) -> Result<TensorData, Error> {
        let (expected, found) = (self.elem_count()?, self.strings.len());
        if self.raw.is_some() {
            return Err(self.bad("strings cannot be stored as raw data"));
        }
        if expected != found {
            return Err(self.bad(format!("expected {expected} strings for {:?}, found {found}", self.dims)));
        }
        Ok(TensorData::Strings(std::mem::take(&mut self.strings).into()))
    }

    fn byte_data(&self) -> Result<TensorData, Error> {
        let expected = self.byte_len()?;
        let raw = self.raw.as_ref().filter(|raw| !raw.range().is_empty());
        let bytes = match raw {
            Some(raw) if self.has_typed() => {
                let found = raw.range().len();
                return Err(self.bad(format!("holds {found} bytes of raw data and typed data as well")));
            }
            Some(raw) => raw.clone(),
            None => ByteRange::from(self.typed_bytes()?),
        };
        let found = bytes.range().len();
        if found == expected {
            return Ok(TensorData::Bytes(bytes));
        }
        Err(self.bad(format!(
            "expected {expected} bytes for dimensions {:?} of element type {}, found {found}",
            self.dims, self.elem
        )))
    }

    fn has_typed(&self) -> bool {
        !(self.floats.is_empty()
            && self.int32s.is_empty()
            && self.int64s.is_empty()
            && self.doubles.is_empty()
            && self.uint64s.is_empty())
    }

    /// The typed field that belongs to the element type, as little-endian bytes.
    fn typed_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(match self.elem {
            1 | 14 => self.floats.iter().flat_map(|value| value.to_le_bytes()).collect(),
            11 | 15 => self.doubles.iter().flat_map(|value| value.to_le_bytes()).collect(),
            7 => self.int64s.iter().flat_map(|value| value.to_le_bytes()).collect(),
            13 => self.uint64s.iter().flat_map(|value| value.to_le_bytes()).collect(),
            6 => self.int32s.iter().flat_map(|value| value.to_le_bytes()).collect(),
            12 => self.narrow_u64()?,
            4 | 5 | 10 | 16 => self.narrow_i32(2)?,
            27 | 28 => self.pack_six_bits()?,
            // One byte an entry, which holds one, two or four elements.
            _ => self.narrow_i32(1)?,
        })
    }

    /// uint32 lies in `uint64_data`.
    fn narrow_u64(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(self.uint64s.len().saturating_mul(4));
        for &value in &self.uint64s {
            let value =
                u32::try_from(value).map_err(|_| self.bad(format!("value {value} exceeds uint32")))?;
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Ok(bytes)
    }

    /// The low `width` bytes of each entry of `int32_data`, whether written signed or unsigned.
    fn narrow_i32(&self, width: usize) -> Result<Vec<u8>, Error> {
        let allowed = if width == 1 { -0x80..=0xff } else { -0x8000..=0xffff };
        let mut bytes = Vec::with_capacity(self.int32s.len().saturating_mul(width));
        for &value in &self.int32s {
            if !allowed.contains(&value) {
                return Err(self.bad(format!("value {value} exceeds element type {}", self.elem)));
            }
            bytes.extend(value.to_le_bytes().into_iter().take(width));
        }
        Ok(bytes)
    }

    /// 6-bit floats lie one an entry, but their bytes are a stream of bits, low bits first.
    fn pack_six_bits(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for group in self.int32s.chunks(4) {
            let mut bits = 0_u32;
            for &value in group.iter().rev() {
                let six = u32::try_from(value).ok().filter(|&six| six < 64);
                let six = six.ok_or_else(|| self.bad(format!("value {value} exceeds 6 bits")))?;
                bits = (bits << 6) | six;
            }
            let used = group.len().saturating_mul(6).div_ceil(8);
            bytes.extend(bits.to_le_bytes().into_iter().take(used));
        }
        Ok(bytes)
    }
}
