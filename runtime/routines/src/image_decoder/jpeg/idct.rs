//! The inverse cosine transform in integers: the method of Loeffler, Ligtenberg and Moschytz with
//! 13 bits of fraction, as jidctint.c rounds it.

const BITS: u32 = 13;
/// Bits of fraction kept between the passes.
const PASS1: u32 = 2;

/// One dimension; every result is rounded and shifted right by `shift`.
fn transform(x: [i32; 8], shift: u32) -> [i32; 8] {
    // Damaged files hold any coefficients: sums wrap where they would overflow.
    let mul = |a: i32, b: i32| a.wrapping_mul(b);
    let add = |a: i32, b: i32| a.wrapping_add(b);
    let sub = |a: i32, b: i32| a.wrapping_sub(b);

    let z1 = mul(add(x[2], x[6]), 4433);
    let (t2, t3) = (add(z1, mul(x[6], -15137)), add(z1, mul(x[2], 6270)));
    let (t0, t1) = (add(x[0], x[4]) << BITS, sub(x[0], x[4]) << BITS);
    let even = [add(t0, t3), add(t1, t2), sub(t1, t2), sub(t0, t3)];

    let z5 = mul(add(add(x[7], x[3]), add(x[5], x[1])), 9633);
    let z1 = mul(add(x[7], x[1]), -7373);
    let z2 = mul(add(x[5], x[3]), -20995);
    let z3 = add(mul(add(x[7], x[3]), -16069), z5);
    let z4 = add(mul(add(x[5], x[1]), -3196), z5);
    let odd = [
        add(mul(x[1], 12299), add(z1, z4)),
        add(mul(x[3], 25172), add(z2, z3)),
        add(mul(x[5], 16819), add(z2, z4)),
        add(mul(x[7], 2446), add(z1, z3)),
    ];
    let round = |v: i32| add(v, 1 << (shift - 1)) >> shift;
    let mut out = [0; 8];
    for i in 0..4 {
        out[i] = round(add(even[i], odd[i]));
        out[7 - i] = round(sub(even[i], odd[i]));
    }
    out
}

/// The 8 × 8 samples of a block of coefficients.
pub(super) fn block(coefficients: &[i16; 64], quant: &[i32; 64]) -> [u8; 64] {
    let mut work = [0i32; 64];
    for column in 0..8 {
        let at = |row: usize| row * 8 + column;
        let x = std::array::from_fn(|row| i32::from(coefficients[at(row)]).wrapping_mul(quant[at(row)]));
        for (row, v) in transform(x, BITS - PASS1).into_iter().enumerate() {
            work[at(row)] = v;
        }
    }
    let mut out = [0; 64];
    for (row, samples) in work.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        *samples = transform(*row, BITS + PASS1 + 3).map(|v| v.saturating_add(128).clamp(0, 255) as u8);
    }
    out
}
