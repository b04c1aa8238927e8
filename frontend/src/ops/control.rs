//! Control flow: branches and loops.
//!
//! Scans become loops that gather the elements of their inputs by the number of the turn.

use super::sequence::{common, is_unknown_rank};
use super::{OnnxOp, onnx};
use crate::context::{Bind, Body, Cx, Lowered, normal_axis};
use crate::model::Graph;
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, Tensor, Type, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("If", &[1, 11, 13, 16, 19, 21, 23, 24, 25], "one of two subgraphs, by a condition", lower_if),
    onnx(
        "Loop",
        &[1, 11, 13, 16, 19, 21, 23, 24, 25],
        "a subgraph repeated by count, by condition, or both",
        |cx| {
            let body = cx.graph_attr("body")?;
            let trip = cx.input(0)?.map(|v| cx.reshape(v, &[])).transpose()?;
            let cond = cx.input(1)?.map(|v| cx.reshape(v, &[])).transpose()?;
            let carried = (2..cx.n_inputs()).map(|i| cx.value(i)).collect::<Lowered<Vec<_>>>()?;
            let results = repeat(cx, body, trip, cond, &carried)?;
            results.into_iter().enumerate().for_each(|(i, v)| cx.output(i, v));
            Ok(())
        },
    ),
    onnx("Scan", &[8, 9, 11, 16, 19, 21, 23, 24, 25], "a subgraph over the elements along axes", scan),
];

fn lower_if(cx: &mut Cx) -> Lowered {
    let cond = cx.required(0)?;
    let branches = [cx.graph_attr("then_branch")?, cx.graph_attr("else_branch")?];
    let known = cx.content_of(cond).and_then(|c| c.first().and_then(Dim::as_const));
    let results = match known {
        Some(c) => cx.inline(branches[usize::from(c == 0)])?,
        None => choose(cx, cond, branches)?,
    };
    results.into_iter().enumerate().for_each(|(i, v)| cx.output(i, v));
    Ok(())
}

/// Either branch at run time.
///
/// Where the branches differ in rank, the condition asks whether a size is 1: it is how exporters write
/// a squeeze of an axis of unknown size. The squeeze is then taken, which fails at run time if the
/// size is another after all; a size fixed by the caller decides the condition at once.
fn choose<'m>(cx: &mut Cx<'_, '_, 'm>, cond: ValueId, branches: [&'m Graph; 2]) -> Lowered<Vec<ValueId>> {
    let then = cx.body(branches[0], &[], &mut |_, p| Ok(p.to_vec()));
    let otherwise = cx.body(branches[1], &[], &mut |_, p| Ok(p.to_vec()));
    let (then, otherwise) = (then?, otherwise?);
    let rank = |v: &ValueId| cx.graph.ty(*v).as_tensor().map(nnc_ir::TensorType::rank);
    let same_ranks = then.results.iter().map(rank).eq(otherwise.results.iter().map(rank));
    if !same_ranks && asks_for_one(cx, cond) {
        return cx.inline(branches[0]);
    }
    let cond = cx.reshape(cond, &[])?;
    Ok(cx.add_row(nnc_ir::ops::row("if"), attrs! {}, &[cond], vec![then.block, otherwise.block])?)
}

/// Whether a condition compares a size with 1.
fn asks_for_one(cx: &mut Cx, cond: ValueId) -> bool {
    let Some([a, b]) = cx.graph.def_if(cond, "eq").and_then(|n| n.inputs.get(..2)).map(|i| [i[0], i[1]])
    else {
        return false;
    };
    let one = |d: Option<Vec<Dim>>| d.is_some_and(|d| d.iter().all(|d| d.is(1)));
    let (a, b) = (cx.content_of(a), cx.content_of(b));
    (a.is_some() && one(b.clone())) || (b.is_some() && one(a))
}

