//! Whole kernels, written by hand: each gives the right numbers whatever the schedule, and each of its
//! barriers, waits and bounds is missed when it is gone.

use crate::harness::{Device, bytes_of, module, numbers};
use nnc_ptx::mutate::mutants;
use nnc_ptx::{Fault, Module, Options, Swizzle, TensorMap};

const TILED: &str = include_str!("ptx/tiled_matmul.ptx");
const REDUCE: &str = include_str!("ptx/reduce.ptx");
const MMA: &str = include_str!("ptx/mma.ptx");
const PIPELINE: &str = include_str!("ptx/pipeline.ptx");
const TMA_WGMMA: &str = include_str!("ptx/tma_wgmma.ptx");

/// A kernel with a way to run it and to say whether its result is right.
struct Kernel {
    name: &'static str,
    text: &'static str,
    run: fn(&Module) -> Result<bool, Fault>,
    /// How many sites there are.
    sites: usize,
}

const KERNELS: &[Kernel] = &[
    Kernel { name: "tiled_matmul", text: TILED, run: tiled, sites: 5 },
    Kernel { name: "reduce", text: REDUCE, run: reduce, sites: 4 },
    Kernel { name: "mma", text: MMA, run: mma, sites: 1 },
    Kernel { name: "pipeline", text: PIPELINE, run: pipeline, sites: 6 },
    Kernel { name: "tma_wgmma", text: TMA_WGMMA, run: tma_wgmma, sites: 24 },
];

fn close(found: &[f32], expected: &[f32]) -> bool {
    found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-3 * e.abs().max(1.0))
}

fn product(a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    let dot =
        |i: usize, j: usize| (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum::<f64>();
    (0..m * n).map(|x| dot(x / n, x % n) as f32).collect()
}

/// C = A B with sizes that no tile divides.
fn tiled(module: &Module) -> Result<bool, Fault> {
    let (m, n, k) = (37, 21, 50);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    let mut device = Device::default();
    device.input(&bytes_of(&a));
    device.input(&bytes_of(&b));
    device.output(4 * m * n);
    for size in [m, n, k] {
        device.params.extend_from_slice(&(size as u32).to_le_bytes());
    }
    device.run(module, [(n as u32).div_ceil(16), (m as u32).div_ceil(16), 1], [16, 16, 1])?;
    Ok(close(&device.f32s(2), &product(&a, &b, m, n, k)))
}

/// The sum of each row, by shuffles within warps and shared memory between them.
fn reduce(module: &Module) -> Result<bool, Fault> {
    let (rows, columns) = (3, 1000);
    let x = numbers(rows * columns, 3);
    let mut device = Device::default();
    device.input(&bytes_of(&x));
    device.output(4 * rows);
    device.params.extend_from_slice(&(columns as u32).to_le_bytes());
    device.run(module, [rows as u32, 1, 1], [128, 1, 1])?;
    let expected: Vec<f32> = x.chunks(columns).map(|row| row.iter().sum()).collect();
    Ok(close(&device.f32s(1), &expected))
}

fn halves(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()
}

/// A 16 by 8 tile of f16 products by `ldmatrix` and `mma`.
fn mma(module: &Module) -> Result<bool, Fault> {
    let (a, b) = (numbers(16 * 16, 4), numbers(16 * 8, 5));
    let mut device = Device::default();
    device.input(&halves(&a));
    device.input(&halves(&b));
    device.output(4 * 16 * 8);
    device.run(module, [1; 3], [32, 1, 1])?;
    Ok(close(&device.f32s(2), &product(&a, &b, 16, 8, 16)))
}

/// Sums over a double-buffered pipeline of asynchronous copies.
fn pipeline(module: &Module) -> Result<bool, Fault> {
    let (chunks, threads) = (5, 64);
    let x = numbers(chunks * threads * 4, 6);
    let mut device = Device::default();
    device.input(&bytes_of(&x));
    device.output(4 * threads);
    device.params.extend_from_slice(&(chunks as u32).to_le_bytes());
    device.run(module, [1; 3], [threads as u32, 1, 1])?;
    // Thread t sums what its neighbor t ^ 1 copied.
    let sum = |t: usize| (0..chunks).flat_map(|c| &x[(c * threads + (t ^ 1)) * 4..][..4]).sum::<f32>();
    Ok(close(&device.f32s(1), &(0..threads).map(sum).collect::<Vec<_>>()))
}

/// Products of a warpgroup, fed by a producer that copies boxes through two stages.
fn tma_wgmma(module: &Module) -> Result<bool, Fault> {
    let (m, n, tiles) = (50, 24, 5);
    let k = 64 * tiles;
    let (a, b) = (numbers(m * k, 7), numbers(n * k, 8));
    let mut device = Device::default();
    let brains =
        |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect() };
    for (x, lines, in_box) in [(&a, m as u32, 64), (&b, n as u32, 24)] {
        let bytes = brains(x);
        let address = device.memory.alloc(bytes.len());
        device.memory.write(address, &bytes).expect("in bounds");
        let (sizes, strides) = (vec![k as u32, lines], vec![2 * k as u64]);
        let (boxes, swizzle) = (vec![64, in_box], Swizzle::Bytes128);
        let map = TensorMap { address, element_bytes: 2, sizes, strides, boxes, swizzle };
        device.params.extend(map.encode().expect("a map that the driver takes"));
    }
    device.output(4 * m * n);
    for size in [m, tiles] {
        device.params.extend_from_slice(&(size as u32).to_le_bytes());
    }
    device.run(module, [1; 3], [160, 1, 1])?;
    let transposed: Vec<f32> = (0..k * n).map(|i| b[i % n * k + i / n]).collect();
    Ok(close(&device.f32s(0), &product(&a, &transposed, m, n, k)))
}

