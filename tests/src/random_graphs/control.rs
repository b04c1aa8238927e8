//! Branches and loops around other motifs.

use super::bound::Bound;
use super::elementwise;
use super::generator::{Gen, Val};
use nnc_ir::{Attr, Attrs, BlockId, DType, Dim, OpError, ScalarOp, Tensor, Type, ValueId, attrs, ops};

/// A body's computation on a value that keeps its type.
fn turn(g: &mut Gen, x: &Val) -> Result<Val, OpError> {
    if !x.dtype.is_float() {
        let other = g.partner(x, false)?;
        let op = if x.dtype == DType::Bool { "xor" } else { "add" };
        return g.one(op, Attrs::new(), &[x, &other], Bound::of_type(x.dtype));
    }
    let other = g.partner(x, false)?;
    let half = g.with_number(ScalarOp::Mul, x, 0.5, x.bound.scaled(0.5).rounded(x.dtype, 1))?;
    let op = g.rng.pick(&[ScalarOp::Add, ScalarOp::Sub, ScalarOp::Max, ScalarOp::Min]);
    let y = elementwise::binary_of(g, op, &half, &other)?;
    if g.rng.chance(50) { elementwise::unary_of(g, ScalarOp::Tanh, &y) } else { Ok(y) }
}

fn scalar_bool(g: &mut Gen) -> Result<Val, OpError> {
    if g.rng.chance(30) {
        let x = g.exact(DType::I64, 0..=0)?;
        let zero = g.scalar(DType::I64, 1.0)?;
        return g.one("lt", Attrs::new(), &[&x, &zero], Bound::exact(1.0));
    }
    let t = Tensor::from_bools(&[], &[g.rng.chance(50)])?;
    Ok(if g.rng.chance(20) {
        g.constant_of(t, Bound::exact(1.0))
    } else {
        g.input_of(&[], t, Bound::exact(1.0))
    })
}

pub(super) fn branch(g: &mut Gen) -> Result<(), OpError> {
    if g.depth > 1 {
        return Ok(());
    }
    let dtype = g.dtype();
    let (cond, x) = (scalar_bool(g)?, g.operand(dtype, 0..=3)?);
    g.count("if");
    let mut blocks: Vec<BlockId> = Vec::new();
    let mut bound = x.bound;
    let two = g.rng.chance(30);
    for side in 0..2 {
        let block = g.b.graph.add_block();
        blocks.push(block);
        let results = g.inside(block, |g| {
            let mut y = if side == 1 && g.rng.chance(30) { x.clone() } else { turn(g, &x)? };
            if g.rng.chance(15) {
                let _ = branch(g);
                y = turn(g, &y)?;
            }
            let mut results = vec![y.clone()];
            if two {
                results.push(turn(g, &x)?);
            }
            Ok(results)
        })?;
        bound = results.iter().fold(bound, |b, v| b.or(v.bound));
        g.b.graph.block_mut(block).results = results.iter().map(|v| v.id).collect();
    }
    let outputs = g.b.add_row(ops::row("if"), Attrs::new(), &[cond.id], blocks)?;
    for v in outputs {
        let v = g.val(v, bound);
        g.keep(v);
    }
    Ok(())
}

/// A branch whose sides differ in size: only the run tells how large the result is.
pub(super) fn unsized_branch(g: &mut Gen) -> Result<(), OpError> {
    if g.depth > 0 {
        return Ok(());
    }
    let dtype = g.dtype();
    let x = g.operand_if(dtype, 1..=3, |v| v.shape[0].as_const().is_some_and(|n| n > 1))?;
    let n = x.size[0];
    if x.shape[0].as_const().is_none() || n < 2 {
        return Ok(());
    }
    let taken = g.rng.chance(50);
    let t = Tensor::from_bools(&[], &[taken])?;
    let cond = g.input_of(&[], t, Bound::exact(1.0));
    let sizes = [n, n - 1];
    let mut blocks: Vec<BlockId> = Vec::new();
    for size in sizes {
        let block = g.b.graph.add_block();
        blocks.push(block);
        let id = g.inside(block, |g| {
            let y = g.b.slice_axis(x.id, 0, Dim::ZERO, Dim::len(size))?;
            Ok(if g.rng.chance(50) { g.b.transpose(y, &(0..x.rank()).collect::<Vec<_>>())? } else { y })
        })?;
        g.b.graph.block_mut(block).results = vec![id];
    }
    g.count("if of two sizes");
    let id = g.b.add_row(ops::row("if"), Attrs::new(), &[cond.id], blocks)?[0];
    learn(g, id, 0, if taken { sizes[0] } else { sizes[1] });
    let y = g.val(id, x.bound);
    g.keep(y);
    Ok(())
}

