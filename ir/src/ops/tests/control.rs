//! Control flow and sizes found at run time, against values worked out by hand.

use super::{dims, n, reread, run, text, texts};
use crate::{
    Attr, Attrs, Builder, DType, Dim, Graph, OpError, ScalarOp, Tensor, Turn, Type, ValueId, attrs, ops,
};

fn ints(shape: &[usize], data: &[i64]) -> Tensor {
    Tensor::from_slice(shape, data).unwrap()
}

fn finish(g: &mut Graph, results: Vec<ValueId>) {
    let body = g.body();
    g.block_mut(body).results = results;
}

fn param(g: &mut Graph, dtype: DType, shape: Vec<Dim>) -> ValueId {
    let body = g.body();
    g.add_param(body, Type::tensor(dtype, shape), None)
}

/// A graph over `x: i64[n]` built by `f`.
fn over_vector(f: impl Fn(&mut Builder, ValueId) -> Result<Vec<ValueId>, OpError>) -> Graph {
    let mut g = Graph::new("t");
    let x = param(&mut g, DType::I64, vec![Dim::named("n")]);
    let results = f(&mut Builder::new(&mut g), x).unwrap();
    finish(&mut g, results);
    g
}

fn truth(b: &mut Builder) -> ValueId {
    b.constant(Tensor::from_bools(&[], &[true]).unwrap())
}

#[test]
fn branches_of_different_size_give_a_fresh_symbol() {
    let mut g = Graph::new("t");
    let c = param(&mut g, DType::Bool, vec![]);
    let x = param(&mut g, DType::F32, vec![Dim::named("n"), Dim::int(2)]);
    let mut b = Builder::new(&mut g);
    let then = b.nested(|b| Ok(vec![b.concat(&[x, x], 0)?])).unwrap();
    let otherwise = b.nested(|b| Ok(vec![b.unary(ScalarOp::Neg, x)?])).unwrap();
    let y = b.add_row(ops::row("if"), Attrs::new(), &[c], vec![then, otherwise]).unwrap();
    let shape = b.graph.tensor_ty(y[0]).shape.clone();
    assert!(shape[0].as_sym().is_some() && shape[0] != Dim::named("n") && shape[1].is(2), "{shape:?}");
    finish(&mut g, y);
    let data = n(DType::F32, &[1, 2], &[1.0, 2.0]);
    for (taken, expected) in [
        (true, n(DType::F32, &[2, 2], &[1.0, 2.0, 1.0, 2.0])),
        (false, n(DType::F32, &[1, 2], &[-1.0, -2.0])),
    ] {
        let c = Tensor::from_bools(&[], &[taken]).unwrap();
        assert_eq!(run(&g, &[c, data.clone()]).unwrap(), [expected]);
    }
}

#[test]
fn a_loop_carries_scans_and_stops() {
    // Fibonacci numbers while below the limit.
    let mut g = Graph::new("t");
    let trip = param(&mut g, DType::I64, vec![]);
    let limit = param(&mut g, DType::I64, vec![]);
    let mut b = Builder::new(&mut g);
    let go = truth(&mut b);
    let (zero, one) = (b.scalar(DType::I64, 0.0).unwrap(), b.scalar(DType::I64, 1.0).unwrap());
    let y = b.looped(trip, go, &[zero, one], &mut |b, _, _, v| {
        let sum = b.binary(ScalarOp::Add, v[0], v[1])?;
        let cond = b.binary(ScalarOp::Lt, sum, limit)?;
        Ok(Turn { cond, carried: vec![v[1], sum], scanned: vec![sum] })
    });
    finish(&mut g, y.unwrap());
    let scalar = |v: i64| Tensor::scalar(v);
    let cases: [(i64, i64, [i64; 2], &[i64]); 3] =
        [(100, 10, [8, 13], &[1, 2, 3, 5, 8, 13]), (3, 10, [2, 3], &[1, 2, 3]), (0, 10, [0, 1], &[])];
    for (trip, limit, last, all) in cases {
        let expected = [scalar(last[0]), scalar(last[1]), ints(&[all.len()], all)];
        assert_eq!(run(&g, &[scalar(trip), scalar(limit)]).unwrap(), expected, "{trip} turns");
    }
}

#[test]
fn a_carried_value_may_grow() {
    let g = over_vector(|b, x| {
        let trip = b.scalar(DType::I64, 3.0)?;
        let go = truth(b);
        let y = b.looped(trip, go, &[x], &mut |b, turn, cond, v| {
            let turn = b.reshape(turn, &[Dim::ONE])?;
            Ok(Turn { cond, carried: vec![b.concat(&[v[0], turn], 0)?], scanned: vec![] })
        })?;
        // The new size can be used.
        let len = b.graph.tensor_ty(y[0]).shape.clone();
        Ok(vec![y[0], b.dims(len)?])
    });
    let expected = [ints(&[5], &[7, 9, 0, 1, 2]), ints(&[1], &[5])];
    assert_eq!(run(&g, &[ints(&[2], &[7, 9])]).unwrap(), expected);
}

