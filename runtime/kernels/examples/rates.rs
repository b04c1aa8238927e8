//! Prints the rates of the kernels on this machine: GEMM as a share of the peak measured in the same
//! run, vector math in elements a second.
//!
//!     cargo run --release -p nnc-kernels --example rates [PART OF A NAME]
#![allow(clippy::print_stdout)] // Printing is what this program does.

use std::hint::black_box;
use std::time::Instant;

use nnc_kernels::args::{
    DwconvArgs, GemmArgs, I8GemmArgs, NormArgs, PackBArgs, STORE_F32, SoftmaxArgs, UnaryArgs, f32_word,
};
use nnc_kernels::{Isa, Kernel, kernels};

/// GEMM shapes: rows, columns, taps, inner elements of a tap.
const SHAPES: [(usize, usize, usize, usize); 11] = [
    (128, 768, 1, 768),
    (128, 3072, 1, 768),
    (128, 768, 1, 3072),
    (3136, 64, 1, 576),
    (12544, 64, 7, 21),
    (12544, 64, 1, 147),
    (49, 512, 9, 512),
    (1024, 1024, 1, 1024),
    (4, 768, 1, 768),
    (1, 768, 1, 768),
    (1, 4096, 1, 4096),
];

/// Depthwise convolutions: height and width, channels, window, stride.
const IMAGES: [(usize, usize, usize, usize); 5] =
    [(112, 32, 3, 1), (112, 96, 3, 2), (28, 144, 5, 1), (14, 512, 3, 1), (7, 960, 5, 1)];

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let peak = peak();
    println!("f32 peak {peak:.1} GFLOP/s");
    let runnable = |row: &&Kernel| Isa::available().contains(&row.isa) && row.name.contains(&part);
    for kernel in kernels().filter(runnable) {
        match kernel.contract {
            "f32_gemm" => SHAPES.iter().for_each(|&shape| gemm(kernel, shape, peak)),
            "i8_gemm" => SHAPES.iter().for_each(|&shape| i8_gemm(kernel, shape, peak)),
            "f32_pack_b" => [(1, 768), (768, 1)].iter().for_each(|&strides| pack_b(kernel, strides)),
            "f32_dwconv" => IMAGES.iter().for_each(|&image| dwconv(kernel, image, peak)),
            "f32_softmax" => softmax(kernel),
            "f32_norm" => norm(kernel),
            "f32_pool" | "f32_lstm_cell" | "f32_reduce_sum" | "f32_reduce_max" | "f32_reduce_min"
            | "f32_pow" | "f32_atan2" | "f32_fmod" => {}
            name if name.starts_with("f64") => {}
            _ => vector_math(kernel),
        }
    }
}

/// The shortest time of many calls, in seconds of this thread's processor time: neighbors on a shared
/// machine then only disturb the caches.
fn best_of(mut f: impl FnMut()) -> f64 {
    let (mut best, start) = (f64::INFINITY, Instant::now());
    while start.elapsed().as_millis() < 150 {
        let call = thread_seconds();
        f();
        best = best.min(thread_seconds() - call);
    }
    best
}

/// Processor time of this thread.
#[cfg(target_os = "linux")]
fn thread_seconds() -> f64 {
    unsafe extern "C" {
        fn clock_gettime(clock: std::ffi::c_int, time: *mut [i64; 2]) -> std::ffi::c_int;
    }
    const CLOCK_THREAD_CPUTIME_ID: std::ffi::c_int = 3;
    let mut time = [0; 2];
    // SAFETY: the time is two 64-bit words on 64-bit Linux.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time[0] as f64 + time[1] as f64 * 1e-9
}

/// Wall-clock time, where the thread's own is not at hand.
#[cfg(not(target_os = "linux"))]
fn thread_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

fn gemm(kernel: &Kernel, (m, n, taps, kc): (usize, usize, usize, usize), peak: f64) {
    let k = taps * kc;
    let (a, b, mut c) = (lines(m * k, 0.5), lines(n.div_ceil(16) * 16 * k, 0.25), lines(m * n, 0.0));
    let a = a.as_ptr().cast::<f32>();
    // Row r of tap t starts kc elements further, as pixels of a channels-last image do.
    let rows: Vec<*const f32> = (0..taps * m).map(|i| a.wrapping_add(i % m * k + i / m * kc)).collect();
    let args = GemmArgs {
        c: c.as_mut_ptr().cast(),
        ldc: n as i64,
        m: m as i64,
        n: n as i64,
        rows: if taps > 1 { rows.as_ptr() } else { std::ptr::null() },
        rows_stride: m as i64,
        a,
        lda: k as i64,
        taps: taps as i64,
        kc: kc as i64,
        b: b.as_ptr().cast(),
        b_panel_stride: (k * 16) as i64,
        flags: 0,
        bias: std::ptr::null(),
        scale: std::ptr::null(),
        residual: std::ptr::null(),
        ld_residual: 0,
        lo: 0,
        hi: 0,
        zeros: std::ptr::null(),
    };
    let seconds = seconds(kernel, &args);
    let rate = 2.0 * (m * n * k) as f64 / seconds / 1e9;
    let share = 100.0 * rate / peak;
    let bytes = (n * k * 4) as f64 / seconds / 1e9;
    println!(
        "{:24} {m}x{n}x{k}: {rate:6.1} GFLOP/s {share:5.1} % of peak, B at {bytes:5.1} GB/s",
        kernel.name
    );
}

