//! Tests of inlining, on models built as structures.

use std::collections::BTreeMap;

use super::*;
use crate::model::check_graph;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let domain = if op.starts_with('F') { "local" } else { "" };
    Node {
        domain: domain.to_owned(),
        op: op.to_owned(),
        opset_version: Some(17),
        inputs: strings(inputs),
        outputs: strings(outputs),
        ..Node::default()
    }
}

fn with(mut node: Node, name: &str, value: AttrValue) -> Node {
    node.attrs.push(Attr { name: name.to_owned(), value });
    node
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<Node>) -> Function {
    Function {
        domain: "local".to_owned(),
        name: name.to_owned(),
        inputs: strings(inputs),
        outputs: strings(outputs),
        opsets: BTreeMap::from([(String::new(), 13)]),
        nodes,
        ..Function::default()
    }
}

fn graph(inputs: &[&str], outputs: &[&str], nodes: Vec<Node>) -> Graph {
    let infos = |names: &[&str]| {
        names.iter().map(|name| ValueInfo { name: (*name).to_owned(), ty: None }).collect::<Vec<_>>()
    };
    Graph { inputs: infos(inputs), outputs: infos(outputs), nodes, ..Graph::default() }
}

fn subgraph(graph: Graph) -> AttrValue {
    AttrValue::Graph(Box::new(graph))
}

fn inline(graph: Graph, functions: Vec<Function>) -> Result<Graph, Error> {
    let model = Model { ir_version: 10, opsets: BTreeMap::new(), graph, functions, metadata: Vec::new() };
    let mut graph = inline_functions(model)?.graph;
    check_graph(&mut graph)?;
    Ok(graph)
}

/// Each node as `op(inputs)->outputs`.
fn listing(graph: &Graph) -> Vec<String> {
    let each = graph.nodes.iter();
    each.map(|node| format!("{}({})->{}", node.op, node.inputs.join(","), node.outputs.join(","))).collect()
}

#[test]
fn calls_become_bodies_with_names_of_their_own() {
    let body = vec![node("Mul", &["a", "b"], &["t"]), node("Neg", &["t"], &["r"])];
    let mut square = function("F", &["a", "b"], &["r"], body);
    square.nodes[0].opset_version = Some(13);
    let calls = vec![node("F", &["x", "x"], &["t"]), node("F", &["t", "x"], &["y"])];
    let graph = inline(graph(&["x"], &["y"], calls), vec![square]).unwrap();
    let expected = ["Mul(x,x)->t/t", "Neg(t/t)->t", "Mul(t,x)->y/t", "Neg(y/t)->y"];
    assert_eq!(listing(&graph), expected);
    let versions: Vec<_> = graph.nodes.iter().map(|node| node.opset_version).collect();
    assert_eq!(versions, [Some(13), Some(17), Some(13), Some(17)]);
}

#[test]
fn new_names_avoid_names_in_use() {
    let f = function("F", &["a"], &["r"], vec![node("Neg", &["a"], &["t"]), node("Neg", &["t"], &["r"])]);
    let nodes = vec![node("F", &["x"], &["y"]), node("Abs", &["x"], &["y/t"])];
    let graph = inline(graph(&["x"], &["y", "y/t"], nodes), vec![f]).unwrap();
    assert_eq!(listing(&graph), ["Neg(x)->y/t_2", "Neg(y/t_2)->y", "Abs(x)->y/t"]);
}

#[test]
fn nested_calls_and_overloads_are_resolved() {
    let inner = function("F1", &["a"], &["r"], vec![node("Neg", &["a"], &["r"])]);
    let mut other = function("F1", &["a"], &["r"], vec![node("Abs", &["a"], &["r"])]);
    other.overload = "second".to_owned();
    let mut second = node("F1", &["t"], &["r"]);
    second.overload = "second".to_owned();
    let outer = function("F2", &["a"], &["r"], vec![node("F1", &["a"], &["t"]), second]);
    let main = graph(&["x"], &["y"], vec![node("F2", &["x"], &["y"])]);
    let graph = inline(main, vec![outer, other, inner]).unwrap();
    assert_eq!(listing(&graph), ["Neg(x)->y/t", "Abs(y/t)->y"]);
}

#[test]
fn attribute_references_take_the_call_then_the_default_then_nothing() {
    let mut body = node("Op", &["a"], &["r"]);
    for (name, from) in [("given", "p"), ("defaulted", "q"), ("absent", "s")] {
        body = with(body, name, AttrValue::Ref(from.to_owned()));
    }
    let mut f = function("F", &["a"], &["r"], vec![body]);
    f.attrs = strings(&["p", "s"]);
    f.default_attrs = vec![Attr { name: "q".to_owned(), value: AttrValue::Int(2) }];
    let call = with(node("F", &["x"], &["y"]), "p", AttrValue::Int(1));
    let graph = inline(graph(&["x"], &["y"], vec![call]), vec![f]).unwrap();
    let attrs = graph.nodes[0].attrs.iter().map(|attr| (attr.name.as_str(), attr.value.kind()));
    assert_eq!(attrs.collect::<Vec<_>>(), [("given", "an int"), ("defaulted", "an int")]);
    assert!(matches!(graph.nodes[0].attrs[1].value, AttrValue::Int(2)));
}

