//! `.npy` files against bytes written by NumPy.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;

/// A file of version 1 as NumPy writes it.
fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    header += &" ".repeat(117 - header.len());
    header.push('\n');
    [b"\x93NUMPY\x01\x00v\x00", header.as_bytes(), data].concat()
}

#[test]
fn reads_numbers_of_either_order() {
    let half = read_npy(&file("<f2", "False", "(2,)", b"\x00<\x00A")).unwrap();
    assert_eq!((half.shape(), half.to_f64s()), (&[2][..], vec![1.0, 2.5]));
    let big = read_npy(&file(">i2", "False", "(2, 2)", b"\x00\x01\x00\x02\x00\x03\x00\x04")).unwrap();
    assert_eq!((big.shape(), big.to_ints()), (&[2, 2][..], vec![1, 2, 3, 4]));
    let columns = read_npy(&file("|u1", "True", "(2, 3)", b"\x00\x03\x01\x04\x02\x05")).unwrap();
    assert_eq!((columns.shape(), columns.to_ints()), (&[2, 3][..], vec![0, 1, 2, 3, 4, 5]));
    let complex = read_npy(&file(">c8", "False", "(1,)", b"?\x80\x00\x00@\x00\x00\x00")).unwrap();
    assert_eq!(complex.to_f64s(), [1.0, 2.0]);
    let scalar = read_npy(&file("|b1", "False", "()", b"\x01")).unwrap();
    assert_eq!((scalar.dtype(), scalar.rank(), scalar.bytes()), (DType::Bool, 0, &[1][..]));
}

#[test]
fn reads_strings() {
    let wide = b"a\0\0\0\0\0\0\0\0\0\0\0h\0\0\0\xe9\0\0\0\xe9\0\0\0";
    let t = read_npy(&file("<U3", "False", "(2,)", wide)).unwrap();
    assert_eq!(t.strings(), ["a".as_bytes(), "héé".as_bytes()]);
    let t = read_npy(&file(">U2", "False", "(1,)", b"\0\0\0a\0\0\0b")).unwrap();
    assert_eq!(t.strings(), [b"ab"]);
    let t = read_npy(&file("|S2", "False", "(2,)", b"abc\0")).unwrap();
    assert_eq!(t.strings(), [&b"ab"[..], b"c"]);
}

#[test]
fn writes_what_numpy_writes() {
    let t = Tensor::from_slice(&[2], &[1f32, -2.0]).unwrap();
    assert_eq!(write_npy(&t).unwrap(), file("<f4", "False", "(2,)", b"\x00\x00\x80?\x00\x00\x00\xc0"));
}

#[test]
fn what_is_written_reads_back() {
    for &dtype in DType::ALL {
        let numbers = Tensor::from_slice(&[2, 1], &[1i64, 0]).unwrap();
        let t = crate::cast(&numbers, dtype, true).unwrap();
        match write_npy(&t) {
            Ok(bytes) => assert_eq!(read_npy(&bytes).unwrap(), t),
            Err(e) => assert!(matches!(e, FileError::NoType(d) if d == dtype), "{dtype}: {e}"),
        }
    }
    let words = vec![b"\xff\xfe".to_vec(), Vec::new()];
    let t = Tensor::from_strings(&[2], words).unwrap();
    assert_eq!(read_npy(&write_npy(&t).unwrap()).unwrap(), t);
    let deep = Tensor::from_slice(&vec![1; 40_000], &[1u8]).unwrap();
    assert_eq!(read_npy(&write_npy(&deep).unwrap()).unwrap(), deep);
}

#[test]
fn damaged_files_never_panic() {
    let whole = file("<i4", "True", "(2, 1)", &[7; 8]);
    for at in 0..whole.len() {
        assert!(read_npy(&whole[..at]).is_err());
        for value in [0, b'9', b'\'', b'(', b'L', 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = read_npy(&damaged);
        }
    }
    for shape in ["(18446744073709551615,)", "(4294967296, 4294967296, 16)", "(99999999999,)", "(-1,)", "(1"]
    {
        for descr in ["<f4", "<U4", "<U18446744073709551615", "|S18446744073709551615"] {
            assert!(read_npy(&file(descr, "False", shape, &[0; 16])).is_err(), "{shape} {descr}");
        }
    }
    assert!(matches!(read_npy(&file("|O", "False", "()", b"")), Err(FileError::Unsupported(_))));
}
