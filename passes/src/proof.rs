//! For tests of passes: the graph after a pass computes what it computed before.

use crate::pass::{Pass, Report, Target};
use nnc_ir::{Builder, DType, Dim, Graph, Interpreter, OpError, Tensor, Type, Value, ValueId};

/// A graph with parameters of the given types, built by `f`.
pub(crate) fn graph(
    params: &[(DType, &[Dim])],
    f: impl FnOnce(&mut Builder, &[ValueId]) -> Result<ValueId, OpError>,
) -> Graph {
    let mut g = Graph::new("test");
    let body = g.body();
    let params: Vec<ValueId> =
        params.iter().map(|(d, s)| g.add_param(body, Type::tensor(*d, s.to_vec()), None)).collect();
    let y = f(&mut Builder::new(&mut g), &params).expect("the test's graph is well formed");
    g.block_mut(body).results.push(y);
    g.output_names.push("y".into());
    g
}

/// Numbers between -1 and 1 without pattern.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A constant without pattern.
pub(crate) fn weight(b: &mut Builder, seed: u64, shape: &[usize]) -> ValueId {
    let data = noise(seed, shape.iter().product());
    b.constant(Tensor::from_f64s(DType::F32, shape, &data).expect("a small shape"))
}

/// The graph after the pass and cleaning, proven to give the same results where every symbol is 3.
pub(crate) fn after(pass: &Pass, graph: &Graph) -> (Graph, Report) {
    let (target, mut report) = (Target::default(), Report::default());
    let folded = (crate::fold::constants::PASS.run)(graph, &target, &mut Report::default()).expect("folds");
    let mut new = (pass.run)(&folded, &target, &mut report).expect("the pass succeeds");
    for p in [&crate::fold::constants::PASS, &crate::clean::PASS] {
        new = (p.run)(&new, &target, &mut Report::default()).expect("the pass succeeds");
    }
    let mut inputs = Vec::new();
    for (i, p) in graph.block(graph.body()).params.iter().enumerate() {
        let t = graph.tensor_ty(*p);
        let shape: Vec<usize> =
            t.shape.iter().map(|d| d.eval(&|_| Some(3)).expect("no overflow") as usize).collect();
        let data = noise(i as u64 + 7, shape.iter().product());
        inputs.push(Value::Tensor(Tensor::from_f64s(t.dtype, &shape, &data).expect("a small shape")));
    }
    let run = |g: &Graph| Interpreter::new(g).run(&inputs).expect("the graph runs");
    for (a, b) in run(graph).iter().zip(run(&new)) {
        let (a, b) = (a.tensor().expect("a tensor"), b.tensor().expect("a tensor"));
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        let close =
            |(x, y): (&f64, &f64)| (x - y).abs() <= 2e-5 * (1.0 + x.abs()) || x.to_bits() == y.to_bits();
        let (a, b) = (a.to_f64s(), b.to_f64s());
        assert!(a.iter().zip(&b).all(close), "before {a:?}\nafter {b:?}");
    }
    (new, report)
}

/// How many nodes of an operator there are.
pub(crate) fn count(graph: &Graph, op: &str) -> usize {
    let mut n = 0;
    graph.visit_nodes(graph.body(), &mut |id| n += usize::from(graph.node(id).is(op)));
    n
}
