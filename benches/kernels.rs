//! Microkernels, row by row of their table: products as operations a second, functions as elements.
//!
//!     cargo bench -p nnc-benches --bench kernels [-- PART OF A NAME]
//!
//! `cargo run --release -p nnc-kernels --example rates` gives shares of the measured peak instead.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nnc_kernels::args::{GemmArgs, UnaryArgs};
use nnc_kernels::{Isa, Kernel, kernels};
use std::time::Duration;

/// Rows, columns and inner size of the products.
const SHAPES: [(usize, usize, usize); 4] = [(128, 768, 768), (3136, 64, 576), (1, 768, 768), (256, 256, 256)];
/// Elements of a tile that stays in the first-level cache.
const TILE: usize = 1024;

fn walk(c: &mut Criterion) {
    let available = Isa::available();
    for kernel in kernels().filter(|row| available.contains(&row.isa)) {
        match kernel.contract {
            "f32_gemm" => SHAPES.iter().for_each(|&shape| gemm(c, kernel, shape)),
            name if UNARY.contains(&name) => unary(c, kernel),
            _ => {}
        }
    }
}

/// Functions of one f32 tile.
const UNARY: &[&str] = &[
    "f32_exp",
    "f32_log",
    "f32_tanh",
    "f32_erf",
    "f32_sigmoid",
    "f32_gelu",
    "f32_silu",
    "f32_sin",
    "f32_cos",
];

fn gemm(c: &mut Criterion, kernel: &Kernel, (m, n, k): (usize, usize, usize)) {
    let (a, b) = (vec![0.5f32; m * k], vec![0.25f32; n.next_multiple_of(16) * k]);
    let mut out = vec![0.0f32; m * n];
    let args = GemmArgs {
        c: out.as_mut_ptr(),
        ldc: n as i64,
        m: m as i64,
        n: n as i64,
        rows: std::ptr::null(),
        rows_stride: 0,
        a: a.as_ptr(),
        lda: k as i64,
        taps: 1,
        kc: k as i64,
        b: b.as_ptr(),
        b_panel_stride: (k * 16) as i64,
        flags: 0,
        bias: std::ptr::null(),
        scale: std::ptr::null(),
        residual: std::ptr::null(),
        ld_residual: 0,
        lo: 0,
        hi: 0,
        zeros: core::ptr::null(),
    };
    measure(c, kernel, &format!("{m}x{n}x{k}"), 2 * m * n * k, &args);
}

fn unary(c: &mut Criterion, kernel: &Kernel) {
    let src: Vec<f32> = (0..TILE).map(|i| (i as f32 + 0.5) / 256.0).collect();
    let mut dst = vec![0.0f32; TILE];
    let args = UnaryArgs { dst: dst.as_mut_ptr().cast(), src: src.as_ptr().cast(), n: TILE as i64 };
    measure(c, kernel, "1024", TILE, &args);
}

fn measure<Args>(c: &mut Criterion, kernel: &Kernel, what: &str, elements: usize, args: &Args) {
    let mut group = c.benchmark_group(kernel.name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500));
    group.throughput(Throughput::Elements(elements as u64));
    // SAFETY: the callers' arguments are the contract's struct over vectors that outlive the calls, and
    // `walk` passes only what the CPU can run.
    group.bench_function(what, |b| b.iter(|| unsafe { (kernel.func)(std::ptr::from_ref(args).cast()) }));
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