#[test]
fn omitted_inputs_and_outputs_and_copies_keep_their_meaning() {
    let body = vec![node("Clip", &["a", "", "max"], &["r"]), node("Abs", &["r"], &["unused"])];
    let f = function("F", &["a", "max"], &["r", "unused", "a", "r"], body);
    let main = graph(&["x"], &["y", "same", "twin"], vec![node("F", &["x"], &["y", "", "same", "twin"])]);
    let graph = inline(main, vec![f]).unwrap();
    let expected = ["Clip(x,,)->y", "Abs(y)->y/unused", "Identity(x)->same", "Identity(y)->twin"];
    assert_eq!(listing(&graph), expected);
    assert_eq!(graph.nodes[2].opset_version, Some(13));
}

#[test]
fn subgraphs_of_a_body_are_renamed_with_what_they_capture() {
    let branch = graph(&[], &["u"], vec![node("F1", &["t"], &["u"])]);
    let iff = with(node("If", &["c"], &["r"]), "then_branch", subgraph(branch));
    let outer = function("F2", &["c", "a"], &["r"], vec![node("Neg", &["a"], &["t"]), iff]);
    let inner = function("F1", &["a"], &["r"], vec![node("Abs", &["a"], &["r"])]);
    let main = graph(&["x", "flag"], &["y"], vec![node("F2", &["flag", "x"], &["y"])]);
    let graph = inline(main, vec![outer, inner]).unwrap();
    assert_eq!(listing(&graph), ["Neg(x)->y/t", "If(flag)->y"]);
    let branch = &graph.nodes[1].attrs[0].value.graphs()[0];
    assert_eq!(listing(branch), ["Abs(y/t)->y/u"]);
    assert_eq!(branch.outputs[0].name, "y/u");
}

#[test]
fn a_graph_given_as_attribute_keeps_the_names_of_the_caller() {
    let iff = with(node("If", &["c"], &["r"]), "then_branch", AttrValue::Ref("then".to_owned()));
    // The function's own "t" must not be what the caller's graph reads.
    let f = function("F", &["c"], &["r"], vec![node("Neg", &["c"], &["t"]), iff]);
    let given = graph(&[], &["u"], vec![node("Abs", &["t"], &["u"])]);
    let call = with(node("F", &["flag"], &["y"]), "then", subgraph(given));
    let graph = inline(graph(&["t", "flag"], &["y"], vec![call]), vec![f]).unwrap();
    assert_eq!(listing(&graph.nodes[1].attrs[0].value.graphs()[0]), ["Abs(t)->u"]);
}

#[test]
fn wrong_functions_are_refused() {
    let to = |op: &str| vec![node(op, &["a"], &["r"])];
    let main = |op: &str| graph(&["x"], &["y"], vec![node(op, &["x"], &["y"])]);
    let f = |name: &str, body: &str| function(name, &["a"], &["r"], to(body));
    let cases = [
        (
            vec![f("F1", "F2"), f("F2", "F1")],
            "functions call each other in a circle: \"local.F1\", \"local.F2\", \"local.F1\"",
        ),
        (vec![f("F1", "Neg"), f("F1", "Abs")], "function \"local.F1\" is defined twice"),
        (
            vec![function("F1", &[], &["r"], to("Neg"))],
            "node \"y\": function \"local.F1\" has 0 inputs, found 1",
        ),
        (
            vec![function("F1", &["a"], &[], to("Neg"))],
            "node \"y\": function \"local.F1\" has 0 outputs, found 1",
        ),
        (
            vec![function("F1", &["b"], &["r"], to("Neg"))],
            "graph \"local.F1\": values used but never defined: \"a\" (read by node \"r\")",
        ),
        (
            vec![function("F1", &["a"], &["q"], to("Neg"))],
            "graph \"local.F1\": values used but never defined: \"q\" (read by the function's outputs)",
        ),
    ];
    for (functions, expected) in cases {
        assert_eq!(inline(main("F1"), functions).unwrap_err().to_string(), expected);
    }
}

#[test]
fn calls_that_multiply_are_bounded() {
    let chain = |calls: usize, depth: usize| {
        let mut functions = Vec::new();
        for level in 0..depth {
            let body = (0..calls).map(|_| node(&format!("F{}", level + 1), &["a"], &[""])).collect();
            functions.push(function(&format!("F{level}"), &["a"], &[], body));
        }
        functions
    };
    let main = || graph(&["x"], &[], vec![node("F0", &["x"], &[])]);
    assert!(inline(main(), chain(1, 64)).is_ok());
    assert!(matches!(inline(main(), chain(1, 65)), Err(Error::TooDeep { .. })));
    assert!(matches!(inline(main(), chain(2, 40)), Err(Error::TooMany { .. })));
}
