//! Small graphs, compiled and interpreted.

use crate::compare::compiled_against_interpreter;
use crate::device::device_against_interpreter;
use nnc::Options;
use nnc_ir::{Attr, Builder, DType, Dim, Graph, OpError, ScalarOp, Tensor, Type, Value, ValueId, attrs};

/// A graph of one f32 input with fixed or symbolic sizes.
pub(crate) fn graph(
    shape: &[Dim],
    f: impl FnOnce(&mut Builder, ValueId) -> Result<ValueId, OpError>,
) -> Graph {
    let mut g = Graph::new("test");
    let body = g.body();
    let x = g.add_param(body, Type::tensor(DType::F32, shape.to_vec()), Some("x".into()));
    let mut b = Builder::new(&mut g);
    let y = f(&mut b, x).expect("the graph is well formed");
    g.block_mut(body).results = vec![y];
    g.output_names = vec!["y".into()];
    g
}

pub(crate) fn ramp(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    Tensor::from_slice(shape, &x).expect("sizes agree")
}

fn check(g: &Graph, shape: &[usize]) {
    let error = compiled_against_interpreter(g, &[Value::Tensor(ramp(shape))], &Options::default());
    assert!(error < 1e-5, "relative error {error}");
    let error = device_against_interpreter(g, &[Value::Tensor(ramp(shape))]);
    assert!(error < 1e-5, "relative error {error} on a device");
}

/// A result without a name would be lost.
#[test]
fn results_without_names_are_refused() {
    let text = "graph @two(%x: f32[n]) -> (f32[n], f32[n]) {\n  %y = neg(%x) : f32[n]\n  return %x, %y\n}";
    let mut graph = nnc_ir::text::parse(text, &[]).unwrap_or_else(|e| panic!("{e}"));
    graph.output_names.truncate(1);
    let refusal = nnc_passes::lower(&graph, &nnc_passes::Target::default()).expect_err("a name is missing");
    assert!(refusal.to_string().contains("2 results and 1 names"), "{refusal}");
}

#[test]
fn elementwise_with_broadcast() {
    for shape in [[1usize, 1], [3, 5], [7, 300], [2, 5000]] {
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::len(*d)).collect();
        let g = graph(&dims, |b, x| {
            let c = b.constant(ramp(&[shape[1]]));
            let y = b.binary(ScalarOp::Add, x, c)?;
            let y = b.unary(ScalarOp::Sigmoid, y)?;
            b.binary(ScalarOp::Mul, x, y)
        });
        check(&g, &shape);
    }
}

#[test]
fn matrix_product_with_bias_and_clamp() {
    for (m, k, n) in [(1, 3, 5), (4, 17, 33), (130, 64, 100)] {
        let g = graph(&[Dim::named("m"), Dim::len(k)], |b, x| {
            let w = b.constant(ramp(&[k, n]));
            let c = b.constant(ramp(&[n]));
            let y = b.contract("mk", "kn", "mn", x, w)?;
            let y = b.binary(ScalarOp::Add, y, c)?;
            b.binary_const(ScalarOp::Max, y, 0.0)
        });
        check(&g, &[m, k]);
    }
}

#[test]
fn products_of_activations() {
    let g = graph(&[Dim::named("b"), Dim::named("s"), Dim::int(12)], |b, x| {
        let q = b.contract("bik", "bjk", "bij", x, x)?;
        let p = b.one("softmax", attrs! { axis: Attr::Int(2), log: Attr::Int(0) }, &[q])?;
        b.contract("bij", "bjk", "bik", p, x)
    });
    check(&g, &[3, 7, 12]);
    check(&g, &[1, 40, 12]);
}

