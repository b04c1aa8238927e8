//! Axes that only run time tells: one branch for each choice that is possible.
//!
//! A graph operator's axes are part of it. Where a model reads axes from a tensor, the number of axes is
//! known by the tensor's length; the choices are few and every one is built, with its axes fixed.

use crate::context::{Cx, Lowered, normal_axes, normal_axis};
use crate::refusal::unsupported;
use nnc_ir::{BlockId, DType, Dim, ScalarOp, ValueId, attrs};

/// Most branches that are built for one node.
const MAX_CHOICES: usize = 70;

/// Builds the result for some axes.
pub(super) type Build<'f, 'm> = dyn FnMut(&mut Cx<'_, '_, 'm>, &[usize]) -> Lowered<ValueId> + 'f;

/// `build` with the axes of a tensor, in ascending order.
pub(super) fn over_axes<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    axes: ValueId,
    rank: usize,
    build: &mut Build<'_, 'm>,
) -> Lowered<ValueId> {
    over_some_axes(cx, axes, rank, &(0..rank).collect::<Vec<_>>(), build)
}

/// The same where only some axes (ascending) are possible.
pub(super) fn over_some_axes<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    axes: ValueId,
    rank: usize,
    possible: &[usize],
    build: &mut Build<'_, 'm>,
) -> Lowered<ValueId> {
    if let Some(known) = known(cx, axes) {
        let axes = normal_axes(&known, rank)?;
        return build(cx, &axes);
    }
    let (axes, n) = normalized(cx, axes, rank)?;
    if n > possible.len() {
        unsupported!("{n} axes of {} that are possible", possible.len());
    }
    let choices = (0..n).fold(1usize, |c, i| c.saturating_mul(possible.len() - i) / (i + 1));
    limited(choices, rank, n)?;
    let mut flags = Vec::new();
    for axis in possible {
        let hits = cx.with_const(ScalarOp::Eq, axes, *axis as f64)?;
        flags.push((*axis, cx.reduce("max", hits, &[0])?));
    }
    subsets(cx, &flags, n, &mut Vec::new(), build)
}

/// `build` with the axes of a tensor, in the tensor's order.
pub(super) fn over_axis_list<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    axes: ValueId,
    rank: usize,
    build: &mut Build<'_, 'm>,
) -> Lowered<ValueId> {
    if let Some(known) = known(cx, axes) {
        let axes = known.iter().map(|a| normal_axis(*a, rank)).collect::<Lowered<Vec<_>>>()?;
        return build(cx, &axes);
    }
    let (axes, n) = normalized(cx, axes, rank)?;
    let choices = (0..n).fold(1usize, |c, i| c.saturating_mul(rank - i));
    limited(choices, rank, n)?;
    let mut places = Vec::new();
    for i in 0..n {
        let one = cx.slice_axis(axes, 0, Dim::len(i), Dim::ONE)?;
        places.push(cx.reshape(one, &[])?);
    }
    orders(cx, &places, rank, &mut Vec::new(), 0, build)
}

fn known(cx: &mut Cx, axes: ValueId) -> Option<Vec<i64>> {
    cx.content_of(axes)?.iter().map(Dim::as_const).collect()
}

fn limited(choices: usize, rank: usize, n: usize) -> Lowered {
    if choices > MAX_CHOICES {
        unsupported!("{n} axes of {rank} found at run time: {choices} choices are more than {MAX_CHOICES}");
    }
    Ok(())
}

/// The axes as a vector of numbers from 0, and how many there are.
fn normalized(cx: &mut Cx, axes: ValueId, rank: usize) -> Lowered<(ValueId, usize)> {
    let n = cx.graph.tensor_ty(axes).elems();
    let n = cx.fixed("the number of axes", &n)?;
    if n > rank {
        unsupported!("{n} axes for rank {rank}");
    }
    let axes = cx.reshape(axes, &[Dim::len(n)])?;
    let axes = cx.cast(axes, DType::I64)?;
    let negative = cx.with_const(ScalarOp::Lt, axes, 0.0)?;
    let from_end = cx.with_const(ScalarOp::Add, axes, rank as f64)?;
    Ok((cx.select(negative, from_end, axes)?, n))
}

/// An `if` whose branches are built by `f`, told which one it is.
fn branch<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    cond: ValueId,
    f: &mut dyn FnMut(&mut Cx<'_, '_, 'm>, bool) -> Lowered<ValueId>,
) -> Lowered<ValueId> {
    let mut blocks: Vec<BlockId> = Vec::new();
    for taken in [true, false] {
        let block = cx.graph.add_block();
        let result = cx.at_block(block, |cx| f(cx, taken))?;
        cx.graph.block_mut(block).results = vec![result];
        blocks.push(block);
    }
    Ok(cx.add_row(nnc_ir::ops::row("if"), attrs! {}, &[cond], blocks)?[0])
}

/// Decides axis after axis whether it is among the `n` chosen ones; `rest` is still undecided.
fn subsets<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    rest: &[(usize, ValueId)],
    n: usize,
    chosen: &mut Vec<usize>,
    build: &mut Build<'_, 'm>,
) -> Lowered<ValueId> {
    let ((axis, flag), others) = match rest {
        _ if chosen.len() == n => return build(cx, chosen),
        [first, others @ ..] if chosen.len() + rest.len() > n => (*first, others),
        _ => {
            let all: Vec<usize> = chosen.iter().copied().chain(rest.iter().map(|(axis, _)| *axis)).collect();
            return build(cx, &all);
        }
    };
    branch(cx, flag, &mut |cx, taken| {
        if !taken {
            return subsets(cx, others, n, chosen, build);
        }
        chosen.push(axis);
        let result = subsets(cx, others, n, chosen, build);
        chosen.pop();
        result
    })
}

/// Decides place after place which axis it holds; `next` is the first one not ruled out.
fn orders<'m>(
    cx: &mut Cx<'_, '_, 'm>,
    places: &[ValueId],
    rank: usize,
    chosen: &mut Vec<usize>,
    next: usize,
    build: &mut Build<'_, 'm>,
) -> Lowered<ValueId> {
    let Some(place) = places.get(chosen.len()) else { return build(cx, chosen) };
    let free: Vec<usize> = (next..rank).filter(|a| !chosen.contains(a)).collect();
    let [axis, rest @ ..] = free.as_slice() else { unsupported!("axes repeat") };
    if rest.is_empty() {
        chosen.push(*axis);
        let result = orders(cx, places, rank, chosen, 0, build);
        chosen.pop();
        return result;
    }
    let hit = cx.with_const(ScalarOp::Eq, *place, *axis as f64)?;
    branch(cx, hit, &mut |cx, taken| {
        if taken {
            chosen.push(*axis);
            let result = orders(cx, places, rank, chosen, 0, build);
            chosen.pop();
            result
        } else {
            orders(cx, places, rank, chosen, axis + 1, build)
        }
    })
}
