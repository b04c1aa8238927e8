//! Weights that fit half precision stay narrow in the artifact and give what wide ones give.

use crate::compare::compiled_against_interpreter;
use crate::operators::{conv, graph, ramp};
use nnc::Options;
use nnc_ir::{Dim, Graph, ScalarOp, Tensor, Value};

/// Numbers that f16 holds, or only bf16 does.
fn narrow(shape: &[usize], in_f16: bool) -> Tensor {
    let n: usize = shape.iter().product();
    let unit = if in_f16 { 0.125 } else { f32::from_bits(90 << 23) };
    let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) * unit).collect();
    Tensor::from_slice(shape, &x).expect("sizes agree")
}

fn check(g: &Graph, shape: &[usize], elements: usize) {
    let error = compiled_against_interpreter(g, &[Value::Tensor(ramp(shape))], &Options::default());
    assert!(error < 1e-5, "relative error {error}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.nnc");
    nnc::compile(g, &Options::default(), &path).unwrap_or_else(|e| panic!("{e}"));
    let len = std::fs::metadata(&path).expect("it was written").len();
    assert!(len < 3 * elements as u64 + 60_000, "{len} bytes for {elements} weights");
}

#[test]
fn products() {
    for (m, k, n, in_f16) in [
        (1, 700, 130, true),
        (3, 64, 300, true),
        (20, 1100, 40, false),
        (100, 513, 270, true),
        (700, 130, 130, false),
    ] {
        for rows in [Dim::named("m"), Dim::len(m)] {
            let g = graph(&[rows, Dim::len(k)], |b, x| {
                let w = b.constant(narrow(&[k, n], in_f16));
                let c = b.constant(ramp(&[n]));
                let y = b.contract("mk", "kn", "mn", x, w)?;
                let y = b.binary(ScalarOp::Add, y, c)?;
                let y = b.binary_const(ScalarOp::Max, y, 0.0)?;
                b.unary(ScalarOp::Tanh, y)
            });
            check(&g, &[m, k], k * n.next_multiple_of(16));
        }
    }
}

/// The residual of a product moves along with its columns.
#[test]
fn a_product_added_to_its_operand() {
    let n = 144;
    let g = graph(&[Dim::named("m"), Dim::len(n)], |b, x| {
        let w = b.constant(narrow(&[n, n], true));
        let y = b.contract("mk", "kn", "mn", x, w)?;
        b.binary(ScalarOp::Add, y, x)
    });
    check(&g, &[5, n], n * n);
    check(&g, &[400, n], n * n);
}

#[test]
fn convolutions() {
    for (c, o, k, stride, pad, groups) in [
        (64, 300, 1, 1, 0, 1),
        (130, 130, 1, 2, 0, 1),
        (40, 50, 3, 1, 1, 1),
        (64, 80, 3, 2, 1, 2),
        (12, 40, 7, 2, 0, 1),
    ] {
        let shape = [2usize, c, 13, 11];
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::len(*d)).collect();
        let weights = [o, c / groups as usize, k, k];
        let g = graph(&dims, |b, x| {
            let y = conv(b, x, narrow(&weights, true), stride, pad, groups)?;
            b.binary_const(ScalarOp::Max, y, 0.0)
        });
        check(&g, &shape, 2 * weights.iter().product::<usize>());
    }
}
