//! Control flow: nodes with bodies. A body reads values of the blocks around it directly.
//!
//! Symbols that a body gives values to mean nothing outside of it. An output whose size mentions one,
//! or whose size differs between branches or turns, gets a fresh symbol instead.

use super::check::{same_dtype, show};
use super::source::symbol;
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{BlockId, DType, Dim, Graph, Sym, Tensor, TensorType, Type, Value, ValueId, refuse};
use nnc_tensor::movers;
use std::collections::BTreeSet;

pub(super) const ROWS: &[OpRow] = &[IF, LOOP];

const IF: OpRow = OpRow {
    name: "if",
    doc: "the results of the first body if the boolean scalar is true, else those of the second",
    attrs: &[],
    effects: Effects::Pure,
    infer: infer_if,
    content: None,
    eval: |cx| {
        let taken = usize::from(!truth(cx.tensor(0)?)?);
        (cx.run_block)(taken, &[])
    },
    scalar: None,
    decompose: None,
};

const LOOP: OpRow = OpRow {
    name: "loop",
    doc: "while turn < trip and cond: (cond, carried…, scanned…) = body(turn, cond, carried…); gives the last carried \
          values, then each of the `scans` scanned ones joined along a new first axis",
    attrs: &[spec::int("scans")],
    effects: Effects::Pure,
    infer: infer_loop,
    content: None,
    eval: eval_loop,
    scalar: None,
    decompose: None,
};

fn truth(t: &Tensor) -> Result<bool, OpError> {
    if t.dtype() != DType::Bool || t.len() != 1 {
        refuse!("a condition must be one boolean, found {t:?}");
    }
    Ok(t.bytes()[0] != 0)
}

/// Symbols that may get their values inside a block: what its parameters and its nodes with results of
/// unknown size mention, without the symbols of the model's inputs.
fn local_syms(graph: &Graph, block: BlockId) -> BTreeSet<Sym> {
    let mut found = BTreeSet::new();
    add_syms(graph, &graph.block(block).params, &mut found);
    graph.visit_nodes(block, &mut |n| {
        let node = graph.node(n);
        match node.op.name {
            "symbols" => found.extend(node.attrs.strs("names").iter().map(|s| symbol(s))),
            "routine" | "if" | "loop" => add_syms(graph, &node.outputs, &mut found),
            _ => {}
        }
        node.blocks.iter().for_each(|b| add_syms(graph, &graph.block(*b).params, &mut found));
    });
    let mut outer = BTreeSet::new();
    add_syms(graph, &graph.block(graph.body()).params, &mut outer);
    found.difference(&outer).cloned().collect()
}

fn add_syms(graph: &Graph, values: &[ValueId], to: &mut BTreeSet<Sym>) {
    for v in values {
        graph.ty(*v).visit_dims(&mut |d| {
            d.visit_syms(&mut |s| {
                to.insert(s.clone());
            });
        });
    }
}

/// The type that covers both, with fresh symbols where sizes differ or mention a local symbol.
fn join(graph: &mut Graph, a: &Type, b: &Type, local: &BTreeSet<Sym>) -> Result<Type, OpError> {
    join_with(a, b, local, &mut || Dim::sym(graph.fresh_sym()))
}

/// The type that covers two containers: sizes inside that differ are `?`.
pub(crate) fn cover(a: &Type, b: &Type) -> Result<Type, OpError> {
    join_with(a, b, &BTreeSet::new(), &mut || Dim::named("?"))
}

fn join_with(
    a: &Type,
    b: &Type,
    local: &BTreeSet<Sym>,
    unknown: &mut dyn FnMut() -> Dim,
) -> Result<Type, OpError> {
    let inner = |a: &Type, b: &Type| join_with(a, b, local, &mut || Dim::named("?")).map(Box::new);
    Ok(match (a, b) {
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype && x.rank() == y.rank() => {
            let size = |(p, q): (&Dim, &Dim)| {
                let inside = local.iter().any(|s| p.mentions(s));
                if p == q && !inside { p.clone() } else { unknown() }
            };
            Type::tensor(x.dtype, x.shape.iter().zip(&y.shape).map(size).collect())
        }
        (Type::Sequence(x), Type::Sequence(y)) => Type::Sequence(inner(x, y)?),
        (Type::Optional(x), Type::Optional(y)) => Type::Optional(inner(x, y)?),
        (Type::Map(k, x), Type::Map(l, y)) if k == l => Type::Map(*k, inner(x, y)?),
        _ => refuse!("results must have one type, found {a} and {b}"),
    })
}

fn n_blocks(cx: &InferCx, n: usize) -> Result<(), OpError> {
    if cx.blocks.len() != n {
        refuse!("expected {n} bodies, found {}", cx.blocks.len());
    }
    Ok(())
}

fn condition(cx: &InferCx, i: usize) -> Result<(), OpError> {
    cx.expect(i, "the condition", DType::Bool, &[])
}

fn result_types(cx: &InferCx, block: usize) -> Vec<Type> {
    cx.block(block).results.iter().map(|v| cx.graph.ty(*v).clone()).collect()
}

fn infer_if(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(1)?;
    condition(cx, 0)?;
    n_blocks(cx, 2)?;
    if !cx.block(0).params.is_empty() || !cx.block(1).params.is_empty() {
        refuse!("branches take no parameters");
    }
    let (then, otherwise) = (result_types(cx, 0), result_types(cx, 1));
    if then.len() != otherwise.len() {
        refuse!("branches must have as many results, found {} and {}", then.len(), otherwise.len());
    }
    let mut local = local_syms(cx.graph, cx.blocks[0]);
    local.extend(local_syms(cx.graph, cx.blocks[1]));
    then.iter().zip(&otherwise).map(|(a, b)| join(cx.graph, a, b, &local)).collect()
}

