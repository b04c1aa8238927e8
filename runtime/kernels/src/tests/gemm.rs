//! `f32_gemm` against a reference in f64.

use std::vec;
use std::vec::Vec;

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::Kernel;
use crate::args::{ACCUM, BIAS, CLAMP, GemmArgs, RESIDUAL, SCALE, f32_word};

/// One product to check.
#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    taps: usize,
    kc: usize,
    flags: i64,
    /// Elements between the end of a row and the next, of C, A and the residual.
    gap: usize,
    /// Whether A comes as row pointers.
    by_rows: bool,
}

/// Packs a K×N matrix into panels of 16 columns.
fn panels(b: &[f32], k_n: usize, n: usize) -> Vec<f32> {
    let mut packed = vec![0.0; n.div_ceil(16) * k_n * 16];
    for k in 0..k_n {
        for j in 0..n {
            packed[j / 16 * k_n * 16 + k * 16 + j % 16] = b[k * n + j];
        }
    }
    packed
}

/// Runs one case and compares each element; what lies between rows of C must not change.
fn check(kernel: &Kernel, case: Case) {
    let Case { m, n, taps, kc, flags, gap, by_rows } = case;
    let mut random = Random(m as u64 * 31 + n as u64);
    let (k_n, ldc, lda) = (taps * kc, n + gap, kc + gap);
    let a = random.vec(taps * m * lda);
    let b = random.vec(k_n * n);
    let c0 = random.vec((m * ldc).saturating_sub(gap));
    let residual0 = random.vec((m * ldc).saturating_sub(gap));
    let (bias0, scale0) = (random.vec(n), random.vec(n));
    // The last row of A ends at the guard.
    let a_guarded = Guarded::new(&a[..a.len().saturating_sub(gap)]);
    let packed = Guarded::new(&panels(&b, k_n, n));
    let (c, residual) = (Guarded::new(&c0), Guarded::new(&residual0));
    let (bias, scale) = (Guarded::new(&bias0), Guarded::new(&scale0));
    let pointers: Vec<*const f32> =
        (0..taps * m).map(|r| a_guarded.ptr().wrapping_add(r * lda).cast_const()).collect();
    let rows = Guarded::new(&pointers);
    call(
        kernel,
        &GemmArgs {
            c: c.ptr(),
            ldc: ldc as i64,
            m: m as i64,
            n: n as i64,
            rows: if by_rows { rows.ptr() } else { core::ptr::null() },
            rows_stride: m as i64,
            a: a_guarded.ptr(),
            lda: lda as i64,
            taps: taps as i64,
            kc: kc as i64,
            b: packed.ptr(),
            b_panel_stride: (k_n * 16) as i64,
            flags,
            bias: bias.ptr(),
            scale: scale.ptr(),
            residual: residual.ptr(),
            ld_residual: ldc as i64,
            lo: f32_word(-0.5),
            hi: f32_word(0.75),
            zeros: core::ptr::null(),
        },
    );
    let got = c.get();
    for (at, &value) in got.iter().enumerate() {
        let (r, j) = (at / ldc, at % ldc);
        if j >= n {
            assert_eq!(value, c0[at], "{} {case:?} wrote between rows", kernel.name);
            continue;
        }
        let mut want = if flags & ACCUM != 0 { f64::from(c0[at]) } else { 0.0 };
        let mut magnitude = 4.0;
        for k in 0..k_n {
            let product = f64::from(a[(k / kc * m + r) * lda + k % kc]) * f64::from(b[k * n + j]);
            want += product;
            magnitude += product.abs();
        }
        if flags & SCALE != 0 {
            want *= f64::from(scale0[j]);
        }
        if flags & BIAS != 0 {
            want += f64::from(bias0[j]);
        }
        if flags & RESIDUAL != 0 {
            want += f64::from(residual0[at]);
        }
        if flags & CLAMP != 0 {
            want = want.clamp(-0.5, 0.75);
        }
        // Rounding errors of a sum grow with the square root of its length.
        let tolerance = f64::from(f32::EPSILON) * magnitude * (1.0 + (k_n as f64).sqrt() / 8.0);
        assert!(
            (f64::from(value) - want).abs() < tolerance,
            "{} {case:?}: element ({r}, {j}) is {value}, expected {want}",
            kernel.name
        );
    }
}

#[test]
fn all_sizes_around_the_tile() {
    for kernel in rows_of("f32_gemm") {
        let (mr, nr) = kernel.tile;
        for m in 0..=2 * mr + 1 {
            for n in (0..=2 * nr + 1).filter(|n| n % 3 == m % 3 || n % nr <= 1) {
                check(kernel, Case { m, n, taps: 1, kc: 5, flags: 0, gap: m % 4, by_rows: n % 2 == 0 });
            }
        }
    }
}

#[test]
fn few_rows_over_many_panels() {
    for kernel in rows_of("f32_gemm") {
        for m in 1..=7 {
            for n in [100, 127, 128, 129, 150, 200, 290] {
                check(kernel, Case { m, n, taps: 1, kc: 9, flags: BIAS, gap: 3, by_rows: false });
            }
        }
    }
}

#[test]
fn every_combination_of_flags() {
    for kernel in rows_of("f32_gemm") {
        for flags in 0..32 {
            for (m, n) in [(1, 19), (5, 16), (17, 37), (21, 1)] {
                check(kernel, Case { m, n, taps: 1, kc: 7, flags, gap: 2, by_rows: flags % 2 == 0 });
                check(kernel, Case { m, n, taps: 1, kc: 0, flags, gap: 2, by_rows: false });
            }
        }
    }
}

