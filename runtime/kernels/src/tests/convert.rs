//! Conversions: every narrow value, and wide ones around every narrow value and tie.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{call, rows_of};
use crate::Kernel;
use crate::args::UnaryArgs;

/// Converts values whose ends are guarded.
fn convert<S: Copy, D: Copy + Default>(kernel: &Kernel, values: &[S]) -> Vec<D> {
    let (src, dst) = (Guarded::new(values), Guarded::new(&vec![D::default(); values.len()]));
    let args = UnaryArgs { dst: dst.ptr().cast(), src: src.ptr().cast(), n: values.len() as i64 };
    call(kernel, &args);
    dst.get().to_vec()
}

/// The value of 16 bits: sign, `exponent` bits, the rest fraction.
fn decode(bits: u16, exponent: u32) -> f64 {
    let fraction_bits = 15 - exponent;
    let field = i32::from(bits >> fraction_bits & ((1 << exponent) - 1));
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1u32 << fraction_bits);
    let bias = (1 << (exponent - 1)) - 1;
    let magnitude = match field {
        0 => fraction * 2f64.powi(1 - bias),
        _ if field == 2 * bias + 1 && fraction == 0.0 => f64::INFINITY,
        _ if field == 2 * bias + 1 => f64::NAN,
        _ => (1.0 + fraction) * 2f64.powi(field - bias),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[test]
fn widening_is_exact() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for (contract, exponent) in [("f16_to_f32", 5), ("bf16_to_f32", 8)] {
        for kernel in rows_of(contract) {
            for (bits, got) in all.iter().zip(convert::<u16, f32>(kernel, &all)) {
                let want = decode(*bits, exponent) as f32;
                let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                assert!(same, "{}({bits:#06x}) = {got:e}, expected {want:e}", kernel.name);
            }
        }
    }
}

#[test]
fn narrowing_rounds_to_nearest_even() {
    for (contract, exponent) in [("f32_to_f16", 5), ("f32_to_bf16", 8)] {
        // Each pair of neighbors, and the floats at, just below and just above the middle.
        let top = (1u16 << 15) - (1 << (15 - exponent));
        let mut cases: Vec<(f32, u16)> = Vec::new();
        for bits in 0..top {
            let (low, next) = (decode(bits, exponent), bits + 1);
            // The neighbor of the greatest finite value is where the next binade would begin.
            let high =
                if next == top { 2.0 * low - decode(bits - 1, exponent) } else { decode(next, exponent) };
            let middle = ((low + high) / 2.0) as f32;
            let even = if bits % 2 == 0 { bits } else { next };
            cases.extend([(low as f32, bits), (middle, even)]);
            cases.extend([(middle.next_down(), bits), (middle.next_up(), next)]);
        }
        // bf16's subnormals have middles between f32's own, all exact; leave out what is not.
        cases.retain(|&(x, _)| x.is_finite());
        cases.push((f32::INFINITY, top));
        let negative: Vec<_> = cases.iter().map(|&(x, bits)| (-x, bits | 0x8000)).collect();
        cases.extend(negative);
        let values: Vec<f32> = cases.iter().map(|case| case.0).collect();
        for kernel in rows_of(contract) {
            for (got, (x, want)) in convert::<f32, u16>(kernel, &values).into_iter().zip(&cases) {
                assert_eq!(got, *want, "{}({x:e})", kernel.name);
            }
            for got in convert::<f32, u16>(kernel, &[f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]) {
                assert!(decode(got, exponent).is_nan(), "{} lost a NaN", kernel.name);
            }
        }
    }
}

#[test]
fn every_length() {
    for contract in ["f32_to_f16", "f32_to_bf16"] {
        for kernel in rows_of(contract) {
            let values: Vec<f32> = (0..49).map(|i| i as f32).collect();
            let want = convert::<f32, u16>(kernel, &values);
            for len in 0..values.len() {
                assert_eq!(convert::<f32, u16>(kernel, &values[..len]), want[..len], "{}", kernel.name);
            }
        }
    }
    for contract in ["f16_to_f32", "bf16_to_f32"] {
        for kernel in rows_of(contract) {
            let values: Vec<u16> = (0..49).map(|i| i * 300).collect();
            let want = convert::<u16, f32>(kernel, &values);
            for len in 0..values.len() {
                assert_eq!(convert::<u16, f32>(kernel, &values[..len]), want[..len], "{}", kernel.name);
            }
        }
    }
}
