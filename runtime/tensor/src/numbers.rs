//! Numbers in and out of tensors of any data type, and ONNX's `Cast`.
//!
//! Conversions go block by block through `f64` or `i128`, so that large tensors need no large
//! intermediate copies.

use crate::formats::{Round, decode, encode, encode_e8m0};
use crate::{DType, Kind, Tensor, TensorError};

/// Elements converted at a time; a multiple of four, so that packed types split at bytes.
const BLOCK: usize = 4096;

/// What ONNX's `Cast` lets its caller choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CastOptions {
    /// Numbers out of the range of a float8 type become its largest number, not NaN or infinity.
    pub saturate: bool,
    /// Rounding to f8e8m0.
    pub round: Round,
}

impl Default for CastOptions {
    fn default() -> CastOptions {
        CastOptions { saturate: true, round: Round::Up }
    }
}

impl Tensor {
    /// The elements as numbers: integers beyond 2^53 are rounded, a complex number is two entries.
    /// Empty for strings.
    pub fn to_f64s(&self) -> Vec<f64> {
        read_f64s(self.dtype(), self.bytes(), self.len())
    }

    /// The elements as integers: floats are cut towards zero (NaN is 0), a complex number is two
    /// entries. Empty for strings.
    pub fn to_ints(&self) -> Vec<i128> {
        read_ints(self.dtype(), self.bytes(), self.len())
    }

    /// A tensor of numbers, two entries for a complex one.
    ///
    /// Floats are rounded to nearest, ties to even, and overflow to infinity (NaN or the largest
    /// number where the type has no infinity). Integers are cut towards zero and NaN is 0; out of
    /// range they saturate, to 32 bits first for narrower types, which then wrap. Booleans are
    /// `x != 0`. Strings are refused.
    pub fn from_f64s(dtype: DType, shape: &[usize], data: &[f64]) -> Result<Tensor, TensorError> {
        check_count(dtype, shape, data.len())?;
        let mut bytes = Vec::new();
        write_f64s(dtype, data, CastOptions { saturate: false, round: Round::Up }, &mut bytes);
        Tensor::from_bytes(dtype, shape.to_vec(), &bytes)
    }

    /// A tensor of integers, two entries for a complex number. They wrap to narrower integer types
    /// and are rounded once to floats; booleans are `x != 0`. Strings are refused.
    pub fn from_ints(dtype: DType, shape: &[usize], data: &[i128]) -> Result<Tensor, TensorError> {
        check_count(dtype, shape, data.len())?;
        let mut bytes = Vec::new();
        write_ints(dtype, data, CastOptions { saturate: false, round: Round::Up }, &mut bytes);
        Tensor::from_bytes(dtype, shape.to_vec(), &bytes)
    }
}

/// Converts every element as ONNX's `Cast` does; f8e8m0 is rounded up. See [`cast_with`].
pub fn cast(tensor: &Tensor, to: DType, saturate: bool) -> Result<Tensor, TensorError> {
    cast_with(tensor, to, CastOptions { saturate, round: Round::Up })
}

/// Converts every element as ONNX's `Cast` does.
///
/// Where the standard leaves a result open: floats out of an integer's range behave as in
/// [`Tensor::from_f64s`]; a complex number becomes a real one by its real part; numbers become
/// strings as NumPy prints them (`1.0`, `1e+20`, `nan`, `True`), and a string that is no number is
/// an error.
pub fn cast_with(tensor: &Tensor, to: DType, options: CastOptions) -> Result<Tensor, TensorError> {
    let from = tensor.dtype();
    if from == to {
        return Ok(tensor.clone());
    }
    if to == DType::Str {
        return Tensor::from_strings(tensor.shape(), crate::text::format_all(tensor));
    }
    if from == DType::Str {
        return crate::text::parse_all(tensor, to, options);
    }
    let len = tensor.len();
    let mut bytes = Vec::with_capacity(crate::tensor::byte_len(to, tensor.shape())?);
    for (number, block) in tensor.bytes().chunks(from.bytes_for(BLOCK).unwrap_or(1)).enumerate() {
        cast_block(from, to, options, block, BLOCK.min(len - number * BLOCK), &mut bytes);
    }
    Tensor::from_bytes(to, tensor.shape().to_vec(), &bytes)
}

