//! `i8_gemm` against loops over exact integers.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::{
    A_SIGNED, ACCUM, BIAS, CLAMP, FLOAT_BIAS, I8GemmArgs, STORE_F32, STORE_I8, STORE_I32, STORE_U8, f32_word,
};

/// One product to check.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    taps: usize,
    kc: usize,
    flags: i64,
    a_zero: i64,
    with_b_zero: bool,
    by_rows: bool,
}

impl Case {
    fn has_scale(self) -> bool {
        self.taps != 9
    }
}

/// Bytes of all values, extremes among them.
fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    random.vec(len).into_iter().map(|x| (x * 160.0).clamp(-128.0, 127.0) as i8 as u8).collect()
}

/// Packs B as the contract says.
fn panels(b: &[u8], taps: usize, kc: usize, n: usize) -> Vec<i8> {
    let groups = kc.div_ceil(4);
    let panel = taps * groups * 64;
    let mut packed = vec![0; n.div_ceil(16) * panel];
    for (k, row) in b.chunks(n.max(1)).enumerate() {
        let (tap, k) = (k / kc, k % kc);
        for (j, &byte) in row.iter().enumerate() {
            let group = tap * groups + k / 4;
            packed[j / 16 * panel + (group * 16 + j % 16) * 4 + k % 4] = byte as i8;
        }
    }
    packed
}

/// The operands of one case.
struct Operands {
    a: Vec<u8>,
    b: Vec<u8>,
    b_zero: Vec<i32>,
    bias: Vec<i32>,
    scale: Vec<f32>,
    float_bias: Vec<f32>,
}

impl Operands {
    fn new(case: Case) -> Self {
        let Case { m, n, taps, kc, .. } = case;
        let mut random = Random(m as u64 + 77 * n as u64);
        let (a, b) = (bytes(&mut random, taps * m * kc), bytes(&mut random, taps * kc * n));
        let mut ints = |range: f32| random.vec(n).into_iter().map(|x| (x * range) as i32).collect();
        let (b_zero, bias) = (ints(100.0), ints(5000.0));
        let scale = random.vec(n).into_iter().map(|x| 2e-3 * (x + 1.5)).collect();
        Self { a, b, b_zero, bias, scale, float_bias: random.vec(n) }
    }

    /// The exact sum of one element.
    fn sum(&self, case: Case, r: usize, j: usize) -> i64 {
        let Case { m, n, taps, kc, flags, a_zero, with_b_zero, .. } = case;
        let mut sum = if flags & BIAS != 0 { i64::from(self.bias[j]) } else { 0 };
        for k in 0..taps * kc {
            let a = self.a[(k / kc * m + r) * kc + k % kc];
            let a = if flags & A_SIGNED != 0 { i64::from(a as i8) } else { i64::from(a) };
            let b_zero = if with_b_zero { i64::from(self.b_zero[j]) } else { 0 };
            sum += (a - a_zero) * (i64::from(self.b[k * n + j] as i8) - b_zero);
        }
        sum
    }

    /// Runs the kernel over C.
    fn run<T: Copy>(&self, kernel: &Kernel, case: Case, store: i64, c: &Guarded<T>) {
        let Case { m, n, taps, kc, flags, a_zero, with_b_zero, by_rows } = case;
        let groups = kc.div_ceil(4);
        let a = Guarded::new(&self.a);
        let pointers: Vec<*const u8> =
            (0..taps * m).map(|r| a.ptr().wrapping_add(r * kc).cast_const()).collect();
        let rows = Guarded::new(&pointers);
        let packed = Guarded::new(&panels(&self.b, taps, kc, n));
        let mut sums = vec![0i32; n];
        for (at, &byte) in self.b.iter().enumerate() {
            sums[at % n] += i32::from(byte as i8);
        }
        let needs_sums = a_zero != 0 || flags & A_SIGNED != 0;
        let (column_sums, b_zero) = (Guarded::new(&sums), Guarded::new(&self.b_zero));
        let (bias, scale) = (Guarded::new(&self.bias), Guarded::new(&self.scale));
        let float_bias = Guarded::new(&self.float_bias);
        call(
            kernel,
            &I8GemmArgs {
                c: c.ptr().cast(),
                ldc: n as i64,
                m: m as i64,
                n: n as i64,
                rows: if by_rows { rows.ptr() } else { core::ptr::null() },
                rows_stride: m as i64,
                a: a.ptr(),
                lda: kc as i64,
                taps: taps as i64,
                kc: kc as i64,
                b: packed.ptr(),
                b_panel_stride: (taps * groups * 64) as i64,
                flags,
                store,
                a_zero,
                b_zero: if with_b_zero { b_zero.ptr() } else { core::ptr::null() },
                column_sums: if needs_sums { column_sums.ptr() } else { core::ptr::null() },
                bias: bias.ptr(),
                scale: if case.has_scale() { scale.ptr() } else { core::ptr::null() },
                factor: f32_word(0.5),
                float_bias: float_bias.ptr(),
                out_zero: 7,
                lo: f32_word(-3.0),
                hi: f32_word(5.0),
            },
        );
    }
}

