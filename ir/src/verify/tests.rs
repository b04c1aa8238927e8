//! Each invariant broken once.

use super::verify;
use crate::{Attr, Attrs, Builder, DType, Dim, Graph, ScalarOp, Type, ValueId, attrs, ops};

/// `y = exp(neg(x))`, with a branch that captures the value between.
fn sample() -> (Graph, [ValueId; 3]) {
    let mut g = Graph::new("t");
    let body = g.body();
    let x = g.add_param(body, Type::tensor(DType::F32, vec![Dim::named("n")]), None);
    let c = g.add_param(body, Type::tensor(DType::Bool, vec![]), None);
    let mut b = Builder::new(&mut g);
    b.origin = "layer".into();
    let a = b.unary(ScalarOp::Neg, x).unwrap();
    let y = b.unary(ScalarOp::Exp, a).unwrap();
    let then = b.nested(|b| Ok(vec![b.concat(&[a, a], 0)?])).unwrap();
    let otherwise = b.nested(|_| Ok(vec![y])).unwrap();
    let z = b.add_row(ops::row("if"), Attrs::new(), &[c], vec![then, otherwise]).unwrap()[0];
    g.block_mut(body).results = vec![z];
    (g, [x, a, y])
}

fn messages(g: &Graph) -> Vec<String> {
    verify(g).map_or_else(|e| e.iter().map(ToString::to_string).collect(), |()| Vec::new())
}

#[test]
fn a_sound_graph_passes() {
    assert_eq!(messages(&sample().0), [""; 0]);
}

#[test]
fn broken_graphs_are_named() {
    type Break = fn(&mut Graph, [ValueId; 3]);
    let cases: [(Break, &str); 8] = [
        (
            |g, _| {
                let body = g.body();
                g.block_mut(body).nodes.swap(0, 1);
            },
            "node \"layer\" (exp): operand 0 is not defined before",
        ),
        (
            |g, _| {
                let body = g.body();
                let first = g.block(body).nodes[0];
                g.block_mut(body).nodes.push(first);
            },
            "node \"layer\" (neg): stands in more than one place",
        ),
        (
            |g, [_, a, _]| g.value_mut(a).ty = Type::tensor(DType::F64, vec![Dim::named("n")]),
            "node \"layer\" (neg): result 0 must have type f32[n], found f64[n]",
        ),
        (
            |g, [_, a, _]| {
                let then = crate::BlockId::new(1);
                let inner = g.block(then).results[0];
                let body = g.body();
                g.block_mut(body).results = vec![a, inner];
            },
            "block 0: result 1 is not defined where the block ends",
        ),
        (
            |g, [x, ..]| g.value_mut(x).def = crate::Def::Param(crate::BlockId::new(1), 0),
            "block 0: parameter 0 names another definition",
        ),
        (
            |g, [_, a, _]| {
                let crate::Def::Node(n, _) = g.value(a).def else { return };
                g.node_mut(n).attrs = attrs! { axis: Attr::Int(0) };
            },
            "node \"layer\" (neg): neg has no attribute \"axis\"",
        ),
        (
            |g, [x, ..]| {
                let body = g.body();
                let y = Builder::new(g).reshape(x, &[Dim::named("m")]).unwrap();
                g.block_mut(body).results = vec![y];
            },
            "node \"\" (reshape): attribute \"shape\" mentions the size m before it has a value",
        ),
        (
            |g, _| {
                let body = g.body();
                let v = Builder::new(g).dims(vec![Dim::ONE]).unwrap();
                g.value_mut(v).content = Some(vec![]);
                g.block_mut(body).results = vec![v];
            },
            "node \"\" (dims): i64[1] has the known elements []",
        ),
    ];
    for (damage, expected) in cases {
        let (mut g, values) = sample();
        damage(&mut g, values);
        assert_eq!(messages(&g).first().map(String::as_str), Some(expected));
    }
}