fn cast_block(from: DType, to: DType, options: CastOptions, block: &[u8], n: usize, out: &mut Vec<u8>) {
    let whole = |d: DType| d.is_int() || d == DType::Bool;
    if whole(from) && to.kind() != Kind::Complex {
        return write_ints(to, &read_ints(from, block, n), options, out);
    }
    let numbers = read_f64s(from, block, n);
    let numbers = match (from.kind() == Kind::Complex, to.kind() == Kind::Complex) {
        (false, true) => numbers.into_iter().flat_map(|x| [x, 0.0]).collect(),
        (true, false) if to == DType::Bool => {
            numbers.chunks_exact(2).map(|c| f64::from(u8::from(c[0] != 0.0 || c[1] != 0.0))).collect()
        }
        (true, false) => numbers.into_iter().step_by(2).collect(),
        _ => numbers,
    };
    write_f64s(to, &numbers, options, out);
}

fn check_count(dtype: DType, shape: &[usize], found: usize) -> Result<(), TensorError> {
    if dtype == DType::Str {
        return Err(TensorError::Argument("numbers have to be cast to strings".into()));
    }
    let entries = if dtype.kind() == Kind::Complex { 2 } else { 1 };
    let expected = crate::tensor::elem_count(shape)?;
    match expected.checked_mul(entries) {
        Some(n) if n == found => Ok(()),
        _ => Err(TensorError::Count { shape: shape.to_vec(), expected, found }),
    }
}

/// One element of a packed type a byte; the first `len`.
pub(crate) fn unpack(dtype: DType, bytes: &[u8], len: usize) -> Vec<u8> {
    let (bits, per_byte) = (dtype.bits(), 8 / dtype.bits());
    let mask = (1u8 << bits) - 1;
    bytes.iter().flat_map(|b| (0..per_byte).map(move |i| (b >> (i * bits)) & mask)).take(len).collect()
}

/// The reverse of [`unpack`]: low bits of each code, first element lowest.
pub(crate) fn pack_codes(dtype: DType, codes: &[u8]) -> Vec<u8> {
    let (bits, per_byte) = (dtype.bits(), 8 / dtype.bits());
    let mask = (1u8 << bits) - 1;
    let join = |group: &[u8]| group.iter().rev().fold(0u8, |b, c| (b << bits) | (c & mask));
    codes.chunks(per_byte).map(join).collect()
}

fn le<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

fn read_f64s(dtype: DType, bytes: &[u8], len: usize) -> Vec<f64> {
    let narrow = |code: u16| decode(dtype, code).unwrap_or(f64::NAN);
    match dtype {
        DType::F64 | DType::C128 => le(bytes).map(f64::from_le_bytes).collect(),
        DType::F32 | DType::C64 => le(bytes).map(|b| f64::from(f32::from_le_bytes(b))).collect(),
        DType::F16 | DType::BF16 => le(bytes).map(|b| narrow(u16::from_le_bytes(b))).collect(),
        DType::F4E2M1 => unpack(dtype, bytes, len).into_iter().map(|c| narrow(c.into())).collect(),
        d if d.is_float() => bytes.iter().map(|c| narrow((*c).into())).collect(),
        // Every integer of at most 64 bits is rounded once here.
        _ => read_ints(dtype, bytes, len).into_iter().map(|v| v as f64).collect(),
    }
}

