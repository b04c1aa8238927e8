//! Protobuf tensors against bytes written by the onnx package.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect()
}

/// `onnx.helper.make_tensor(…).SerializeToString()`: type, sizes, numbers.
const TENSORS: [(&str, DType, &[usize], &[f64]); 7] = [
    ("0802100a2a058078808203420178", DType::F16, &[2], &[1.0, -2.5]),
    ("080310162a03e10103420178", DType::I4, &[3], &[1.0, -2.0, 3.0]),
    ("080210032a0b01feffffffffffffffff01420178", DType::I8, &[2], &[1.0, -2.0]),
    ("0801100e22080000803f00000040420163", DType::C64, &[1], &[1.0, 2.0]),
    ("0802100c4201755a060180d0acf30e", DType::U32, &[2], &[1.0, 4e9]),
    ("100b4201645208000000000000e03f", DType::F64, &[], &[0.5]),
    ("080210064a080100000002000000", DType::I32, &[2], &[1.0, 2.0]),
];

const SEQUENCE: &str = "0a0373657110011a0e080210064a0801000000020000001a0810064a0403000000";
const OPTIONAL: &str = "0a036f707410011a07080110034a0101";
const NONE: &str = "0a036f70741001";
const MAP: &str = "0a016d1007180318052a1a10011a0a080110014a040000803f1a0a080110014a0400000040";

#[test]
fn reads_every_data_field() {
    for (bytes, dtype, shape, numbers) in TENSORS {
        let (_, t) = read_tensor_proto(&hex(bytes)).unwrap();
        assert_eq!((t.dtype(), t.shape(), t.to_f64s()), (dtype, shape, numbers.to_vec()), "{bytes}");
        let (name, again) = read_tensor_proto(&write_tensor_proto(&t, "x")).unwrap();
        assert_eq!((name.as_str(), again), ("x", t), "{bytes}");
    }
    let (name, t) = read_tensor_proto(&hex("08021008320261623200420173")).unwrap();
    assert_eq!((name.as_str(), t.strings()), ("s", &[b"ab".to_vec(), Vec::new()][..]));
    assert_eq!(read_tensor_proto(&write_tensor_proto(&t, "")).unwrap().1, t);
}

#[test]
fn reads_containers() {
    let t = |shape: &[usize], data: &[i32]| Value::Tensor(Tensor::from_slice(shape, data).unwrap());
    let seq = read_value_proto(&hex(SEQUENCE), ProtoKind::Sequence).unwrap();
    assert_eq!(seq, Value::Sequence(vec![t(&[2], &[1, 2]), t(&[], &[3])]));
    let optional = read_value_proto(&hex(OPTIONAL), ProtoKind::Optional).unwrap();
    let one = Value::Tensor(Tensor::from_slice(&[1], &[1i8]).unwrap());
    assert_eq!(optional, Value::Optional(Some(Box::new(one))));
    assert_eq!(read_value_proto(&hex(NONE), ProtoKind::Optional).unwrap(), Value::Optional(None));
    let f = |x: f32| Value::Tensor(Tensor::from_slice(&[1], &[x]).unwrap());
    let map = read_value_proto(&hex(MAP), ProtoKind::Map).unwrap();
    assert_eq!(map, Value::Map(vec![(MapKey::Int(3), f(1.0)), (MapKey::Int(5), f(2.0))]));
}

#[test]
fn damaged_bytes_never_panic() {
    let all = TENSORS.iter().map(|t| t.0).chain([SEQUENCE, OPTIONAL, NONE, MAP]);
    for bytes in all.map(hex) {
        for kind in [ProtoKind::Tensor, ProtoKind::Sequence, ProtoKind::Optional, ProtoKind::Map] {
            for at in 0..bytes.len() {
                let _ = read_value_proto(&bytes[..at], kind);
                for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 8] {
                    let mut damaged = bytes.clone();
                    damaged[at] = value;
                    let _ = read_value_proto(&damaged, kind);
                }
            }
        }
    }
}

#[test]
fn refuses_what_it_cannot_hold() {
    // Sizes of 2^40 · 2^40, a negative size, ten nested keys of nothing.
    for bytes in ["088080808080200880808080802010014a00", "08ffffffffffffffffff0110014a00", "0b0b0b"] {
        assert!(read_tensor_proto(&hex(bytes)).is_err(), "{bytes}");
    }
    let mut deep = Vec::new();
    for _ in 0..1000 {
        let mut outer = Vec::new();
        put_bytes(5, &deep, &mut outer);
        deep = outer;
    }
    assert!(read_value_proto(&deep, ProtoKind::Sequence).is_err());
    // data_location = EXTERNAL
    assert!(matches!(read_tensor_proto(&hex("080110017001")), Err(FileError::Unsupported(_))));
}
