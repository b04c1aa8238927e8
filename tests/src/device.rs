//! Code for devices, run by an interpreter of PTX that reports what a device would not: races, memory
//! never written, accesses out of bounds.

use crate::compare::error;
use crate::interpreted::{self, Settings};
use crate::models::{folder, import_file, protos, verify_with};
use crate::program::root;
use crate::standard::Generation;
use nnc_ir::{Builder, DType, Dim, Graph, Interpreter, ScalarOp, Tensor, Type, Value};
use nnc_runtime::device::Located;
use nnc_runtime::{RunOptions, Session};
use std::path::Path;

fn session(path: &Path) -> Session {
    interpreted::open(path, Settings::default()).unwrap_or_else(|e| panic!("{e}")).0
}

/// Runs a graph's code for devices three times, the second time in the memory that the first one left and the
/// third time from the recording that the second one made.
pub(crate) fn on_device(graph: &Graph, inputs: &[Value]) -> Vec<Value> {
    on_generation(graph, inputs, Generation::SM_80)
}

/// The same for the code of a generation.
fn on_generation(graph: &Graph, inputs: &[Value], generation: Generation) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.nnc");
    nnc::compile(graph, &generation.options(), &path).unwrap_or_else(|e| panic!("{e}"));
    let (mut session, _) = interpreted::open(&path, generation.settings()).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
    let first = session.run(&named).unwrap_or_else(|e| panic!("{e}"));
    for _ in 0..2 {
        let again = session.run(&named).unwrap_or_else(|e| panic!("{e}"));
        for (a, b) in first.iter().zip(&again) {
            assert_eq!(error(a, b), 0.0, "two runs differ");
        }
    }
    first
}

/// The largest relative error of a graph's code for every generation of devices whose kernels differ.
pub(crate) fn device_against_interpreter(graph: &Graph, inputs: &[Value]) -> f64 {
    let expected = Interpreter::new(graph).run(inputs).expect("the interpreter runs the graph");
    let found = [Generation::SM_75, Generation::SM_80].map(|g| on_generation(graph, inputs, g));
    found.iter().flat_map(|f| expected.iter().zip(f)).map(|(e, f)| error(e, f)).fold(0.0, f64::max)
}

