//! Interpreter against compiled code.

use nnc::Options;
use nnc_ir::{Graph, Interpreter, Value};
use nnc_runtime::{Artifact, Session};
use std::sync::Arc;

/// Runs a graph both ways on the same inputs and gives the largest relative L2 error of its float
/// outputs; everything else has to be equal.
pub(crate) fn compiled_against_interpreter(graph: &Graph, inputs: &[Value], options: &Options) -> f64 {
    let expected = Interpreter::new(graph).run(inputs).expect("the interpreter runs the graph");
    let found = run_compiled(graph, inputs, options);
    let errors = expected.iter().zip(&found).map(|(e, f)| error(e, f));
    errors.fold(0.0, f64::max)
}

/// Compiles to a temporary artifact and runs it.
pub(crate) fn run_compiled(graph: &Graph, inputs: &[Value], options: &Options) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.nnc");
    nnc::compile(graph, options, &path).unwrap_or_else(|e| panic!("{e}"));
    let artifact = Artifact::open_checked(&path).unwrap_or_else(|e| panic!("{e}"));
    let mut session = Session::new(Arc::new(artifact));
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
    session.run(&named).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn error(expected: &Value, found: &Value) -> f64 {
    let (Value::Tensor(e), Value::Tensor(f)) = (expected, found) else {
        assert_eq!(expected, found);
        return 0.0;
    };
    assert_eq!((e.dtype(), e.shape()), (f.dtype(), f.shape()));
    if !e.dtype().is_float() {
        assert_eq!(e.to_ints(), f.to_ints());
        return 0.0;
    }
    let (x, y) = (e.to_f64s(), f.to_f64s());
    let mut sums = (0.0, 0.0);
    for (a, b) in x.iter().zip(&y) {
        if a.is_finite() || b.is_finite() {
            sums = (sums.0 + (a - b) * (a - b), sums.1 + a * a);
        } else {
            assert!(a == b || (a.is_nan() && b.is_nan()), "{a} and {b}");
        }
    }
    if sums.0 == 0.0 { 0.0 } else { (sums.0 / sums.1.max(1e-30)).sqrt() }
}
