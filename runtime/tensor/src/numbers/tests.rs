//! Numbers against values from NumPy, ml_dtypes and the tables of ONNX's `Cast`.

use super::*;
use crate::formats::{decode, encode, encode_e8m0};

/// Zeros, NaN, infinities, borders of ranges, ties, subnormal numbers.
#[rustfmt::skip]
const NUMBERS: [f64; 29] = [
    0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.47892547, 0.81910545, 1e6, -1e6, 1e-7,
    -1e-7, 448.0, 464.0, 464.1, 240.0, 248.0, 57344.0, 61440.0, 61439.0, 0.0009765625, 0.0029296875,
    7.62939453125e-06, 2.288818359375e-05, 0.25, 0.75, 5.0, -3.5, 65520.0, 65519.9,
];

/// What ml_dtypes (`astype`) and `onnx.numpy_helper.saturate_cast` give for them.
#[rustfmt::skip]
const CODES: [(DType, bool, [u16; 29]); 11] = [
    (DType::F8E4M3FN, false, [0, 128, 127, 127, 255, 47, 53, 127, 255, 0, 128, 126, 126, 127, 119, 120, 127, 127, 127, 0, 2, 0, 0, 40, 52, 74, 198, 127, 127]),
    (DType::F8E4M3FN, true, [0, 128, 127, 126, 254, 47, 53, 126, 254, 0, 128, 126, 126, 126, 119, 120, 126, 126, 126, 0, 2, 0, 0, 40, 52, 74, 198, 126, 126]),
    (DType::F8E4M3FNUZ, false, [0, 0, 128, 128, 128, 55, 61, 128, 128, 0, 0, 128, 128, 128, 127, 128, 128, 128, 128, 1, 3, 0, 0, 48, 60, 82, 206, 128, 128]),
    (DType::F8E4M3FNUZ, true, [0, 0, 128, 127, 255, 55, 61, 127, 255, 0, 0, 127, 127, 127, 127, 127, 127, 127, 127, 1, 3, 0, 0, 48, 60, 82, 206, 127, 127]),
    (DType::F8E5M2, false, [0, 128, 126, 124, 252, 56, 59, 124, 252, 0, 128, 95, 95, 95, 92, 92, 123, 124, 123, 20, 26, 0, 2, 52, 58, 69, 195, 124, 124]),
    (DType::F8E5M2, true, [0, 128, 126, 123, 251, 56, 59, 123, 251, 0, 128, 95, 95, 95, 92, 92, 123, 123, 123, 20, 26, 0, 2, 52, 58, 69, 195, 123, 123]),
    (DType::F8E5M2FNUZ, false, [0, 0, 128, 128, 128, 60, 63, 128, 128, 0, 0, 99, 99, 99, 96, 96, 127, 128, 127, 24, 30, 1, 3, 56, 62, 73, 199, 128, 128]),
    (DType::F8E5M2FNUZ, true, [0, 0, 128, 127, 255, 60, 63, 127, 255, 0, 0, 99, 99, 99, 96, 96, 127, 127, 127, 24, 30, 1, 3, 56, 62, 73, 199, 127, 127]),
    (DType::F4E2M1, false, [0, 8, 8, 7, 15, 1, 2, 7, 15, 0, 8, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 2, 6, 14, 7, 7]),
    (DType::F16, true, [0, 32768, 32256, 31744, 64512, 14250, 14990, 31744, 64512, 2, 32770, 24320, 24384, 24384, 23424, 23488, 31488, 31616, 31616, 5120, 6656, 128, 384, 13312, 14848, 17664, 49920, 31744, 31743]),
    // A NaN of bf16 is quiet with no payload: 0x7fc0 = 32704.
    (DType::BF16, true, [0, 32768, 32704, 32640, 65408, 16117, 16210, 18804, 51572, 13271, 46039, 17376, 17384, 17384, 17264, 17272, 18272, 18288, 18288, 14976, 15168, 14080, 14272, 16000, 16192, 16544, 49248, 18304, 18304]),
];

#[test]
fn narrow_floats_round_as_the_reference_does() {
    for (dtype, saturate, codes) in CODES {
        for (x, code) in NUMBERS.into_iter().zip(codes) {
            assert_eq!(encode(dtype, x, saturate), Some(code), "{x} to {dtype}, saturate {saturate}");
        }
    }
}