#[test]
fn kernels_are_right_whatever_the_schedule() {
    for kernel in KERNELS {
        let mut module = module(kernel.text);
        for seed in 0..8 {
            *module.options_mut() = Options { seed, ..Options::default() };
            assert_eq!((kernel.run)(&module), Ok(true), "{} with seed {seed}", kernel.name);
        }
    }
}

#[test]
fn what_a_kernel_needs_is_missed_when_it_is_gone() {
    for kernel in KERNELS {
        let mutants = mutants(&module(kernel.text));
        assert_eq!(mutants.len(), kernel.sites, "{}: {mutants:?}", kernel.name);
        for mutant in mutants {
            let module = Module::parse(&mutant.text).expect("a mutant is a module");
            let module = module.with_options(Options { limit: 10_000_000, ..Options::default() });
            let found = (kernel.run)(&module);
            assert!(
                found != Ok(true),
                "{}, line {}: \"{}\" is not missed",
                kernel.name,
                mutant.line,
                mutant.was
            );
        }
    }
}

/// Not a test of speed, which depends on the machine; it prints what a loop of FMA and shared loads makes.
#[test]
fn the_interpreter_is_fast_enough_for_models() {
    let module = module(TILED);
    let (m, n, k) = (256, 256, 256);
    let mut device = Device::default();
    device.input(&bytes_of(&numbers(m * k, 1)));
    device.input(&bytes_of(&numbers(k * n, 2)));
    device.output(4 * m * n);
    for size in [m, n, k] {
        device.params.extend_from_slice(&(size as u32).to_le_bytes());
    }
    let begin = std::time::Instant::now();
    let stats =
        module.launch(&mut device.memory, "tiled_matmul", [16, 16, 1], [16, 16, 1], 0, &device.params);
    let stats = stats.expect("the kernel runs");
    let rate = stats.instructions as f64 / begin.elapsed().as_secs_f64() / 1e6;
    eprintln!("{} instructions, {rate:.0} million a second", stats.instructions);
    assert!(stats.instructions > 100_000_000);
}
