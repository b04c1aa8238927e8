//! The many ways to store a tensor, against bytes worked out from the standard's text.

use super::encode::{bytes, model, number, packed, tensor};
use super::{message, read};
use crate::model::{TensorData, TensorRef};

/// Name, element type, number of elements, the field with the data, the bytes to find.
type Case = (&'static str, i64, i64, Vec<u8>, Vec<u8>);

fn read_tensor(body: &[&[u8]]) -> Result<TensorRef, String> {
    let mut model = read(&model(10, 21, &bytes(5, body))).map_err(|error| error.to_string())?;
    Ok(model.graph.initializers.remove(0))
}

#[test]
fn typed_fields_become_little_endian_bytes() {
    let floats =
        |values: &[f32]| bytes(4, &[&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()]);
    let doubles =
        |values: &[f64]| bytes(10, &[&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()]);
    let cases: [Case; 21] = [
        ("float", 1, 1, floats(&[1.0]), vec![0, 0, 0x80, 0x3f]),
        ("uint8", 2, 2, packed(5, &[1, 255]), vec![1, 255]),
        ("int8", 3, 2, packed(5, &[-1, 127]), vec![255, 127]),
        ("uint16", 4, 1, packed(5, &[0xfffe]), vec![0xfe, 0xff]),
        ("int16", 5, 1, packed(5, &[-2]), vec![0xfe, 0xff]),
        ("int32", 6, 1, packed(5, &[-2]), vec![0xfe, 0xff, 0xff, 0xff]),
        ("int64", 7, 1, packed(7, &[-2]), vec![0xfe, 255, 255, 255, 255, 255, 255, 255]),
        ("bool", 9, 2, packed(5, &[1, 0]), vec![1, 0]),
        ("float16", 10, 1, packed(5, &[0x3c00]), vec![0, 0x3c]),
        ("double", 11, 1, doubles(&[1.0]), vec![0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
        ("uint32", 12, 1, packed(11, &[0xffff_fffe]), vec![0xfe, 255, 255, 255]),
        ("uint64", 13, 1, packed(11, &[-2]), vec![0xfe, 255, 255, 255, 255, 255, 255, 255]),
        ("complex64", 14, 1, floats(&[1.0, 2.0]), vec![0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]),
        ("bfloat16", 16, 1, packed(5, &[0x3f80]), vec![0x80, 0x3f]),
        ("float8e4m3fn", 17, 1, packed(5, &[0xb8]), vec![0xb8]),
        ("uint4", 21, 3, packed(5, &[0x21, 0x03]), vec![0x21, 0x03]),
        ("int4", 22, 2, packed(5, &[0xf1]), vec![0xf1]),
        ("float4e2m1", 23, 2, packed(5, &[0x21]), vec![0x21]),
        ("uint2", 25, 5, packed(5, &[0b11_10_01_00, 0b01]), vec![0b11_10_01_00, 0b01]),
        // 1, 2, 3, 4, 5 as a stream of 6 bits each: 1 | 2 << 6 | 3 << 12 | 4 << 18 = 0x103081.
        ("float6e2m3", 27, 5, packed(5, &[1, 2, 3, 4, 5]), vec![0x81, 0x30, 0x10, 5]),
        (
            "unpacked int64",
            7,
            2,
            [number(7, 1), number(7, 0)].concat(),
            vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (name, elem, count, data, expected) in cases {
        let tensor = read_tensor(&[&tensor(name, elem, &[count]), &data]).unwrap();
        let TensorData::Bytes(found) = tensor.data else { panic!("{name} holds bytes") };
        assert_eq!(found.as_slice(), expected, "{name}");
    }
}

#[test]
fn strings_are_kept_as_bytes() {
    let body = [tensor("s", 8, &[2]), bytes(6, &[b"a"]), bytes(6, &[&[0xff]])].concat();
    let TensorData::Strings(strings) = read_tensor(&[&body]).unwrap().data else { panic!("strings") };
    assert_eq!(&*strings, [b"a".to_vec(), vec![0xff]]);
}

#[test]
fn empty_tensors_need_no_data_and_scalars_hold_one_element() {
    assert_eq!(read_tensor(&[&tensor("e", 1, &[3, 0])]).unwrap().dims, [3, 0]);
    assert!(read_tensor(&[&tensor("scalar", 2, &[]), &bytes(9, &[&[7]])]).is_ok());
}

#[test]
fn data_that_contradicts_the_dimensions_is_refused() {
    let four = bytes(9, &[&[0; 4]]);
    let cases: [(Vec<u8>, Vec<u8>, &str); 11] = [
        (
            tensor("t", 1, &[2]),
            four.clone(),
            "expected 8 bytes for dimensions [2] of element type 1, found 4",
        ),
        (tensor("t", 1, &[2]), vec![], "expected 8 bytes for dimensions [2] of element type 1, found 0"),
        (
            tensor("t", 22, &[9]),
            four.clone(),
            "expected 5 bytes for dimensions [9] of element type 22, found 4",
        ),
        (tensor("t", 1, &[-1]), four.clone(), "dimension -1 in [-1] is not a size"),
        (
            tensor("t", 1, &[1 << 40, 1 << 40]),
            four.clone(),
            "dimensions [1099511627776, 1099511627776] overflow",
        ),
        (tensor("t", 1, &[1 << 61]), four.clone(), "dimensions [2305843009213693952] overflow"),
        (tensor("t", 0, &[1]), four.clone(), "element type 0 is unknown or has no bytes"),
        (tensor("t", 8, &[1]), four.clone(), "strings cannot be stored as raw data"),
        (tensor("t", 8, &[1]), vec![], "expected 1 strings for [1], found 0"),
        (tensor("t", 2, &[1]), packed(5, &[256]), "value 256 exceeds element type 2"),
        (
            tensor("t", 6, &[1]),
            [four, packed(5, &[1])].concat(),
            "holds 4 bytes of raw data and typed data as well",
        ),
    ];
    for (head, data, expected) in cases {
        let found = message(read(&model(10, 21, &bytes(5, &[&head, &data]))));
        assert_eq!(found, format!("tensor \"t\": {expected}"));
    }
}
