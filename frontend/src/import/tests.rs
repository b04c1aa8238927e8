//! Whole models, and small ones written for one point each.

use super::{ImportOptions, import};
use crate::model::tests::corpus::{for_each_architecture, for_each_trained};
use crate::model::{
    Attr, AttrValue, DimSpec, Graph, Model, Node, TensorData, TensorRef, ValueInfo, ValueType,
};
use crate::refusal::ImportErrors;
use nnc_ir::interp::Interpreter;
use nnc_ir::{Tensor, Value};
use std::collections::BTreeMap;

/// Imports without refusals, and what comes out keeps the invariants of graphs.
fn imports(model: Model) -> Result<(), String> {
    let graph = import(&model, &ImportOptions::default()).map_err(|e| e.to_string())?;
    let shown = |e: Vec<nnc_ir::VerifyError>| e.iter().take(3).map(|e| format!("{e}\n")).collect();
    nnc_ir::verify(&graph).map_err(shown)
}

#[test]
fn trained_models_are_imported() {
    for_each_trained(&mut imports);
}

#[test]
fn exported_architectures_are_imported() {
    for_each_architecture(&mut imports);
}

const F32: i32 = 1;
const I64: i32 = 7;
const BOOL: i32 = 9;

fn value(name: &str, elem: i32, dims: &[&str]) -> ValueInfo {
    let dim = |d: &&str| match d.parse() {
        Ok(v) => DimSpec::Known(v),
        Err(_) if d.is_empty() => DimSpec::Unknown,
        Err(_) => DimSpec::Named((*d).to_owned()),
    };
    let shape = Some(dims.iter().map(dim).collect());
    ValueInfo { name: name.to_owned(), ty: Some(ValueType::Tensor { elem, shape }) }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
    Node {
        op: op.to_owned(),
        inputs: names(inputs),
        outputs: names(outputs),
        opset_version: Some(17),
        ..Node::default()
    }
}

fn with(mut node: Node, name: &str, value: AttrValue) -> Node {
    node.attrs.push(Attr { name: name.to_owned(), value });
    node
}

fn ints(name: &str, values: &[i64]) -> TensorRef {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorRef {
        name: name.to_owned(),
        elem: I64,
        dims: vec![values.len() as i64],
        data: TensorData::Bytes(bytes.into()),
    }
}

fn model(inputs: Vec<ValueInfo>, outputs: &[&str], nodes: Vec<Node>) -> Model {
    let outputs = outputs.iter().map(|n| ValueInfo { name: (*n).to_owned(), ty: None }).collect();
    let graph = Graph { inputs, outputs, nodes, ..Graph::default() };
    let opsets = BTreeMap::from([(String::new(), 17)]);
    Model { ir_version: 8, opsets, graph, functions: Vec::new(), metadata: Vec::new() }
}

/// The types of the results, or the reasons against.
fn check(model: &Model, options: &ImportOptions) -> String {
    match import(model, options) {
        Ok(graph) => {
            let show = |v: &nnc_ir::ValueId| graph.ty(*v).to_string();
            graph.block(graph.body()).results.iter().map(show).collect::<Vec<_>>().join(" ")
        }
        Err(e) => e.to_string(),
    }
}

fn types(model: &Model) -> String {
    check(model, &ImportOptions::default())
}

#[test]
fn every_cause_is_reported_and_no_consequence() {
    let m = model(
        vec![value("x", F32, &["n"])],
        &["e"],
        vec![
            node("Foo", &["x"], &["a"]),
            node("Relu", &["a"], &["b"]),
            with(node("Relu", &["x"], &["c"]), "slope", AttrValue::Int(1)),
            node("Foo", &["b"], &["d"]),
            node("Sum", &["a", "b", "c", "d"], &["e"]),
        ],
    );
    assert_eq!(
        types(&m),
        "Foo (version 17): the operator is not known; at \"a\", \"d\"\n\
         Relu (version 17): attribute \"slope\" is not supported; at \"c\""
    );
}

#[test]
fn dimensions_are_symbols_expressions_or_numbers() {
    let inputs = vec![value("a", F32, &["past", "seq"]), value("b", F32, &["past + seq", ""])];
    let m = model(inputs, &["y", "s"], vec![node("Shape", &["b"], &["s"]), node("Neg", &["b"], &["y"])]);
    assert_eq!(types(&m), "f32[past + seq, b_1] i64[2]");
    let mut options = ImportOptions::default();
    options.fix.insert("past".to_owned(), 3);
    options.fix.insert("b_1".to_owned(), 7);
    assert_eq!(check(&m, &options), "f32[seq + 3, 7] i64[2]");
}