/// The type that covers both; sizes that differ become symbols.
fn widen(cx: &mut Cx, a: &Type, b: &Type) -> Lowered<Type> {
    Ok(match (a, b) {
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype && x.rank() == y.rank() => {
            let mut join = |(p, q): (&Dim, &Dim)| {
                // A symbol made by an earlier widening stands for any size already.
                if p == q { p.clone() } else { Dim::sym(cx.graph.fresh_sym()) }
            };
            Type::tensor(x.dtype, x.shape.iter().zip(&y.shape).map(&mut join).collect())
        }
        (Type::Sequence(x), Type::Sequence(y)) => Type::Sequence(Box::new(common(x, y)?)),
        (Type::Optional(x), Type::Optional(y)) => Type::Optional(Box::new(common(x, y)?)),
        _ => unsupported!("a carried value must keep its type, found {a} before and {b} after a turn"),
    })
}

/// Whether a parameter of type `a` can take a value of type `b` after a turn; `initial` came before the first.
fn settled(initial: &Type, a: &Type, b: &Type) -> bool {
    match (initial, a, b) {
        (Type::Tensor(i), Type::Tensor(x), Type::Tensor(y)) => {
            let fits = |k: usize| x.shape[k] == y.shape[k] || x.shape[k] != i.shape[k];
            x.dtype == y.dtype && x.rank() == y.rank() && (0..x.rank()).all(fits)
        }
        _ => a == b,
    }
}

/// Imports a loop's body until the types of the carried values hold from turn to turn.
fn settle<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    graph: &'m Graph,
    initial: &[Type],
    results_before: usize,
    bind: &mut Bind<'_, 'm>,
) -> Lowered<Body> {
    let turn = [Type::tensor(DType::I64, vec![]), Type::tensor(DType::Bool, vec![])];
    let mut types = initial.to_vec();
    let problems = cx.n_problems();
    // Each round makes at least one size a symbol; chains of dependent sizes are short.
    for _ in 0..8 {
        cx.forget_problems(problems);
        let params = [turn.as_slice(), &types].concat();
        let body = cx.body(graph, &params, bind)?;
        let Some(after) = body.results.get(results_before..results_before + types.len()) else {
            unsupported!("the body gives {} results, which are too few", body.results.len());
        };
        let after: Vec<Type> = after.iter().map(|v| cx.graph.ty(*v).clone()).collect();
        let unsettled = |k: &usize| !settled(&initial[*k], &types[*k], &after[*k]);
        let open: Vec<usize> = (0..types.len()).filter(unsettled).collect();
        if open.is_empty() {
            return Ok(body);
        }
        for k in open {
            types[k] = widen(cx, &types[k], &after[k])?;
        }
    }
    unsupported!("the sizes of the carried values do not settle")
}

/// A loop node; a missing count is endless, a missing condition true.
fn repeat<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    graph: &'m Graph,
    trip: Option<ValueId>,
    cond: Option<ValueId>,
    carried: &[ValueId],
) -> Lowered<Vec<ValueId>> {
    let initial: Vec<Type> = carried.iter().map(|v| cx.graph.ty(*v).clone()).collect();
    let body = settle(cx, graph, &initial, 1, &mut |_, p| Ok(p.to_vec()))?;
    let carried = ranked(cx, carried, &body)?;
    let mut results = body.results.clone();
    results[0] = cx.at_block(body.block, |cx| Ok(cx.reshape(results[0], &[])?))?;
    add_loop(cx, &body, results, trip, cond, &carried)
}

/// Carried values with empty sequences of unknown rank made again as the body wants them.
fn ranked(cx: &mut Cx, carried: &[ValueId], body: &Body) -> Lowered<Vec<ValueId>> {
    let mut values = carried.to_vec();
    for (v, param) in values.iter_mut().zip(&body.params[2..]) {
        let unknown = matches!(cx.graph.ty(*v), Type::Sequence(t) if is_unknown_rank(t));
        if unknown {
            let ty = cx.graph.ty(*param).clone();
            *v = super::routine::call(cx, "sequence_empty", Vec::new(), vec![ty], &[])?[0];
        }
    }
    Ok(values)
}