pub(crate) fn conv(
    b: &mut Builder,
    x: ValueId,
    w: Tensor,
    stride: i64,
    pad: i64,
    groups: i64,
) -> Result<ValueId, OpError> {
    let o = w.shape()[0];
    let (w, bias) = (b.constant(w), b.constant(ramp(&[o])));
    let pads = Attr::Dims(vec![Dim::int(pad); 2]);
    let attrs = attrs! {
        strides: Attr::Ints(vec![stride; 2]), dilations: Attr::Ints(vec![1; 2]), pads_low: pads.clone(), pads_high: pads,
        groups: Attr::Int(groups), channels_last: Attr::Int(0)
    };
    b.one("conv", attrs, &[x, w, bias])
}

#[test]
fn convolutions() {
    for (c, o, k, stride, pad, groups) in
        [(3, 8, 3, 1, 1, 1), (8, 20, 1, 1, 0, 1), (6, 6, 3, 2, 1, 6), (8, 12, 3, 1, 1, 2), (3, 5, 7, 2, 0, 1)]
    {
        let shape = [2usize, c, 13, 11];
        let dims: Vec<Dim> = shape.iter().map(|d| Dim::len(*d)).collect();
        let g = graph(&dims, |b, x| {
            let y = conv(b, x, ramp(&[o, c / groups as usize, k, k]), stride, pad, groups)?;
            let y = b.binary_const(ScalarOp::Max, y, 0.0)?;
            let z = conv(b, y, ramp(&[o, o, 1, 1]), 1, 0, 1)?;
            let s = b.binary(ScalarOp::Add, y, z)?;
            b.reduce("sum", s, &[2, 3])
        });
        check(&g, &shape);
    }
}

/// A single row under a kernel of three, all but one of whose taps lie in the padding.
#[test]
fn a_single_row_padded_at_its_end() {
    let dims = [2, 4, 1, 9].map(Dim::int);
    let g = graph(&dims, |b, x| {
        let w = b.constant(ramp(&[5, 4, 3, 1]));
        let bias = b.constant(ramp(&[5]));
        let pads = |h: i64| Attr::Dims(vec![Dim::int(h), Dim::ZERO]);
        let attrs = attrs! {
            channels_last: Attr::Int(0), dilations: Attr::Ints(vec![1, 1]), groups: Attr::Int(1),
            pads_high: pads(2), pads_low: pads(0), strides: Attr::Ints(vec![1, 1])
        };
        b.one("conv", attrs, &[x, w, bias])
    });
    check(&g, &[2, 4, 1, 9]);
}

#[test]
fn symbolic_images() {
    let g = graph(&[Dim::named("n"), Dim::int(4), Dim::named("h"), Dim::named("w")], |b, x| {
        let y = conv(b, x, ramp(&[6, 4, 3, 3]), 2, 1, 1)?;
        let z = conv(b, y, ramp(&[6, 1, 3, 3]), 1, 1, 6)?;
        b.concat(&[y, z], 1)
    });
    check(&g, &[1, 4, 9, 12]);
    check(&g, &[2, 4, 16, 5]);
}

#[test]
fn reductions_and_movements() {
    let g = graph(&[Dim::named("a"), Dim::int(5), Dim::named("c")], |b, x| {
        let t = b.transpose(x, &[2, 0, 1])?;
        let m = b.reduce("max", t, &[2])?;
        let s = b.reduce("sum", x, &[0, 1])?;
        let s = b.reshape(s, &[Dim::named("c"), Dim::ONE])?;
        let y = b.binary(ScalarOp::Sub, m, s)?;
        b.unary(ScalarOp::Exp, y)
    });
    check(&g, &[3, 5, 18]);
    let g = graph(&[Dim::int(4), Dim::int(6)], |b, x| {
        let y = b.reshape(x, &[Dim::int(2), Dim::int(2), Dim::int(6)])?;
        let y = b.transpose(y, &[1, 2, 0])?;
        let y = b.reshape(y, &[Dim::int(8), Dim::int(3)])?;
        b.one("cumulative", attrs! { kind: Attr::Str("sum".into()), axis: Attr::Int(0), exclusive: Attr::Int(0), reverse: Attr::Int(1) }, &[y])
    });
    check(&g, &[4, 6]);
}