fn infer_loop(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    n_blocks(cx, 1)?;
    let scans = cx.attrs.int("scans");
    let n_scans = match usize::try_from(scans) {
        Ok(n) if n <= cx.block(0).results.len() => n,
        _ => {
            refuse!("the body must give {scans} scanned values, found {} results", cx.block(0).results.len())
        }
    };
    let n_carried = cx.inputs.len().saturating_sub(2);
    cx.expect(0, "the number of turns", DType::I64, &[])?;
    condition(cx, 1)?;
    let params: Vec<Type> = cx.block(0).params.iter().map(|v| cx.graph.ty(*v).clone()).collect();
    let results = result_types(cx, 0);
    if params.len() != n_carried + 2 || results.len().checked_sub(n_carried + 1) != Some(n_scans) {
        refuse!(
            "a body with {n_carried} carried and {n_scans} scanned values takes {} parameters and gives {} results, \
             found {} and {}",
            n_carried + 2,
            n_carried + 1 + n_scans,
            params.len(),
            results.len()
        );
    }
    let expected = [(&params[0], DType::I64), (&params[1], DType::Bool), (&results[0], DType::Bool)];
    for (ty, dtype) in expected {
        if *ty != Type::tensor(dtype, vec![]) {
            refuse!("turn, condition and next condition must be i64[], bool[], bool[], found {ty}");
        }
    }
    let local = local_syms(cx.graph, cx.blocks[0]);
    let mut outputs = Vec::new();
    for i in 0..n_carried {
        let (before, inside, after) = (cx.ty(i + 2).clone(), &params[i + 2], &results[i + 1]);
        outputs.push(carried(cx.graph, &before, inside, after, &local)?);
    }
    let turns = turns(cx);
    for element in &results[1 + n_carried..] {
        let Type::Tensor(TensorType { dtype, shape }) = element else {
            refuse!("scanned values must be tensors, found {element}");
        };
        let first = turns.clone().unwrap_or_else(|| Dim::sym(cx.graph.fresh_sym()));
        let element = Type::tensor(*dtype, [std::slice::from_ref(&first), shape.as_slice()].concat());
        outputs.push(join(cx.graph, &element, &element, &local)?);
    }
    Ok(outputs)
}

/// The type of a carried value after the loop.
///
/// The parameter's sizes are those before the first turn and after each, or symbols of the body's own.
fn carried(
    graph: &mut Graph,
    before: &Type,
    inside: &Type,
    after: &Type,
    local: &BTreeSet<Sym>,
) -> Result<Type, OpError> {
    if let (Type::Tensor(b), Type::Tensor(p), Type::Tensor(a)) = (before, inside, after) {
        same_dtype("a carried value", p.dtype, b.dtype)?;
        same_dtype("a carried value", p.dtype, a.dtype)?;
        let fits = |i: usize| {
            let own = p.shape[i].as_sym().is_some_and(|s| local.contains(s));
            own || p.shape[i] == b.shape[i] && p.shape[i] == a.shape[i]
        };
        if b.rank() != p.rank() || a.rank() != p.rank() || !(0..p.rank()).all(fits) {
            let [b, p, a] = [b, p, a].map(|t| show(&t.shape));
            refuse!("a carried value must keep shape {p}, found {b} before and {a} after a turn");
        }
    }
    join(graph, before, after, local)
}

/// The number of turns, where it is known that the condition stays true.
fn turns(cx: &InferCx) -> Option<Dim> {
    let block = cx.block(0);
    let always = |v| cx.graph.constant(v).is_some_and(|t| t.len() == 1 && t.bytes() == [1]);
    let next = block.results[0];
    if !always(cx.inputs[1]) || !(next == block.params[1] || always(next)) {
        return None;
    }
    let trip = cx.content(0)?.first()?;
    match trip.as_const() {
        Some(i64::MAX) => None,
        Some(n) => Some(Dim::int(n.max(0))),
        None => Some(trip.max_with(&Dim::ZERO)),
    }
}

fn eval_loop(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let trip = *cx.i64s(0)?.first().unwrap_or(&0);
    let mut cond = truth(cx.tensor(1)?)?;
    let n_scans = cx.attrs.index("scans");
    let mut carried = cx.inputs[2..].to_vec();
    let mut scanned: Vec<Vec<Tensor>> = vec![Vec::new(); n_scans];
    let mut turn = 0;
    while turn < trip && cond {
        let mut args = vec![Tensor::scalar(turn).into(), Tensor::from_bools(&[], &[cond])?.into()];
        args.append(&mut carried);
        let mut results = (cx.run_block)(0, &args)?;
        for (list, value) in scanned.iter_mut().zip(results.split_off(results.len() - n_scans)) {
            let Value::Tensor(t) = value else { refuse!("scanned values must be tensors") };
            list.push(t.reshaped([&[1], t.shape()].concat())?);
        }
        carried = results.split_off(1);
        cond = results[0].tensor().map(truth).transpose()?.unwrap_or(false);
        turn += 1;
    }
    for list in &scanned {
        carried.push(match list.as_slice() {
            [] => empty_scan(cx, cx.out(carried.len()))?.into(),
            parts => movers::concat(&parts.iter().collect::<Vec<_>>(), 0)?.into(),
        });
    }
    Ok(carried)
}

/// What a loop without turns scans: sizes that only a turn could tell are zero.
fn empty_scan(cx: &EvalCx, t: &TensorType) -> Result<Tensor, OpError> {
    let mut shape: Vec<usize> =
        t.shape.iter().map(|d| cx.dim(d).ok().and_then(|v| usize::try_from(v).ok()).unwrap_or(0)).collect();
    shape[0] = 0;
    Ok(Tensor::zeros(t.dtype, &shape)?)
}