#[test]
fn every_code_reads_back() {
    for &dtype in DType::ALL.iter().filter(|d| d.is_float() && d.bits() <= 16) {
        for code in 0..=u16::MAX >> (16 - dtype.bits()) {
            let x = decode(dtype, code).unwrap();
            let again = encode(dtype, x, false).unwrap();
            assert!(again == code || x.is_nan(), "{dtype} {code:#x} is {x}, encoded {again:#x}");
        }
    }
    for code in 0..=u16::MAX {
        let (f16, bf16) = (half::f16::from_bits(code), half::bf16::from_bits(code));
        let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        assert!(same(decode(DType::F16, code).unwrap(), f16.to_f64()));
        assert!(same(decode(DType::BF16, code).unwrap(), bf16.to_f64()));
    }
}

#[test]
fn e8m0_rounds_to_powers() {
    let numbers = [0.124, 0.25, 0.5, 1.1, 2.0, 3.0, 5.9, 6.0, 1.5 * 2f64.powi(127), 2f64.powi(-126)];
    for (round, codes) in [
        (Round::Up, [124, 125, 126, 128, 128, 129, 130, 130, 254, 1]),
        (Round::Down, [123, 125, 126, 127, 128, 128, 129, 129, 254, 1]),
        (Round::Nearest, [124, 125, 126, 127, 128, 129, 129, 130, 254, 1]),
    ] {
        assert_eq!(numbers.map(|x| encode_e8m0(x, true, round)), codes, "{round:?}");
    }
    // The table of special values in the text of `Cast`.
    let special = [0.0, f64::NAN, f64::INFINITY, 1e300, 1e-300];
    assert_eq!(special.map(|x| encode_e8m0(x, true, Round::Up)), [0, 255, 254, 254, 0]);
    assert_eq!(special.map(|x| encode_e8m0(x, false, Round::Nearest)), [255; 5]);
}

#[test]
fn casts_to_integers_as_numpy_does() {
    let x = Tensor::from_slice(&[8], &[-9f32, -8.7, -1.5, -0.0, 7.9, 8.0, 15.0, 300.0]).unwrap();
    for (to, expected) in [
        (DType::I4, [7, -8, -1, 0, 7, -8, -1, -4]),
        (DType::U4, [7, 8, 15, 0, 7, 8, 15, 12]),
        (DType::I2, [-1, 0, -1, 0, -1, 0, -1, 0]),
        (DType::U2, [3, 0, 3, 0, 3, 0, 3, 0]),
        (DType::I8, [-9, -8, -1, 0, 7, 8, 15, 44]),
        (DType::I64, [-9, -8, -1, 0, 7, 8, 15, 300]),
        (DType::Bool, [1, 1, 1, 0, 1, 1, 1, 1]),
    ] {
        assert_eq!(cast(&x, to, true).unwrap().to_ints(), expected, "{to}");
    }
    let wide = Tensor::from_slice(&[3], &[200i16, -1, 256]).unwrap();
    assert_eq!(cast(&wide, DType::I8, true).unwrap().to_ints(), [-56, -1, 0]);
    assert_eq!(cast(&wide, DType::U64, true).unwrap().to_ints()[1], i128::from(u64::MAX));
}

#[test]
fn integers_are_rounded_once() {
    // 2^60 + 2^36 + 1 lies just above a tie of f32; by way of f64 it would fall on it.
    let v = (1i64 << 60) + (1 << 36) + 1;
    let t = cast(&Tensor::scalar(v), DType::F32, true).unwrap();
    assert_eq!(t.elems::<f32>().unwrap()[0], v as f32);
    let t = Tensor::from_ints(DType::BF16, &[1], &[(1 << 60) + (1 << 52) + 1]).unwrap();
    assert_eq!(t.elems::<half::bf16>().unwrap()[0].to_f64(), 2f64.powi(60) + 2f64.powi(53));
}

