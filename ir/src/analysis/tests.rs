//! On one graph with a diamond and a body.

use super::{Dataflow, captures, dot};
use crate::{Attrs, Builder, DType, Dim, Graph, NodeId, ScalarOp, Type, ops};

/// Nodes neg, exp(neg), abs(neg), add(exp, abs), if(c) { abs } else { neg }.
fn sample() -> (Graph, Vec<NodeId>) {
    let mut g = Graph::new("t");
    let body = g.body();
    let x = g.add_param(body, Type::tensor(DType::F32, vec![Dim::named("n")]), Some("x".into()));
    let c = g.add_param(body, Type::tensor(DType::Bool, vec![]), None);
    let mut b = Builder::new(&mut g);
    b.origin = "say \"hi\"".into();
    let a = b.unary(ScalarOp::Neg, x).unwrap();
    let (l, r) = (b.unary(ScalarOp::Exp, a).unwrap(), b.unary(ScalarOp::Abs, a).unwrap());
    b.binary(ScalarOp::Add, l, r).unwrap();
    let then = b.nested(|b| Ok(vec![b.unary(ScalarOp::Sqrt, r)?])).unwrap();
    let otherwise = b.nested(|_| Ok(vec![a])).unwrap();
    let y = b.add_row(ops::row("if"), Attrs::new(), &[c], vec![then, otherwise]).unwrap();
    g.block_mut(body).results = y;
    assert_eq!(captures(&g, then).into_iter().collect::<Vec<_>>(), [r]);
    let nodes = g.block(body).nodes.clone();
    (g, nodes)
}

#[test]
fn reachability_sees_paths_and_captures() {
    let (g, nodes) = sample();
    let reach = Dataflow::new(&g, g.body()).reachability();
    let expected = [
        [false, true, true, true, true],
        [false, false, false, true, false],
        [false, false, false, true, true],
        [false; 5],
        [false; 5],
    ];
    let found = nodes.iter().map(|a| [0, 1, 2, 3, 4].map(|b| reach.reaches(*a, nodes[b])));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn an_order_is_found_again() {
    let (mut g, nodes) = sample();
    let body = g.body();
    g.block_mut(body).nodes.reverse();
    let order = Dataflow::new(&g, body).order().unwrap();
    let at = |n: usize| order.iter().position(|m| *m == nodes[n]).unwrap();
    assert!([(0, 1), (0, 2), (1, 3), (2, 3), (2, 4)].iter().all(|(a, b)| at(*a) < at(*b)), "{order:?}");
}

#[test]
fn the_picture_has_every_node_once() {
    let (g, _) = sample();
    let text = dot(&g);
    for (part, times) in
        [("input x", 1), ("output 0", 1), ("exp", 1), ("sqrt", 1), ("f32[n]", 9), (" -> ", 10)]
    {
        assert_eq!(text.matches(part).count(), times, "{part} in\n{text}");
    }
    assert!(text.contains(r#"say \"hi\""#), "{text}");
}
