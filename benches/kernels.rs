//! Microkernels, row by row of their table: products as operations a second, functions as elements.
//!
//!     cargo bench -p nnc-benches --bench kernels [-- PART OF A NAME]
//!
//! `nnc bench --kernels` gives shares of the measured peak instead, and what artifacts get.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nnc_kernels::kernels;
use nnc_kernels::trial::TRIALS;
use std::time::Duration;

fn walk(c: &mut Criterion) {
    for trial in TRIALS {
        let mut room = vec![0.5f32; trial.room()];
        for runner in kernels().filter_map(|kernel| trial.with(kernel)) {
            let mut group = c.benchmark_group(runner.kernel().name);
            group
                .sample_size(20)
                .warm_up_time(Duration::from_millis(100))
                .measurement_time(Duration::from_millis(500))
                .throughput(Throughput::Elements(trial.operations().unwrap_or(trial.elements()) as u64));
            group.bench_function(trial.to_string(), |b| b.iter(|| runner.run(&mut room, 1)));
            group.finish();
        }
    }
}

criterion_group!(benches, walk);
criterion_main!(benches);