#[test]
fn taps_and_depths() {
    for kernel in rows_of("f32_gemm") {
        for (taps, kc) in [(9, 1), (9, 3), (3, 16), (2, 130), (1, 300), (1, 515), (4, 256)] {
            let flags = BIAS | CLAMP;
            check(kernel, Case { m: 15, n: 40, taps, kc, flags, gap: 0, by_rows: true });
            check(kernel, Case { m: 19, n: 1, taps, kc, flags, gap: 0, by_rows: true });
        }
    }
}

#[test]
fn rows_that_collide_in_the_cache() {
    for kernel in rows_of("f32_gemm") {
        for kc in [128, 1024, 1000] {
            check(kernel, Case { m: 29, n: 33, taps: 1, kc, flags: 0, gap: 1024 - kc, by_rows: false });
            check(kernel, Case { m: 14, n: 33, taps: 2, kc, flags: ACCUM, gap: 1024 - kc, by_rows: true });
        }
    }
}

#[test]
fn a_single_column_is_the_same_on_every_cpu() {
    const DEPTH: usize = 19;
    let mut random = Random(7);
    let (a, b) = (random.vec(20 * DEPTH), random.vec(DEPTH));
    let packed = panels(&b, DEPTH, 1);
    let by_fours = |row: &[f32]| {
        let products: Vec<f32> = row.iter().zip(&b).map(|(x, y)| x * y).collect();
        let group = |four: &[f32]| four.iter().copied().reduce(|s, p| s + p).unwrap();
        products.chunks(4).map(group).fold(0.0, |s, g| s + g)
    };
    let want: Vec<f32> = a.chunks(DEPTH).map(by_fours).collect();
    for kernel in rows_of("f32_gemm") {
        let (panel, c) = (Guarded::new(&packed), Guarded::new(&[0.0f32; 20]));
        let mut args = GemmArgs { m: 20, kc: DEPTH as i64, ..product(&[0.0; 4], &panel, &c) };
        (args.a, args.lda, args.b_panel_stride) = (a.as_ptr(), DEPTH as i64, DEPTH as i64 * 16);
        call(kernel, &args);
        assert_eq!(c.get(), want, "{}", kernel.name);
    }
}

#[test]
fn nan_and_infinity_propagate() {
    for kernel in rows_of("f32_gemm") {
        let (a, c) = ([f32::NAN, 1.0, f32::INFINITY, 0.5], Guarded::new(&[0.0f32; 4]));
        let b = Guarded::new(&[1.0f32; 16]);
        let mut args = GemmArgs { flags: CLAMP, ..product(&a, &b, &c) };
        args.lo = f32_word(f32::NEG_INFINITY);
        args.hi = f32_word(2.0);
        call(kernel, &args);
        let got = c.get();
        assert!(got[0].is_nan(), "{} lost a NaN", kernel.name);
        assert_eq!(got[1..], [1.0, 2.0, 0.5], "{}", kernel.name);
    }
}

#[test]
fn residual_may_be_the_output() {
    for kernel in rows_of("f32_gemm") {
        let (a, c) = ([1.0, 2.0, 3.0, 4.0], Guarded::new(&[10.0f32, 20.0, 30.0, 40.0]));
        let b = Guarded::new(&[2.0f32; 16]);
        let scale = [0.5f32];
        let mut args = GemmArgs { flags: RESIDUAL | SCALE, ..product(&a, &b, &c) };
        (args.residual, args.ld_residual, args.scale) = (c.ptr(), 1, scale.as_ptr());
        call(kernel, &args);
        assert_eq!(c.get(), [11.0, 22.0, 33.0, 44.0], "{}", kernel.name);
    }
}

#[test]
fn taps_in_the_padding_are_left_out() {
    for kernel in rows_of("f32_gemm") {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], Guarded::new(&[2.0f32; 48]));
        // What is left out is not read: the buffer may hold anything.
        let padding = [f32::NAN];
        for (m, outside) in [(4, 1), (1, 0), (1, 2)] {
            let c = Guarded::new(&[0.0f32; 4]);
            let rows: Vec<*const f32> = (0..3 * m)
                .map(|at| if at / m == outside { padding.as_ptr() } else { a.as_ptr().wrapping_add(at % m) })
                .collect();
            let mut args = GemmArgs { m: m as i64, taps: 3, b_panel_stride: 48, ..product(&a, &b, &c) };
            (args.rows, args.rows_stride, args.zeros) = (rows.as_ptr(), m as i64, padding.as_ptr());
            call(kernel, &args);
            assert_eq!(c.get()[..m], [4.0, 8.0, 12.0, 16.0][..m], "{}", kernel.name);
        }
    }
}

/// A 4×1 product with one inner element.
fn product(a: &[f32; 4], b: &Guarded<f32>, c: &Guarded<f32>) -> GemmArgs {
    GemmArgs {
        c: c.ptr(),
        ldc: 1,
        m: 4,
        n: 1,
        rows: core::ptr::null(),
        rows_stride: 0,
        a: a.as_ptr(),
        lda: 1,
        taps: 1,
        kc: 1,
        b: b.ptr(),
        b_panel_stride: 16,
        flags: 0,
        bias: core::ptr::null(),
        scale: core::ptr::null(),
        residual: core::ptr::null(),
        ld_residual: 0,
        lo: 0,
        hi: 0,
        zeros: core::ptr::null(),
    }
}
