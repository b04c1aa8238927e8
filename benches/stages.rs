//! Where compilation spends its time: reading, passes, lowering, machine code with the artifact.
//!
//!     cargo bench -p nnc-benches --bench stages [-- PART OF A NAME]
//!
//! `NNC_MATERIALIZED` names a folder with more models, each as NAME/model.onnx.

use criterion::{Criterion, criterion_group, criterion_main};
use nnc::{Options, compile, emit, optimize};
use nnc_benches::{graph, models};
use nnc_passes::{Report, Target, lower};
use std::hint::black_box;
use std::time::Duration;

fn stages(c: &mut Criterion) {
    let options = Options::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let artifact = folder.path().join("model.nnc");
    for (name, path) in models() {
        let imported = graph(&path);
        let optimized =
            || optimize(&imported, &options, &mut Report::default()).unwrap_or_else(|e| panic!("{e}"));
        let ready = optimized();
        let mut group = c.benchmark_group(&name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_secs(2));
        group.bench_function("import", |b| b.iter(|| black_box(graph(&path))));
        group.bench_function("passes", |b| b.iter(|| black_box(optimized())));
        group.bench_function("lower", |b| b.iter(|| black_box(lower(&ready, &Target::default()))));
        group.bench_function("emit", |b| b.iter(|| black_box(emit(&ready, &options, &artifact))));
        group.bench_function("all", |b| b.iter(|| black_box(compile(&graph(&path), &options, &artifact))));
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
