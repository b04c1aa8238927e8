//! The interpreter's own duties: symbols, lifetimes, folding. Operators are tested beside their rows.

use super::liveness::last_uses;
use super::{Interpreter, eval_node_constant};
use crate::{Builder, DType, Dim, Graph, ScalarOp, Tensor, Type, Value};

fn floats(shape: &[usize], data: &[f32]) -> Value {
    Tensor::from_slice(shape, data).unwrap().into()
}

/// `x: f32[2·n + 1]`, `y: f32[n]` and `z: f32[n]`.
fn three_inputs() -> Graph {
    let mut g = Graph::new("t");
    let body = g.body();
    let n = Dim::named("n");
    let odd = n.clone() * Dim::int(2) + Dim::ONE;
    for (name, size) in [("x", odd), ("y", n.clone()), ("z", n)] {
        let v = g.add_param(body, Type::tensor(DType::F32, vec![size]), Some(name.into()));
        g.block_mut(body).results.push(v);
    }
    g
}

#[test]
fn input_shapes_give_symbols_their_values() {
    let g = three_inputs();
    let run = |x: usize, y: usize, z: usize| {
        let inputs = [x, y, z].map(|n| floats(&[n], &vec![0.0; n]));
        Interpreter::new(&g).run(&inputs).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(run(7, 3, 3), Ok(()));
    let wrong = "input \"x\": expected f32[2*n + 1], found f32[6]: size 2*n + 1 must be 7, found 6";
    assert_eq!(run(6, 3, 3), Err(wrong.into()));
    assert_eq!(run(7, 3, 4), Err("input \"z\": size \"n\" must be 3, found 4".into()));
}

#[test]
fn an_expression_is_solved_for_its_only_symbol() {
    let mut g = Graph::new("t");
    let body = g.body();
    let size = Dim::named("n") * Dim::int(2) + Dim::ONE;
    g.add_param(body, Type::tensor(DType::F32, vec![size]), None);
    let n = Builder::new(&mut g).dims(vec![Dim::named("n")]).unwrap();
    g.block_mut(body).results.push(n);
    let y = Interpreter::new(&g).run(&[floats(&[7], &[0.0; 7])]).unwrap();
    assert_eq!(y, [Tensor::from_slice(&[1], &[3i64]).unwrap().into()]);
    assert!(Interpreter::new(&g).run(&[floats(&[6], &[0.0; 6])]).is_err());
}

#[test]
fn bounds_of_symbols_hold() {
    let mut g = three_inputs();
    g.bounds.insert(crate::Sym::new("n"), (1, 2));
    let inputs = [7, 3, 3].map(|n: usize| floats(&[n], &vec![0.0; n]));
    let e = Interpreter::new(&g).run(&inputs).unwrap_err();
    assert_eq!(e.to_string(), "input \"y\": size \"n\" must be in 1..=2, found 3");
}

#[test]
fn values_die_after_their_last_use() {
    let mut g = Graph::new("t");
    let body = g.body();
    let x = g.add_param(body, Type::tensor(DType::F32, vec![]), None);
    let c = g.add_param(body, Type::tensor(DType::Bool, vec![]), None);
    let mut b = Builder::new(&mut g);
    let a = b.unary(ScalarOp::Neg, x).unwrap();
    let unread = b.unary(ScalarOp::Abs, a).unwrap();
    let d = b.unary(ScalarOp::Exp, x).unwrap();
    // Captured by the branches only.
    let then = b.nested(|b| Ok(vec![b.unary(ScalarOp::Abs, d)?])).unwrap();
    let otherwise = b.nested(|_| Ok(vec![a])).unwrap();
    let y = b.add_row(crate::ops::row("if"), Default::default(), &[c], vec![then, otherwise]).unwrap();
    g.block_mut(body).results = y.clone();
    let dying = last_uses(&g);
    let nodes = &g.block(body).nodes;
    assert_eq!(dying[nodes[0].index()], []);
    assert_eq!(dying[nodes[1].index()], [unread]);
    assert_eq!(dying[nodes[2].index()], [x]);
    assert_eq!(dying[nodes[3].index()], [c, a, d]);
    let inside = g.block(then).nodes[0];
    assert_eq!(dying[inside.index()], []);
    let run = |c: bool| {
        let c = Tensor::from_bools(&[], &[c]).unwrap();
        Interpreter::new(&g).run(&[floats(&[], &[2.0]), c.into()]).unwrap()
    };
    assert_eq!(run(false), [floats(&[], &[-2.0])]);
    assert_eq!(run(true), [floats(&[], &[2f64.exp() as f32])]);
}

#[test]
fn constants_are_folded_within_the_budget() {
    let mut g = Graph::new("t");
    let mut b = Builder::new(&mut g);
    let a = b.constant(Tensor::from_slice(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap());
    let y = b.contract("mk", "nk", "mn", a, a).unwrap();
    let node = g.def_node(y).unwrap();
    let types = [g.ty(y).clone()];
    // 4 sums of 3 products, and 12 elements read.
    assert_eq!(eval_node_constant(&g, node, &types, 23), None);
    let expected = floats(&[2, 2], &[14.0, 32.0, 32.0, 77.0]);
    assert_eq!(eval_node_constant(&g, node, &types, 24), Some(vec![expected]));
    assert_eq!(eval_node_constant(&g, g.def_node(a).unwrap(), &types, 1000), None);
}