pub(super) fn add_loop(
    cx: &mut Cx,
    body: &Body,
    results: Vec<ValueId>,
    trip: Option<ValueId>,
    cond: Option<ValueId>,
    carried: &[ValueId],
) -> Lowered<Vec<ValueId>> {
    let scans = results.len() - 1 - carried.len();
    cx.graph.block_mut(body.block).results = results;
    let trip = trip.unwrap_or_else(|| cx.constant(Tensor::scalar(i64::MAX)));
    let cond = match cond {
        Some(c) => c,
        None => cx.constant(Tensor::from_bools(&[], &[true])?),
    };
    let operands = [[trip, cond].as_slice(), carried].concat();
    let attrs = attrs! { scans: Attr::Int(scans as i64) };
    Ok(cx.add_row(nnc_ir::ops::row("loop"), attrs, &operands, vec![body.block])?)
}

/// How a scan walks its inputs and outputs: axis and whether from the end.
struct Walk {
    axis: usize,
    reverse: bool,
}

fn walks(cx: &Cx, axes: &str, directions: &str, ranks: &[usize]) -> Lowered<Vec<Walk>> {
    let n = ranks.len();
    let list = |name: &str| -> Lowered<Vec<i64>> {
        let ints = cx.attrs.ints(name)?.map_or_else(|| vec![0; n], <[i64]>::to_vec);
        if ints.len() != n {
            unsupported!("attribute \"{name}\" must hold {n} numbers, found {ints:?}");
        }
        Ok(ints)
    };
    let (axes, directions) = (list(axes)?, list(directions)?);
    (0..n).map(|i| Ok(Walk { axis: normal_axis(axes[i], ranks[i])?, reverse: directions[i] != 0 })).collect()
}

fn scan(cx: &mut Cx) -> Lowered {
    let body = cx.graph_attr("body")?;
    let n_scanned = cx.attrs.required("num_scan_inputs", cx.attrs.int("num_scan_inputs"))?;
    // Version 8 has lengths before the states.
    let first = usize::from(cx.version == 8);
    let values = (first..cx.n_inputs()).map(|i| cx.value(i)).collect::<Lowered<Vec<_>>>()?;
    let n_states = usize::try_from(n_scanned).ok().and_then(|n| values.len().checked_sub(n));
    let Some(n_states) = n_states.filter(|n| *n < values.len()) else {
        unsupported!("attribute \"num_scan_inputs\" is {n_scanned} of {} inputs", values.len());
    };
    let (states, scanned) = values.split_at(n_states);
    for (i, v) in scanned.iter().enumerate() {
        if cx.graph.ty(*v).as_tensor().is_none_or(|t| t.rank() == 0) {
            unsupported!("scanned input {i} must have an axis, found {}", cx.graph.ty(*v));
        }
    }
    let outputs = if cx.version == 8 {
        batched_scan(cx, body, states, scanned)?
    } else {
        let ranks: Vec<usize> = scanned.iter().map(|v| cx.rank(*v)).collect();
        let walks_in = walks(cx, "scan_input_axes", "scan_input_directions", &ranks)?;
        let mut outputs = scan_once(cx, body, states, scanned, &walks_in)?;
        let ranks: Vec<usize> = outputs[n_states..].iter().map(|v| cx.rank(*v)).collect();
        let walks_out = walks(cx, "scan_output_axes", "scan_output_directions", &ranks)?;
        for (v, walk) in outputs[n_states..].iter_mut().zip(&walks_out) {
            *v = joined(cx, *v, walk)?;
        }
        outputs
    };
    outputs.into_iter().enumerate().for_each(|(i, v)| cx.output(i, v));
    Ok(())
}