fn read_ints(dtype: DType, bytes: &[u8], len: usize) -> Vec<i128> {
    match dtype {
        DType::Bool => bytes.iter().map(|b| i128::from(*b != 0)).collect(),
        DType::U8 => bytes.iter().map(|b| i128::from(*b)).collect(),
        DType::I8 => bytes.iter().map(|b| i128::from(b.cast_signed())).collect(),
        DType::U16 => le(bytes).map(|b| i128::from(u16::from_le_bytes(b))).collect(),
        DType::I16 => le(bytes).map(|b| i128::from(i16::from_le_bytes(b))).collect(),
        DType::U32 => le(bytes).map(|b| i128::from(u32::from_le_bytes(b))).collect(),
        DType::I32 => le(bytes).map(|b| i128::from(i32::from_le_bytes(b))).collect(),
        DType::U64 => le(bytes).map(|b| i128::from(u64::from_le_bytes(b))).collect(),
        DType::I64 => le(bytes).map(|b| i128::from(i64::from_le_bytes(b))).collect(),
        DType::U2 | DType::U4 => unpack(dtype, bytes, len).into_iter().map(i128::from).collect(),
        DType::I2 | DType::I4 => {
            let sign = 1u8 << (dtype.bits() - 1);
            let signed = |c: u8| i128::from(c & (sign - 1)) - i128::from(c & sign);
            unpack(dtype, bytes, len).into_iter().map(signed).collect()
        }
        _ => read_f64s(dtype, bytes, len).into_iter().map(|x| x as i128).collect(),
    }
}

pub(crate) fn write_f64s(dtype: DType, data: &[f64], options: CastOptions, out: &mut Vec<u8>) {
    let narrow = |x: f64| match dtype {
        DType::F8E8M0 => encode_e8m0(x, options.saturate, options.round),
        _ => encode(dtype, x, options.saturate).unwrap_or(0),
    };
    match dtype {
        DType::F64 | DType::C128 => out.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        DType::F32 | DType::C64 => out.extend(data.iter().flat_map(|x| (*x as f32).to_le_bytes())),
        DType::F16 | DType::BF16 => out.extend(data.iter().flat_map(|x| narrow(*x).to_le_bytes())),
        DType::F4E2M1 => {
            let codes: Vec<u8> = data.iter().map(|x| narrow(*x) as u8).collect();
            out.extend(pack_codes(dtype, &codes));
        }
        d if d.is_float() => out.extend(data.iter().map(|x| narrow(*x) as u8)),
        DType::Bool => out.extend(data.iter().map(|x| u8::from(*x != 0.0))),
        _ => {
            let ints: Vec<i128> = data.iter().map(|x| cut(dtype, *x)).collect();
            write_ints(dtype, &ints, options, out);
        }
    }
}

/// Towards zero; saturating to the type, or to 32 bits where it is narrower.
fn cut(dtype: DType, x: f64) -> i128 {
    let range = if dtype.bits() < 32 { DType::I32 } else { dtype };
    let (lo, hi) = range.int_range().unwrap_or((0, 0));
    (x as i128).clamp(lo, hi)
}

pub(crate) fn write_ints(dtype: DType, data: &[i128], options: CastOptions, out: &mut Vec<u8>) {
    match dtype {
        DType::Bool => out.extend(data.iter().map(|v| u8::from(*v != 0))),
        DType::F64 | DType::C128 => out.extend(data.iter().flat_map(|v| (*v as f64).to_le_bytes())),
        d if d.is_float() || d.kind() == Kind::Complex => {
            let numbers: Vec<f64> = data.iter().map(|v| round_to_odd(*v)).collect();
            write_f64s(dtype, &numbers, options, out);
        }
        d if d.is_packed() => {
            let codes: Vec<u8> = data.iter().map(|v| *v as u8).collect();
            out.extend(pack_codes(dtype, &codes));
        }
        // Two's complement: the low bytes are the wrapped value, signed or not.
        _ => data.iter().for_each(|v| out.extend(&v.to_le_bytes()[..dtype.size()])),
    }
}

/// An integer in 53 bits, an inexact one with its lowest bit set: rounding that once more, to a
/// format of at most 51 bits, gives what rounding the integer itself would give.
fn round_to_odd(v: i128) -> f64 {
    let magnitude = v.unsigned_abs();
    let shift = (128 - magnitude.leading_zeros()).saturating_sub(53);
    let sticky = u128::from(magnitude & ((1 << shift) - 1) != 0);
    let x = (((magnitude >> shift) | sticky) << shift) as f64;
    if v < 0 { -x } else { x }
}

#[cfg(test)]
mod tests;