#[test]
fn shape_arithmetic_is_followed() {
    let mut m = model(
        vec![value("x", F32, &["n", "6"])],
        &["y"],
        vec![
            node("Shape", &["x"], &["s"]),
            node("Gather", &["s", "zero"], &["n"]),
            node("Concat", &["n", "rest"], &["t"]),
            node("Reshape", &["x", "t"], &["y"]),
        ],
    );
    m.graph.nodes[2].attrs.push(Attr { name: "axis".to_owned(), value: AttrValue::Int(0) });
    m.graph.initializers = vec![ints("zero", &[0]), ints("rest", &[2, -1])];
    assert_eq!(types(&m), "f32[n, 2, 3]");
}

#[test]
fn a_known_condition_imports_one_branch_only() {
    let branch = |op: &str| Graph {
        outputs: vec![ValueInfo { name: "r".to_owned(), ty: None }],
        nodes: vec![node(op, &["x"], &["r"])],
        ..Graph::default()
    };
    let choice = node("If", &["c"], &["y"]);
    let choice = with(choice, "then_branch", AttrValue::Graph(Box::new(branch("Foo"))));
    let choice = with(choice, "else_branch", AttrValue::Graph(Box::new(branch("Exp"))));
    let run_time = model(vec![value("x", F32, &["n"]), value("c", BOOL, &[])], &["y"], vec![choice.clone()]);
    assert_eq!(types(&run_time), "Foo (version 17): the operator is not known; at \"y/r\"");
    let mut options = ImportOptions::default();
    options.constants.insert("c".to_owned(), Tensor::from_bools(&[], &[false]).expect("a boolean"));
    assert_eq!(check(&run_time, &options), "f32[n]");
}

#[test]
fn sizes_found_at_run_time_keep_their_meaning() {
    let m = model(
        vec![value("x", F32, &["2", "6"]), value("s", I64, &["3"])],
        &["y"],
        vec![node("Reshape", &["x", "s"], &["y"])],
    );
    let graph = import(&m, &ImportOptions::default()).expect("a model that imports");
    let x = Tensor::from_slice(&[2, 6], &[0f32; 12]).expect("twelve numbers");
    for (wanted, found) in [([0i64, 3, -1], vec![2, 3, 2]), ([-1, 1, 4], vec![3, 1, 4])] {
        let s = Tensor::from_slice(&[3], &wanted).expect("three numbers");
        let y = Interpreter::new(&graph).run(&[x.clone().into(), s.into()]).expect("a run");
        assert_eq!(y[0].tensor().map(|t| t.shape().to_vec()), Some(found));
    }
}

#[test]
fn axes_found_at_run_time_choose_a_branch() {
    let mut sum = node("ReduceSum", &["x", "a"], &["y"]);
    sum.attrs.push(Attr { name: "keepdims".to_owned(), value: AttrValue::Int(0) });
    let m = model(vec![value("x", F32, &["2", "3"]), value("a", I64, &["1"])], &["y"], vec![sum]);
    let graph = import(&m, &ImportOptions::default()).expect("a model that imports");
    let x = Tensor::from_slice(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("six numbers");
    for (axis, sums) in [(0i64, vec![5f32, 7.0, 9.0]), (-1, vec![6.0, 15.0])] {
        let a = Tensor::from_slice(&[1], &[axis]).expect("one number");
        let y = Interpreter::new(&graph).run(&[x.clone().into(), a.into()]).expect("a run");
        assert_eq!(y, [Value::from(Tensor::from_slice(&[sums.len()], &sums).expect("sums"))]);
    }
}

#[test]
fn inputs_without_rank_say_what_helps() {
    let mut m = model(vec![value("x", F32, &[])], &["y"], vec![node("Neg", &["x"], &["y"])]);
    m.graph.inputs[0].ty = Some(ValueType::Tensor { elem: F32, shape: None });
    let Err(ImportErrors::Refused(problems)) = import(&m, &ImportOptions::default()) else {
        panic!("a model without a rank must be refused");
    };
    assert!(problems[0].reason.contains("--input \"x:f32[1, 3, 224, 224]\""), "{problems:?}");
    let mut options = ImportOptions::default();
    options.input_types.extend(value("x", F32, &["4"]).ty.map(|ty| ("x".to_owned(), ty)));
    assert_eq!(check(&m, &options), "f32[4]");
}

#[test]
fn outputs_keep_their_names_and_dead_nodes_are_left_out() {
    let nodes =
        vec![node("Identity", &["x"], &["y"]), node("Neg", &["x"], &["z"]), node("Foo", &["x"], &["w"])];
    let m = model(vec![value("x", F32, &["n"])], &["y", "z"], nodes);
    let graph = import(&m, &ImportOptions::default()).expect("a model that imports");
    let names: Vec<_> =
        graph.block(graph.body()).results.iter().map(|v| graph.value(*v).name.clone()).collect();
    assert_eq!(names, [Some("y".to_owned()), Some("z".to_owned())]);
    let options = ImportOptions { outputs: Some(vec!["w".to_owned()]), ..ImportOptions::default() };
    assert_eq!(check(&m, &options), "Foo (version 17): the operator is not known; at \"w\"");
}
