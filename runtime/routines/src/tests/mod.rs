//! Routines against values from ONNX's reference evaluator and from NumPy.

mod fuzz;
#[cfg(feature = "image")]
mod images;
#[cfg(feature = "ml")]
mod ml;
mod random;
mod selection;
mod sequences;
#[cfg(feature = "text")]
mod text;

use crate::{Attrs, RoutineError, lookup};
use nnc_tensor::plan::Attr;
use nnc_tensor::{Tensor, Value};

fn try_run(name: &str, attrs: &[(&str, Attr)], inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let attrs: Vec<(String, Attr)> = attrs.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect();
    (lookup(name).unwrap().run)(&Attrs(&attrs), inputs)
}

fn run(name: &str, attrs: &[(&str, Attr)], inputs: &[Value]) -> Vec<Value> {
    try_run(name, attrs, inputs).unwrap()
}

/// As [`run`], for results that are all tensors of numbers.
fn run_numbers(name: &str, attrs: &[(&str, Attr)], inputs: &[Value]) -> Vec<(Vec<usize>, Vec<f64>)> {
    run(name, attrs, inputs).iter().map(|v| (shape(v), numbers(v))).collect()
}

fn floats(shape: &[usize], data: &[f32]) -> Value {
    Tensor::from_slice(shape, data).unwrap().into()
}

fn ints(shape: &[usize], data: &[i64]) -> Value {
    Tensor::from_slice(shape, data).unwrap().into()
}

fn strings(shape: &[usize], data: &[&str]) -> Value {
    Tensor::from_strings(shape, data.iter().map(|s| s.as_bytes().to_vec()).collect()).unwrap().into()
}

#[cfg(any(feature = "text", feature = "ml"))]
fn strs(data: &[&str]) -> Attr {
    Attr::Strs(data.iter().map(|s| s.as_bytes().to_vec()).collect())
}

#[cfg(any(feature = "text", feature = "ml", feature = "image"))]
fn text(s: &str) -> Attr {
    Attr::Str(s.into())
}

fn shape(v: &Value) -> Vec<usize> {
    v.tensor().unwrap().shape().to_vec()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.tensor().unwrap().to_f64s()
}

#[cfg(feature = "text")]
fn words(v: &Value) -> Vec<String> {
    v.tensor().unwrap().strings().iter().map(|s| String::from_utf8(s.clone()).unwrap()).collect()
}

fn none() -> Value {
    Value::Optional(None)
}
