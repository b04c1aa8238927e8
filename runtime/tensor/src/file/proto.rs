//! ONNX's `TensorProto`, `SequenceProto`, `OptionalProto` and `MapProto` as bytes: what the
//! standard's test data are stored in.
//!
//! Field numbers are those of `onnx.proto`. Tensors whose data lie in another file are refused.

use super::FileError;
use super::wire::{Reader, put_bytes, put_varint};
use crate::numbers::{pack_codes, unpack};
use crate::{DType, MapKey, Tensor, Value};

/// The message that some bytes hold; the bytes themselves do not tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtoKind {
    /// `TensorProto`.
    Tensor,
    /// `SequenceProto`.
    Sequence,
    /// `OptionalProto`.
    Optional,
    /// `MapProto`.
    Map,
}

impl ProtoKind {
    /// The message for a container as ports describe it (`seq(tensor(f32))`), or for a tensor.
    pub fn of_container(container: Option<&str>) -> ProtoKind {
        match container.and_then(|c| c.split('(').next()) {
            Some("seq") => ProtoKind::Sequence,
            Some("opt") => ProtoKind::Optional,
            Some("map") => ProtoKind::Map,
            _ => ProtoKind::Tensor,
        }
    }
}

/// Containers inside containers.
const MAX_DEPTH: u32 = 64;

fn bad(what: impl Into<String>) -> FileError {
    FileError::malformed("protobuf", what)
}

/// The value that a message holds.
pub fn read_value_proto(bytes: &[u8], kind: ProtoKind) -> Result<Value, FileError> {
    read_value(bytes, kind, MAX_DEPTH)
}

fn read_value(bytes: &[u8], kind: ProtoKind, depth: u32) -> Result<Value, FileError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(bad("containers are nested too deeply"));
    };
    match kind {
        ProtoKind::Tensor => Ok(Value::Tensor(read_tensor_proto(bytes)?.1)),
        ProtoKind::Sequence => Ok(Value::Sequence(read_elements(bytes, depth)?)),
        ProtoKind::Optional => Ok(Value::Optional(read_elements(bytes, depth)?.pop().map(Box::new))),
        ProtoKind::Map => read_map(bytes, depth),
    }
}

/// The values of a sequence or optional: the two number their fields alike.
fn read_elements(bytes: &[u8], depth: u32) -> Result<Vec<Value>, FileError> {
    let (mut reader, mut values) = (Reader::new(bytes), Vec::new());
    while let Some((number, field)) = reader.next()? {
        let kind = match number {
            3 => ProtoKind::Tensor,
            4 => return Err(FileError::Unsupported("a sparse tensor".into())),
            5 => ProtoKind::Sequence,
            6 => ProtoKind::Map,
            7 => ProtoKind::Optional,
            _ => continue,
        };
        values.push(read_value(field.bytes()?, kind, depth)?);
    }
    Ok(values)
}

fn read_map(bytes: &[u8], depth: u32) -> Result<Value, FileError> {
    let (mut reader, mut keys, mut values) = (Reader::new(bytes), Vec::new(), Vec::new());
    while let Some((number, field)) = reader.next()? {
        match number {
            3 => field.each_varint(|v| keys.push(MapKey::Int(v.cast_signed())))?,
            4 => keys.push(MapKey::Str(field.bytes()?.to_vec())),
            5 => values = read_elements(field.bytes()?, depth)?,
            _ => {}
        }
    }
    if keys.len() != values.len() {
        return Err(bad(format!("a map has {} keys and {} values", keys.len(), values.len())));
    }
    Ok(Value::Map(keys.into_iter().zip(values).collect()))
}

/// What the data fields of a `TensorProto` hold.
#[derive(Default)]
struct Fields<'a> {
    dims: Vec<u64>,
    data_type: u64,
    name: &'a [u8],
    external: bool,
    raw: Option<&'a [u8]>,
    /// Any of the fields of numbers, narrowed to the width of the type's storage.
    typed: Vec<u8>,
    strings: Vec<Vec<u8>>,
}

/// The name and contents of a `TensorProto`.
pub fn read_tensor_proto(bytes: &[u8]) -> Result<(String, Tensor), FileError> {
    let fields = read_fields(bytes)?;
    let name = String::from_utf8_lossy(fields.name).into_owned();
    if fields.external {
        return Err(FileError::Unsupported(format!("tensor \"{name}\" with its data in another file")));
    }
    let dtype = dtype_of(fields.data_type)?;
    let too_large = || bad("a size is negative or too large");
    let shape: Vec<usize> = fields
        .dims
        .iter()
        .map(|d| usize::try_from(d.cast_signed()))
        .collect::<Result<_, _>>()
        .map_err(|_| too_large())?;
    if dtype == DType::Str {
        return Ok((name, Tensor::from_strings(&shape, fields.strings)?));
    }
    let data = fields.raw.unwrap_or(&fields.typed);
    let tensor = Tensor::from_bytes(dtype, shape, data)?;
    if !dtype.is_packed() {
        return Ok((name, tensor));
    }
    // Bits after the last element carry no meaning; equal tensors have equal bytes.
    let clean = pack_codes(dtype, &unpack(dtype, tensor.bytes(), tensor.len()));
    Ok((name, Tensor::from_bytes(dtype, tensor.shape().to_vec(), &clean)?))
}

fn dtype_of(number: u64) -> Result<DType, FileError> {
    let dtype = i32::try_from(number).ok().and_then(DType::from_onnx);
    dtype.ok_or_else(|| FileError::Unsupported(format!("element type {number}")))
}

fn read_fields(bytes: &[u8]) -> Result<Fields<'_>, FileError> {
    let mut fields = Fields::default();
    let mut reader = Reader::new(bytes);
    // The data's width depends on the type, which may come later.
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => field.each_varint(|d| fields.dims.push(d))?,
            2 => fields.data_type = field.varint()?,
            3 => return Err(FileError::Unsupported("a tensor in segments".into())),
            6 => fields.strings.push(field.bytes()?.to_vec()),
            8 => fields.name = field.bytes()?,
            9 => fields.raw = Some(field.bytes()?),
            14 => fields.external = field.varint()? == 1,
            _ => {}
        }
    }
    let width = match dtype_of(fields.data_type) {
        Ok(dtype) if dtype.is_packed() => 1,
        Ok(dtype) => dtype.size(),
        Err(_) => return Ok(fields),
    };
    let mut reader = Reader::new(bytes);
    let typed = &mut fields.typed;
    while let Some((number, field)) = reader.next()? {
        match number {
            4 => field.append_fixed(4, typed)?,
            10 => field.append_fixed(8, typed)?,
            5 | 7 | 11 => {
                field.each_varint(|v| typed.extend(v.to_le_bytes().iter().take(width)))?;
            }
            _ => {}
        }
    }
    Ok(fields)
}

/// A `TensorProto` with raw data (or strings).
pub fn write_tensor_proto(tensor: &Tensor, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for size in tensor.shape() {
        put_varint(1, *size as u64, &mut out);
    }
    put_varint(2, tensor.dtype().onnx().unsigned_abs().into(), &mut out);
    tensor.strings().iter().for_each(|s| put_bytes(6, s, &mut out));
    if !name.is_empty() {
        put_bytes(8, name.as_bytes(), &mut out);
    }
    if tensor.dtype() != DType::Str {
        put_bytes(9, tensor.bytes(), &mut out);
    }
    out
}

#[cfg(test)]
#[path = "proto_tests.rs"]
mod tests;
