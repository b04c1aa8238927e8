//! Runs test folders (`model.onnx`, `test_data_set_K/input_I.pb`, `output_I.pb`) through the interpreter:
//! `conform [--constants] FOLDER…`; with `--constants` all inputs but the first become part of the model.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use nnc_frontend::model::{ExternalFiles, Model, SharedBytes, ValueType, read_model};
use nnc_frontend::{ImportOptions, import};
use nnc_ir::interp::Interpreter;
use nnc_ir::{DType, Kind, Tensor, Value};
use nnc_tensor::file::{ProtoKind, read_value_proto};
use std::path::Path;
use std::sync::Arc;

/// How a folder fails.
enum Failure {
    Refused(String),
    Error(String),
    Wrong(String),
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let constants = args.iter().any(|a| a == "--constants");
    args.retain(|a| !a.starts_with("--"));
    let mut counts = [0; 4];
    for folder in &args {
        let run = || run(Path::new(folder), constants);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(Failure::Error("PANIC".to_owned())));
        let (slot, word, message) = match outcome {
            Ok(()) => (0, "pass", String::new()),
            Err(Failure::Refused(m)) => (1, "unsupported", m),
            Err(Failure::Error(m)) => (2, "error", m),
            Err(Failure::Wrong(m)) => (3, "fail", m),
        };
        counts[slot] += 1;
        println!("{word} {folder} {}", message.replace('\n', " | "));
    }
    println!("pass {} unsupported {} error {} fail {}", counts[0], counts[1], counts[2], counts[3]);
}

fn run(folder: &Path, constants: bool) -> Result<(), Failure> {
    let open = |p: &Path| Ok(Arc::new(std::fs::read(p)?) as SharedBytes);
    let bytes =
        open(&folder.join("model.onnx")).map_err(|e: std::io::Error| Failure::Error(e.to_string()))?;
    let model = read_model(bytes, &mut ExternalFiles::beside(folder, &open))
        .map_err(|e| Failure::Refused(e.to_string()))?;
    for set in 0.. {
        let data = folder.join(format!("test_data_set_{set}"));
        if !data.is_dir() {
            break;
        }
        run_set(&model, &data, folder, constants)?;
    }
    Ok(())
}

fn run_set(model: &Model, data: &Path, folder: &Path, constants: bool) -> Result<(), Failure> {
    let initializers: Vec<&str> = model.graph.initializers.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<_> =
        model.graph.inputs.iter().filter(|i| !initializers.contains(&i.name.as_str())).collect();
    let (mut values, mut options) = (Vec::new(), ImportOptions::default());
    for (i, input) in inputs.iter().enumerate() {
        let value = read(&data.join(format!("input_{i}.pb")), input.ty.as_ref())?;
        match &value {
            Value::Tensor(t) if constants && i > 0 => {
                options.constants.insert(input.name.clone(), t.clone());
            }
            _ => values.push(value),
        }
    }
    let graph = import(model, &options).map_err(|e| Failure::Refused(e.to_string()))?;
    if let Err(broken) = nnc_ir::verify(&graph) {
        return Err(Failure::Error(format!("verifier: {}", broken[0])));
    }
    let found = Interpreter::new(&graph).run(&values).map_err(|e| Failure::Error(e.to_string()))?;
    let (rtol, atol) = tolerance(folder);
    for (i, (output, found)) in model.graph.outputs.iter().zip(&found).enumerate() {
        let path = data.join(format!("output_{i}.pb"));
        let expected = read(&path, output.ty.as_ref())?;
        compare(&expected, found, rtol, atol).map_err(|m| Failure::Wrong(format!("output {i}: {m}")))?;
    }
    Ok(())
}

fn tolerance(folder: &Path) -> (f64, f64) {
    let text = std::fs::read_to_string(folder.join("tolerance.json")).unwrap_or_default();
    let number = |key: &str| {
        let at = text.find(key)? + key.len();
        let rest = text[at..].trim_start_matches(['"', ':', ' ']);
        rest[..rest.find([',', '}'])?].trim().parse().ok()
    };
    (number("rtol").unwrap_or(1e-3), number("atol").unwrap_or(1e-4))
}

fn read(path: &Path, ty: Option<&ValueType>) -> Result<Value, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::Error(format!("{}: {e}", path.display())))?;
    let kind = match ty {
        Some(ValueType::Sequence(_)) => ProtoKind::Sequence,
        Some(ValueType::Optional(_)) => ProtoKind::Optional,
        Some(ValueType::Map { .. }) => ProtoKind::Map,
        _ => ProtoKind::Tensor,
    };
    read_value_proto(&bytes, kind).map_err(|e| Failure::Error(format!("{}: {e}", path.display())))
}

fn compare(expected: &Value, found: &Value, rtol: f64, atol: f64) -> Result<(), String> {
    match (expected, found) {
        (Value::Tensor(a), Value::Tensor(b)) => compare_tensors(a, b, rtol, atol),
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| compare(a, b, rtol, atol))
        }
        (Value::Optional(None), Value::Optional(None)) => Ok(()),
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => compare(a, b, rtol, atol),
        (a, b) if a == b => Ok(()),
        (a, b) => Err(format!("expected {a:?}, found {b:?}").chars().take(200).collect()),
    }
}

fn compare_tensors(a: &Tensor, b: &Tensor, rtol: f64, atol: f64) -> Result<(), String> {
    if a.dtype() != b.dtype() || a.shape() != b.shape() {
        return Err(format!("expected {a:?}, found {b:?}"));
    }
    if !matches!(a.dtype().kind(), Kind::Float | Kind::Complex) {
        return if a == b { Ok(()) } else { Err(format!("{a:?} differs: {}", first_difference(a, b))) };
    }
    let rtol = if a.dtype() == DType::BF16 { rtol.max(2f64.powi(-6)) } else { rtol };
    let close =
        |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= atol + rtol * x.abs();
    let (x, y) = (a.to_f64s(), b.to_f64s());
    match x.iter().zip(&y).position(|(x, y)| !close(*x, *y)) {
        None => Ok(()),
        Some(i) => {
            let wrong = x.iter().zip(&y).filter(|(x, y)| !close(**x, **y)).count();
            let (n, x, y) = (x.len(), x[i], y[i]);
            Err(format!("{wrong} of {n} elements of {a:?}, first {i}: expected {x}, found {y}"))
        }
    }
}

fn first_difference(a: &Tensor, b: &Tensor) -> String {
    if a.dtype() == DType::Str {
        let text = |t: &Tensor| t.strings().iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
        let (x, y): (Vec<String>, Vec<String>) = (text(a), text(b));
        return format!("expected {x:?}, found {y:?}");
    }
    let (x, y) = (a.to_ints(), b.to_ints());
    let at = x.iter().zip(&y).position(|(x, y)| x != y).unwrap_or(0);
    format!("element {at}: expected {:?}, found {:?}", x.get(at), y.get(at))
}