#[test]
fn packed_types_keep_the_first_element_lowest() {
    let t = Tensor::from_ints(DType::U4, &[3], &[1, 2, 3]).unwrap();
    assert_eq!((t.bytes(), t.to_ints()), (&[0x21, 0x03][..], vec![1, 2, 3]));
    let t = Tensor::from_ints(DType::I2, &[5], &[-2, -1, 0, 1, 5]).unwrap();
    assert_eq!((t.bytes(), t.to_ints()), (&[0b01_00_11_10, 0b01][..], vec![-2, -1, 0, 1, 1]));
    assert_eq!(t.to_f64s(), [-2.0, -1.0, 0.0, 1.0, 1.0]);
}

#[test]
fn blocks_join_without_seams() {
    let n = 2 * BLOCK + 3;
    let data: Vec<i128> = (0..n as i128).collect();
    let t = Tensor::from_ints(DType::I32, &[n], &data).unwrap();
    for to in [DType::U2, DType::F4E2M1, DType::I16, DType::C64] {
        let back = cast(&cast(&t, to, true).unwrap(), DType::U2, true).unwrap().to_ints();
        let expected =
            |v: i128| if to == DType::F4E2M1 { [0, 1, 2, 3, 0, 0, 2][v.min(6) as usize] } else { v & 3 };
        assert!(data.iter().zip(&back).all(|(v, b)| *b == expected(*v)), "{to}");
    }
}

#[test]
fn complex_numbers_are_pairs() {
    let t = Tensor::from_f64s(DType::C64, &[2], &[1.0, 2.0, 0.0, -1.0]).unwrap();
    assert_eq!(t.to_f64s(), [1.0, 2.0, 0.0, -1.0]);
    assert_eq!(cast(&t, DType::C128, true).unwrap().to_f64s(), t.to_f64s());
    assert_eq!(cast(&t, DType::F32, true).unwrap().to_f64s(), [1.0, 0.0]);
    assert_eq!(cast(&t, DType::Bool, true).unwrap().to_ints(), [1, 1]);
    assert!(Tensor::from_f64s(DType::C64, &[2], &[1.0, 2.0]).is_err());
}

#[test]
fn numbers_become_text_and_back() {
    let text = |t: &Tensor| {
        let s = cast(t, DType::Str, true).unwrap();
        s.strings().iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect::<Vec<_>>()
    };
    let x = [1.0f32, 0.1, 1e20, 1e-7, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 314.15926, -0.0, 1e-5];
    let expected = ["1.0", "0.1", "1e+20", "1e-07", "nan", "inf", "-inf", "314.15927", "-0.0", "1e-05"];
    assert_eq!(text(&Tensor::from_slice(&[10], &x).unwrap()), expected);
    let x = [1e15, 1e16, 0.0001, -1234.5, 1.2345678901234568e17];
    let expected = ["1000000000000000.0", "1e+16", "0.0001", "-1234.5", "1.2345678901234568e+17"];
    assert_eq!(text(&Tensor::from_slice(&[5], &x).unwrap()), expected);
    let x = Tensor::from_f64s(DType::F16, &[3], &[0.1, 6e-5, 0.47892547]).unwrap();
    assert_eq!(text(&x), ["0.1", "6e-05", "0.479"]);
    assert_eq!(text(&Tensor::from_bools(&[2], &[true, false]).unwrap()), ["True", "False"]);
    assert_eq!(text(&Tensor::from_slice(&[2], &[i64::MIN, 5]).unwrap()), ["-9223372036854775808", "5"]);

    let words = ["3.25", "1e-5", "1E8", "+INF", "inf", "-Inf", "NaN", " 7 "];
    let t = Tensor::from_strings(&[8], words.iter().map(|w| w.as_bytes().to_vec()).collect()).unwrap();
    let numbers = cast(&t, DType::F32, true).unwrap();
    let numbers = numbers.elems::<f32>().unwrap();
    assert_eq!(numbers[..6], [3.25, 1e-5, 1e8, f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY]);
    assert!(numbers[6].is_nan() && numbers[7] == 7.0);
    let t = Tensor::from_strings(&[2], vec![b"100.5".to_vec(), b"9007199254740993".to_vec()]).unwrap();
    assert_eq!(cast(&t, DType::I64, true).unwrap().to_ints(), [100, 9007199254740993]);
    let t = Tensor::from_strings(&[1], vec![b"Hello World!".to_vec()]).unwrap();
    assert_eq!(cast(&t, DType::F32, true), Err(TensorError::NotANumber("Hello World!".into())));
}