#[test]
fn a_known_number_of_turns_is_a_size() {
    let g = over_vector(|b, x| {
        let n = b.graph.tensor_ty(x).shape[0].clone();
        let trip = b.one("dims", attrs! { values: Attr::Dims(vec![n]), scalar: Attr::Int(1) }, &[])?;
        let go = truth(b);
        b.looped(trip, go, &[], &mut |b, turn, cond, _| {
            let element = b.one("gather", attrs! { axis: Attr::Int(0) }, &[x, turn])?;
            let twice = b.binary(ScalarOp::Add, element, element)?;
            Ok(Turn { cond, carried: vec![], scanned: vec![twice] })
        })
    });
    let body = g.block(g.body());
    let n = Dim::named("n").max_with(&Dim::ZERO);
    assert_eq!(g.tensor_ty(body.results[0]).shape, [n]);
    assert_eq!(run(&g, &[ints(&[3], &[4, 5, 6])]).unwrap(), [ints(&[3], &[8, 10, 12])]);
}

#[test]
fn loops_nest_and_their_symbols_start_afresh() {
    // Scans the sums of the first 0, 1, 2 … elements; each inner slice has another size.
    let g = over_vector(|b, x| {
        let trip = b.scalar(DType::I64, 3.0)?;
        let go = truth(b);
        b.looped(trip, go, &[], &mut |b, turn, cond, _| {
            let s = b.one("symbols", attrs! { names: texts(&["k"]) }, &[turn])?;
            assert_eq!(b.graph.value(s).content, Some(vec![Dim::named("k")]));
            let head = b.slice_axis(x, 0, Dim::ZERO, Dim::named("k"))?;
            Ok(Turn { cond, carried: vec![], scanned: vec![b.reduce("sum", head, &[0])?] })
        })
    });
    assert_eq!(run(&g, &[ints(&[3], &[4, 5, 6])]).unwrap(), [ints(&[3], &[0, 4, 9])]);
}

#[test]
fn content_passes_through_shape_arithmetic() {
    let g = over_vector(|b, x| {
        let n = b.graph.tensor_ty(x).shape[0].clone();
        let both = b.dims(vec![n.clone(), Dim::int(6), n])?;
        let cut = b.slice(both, vec![Dim::int(2)], vec![Dim::int(2)], vec![-2])?;
        let picked = b.constant(ints(&[2], &[-1, 0]));
        let picked = b.one("gather", attrs! { axis: Attr::Int(0) }, &[cut, picked])?;
        let total = b.reduce("prod", picked, &[0])?;
        let scalar = b.reshape(total, &[])?;
        assert_eq!(b.graph.value(scalar).content, Some(vec![Dim::named("n") * Dim::named("n")]));
        Ok(vec![scalar])
    });
    assert_eq!(run(&g, &[ints(&[3], &[0, 0, 0])]).unwrap(), [Tensor::scalar(9i64)]);
}

#[test]
fn errors_of_a_run_name_the_node() {
    let mut g = Graph::new("t");
    let x = param(&mut g, DType::F32, vec![Dim::named("n")]);
    let mut b = Builder::new(&mut g);
    b.origin = "layer/reshape".into();
    let y = b.one("reshape", attrs! { shape: dims(&[2, 2]) }, &[x]).unwrap();
    finish(&mut g, vec![y]);
    let e = run(&g, &[n(DType::F32, &[3], &[0.0; 3])]).unwrap_err();
    assert!(e.starts_with("node \"layer/reshape\" (reshape): "), "{e}");
    let e = run(&g, &[n(DType::F32, &[1, 3], &[0.0; 3])]).unwrap_err();
    assert_eq!(e, "input \"0\": expected f32[n], found f32[1, 3]");
    assert_eq!(run(&g, &[]).unwrap_err(), "expected 1 inputs, found 0");
}

#[test]
fn a_routine_finds_its_sizes_out() {
    let mut g = Graph::new("t");
    let x = param(&mut g, DType::F32, vec![Dim::named("n"), Dim::int(2)]);
    let found = Type::tensor(DType::I64, vec![Dim::int(2), Dim::sym(g.fresh_sym())]);
    let mut b = Builder::new(&mut g);
    let attrs = attrs! { name: text("nonzero"), types: Attr::Types(vec![found.clone()]) };
    let at = b.one("routine", attrs, &[x]).unwrap();
    let rows = b.transpose(at, &[1, 0]).unwrap();
    let picked = b.one("gather_nd", attrs! { batch_dims: Attr::Int(0) }, &[x, rows]).unwrap();
    let unknown = b.add("routine", attrs! { name: text("softmax"), types: Attr::Types(vec![found]) }, &[x]);
    assert_eq!(unknown, Err(OpError("unknown routine \"softmax\"".into())));
    finish(&mut g, vec![at, picked]);
    let x = n(DType::F32, &[2, 2], &[0.0, 3.0, 4.0, 0.0]);
    let expected = [ints(&[2, 2], &[0, 1, 1, 0]), n(DType::F32, &[2], &[3.0, 4.0])];
    assert_eq!(run(&reread(&g).unwrap(), &[x]).unwrap(), expected);
}
