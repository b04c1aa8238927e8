//! Shapes that devices have kernels of their own for: products of few rows.

use crate::device::device_against_interpreter;
use crate::operators::{conv, graph, ramp};
use nnc_ir::{Attr, Builder, Dim, OpError, ScalarOp, Value, ValueId, attrs};

type Build<'b> = &'b dyn Fn(&mut Builder, ValueId) -> Result<ValueId, OpError>;

/// Runs a graph of one input on a device; its sizes are those of `dims` that `shape` gives a value.
fn check(what: &str, dims: &[Dim], shape: &[usize], build: Build) {
    let graph = graph(dims, build);
    let error = device_against_interpreter(&graph, &[Value::Tensor(ramp(shape))]);
    assert!(error < 1e-5, "{what} of {shape:?}: relative error {error}");
}

fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|n| Dim::len(*n)).collect()
}

#[test]
fn few_rows_by_packed_weights() {
    for (m, k, n) in [(1, 300, 16), (1, 37, 45), (2, 4, 1), (3, 129, 33), (8, 64, 100), (5, 1, 20)] {
        let build = |b: &mut Builder, x| {
            let (w, bias) = (b.constant(ramp(&[k, n])), b.constant(ramp(&[n])));
            let y = b.contract("mk", "kn", "mn", x, w)?;
            let y = b.binary(ScalarOp::Add, y, bias)?;
            let y = b.binary_const(ScalarOp::Max, y, 0.0)?;
            let more = b.constant(ramp(&[n, n]));
            let z = b.contract("mk", "kn", "mn", y, more)?;
            b.binary(ScalarOp::Add, z, y)
        };
        check("packed weights", &fixed(&[m, k]), &[m, k], &build);
        check("packed weights", &[Dim::named("m"), Dim::len(k)], &[m, k], &build);
    }
}

#[test]
fn rows_that_a_launch_finds_few_or_many() {
    for m in [1, 8, 9, 64, 65, 130] {
        let build = |b: &mut Builder, x| {
            let w = b.constant(ramp(&[20, 70]));
            let y = b.contract("mk", "kn", "mn", x, w)?;
            b.unary(ScalarOp::Sigmoid, y)
        };
        check("open rows", &[Dim::named("m"), Dim::int(20)], &[m, 20], &build);
    }
}

#[test]
fn few_rows_by_activations() {
    for (m, k) in [(1, 64), (3, 70), (8, 5)] {
        let build = |b: &mut Builder, x: ValueId| {
            let w = b.constant(ramp(&[200, k]));
            let all = b.contract("mk", "nk", "nm", x, w)?;
            let all = b.unary(ScalarOp::Abs, all)?;
            let y = b.contract("nm", "mk", "nk", all, x)?;
            let z = b.contract("mk", "nk", "mn", x, y)?;
            b.contract("mn", "nk", "mk", z, y)
        };
        check("activations", &fixed(&[m, k]), &[m, k], &build);
        check("activations", &[Dim::named("m"), Dim::len(k)], &[m, k], &build);
    }
}

#[test]
fn few_pixels() {
    for (c, o, side, pad) in [(40, 24, 2, 1), (7, 33, 1, 1), (300, 17, 2, 0)] {
        let build = |b: &mut Builder, x| {
            let y = conv(b, x, ramp(&[o, c, 1, 1]), 1, 0, 1)?;
            let z = conv(b, y, ramp(&[o, o, 1 + pad * 2, 1 + pad * 2]), 1, pad as i64, 1)?;
            b.binary(ScalarOp::Add, y, z)
        };
        check("pixels", &fixed(&[1, c, side, side]), &[1, c, side, side], &build);
    }
}

#[test]
fn attention_of_few_queries() {
    for (queries, heads) in [(1, 2), (3, 1), (9, 2)] {
        let build = |b: &mut Builder, x: ValueId| {
            let keys = b.constant(ramp(&[1, heads, 150, 20]));
            let values = b.unary(ScalarOp::Neg, keys)?;
            let mask = b.constant(ramp(&[1, 1, 1, 150]));
            let attrs = attrs! {
                causal: Attr::Int(0), heads_last: Attr::Int(0), past: Attr::Dims(vec![Dim::ZERO]),
                scale: Attr::Float(0.25), softcap: Attr::Float(0.0)
            };
            b.one("attention", attrs, &[x, keys, values, mask])
        };
        let shape = [1, heads, queries, 20];
        check("queries", &fixed(&shape), &shape, &build);
        let dims = [Dim::ONE, Dim::len(heads), Dim::named("q"), Dim::int(20)];
        check("queries", &dims, &shape, &build);
    }
}

fn softmax(b: &mut Builder, x: ValueId, log: i64) -> Result<ValueId, OpError> {
    let axis = b.graph.tensor_ty(x).rank() as i64 - 1;
    b.one("softmax", attrs! { axis: Attr::Int(axis), log: Attr::Int(log) }, &[x])
}

fn layer_norm(b: &mut Builder, x: ValueId, n: usize, rms: i64) -> Result<ValueId, OpError> {
    let axes_from = b.graph.tensor_ty(x).rank() as i64 - 1;
    let (gamma, beta) = (b.constant(ramp(&[n])), b.constant(ramp(&[n])));
    let attrs = attrs! { axes_from: Attr::Int(axes_from), eps: Attr::Float(1e-5), rms: Attr::Int(rms) };
    b.one("layer_norm", attrs, &[x, gamma, beta])
}

#[test]
fn rows_of_every_length() {
    for n in [1, 7, 31, 32, 33, 100, 768, 1024, 1025, 3000, 9000] {
        for rows in [1, 8, 21] {
            let build = |b: &mut Builder, x| {
                let y = softmax(b, x, 0)?;
                let z = softmax(b, x, 1)?;
                let u = layer_norm(b, x, n, 0)?;
                let v = layer_norm(b, x, n, 1)?;
                let mean = b.reduce("sum", v, &[1])?;
                let greatest = b.reduce("max", u, &[1])?;
                let y = b.binary(ScalarOp::Add, y, z)?;
                let y = b.reduce("sum", y, &[1])?;
                let y = b.binary(ScalarOp::Mul, y, mean)?;
                b.binary(ScalarOp::Sub, y, greatest)
            };
            check("rows", &fixed(&[rows, n]), &[rows, n], &build);
            check("rows", &[Dim::named("rows"), Dim::len(n)], &[rows, n], &build);
            check("rows", &[Dim::len(rows), Dim::named("n")], &[rows, n], &|b, x| softmax(b, x, 0));
        }
    }
}