/// Gives the fresh symbol of an axis its value.
fn learn(g: &mut Gen, v: ValueId, axis: usize, size: usize) {
    if let Some(s) = g.b.graph.tensor_ty(v).shape[axis].as_sym().cloned() {
        g.syms.insert(s, size as i64);
    }
}

pub(super) fn repeated(g: &mut Gen) -> Result<(), OpError> {
    if g.depth > 1 {
        return Ok(());
    }
    let dtype = g.dtype();
    let x = g.operand(dtype, 0..=3)?;
    let x = if dtype.is_float() { g.calm(&x, 4.0)? } else { x };
    let trip = g.rng.range(0, 4);
    let t = Tensor::scalar(trip);
    let fixed = g.rng.chance(50);
    let count =
        if fixed { g.constant_of(t, Bound::exact(4.0)) } else { g.input_of(&[], t, Bound::exact(4.0)) };
    let cond = g.constant_of(Tensor::from_bools(&[], &[true])?, Bound::exact(1.0));
    let grows = g.depth == 0 && g.rng.chance(30) && x.rank() > 0;
    let scans = usize::from(g.rng.chance(60));
    g.count(if grows { "loop that grows" } else { "loop" });
    let block = g.b.graph.add_block();
    let index = g.b.graph.add_param(block, Type::tensor(DType::I64, vec![]), None);
    let go_on = g.b.graph.add_param(block, Type::tensor(DType::Bool, vec![]), None);
    let carried = g.b.graph.add_param(block, Type::tensor(dtype, x.shape.clone()), None);
    let mut operands = vec![count.id, cond.id, x.id];
    let mut longer = None;
    if grows {
        let mut shape = x.shape.clone();
        shape[0] = Dim::sym(g.b.graph.fresh_sym());
        longer = Some(g.b.graph.add_param(block, Type::tensor(dtype, shape), None));
        operands.push(x.id);
    }
    let bound = g.inside(block, |g| {
        // Bounds hold for every turn: |x| is at most what it may become.
        let wide = Bound { mag: 8.0, ..x.bound };
        let value = Val { id: carried, bound: if dtype.is_float() { wide } else { x.bound }, ..x.clone() };
        let mut y = turn(g, &value)?;
        if g.rng.chance(30) {
            let i =
                Val { id: index, dtype: DType::I64, shape: vec![], size: vec![], bound: Bound::exact(4.0) };
            let i = g.b.cast(i.id, dtype)?;
            let i = g.b.broadcast(i, &y.shape.clone())?;
            let i = g.val(i, Bound::exact(4.0));
            y = if dtype.is_float() { elementwise::binary_of(g, ScalarOp::Min, &y, &i)? } else { y };
        }
        let mut results = vec![go_on, y.id];
        if let Some(longer) = longer {
            results.push(g.b.concat(&[longer, y.id], 0)?);
        }
        results.extend(std::iter::repeat_n(y.id, scans));
        g.b.graph.block_mut(block).results = results;
        Ok(y.bound)
    })?;
    // What a turn adds to the error, doubled by at most 1 in each later turn.
    let bound = if dtype.is_float() {
        Bound { mag: bound.mag.max(x.bound.mag), err: (bound.err + x.bound.err) * 6.0, finite: true }
    } else {
        Bound::of_type(dtype)
    };
    let attrs = attrs! { scans: Attr::Int(scans as i64) };
    let outputs = g.b.add_row(ops::row("loop"), attrs, &operands, vec![block])?;
    if grows {
        learn(g, outputs[1], 0, x.size[0] * (1 + trip as usize));
    }
    if scans > 0 {
        learn(g, outputs[outputs.len() - 1], 0, trip as usize);
    }
    for v in outputs {
        let v = g.val(v, bound);
        g.keep(v);
    }
    Ok(())
}