fn i8_gemm(kernel: &Kernel, (m, n, taps, kc): (usize, usize, usize, usize), peak: f64) {
    let k = taps * kc.next_multiple_of(4);
    let (a, b) =
        (lines((m * taps * kc).div_ceil(4), 0.5), lines((n.div_ceil(16) * 16 * k).div_ceil(4), 0.25));
    let (mut c, scale) = (lines(m * n, 0.0), lines(n, 1.0));
    let a = a.as_ptr().cast::<u8>();
    let rows: Vec<*const u8> =
        (0..taps * m).map(|i| a.wrapping_add(i % m * taps * kc + i / m * kc)).collect();
    let args = I8GemmArgs {
        c: c.as_mut_ptr().cast(),
        ldc: n as i64,
        m: m as i64,
        n: n as i64,
        rows: rows.as_ptr(),
        rows_stride: m as i64,
        a,
        lda: (taps * kc) as i64,
        taps: taps as i64,
        kc: kc as i64,
        b: b.as_ptr().cast(),
        b_panel_stride: (k * 16) as i64,
        flags: 0,
        store: STORE_F32,
        a_zero: 0,
        b_zero: std::ptr::null(),
        column_sums: std::ptr::null(),
        bias: std::ptr::null(),
        scale: scale.as_ptr().cast(),
        factor: f32_word(1.0),
        float_bias: std::ptr::null(),
        out_zero: 0,
        lo: 0,
        hi: 0,
    };
    let rate = 2.0 * (m * n * taps * kc) as f64 / seconds(kernel, &args) / 1e9;
    let times = rate / peak;
    println!("{:24} {m}x{n}x{}: {rate:6.1} GOP/s, {times:4.2} x f32 peak", kernel.name, taps * kc);
}

/// A cache line, to which tensors are aligned.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([f32; 16]);

/// Room for `len` floats of that value.
fn lines(len: usize, value: f32) -> Vec<Line> {
    let mut lines = Vec::with_capacity(len.div_ceil(16));
    advise_huge_pages(&lines);
    lines.resize(lines.capacity(), Line([value; 16]));
    lines
}

/// Asks for huge pages under a big vector that is not yet written, as the runtime does for arenas:
/// with small ones a matrix-vector product is a quarter slower.
fn advise_huge_pages(vec: &Vec<Line>) {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn madvise(addr: *mut std::ffi::c_void, len: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
        }
        const HUGE_PAGE: usize = 2 << 20;
        const MADV_HUGEPAGE: std::ffi::c_int = 14;
        let start = (vec.as_ptr() as usize).next_multiple_of(HUGE_PAGE);
        let end = vec.as_ptr() as usize + size_of::<Line>() * vec.capacity();
        if start < end {
            // SAFETY: the range lies in the vector's own memory, and advice does not change it.
            unsafe { madvise(start as *mut _, end - start, MADV_HUGEPAGE) };
        }
    }
}

fn vector_math(kernel: &Kernel) {
    let src: Vec<f32> = (0..1024).map(|i| (i as f32 - 300.0) / 100.0).collect();
    let mut dst = vec![0.0f32; src.len()];
    let args = UnaryArgs { dst: dst.as_mut_ptr().cast(), src: src.as_ptr().cast(), n: src.len() as i64 };
    let seconds = seconds(kernel, &args);
    println!("{:24} {:6.3} G elements/s", kernel.name, src.len() as f64 / seconds / 1e9);
}

/// Times a kernel over its arguments; short calls by the hundred, since reading the clock takes time.
fn seconds<Args>(kernel: &Kernel, args: &Args) -> f64 {
    // SAFETY: the callers' arguments describe their vectors; `main` passes only what the CPU can run.
    let call = || unsafe { (kernel.func)(std::ptr::from_ref(args).cast()) };
    let calls = if best_of(call) < 1e-4 { 100 } else { 1 };
    best_of(|| (0..calls).for_each(|_| call())) / f64::from(calls)
}

fn pack_b(kernel: &Kernel, (k_stride, n_stride): (i64, i64)) {
    let (src, mut dst) = (lines(768 * 768, 1.0), lines(768 * 768, 0.0));
    let args = PackBArgs {
        dst: dst.as_mut_ptr().cast(),
        src: src.as_ptr().cast(),
        k: 768,
        n: 768,
        k_stride,
        n_stride,
        dst_panel_stride: 768 * 16,
    };
    let rate = (2 * 4 * 768 * 768) as f64 / seconds(kernel, &args) / 1e9;
    println!("{:24} 768x768, strides {k_stride} {n_stride}: {rate:5.1} GB/s", kernel.name);
}

