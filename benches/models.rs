//! Latency of whole models on one thread, from their artifacts; `peers.py` compares with others.
//!
//!     cargo bench -p nnc-benches --bench models [-- PART OF A NAME]
//!
//! `NNC_MATERIALIZED` names a folder with more models, each as NAME/model.onnx.

use criterion::{Criterion, criterion_group, criterion_main};
use nnc::{Options, compile};
use nnc_benches::{graph, inputs, models};
use nnc_runtime::{Artifact, Pool, Session, SessionOptions, Value};
use std::hint::black_box;
use std::sync::Arc;

fn latencies(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut group = c.benchmark_group("models");
    group.sample_size(20);
    for (name, path) in models() {
        let artifact = folder.path().join(format!("{name}.nnc"));
        compile(&graph(&path), &Options::default(), &artifact).unwrap_or_else(|e| panic!("{name}: {e}"));
        let artifact = Arc::new(Artifact::open(&artifact).unwrap_or_else(|e| panic!("{name}: {e}")));
        let one = SessionOptions { executor: Some(Arc::new(Pool::new(1))), ..SessionOptions::default() };
        let mut session = Session::with_options(artifact, &one);
        let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
        let values = names.iter().map(String::as_str).zip(inputs(&path));
        let named: Vec<(&str, Value)> = values.collect();
        group.bench_function(&name, |b| b.iter(|| black_box(session.run(&named).expect("the model runs"))));
    }
    group.finish();
}

criterion_group!(benches, latencies);
criterion_main!(benches);
