//! Every row against numbers from outside: numpy in f64, and ONNX Runtime for whatever ONNX has.
//!
//! Each case runs twice, with the shapes of its operands fixed and as symbols.

mod attention;
mod composite;
mod control;
mod conv;
mod elementwise;
mod errors;
mod indexed;
mod linalg;
mod movement;
mod pool;
mod recurrent;
mod reduce;
mod unary;

use crate::text::{parse, print};
use crate::{Attr, Attrs, Builder, DType, Dim, Graph, Interpreter, Tensor, Type, Value, ValueId};

struct Case {
    op: &'static str,
    attrs: Attrs,
    inputs: Vec<Tensor>,
    expected: Vec<Tensor>,
}

fn case(op: &'static str, attrs: Attrs, inputs: Vec<Tensor>, expected: Vec<Tensor>) -> Case {
    Case { op, attrs, inputs, expected }
}

/// Quarters between −1.25 and 1.25 in no order that a symmetry could hide.
fn f(shape: &[usize], seed: usize) -> Tensor {
    let n = shape.iter().product();
    let data: Vec<f64> = (0..n).map(|i| (((i * 7 + seed * 3) % 11) as f64 - 5.0) / 4.0).collect();
    Tensor::from_f64s(DType::F32, shape, &data).unwrap()
}

fn n(dtype: DType, shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::from_f64s(dtype, shape, data).unwrap()
}

fn dims(values: &[i64]) -> Attr {
    Attr::Dims(values.iter().map(|v| Dim::int(*v)).collect())
}

fn text(s: &str) -> Attr {
    Attr::Str(s.into())
}

fn texts(s: &[&str]) -> Attr {
    Attr::Strs(s.iter().map(|s| s.as_bytes().to_vec()).collect())
}

/// A graph whose inputs take these tensors; each size a symbol of its own unless `fixed`,
/// the same for all tensors if they are `alike`.
fn graph_for(inputs: &[Tensor], fixed: bool, alike: bool) -> (Graph, Vec<ValueId>) {
    let mut g = Graph::new("case");
    let body = g.body();
    let mut params = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        let size = |(axis, len): (usize, &usize)| {
            let i = if alike { 0 } else { i };
            if fixed { Dim::len(*len) } else { Dim::named(&format!("s{i}_{axis}")) }
        };
        let shape = t.shape().iter().enumerate().map(size).collect();
        params.push(g.add_param(body, Type::tensor(t.dtype(), shape), None));
    }
    (g, params)
}

fn run(g: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let inputs: Vec<Value> = inputs.iter().cloned().map(Value::Tensor).collect();
    let values = Interpreter::new(g).run(&inputs).map_err(|e| e.to_string())?;
    Ok(values.into_iter().map(|v| v.tensor().unwrap().clone()).collect())
}

/// What is wrong with `found`, if anything.
fn differs(found: &[Tensor], expected: &[Tensor]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} results", found.len()));
    }
    found.iter().zip(expected).enumerate().find_map(|(i, (y, e))| {
        if y.dtype() != e.dtype() || y.shape() != e.shape() {
            return Some(format!("result {i} is {y:?}, not {e:?}"));
        }
        let tolerance = if e.dtype().is_float() { 2e-6 } else { 0.0 };
        let (y, e) = (y.to_f64s(), e.to_f64s());
        let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= tolerance * (1.0 + b.abs());
        (!y.iter().zip(&e).all(close)).then(|| format!("result {i} is {y:?}, not {e:?}"))
    })
}

/// The case as a graph, its node replaced by its parts if `decomposed`.
fn attempt(c: &Case, fixed: bool, decomposed: bool) -> Result<Vec<Tensor>, String> {
    let (mut g, params) = graph_for(&c.inputs, fixed, super::is_elementwise(super::row(c.op)));
    let mut b = Builder::new(&mut g);
    let results = match super::row(c.op).decompose.filter(|_| decomposed) {
        Some(f) => f(&mut b, &c.attrs, &params),
        None => b.add(c.op, c.attrs.clone(), &params),
    };
    let results = results.map_err(|e| e.0)?;
    let body = g.body();
    g.block_mut(body).results = results;
    crate::verify(&g).map_err(|e| format!("{e:?}"))?;
    run(&reread(&g)?, &c.inputs)
}

/// The graph after printing and parsing.
fn reread(g: &Graph) -> Result<Graph, String> {
    let (text, data) = print(g);
    let again = parse(&text, &data).map_err(|e| format!("{e} in\n{text}"))?;
    if print(&again) == (text, data) { Ok(again) } else { Err("the text changes when printed again".into()) }
}

fn check(cases: Vec<Case>) {
    let mut failures = Vec::new();
    for (i, c) in cases.iter().enumerate() {
        // The number of coordinates has to be fixed.
        let modes: &[bool] = if c.op.ends_with("_nd") { &[true] } else { &[true, false] };
        for fixed in modes {
            for decomposed in [false, true] {
                let wrong = match attempt(c, *fixed, decomposed) {
                    Ok(found) => differs(&found, &c.expected),
                    Err(e) => Some(e),
                };
                failures.extend(
                    wrong.map(|w| {
                        format!("case {i} {} (fixed: {fixed}, decomposed: {decomposed}): {w}", c.op)
                    }),
                );
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn rows_are_complete_and_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for r in super::all() {
        assert!(seen.insert(r.name), "{} twice", r.name);
        assert!(!r.doc.is_empty(), "{} has no document", r.name);
        assert!(r.attrs.is_sorted_by_key(|a| a.name), "attributes of {} are not sorted", r.name);
    }
}

/// Rows that are tested elsewhere: control flow, routines, constants and sizes.
const ELSEWHERE: &[&str] = &["constant", "if", "loop", "routine", "symbols"];

#[test]
fn every_row_has_a_case() {
    let sources = [
        include_str!("attention.rs"),
        include_str!("composite.rs"),
        include_str!("conv.rs"),
        include_str!("elementwise.rs"),
        include_str!("indexed.rs"),
        include_str!("linalg.rs"),
        include_str!("movement.rs"),
        include_str!("pool.rs"),
        include_str!("recurrent.rs"),
        include_str!("reduce.rs"),
        include_str!("unary.rs"),
    ]
    .concat();
    let missing =
        |r: &&super::OpRow| !ELSEWHERE.contains(&r.name) && !sources.contains(&format!("\"{}\",", r.name));
    let names: Vec<&str> = super::all().filter(missing).map(|r| r.name).collect();
    assert!(names.is_empty(), "without a case: {names:?}");
}