/// Checks all four stores of a case.
fn check(kernel: &Kernel, case: Case) {
    let (operands, len) = (Operands::new(case), case.m * case.n);
    let ints = Guarded::new(&vec![1000i32; len]);
    operands.run(kernel, case, STORE_I32, &ints);
    let floats = Guarded::new(&vec![0f32; len]);
    operands.run(kernel, case, STORE_F32, &floats);
    let (unsigned, signed) = (Guarded::new(&vec![0u8; len]), Guarded::new(&vec![0i8; len]));
    operands.run(kernel, case, STORE_U8, &unsigned);
    operands.run(kernel, case, STORE_I8, &signed);
    for at in 0..len {
        let (r, j) = (at / case.n, at % case.n);
        let sum = operands.sum(case, r, j);
        let old = if case.flags & ACCUM != 0 { 1000 } else { 0 };
        assert_eq!(i64::from(ints.get()[at]), sum + old, "{} {case:?} ({r}, {j})", kernel.name);
        let bias = if case.flags & FLOAT_BIAS != 0 { operands.float_bias[j] } else { 0.0 };
        let scale = if case.has_scale() { operands.scale[j] } else { 1.0 };
        let y = sum as f32 * (scale * 0.5) + bias;
        let bounded = if case.flags & CLAMP != 0 { y.clamp(-3.0, 5.0) } else { y };
        assert!((floats.get()[at] - bounded).abs() <= 1e-5 * y.abs(), "{} {case:?} ({r}, {j})", kernel.name);
        let rounded = bounded.round_ties_even() as i64 + 7;
        assert_eq!(i64::from(unsigned.get()[at]), rounded.clamp(0, 255), "{} {case:?}", kernel.name);
        assert_eq!(i64::from(signed.get()[at]), rounded.clamp(-128, 127), "{} {case:?}", kernel.name);
    }
}

#[test]
fn all_sizes_around_the_tile() {
    for kernel in rows_of("i8_gemm") {
        let (mr, nr) = kernel.tile;
        for m in 0..=2 * mr + 1 {
            for n in (0..=2 * nr + 1).filter(|n| n % 5 == m % 5 || n % nr <= 1) {
                let flags = if n % 2 == 0 { A_SIGNED | BIAS } else { ACCUM };
                let (a_zero, with_b_zero) = ((m as i64 % 3) * 50, n % 3 == 0);
                let by_rows = m % 2 == 0;
                check(kernel, Case { m, n, taps: 1, kc: 1 + n % 9, flags, a_zero, with_b_zero, by_rows });
            }
        }
    }
}

#[test]
fn flags_taps_and_zero_points() {
    for kernel in rows_of("i8_gemm") {
        for flags in (0..128).filter(|flags| flags & !(ACCUM | BIAS | CLAMP | A_SIGNED | FLOAT_BIAS) == 0) {
            for (taps, kc) in [(1, 0), (1, 64), (9, 3), (2, 130)] {
                for (a_zero, with_b_zero) in [(0, false), (-3, true), (128, false)] {
                    let by_rows = taps > 1;
                    check(kernel, Case { m: 5, n: 21, taps, kc, flags, a_zero, with_b_zero, by_rows });
                }
            }
        }
    }
}