/// Last states, then scanned outputs along a new first axis.
fn scan_once<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    body: &'m Graph,
    states: &[ValueId],
    scanned: &[ValueId],
    walks: &[Walk],
) -> Lowered<Vec<ValueId>> {
    let len = cx.dim(scanned[0], walks[0].axis);
    let initial: Vec<Type> = states.iter().map(|v| cx.graph.ty(*v).clone()).collect();
    let mut bind = |cx: &mut Cx<'_, '_, '_>, params: &[ValueId]| {
        let mut inputs = params[2..].to_vec();
        for (v, walk) in scanned.iter().zip(walks) {
            inputs.push(element(cx, *v, walk, params[0], &len)?);
        }
        Ok(inputs)
    };
    let imported = settle(cx, body, &initial, 0, &mut bind)?;
    // The condition stays true.
    let results = [&imported.params[1..2], &imported.results].concat();
    let trip = cx.size_scalar(&len, DType::I64)?;
    add_loop(cx, &imported, results, Some(trip), None, states)
}

/// Version 8: each element of the batch is scanned on its own, in a loop around the scan.
fn batched_scan<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    body: &'m Graph,
    states: &[ValueId],
    scanned: &[ValueId],
) -> Lowered<Vec<ValueId>> {
    if cx.input(0)?.is_some() {
        unsupported!("input 0 (sequence_lens) is not supported");
    }
    let directions = cx.attrs.ints("directions")?.map_or_else(|| vec![0; scanned.len()], <[i64]>::to_vec);
    let walks: Vec<Walk> = directions.iter().map(|d| Walk { axis: 0, reverse: *d != 0 }).collect();
    if walks.len() != scanned.len() {
        unsupported!("attribute \"directions\" must hold {} numbers", scanned.len());
    }
    let block = cx.graph.add_block();
    let turn = cx.graph.add_param(block, Type::tensor(DType::I64, vec![]), None);
    let go = cx.graph.add_param(block, Type::tensor(DType::Bool, vec![]), None);
    let outputs = cx.at_block(block, |cx| {
        let own = |cx: &mut Cx<'_, '_, '_>, values: &[ValueId]| -> Lowered<Vec<ValueId>> {
            let mut take = |v: &ValueId| Ok(cx.one("gather", attrs! { axis: Attr::Int(0) }, &[*v, turn])?);
            values.iter().map(&mut take).collect()
        };
        let (states, scanned) = (own(cx, states)?, own(cx, scanned)?);
        scan_once(cx, body, &states, &scanned, &walks)
    })?;
    let batch = cx.dim(scanned[0], 0);
    let trip = cx.size_scalar(&batch, DType::I64)?;
    let results = [&[go], outputs.as_slice()].concat();
    let outer = Body { block, params: vec![turn, go], results: results.clone() };
    add_loop(cx, &outer, results, Some(trip), None, &[])
}

/// Element number `turn` of a scanned input.
fn element(cx: &mut Cx, x: ValueId, walk: &Walk, turn: ValueId, len: &Dim) -> Lowered<ValueId> {
    let mut at = turn;
    if walk.reverse {
        let last = cx.size_scalar(&(len.clone() - Dim::ONE), DType::I64)?;
        at = cx.binary(nnc_ir::ScalarOp::Sub, last, turn)?;
    }
    Ok(cx.one("gather", attrs! { axis: Attr::Int(walk.axis as i64) }, &[x, at])?)
}

/// Elements joined along axis 0, put in the order and along the axis asked for.
fn joined(cx: &mut Cx, mut v: ValueId, walk: &Walk) -> Lowered<ValueId> {
    if walk.reverse {
        v = cx.one("reverse", attrs! { axes: Attr::Ints(vec![0]) }, &[v])?;
    }
    let rank = cx.rank(v);
    let mut perm: Vec<usize> = (1..rank).collect();
    perm.insert(walk.axis, 0);
    Ok(cx.transpose(v, &perm)?)
}
