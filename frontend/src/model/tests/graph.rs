//! Order and names of whole graphs.

use super::encode::small_model;
use super::read;
use crate::model::{Attr, AttrValue, Graph, Node, ValueInfo, check_graph};

fn values(names: &[&str]) -> Vec<ValueInfo> {
    names.iter().map(|name| ValueInfo { name: (*name).to_owned(), ty: None }).collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn node(inputs: &[&str], outputs: &[&str]) -> Node {
    Node { op: "Op".to_owned(), inputs: strings(inputs), outputs: strings(outputs), ..Node::default() }
}

fn graph(inputs: &[&str], outputs: &[&str], nodes: Vec<Node>) -> Graph {
    Graph {
        name: "g".to_owned(),
        inputs: values(inputs),
        outputs: values(outputs),
        nodes,
        ..Graph::default()
    }
}

fn order(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(Node::label).collect()
}

#[test]
fn nodes_are_sorted_also_by_what_their_subgraphs_read() {
    let mut model = read(&small_model()).unwrap();
    check_graph(&mut model.graph).unwrap();
    assert_eq!(order(&model.graph), ["sum", "y", "c"]);
}

#[test]
fn a_valid_order_is_kept() {
    let nodes = vec![node(&["x"], &["b"]), node(&["x", ""], &["a"]), node(&["a", "b", "a"], &["c"])];
    let mut graph = graph(&["x"], &["c"], nodes);
    check_graph(&mut graph).unwrap();
    assert_eq!(order(&graph), ["b", "a", "c"]);
}

#[test]
fn all_undefined_names_are_listed_with_their_readers() {
    let mut body = node(&["x"], &["y"]);
    let inner = graph(&[], &["x", "gone"], vec![node(&["lost"], &["z"])]);
    body.attrs.push(Attr { name: "body".to_owned(), value: AttrValue::Graph(Box::new(inner)) });
    let mut graph = graph(&["x"], &["y", "nothing"], vec![body]);
    let expected = "graph \"g\": values used but never defined: \"gone\" (read by the graph's outputs), \
                    \"lost\" (read by node \"z\"), \"nothing\" (read by the graph's outputs)";
    assert_eq!(check_graph(&mut graph).unwrap_err().to_string(), expected);
}

#[test]
fn names_defined_twice_are_listed() {
    let nodes = vec![node(&["x"], &["x"]), node(&["x"], &["a", "a"]), node(&[], &["", ""])];
    let error = check_graph(&mut graph(&["x"], &[], nodes)).unwrap_err();
    assert_eq!(error.to_string(), "graph \"g\": values defined more than once: \"x\", \"a\"");
}

#[test]
fn cycles_are_named_in_the_order_of_data() {
    let nodes =
        vec![node(&["c"], &["d"]), node(&["b"], &["c"]), node(&["a", "x"], &["b"]), node(&["c"], &["a"])];
    let error = check_graph(&mut graph(&["x"], &[], nodes)).unwrap_err();
    assert_eq!(error.to_string(), "graph \"g\": nodes form a cycle: \"a\", \"b\", \"c\"");
    let error = check_graph(&mut graph(&[], &[], vec![node(&["a"], &["a"])])).unwrap_err();
    assert_eq!(error.to_string(), "graph \"g\": nodes form a cycle: \"a\"");
}