/// Numbers of every size and kind.
fn numbers(dtype: DType) -> Vec<f64> {
    let mut x = vec![0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let far = if dtype == DType::F32 { 120 } else { 1000 };
    x.extend((-far..=far).step_by(7).flat_map(|e| [1.3, -1.7].map(|m| m * 2f64.powi(e))));
    x.extend((-400..=400).map(|i| f64::from(i) * 0.0537));
    x.extend((-60..=60).map(|i| f64::from(i) * 1.93));
    x
}

fn tensor(dtype: DType, x: &[f64]) -> Tensor {
    let single: Vec<f32> = x.iter().map(|v| *v as f32).collect();
    let made = match dtype {
        DType::F32 => Tensor::from_slice(&[x.len()], &single),
        _ => Tensor::from_slice(&[x.len()], x),
    };
    made.expect("sizes agree")
}

/// A graph that applies a function to its inputs.
fn function(op: ScalarOp, dtype: DType, n: usize) -> Graph {
    let mut g = Graph::new(op.name());
    let body = g.body();
    let names = ["x", "y"];
    let inputs: Vec<_> = names[..op.n_operands()]
        .iter()
        .map(|name| g.add_param(body, Type::tensor(dtype, vec![Dim::len(n)]), Some((*name).into())))
        .collect();
    let mut b = Builder::new(&mut g);
    let y = match inputs.as_slice() {
        [x] => b.unary(op, *x),
        [x, y] => b.binary(op, *x, *y),
        _ => unreachable!("functions have one or two operands"),
    };
    let y = y.expect("the graph is well formed");
    g.block_mut(body).results = vec![y];
    g.output_names = vec!["z".into()];
    g
}

/// Units in the last place of a type between what was expected and what was found.
fn distance(dtype: DType, expected: f64, found: f64) -> f64 {
    let (least, digits) = if dtype == DType::F32 { (-126, 23) } else { (-1022, 52) };
    let most = if dtype == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
    match (expected.is_nan(), found.is_nan()) {
        (true, true) => return 0.0,
        (false, false) => {}
        _ => return f64::INFINITY,
    }
    let rounded = if dtype == DType::F32 { f64::from(expected as f32) } else { expected };
    if rounded == found {
        return 0.0;
    }
    let exponent = expected.abs().min(most).log2().floor().max(f64::from(least)) as i32;
    (expected.clamp(-most, most) - found.clamp(-most, most)).abs() / f64::from(exponent - digits).exp2()
}

/// The bound on a function's error, in units in the last place.
fn bound(op: ScalarOp, dtype: DType) -> f64 {
    match (op, dtype) {
        (ScalarOp::Pow, DType::F64) => 1024.0,
        // Few digits of e^x are left where it is subnormal.
        (ScalarOp::Silu | ScalarOp::Mish, DType::F32) => 64.0,
        // The interpreter's own formulas cancel here.
        (ScalarOp::Gelu | ScalarOp::GeluTanh | ScalarOp::Softplus | ScalarOp::Erf, DType::F64) => {
            f64::INFINITY
        }
        (ScalarOp::Gelu | ScalarOp::GeluTanh, _) => f64::INFINITY,
        _ => 6.0,
    }
}

fn functions_keep_their_bounds(dtype: DType) {
    let mut broken = Vec::new();
    for op in ScalarOp::ALL.iter().copied().filter(|op| op.on_floats().is_some() && !op.is_predicate()) {
        let meaning = op.on_floats().expect("filtered");
        let mut x = numbers(dtype);
        let mut y = x.clone();
        if op.n_operands() == 2 {
            let turned = |k: usize| (0..x.len()).map(|i| x[(i * 7 + k * 31) % x.len()]).collect::<Vec<_>>();
            (x, y) = ([x.clone(), x.clone(), x.clone()].concat(), [turned(0), turned(1), turned(2)].concat());
        }
        let (tx, ty) = (tensor(dtype, &x), tensor(dtype, &y));
        let (x, y) = (tx.to_f64s(), ty.to_f64s());
        let inputs = if op.n_operands() == 1 { vec![Value::Tensor(tx)] } else { vec![tx.into(), ty.into()] };
        let found = on_device(&function(op, dtype, x.len()), &inputs);
        let found = found[0].tensor().expect("a tensor").to_f64s();
        // Beyond these the angle itself has lost its digits.
        let far = matches!(op, ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tan);
        let worst = (0..x.len())
            .filter(|i| !far || x[*i].abs() < 1e9)
            // The formulas multiply -inf by 0 there.
            .filter(|i| !matches!(op, ScalarOp::Silu | ScalarOp::Mish) || x[*i] != f64::NEG_INFINITY)
            .map(|i| (distance(dtype, meaning(x[i], y[i]), found[i]), i))
            .fold((0.0, 0), |a, b| if b.0 > a.0 { b } else { a });
        if worst.0 > bound(op, dtype) {
            let i = worst.1;
            let expected = meaning(x[i], y[i]);
            let units = worst.0;
            broken.push(format!(
                "{} of {:e}, {:e}: {units:.1} units, {expected:e} but {:e}",
                op.name(),
                x[i],
                y[i],
                found[i]
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn trained_models_agree_with_their_expected_outputs() {
    for name in ["digits", "voice", "keywords"] {
        let error = verify_with(&root().join("examples").join(name), &Generation::SM_80.options(), session);
        assert!(error <= 1e-4, "{name}: relative L2 error {error:.2e}");
    }
    for (name, bound) in [
        ("g1-walk-policy", 1e-4),
        ("kws-int8-qdq", 2e-2),
        ("mnist-cnn-cntk", 1e-4),
        ("mnist-cnn-pytorch", 1e-4),
        ("sentence-lstm", 1e-4),
        ("tree-xgboost", 1e-4),
    ] {
        let Some(folder) = folder(&format!("trained/{name}")) else { return };
        let error = verify_with(&folder, &Generation::SM_80.options(), session);
        assert!(error <= bound, "{name}: relative L2 error {error:.2e}");
    }
}

/// Three windows of sound, one after the other: the state between them on the host, and on the device.
#[test]
fn a_state_on_the_device_is_the_state_on_the_host() {
    let folder = root().join("examples/voice");
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let path = temporary.path().join("model.nnc");
    nnc::compile(&import_file(&folder.join("model.onnx")), &Generation::SM_80.options(), &path)
        .unwrap_or_else(|e| panic!("{e}"));
    let (mut session, device) =
        interpreted::open(&path, Settings::default()).unwrap_or_else(|e| panic!("{e}"));
    let windows = protos(&folder.join("test_data_set_0"), "input");
    let [window, state, rate] = windows.as_slice() else { panic!("three inputs") };
    let mut walk = |keep: &[&str]| {
        let (mut state, mut heard) = (Located::Host(state.clone()), Vec::new());
        for _ in 0..3 {
            let (window, rate) = (Located::Host(window.clone()), Located::Host(rate.clone()));
            let inputs = [("input", window), ("state", state), ("sr", rate)];
            let mut outputs = session.run_located(&inputs, keep, RunOptions::default()).unwrap();
            state = outputs.remove(1);
            heard.push(outputs.remove(0).to_host().unwrap());
        }
        heard.push(state.to_host().unwrap());
        heard
    };
    let (host, there) = (walk(&[]), walk(&["stateN"]));
    assert_eq!(host.len(), 4);
    for (a, b) in host.iter().zip(&there) {
        assert_eq!(error(a, b), 0.0);
    }
    assert_ne!(error(&host[0], &host[2]), 0.0, "the state has a meaning");
    assert!(device.replays() > 0);
}

#[test]
fn functions_of_f32_keep_their_bounds() {
    functions_keep_their_bounds(DType::F32);
}

#[test]
fn functions_of_f64_keep_their_bounds() {
    functions_keep_their_bounds(DType::F64);
}