fn dwconv(kernel: &Kernel, (size, channels, window, stride): (usize, usize, usize, usize), peak: f64) {
    let out_size = size / stride;
    let (x, mut out) = (lines(size * size * channels, 0.5), lines(out_size * out_size * channels, 0.0));
    let (weights, pad) = (lines(window * window * channels, 0.5), (window / 2) as i64);
    let mut args = DwconvArgs {
        out: out.as_mut_ptr().cast(),
        out_pixel_stride: channels as i64,
        x: x.as_ptr().cast(),
        x_row_stride: (size * channels) as i64,
        x_pixel_stride: channels as i64,
        h: size as i64,
        w: size as i64,
        c_n: channels as i64,
        ow_n: out_size as i64,
        ih0: 0,
        kh: window as i64,
        kw: window as i64,
        stride_w: stride as i64,
        pad_w: pad,
        dil_h: 1,
        dil_w: 1,
        weights: weights.as_ptr().cast(),
        w_tap_stride: channels as i64,
        bias: std::ptr::null(),
        flags: 0,
        lo: 0,
        hi: 0,
    };
    let seconds = best_of(|| {
        for row in 0..out_size {
            args.out = out.as_mut_ptr().cast::<f32>().wrapping_add(row * out_size * channels);
            args.ih0 = (row * stride) as i64 - pad;
            // SAFETY: the arguments describe one row of the images above.
            unsafe { (kernel.func)(std::ptr::from_ref(&args).cast()) };
        }
    });
    let rate = 2.0 * (out_size * out_size * channels * window * window) as f64 / seconds / 1e9;
    let share = 100.0 * rate / peak;
    println!(
        "{:24} {size}x{size}x{channels}, {window}x{window}/{stride}: {rate:6.1} GFLOP/s {share:5.1} % of peak",
        kernel.name
    );
}

fn softmax(kernel: &Kernel) {
    let (src, mut dst) = (lines(96 * 128, 0.5), lines(96 * 128, 0.0));
    let args = SoftmaxArgs {
        dst: dst.as_mut_ptr().cast(),
        src: src.as_ptr().cast(),
        rows: 96,
        n: 128,
        dst_row_stride: 128,
        src_row_stride: 128,
        mode: 0,
        scale: f32_word(0.125),
        mask: std::ptr::null(),
        mask_row_stride: 0,
        valid_n0: 128,
        valid_step: 0,
    };
    let rate = (96 * 128) as f64 / seconds(kernel, &args) / 1e9;
    println!("{:24} 96x128: {rate:6.3} G elements/s", kernel.name);
}

fn norm(kernel: &Kernel) {
    let (src, mut dst) = (lines(32 * 768, 0.5), lines(32 * 768, 0.0));
    let (gamma, beta) = (lines(768, 1.0), lines(768, 0.0));
    let args = NormArgs {
        dst: dst.as_mut_ptr().cast(),
        src: src.as_ptr().cast(),
        rows: 32,
        n: 768,
        dst_row_stride: 768,
        src_row_stride: 768,
        gamma: gamma.as_ptr().cast(),
        beta: beta.as_ptr().cast(),
        eps: f32_word(1e-5),
        mode: 0,
        mean_out: std::ptr::null_mut(),
        inv_std_out: std::ptr::null_mut(),
    };
    let rate = (32 * 768) as f64 / seconds(kernel, &args) / 1e9;
    println!("{:24} 32x768: {rate:6.3} G elements/s", kernel.name);
}

/// The rate of independent multiply-adds in registers.
#[cfg(target_arch = "x86_64")]
fn peak() -> f64 {
    use std::arch::x86_64::*;
    const ROUNDS: usize = 100_000;
    #[target_feature(enable = "avx2,fma")]
    fn avx2() -> f32 {
        let factor = black_box(_mm256_set1_ps(0.999));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        sums.iter().map(|&sum| _mm256_cvtss_f32(sum)).sum()
    }
    #[target_feature(enable = "avx512f")]
    fn avx512() -> f32 {
        let factor = black_box(_mm512_set1_ps(0.999));
        let mut sums = [_mm512_set1_ps(1.0); 12];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        sums.iter().map(|&sum| _mm512_cvtss_f32(sum)).sum()
    }
    let has = |isa| Isa::available().contains(&isa);
    let rate = |lanes: usize, seconds: f64| (2 * 12 * lanes * ROUNDS) as f64 / seconds / 1e9;
    let mut best = 0.0f64;
    if has(Isa::Avx2) {
        // SAFETY: checked on the line above.
        best = best.max(rate(8, best_of(|| _ = black_box(unsafe { avx2() }))));
    }
    if has(Isa::Avx512) {
        // SAFETY: checked on the line above.
        best = best.max(rate(16, best_of(|| _ = black_box(unsafe { avx512() }))));
    }
    best
}

/// Not measured on other processors.
#[cfg(not(target_arch = "x86_64"))]
fn peak() -> f64 {
    black_box(f64::NAN)
}
