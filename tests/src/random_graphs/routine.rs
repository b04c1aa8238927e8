//! Irregular routines and what follows them.

use super::bound::Bound;
use super::generator::{Gen, Val};
use nnc_ir::{Attr, Attrs, DType, Dim, OpError, Type, ValueId, attrs};
use nnc_tensor::plan::Attr as Param;

fn call(
    g: &mut Gen,
    name: &str,
    params: &[(&str, i64)],
    types: Vec<Type>,
    inputs: &[ValueId],
) -> Result<Vec<ValueId>, OpError> {
    let params = params.iter().map(|(n, v)| ((*n).to_owned(), Param::Int(*v))).collect();
    let attrs =
        attrs! { name: Attr::Str(name.into()), params: Attr::Named(params), types: Attr::Types(types) };
    g.b.add("routine", attrs, inputs)
}

pub(super) fn routine(g: &mut Gen) -> Result<(), OpError> {
    let dtype = if g.rng.chance(70) { g.float() } else { g.int() };
    let x = g.exact(dtype, 1..=3)?;
    let axis = g.rng.below(x.rank());
    match g.rng.below(5) {
        0 | 1 => topk(g, &x, axis),
        2 => unsized_result(g, &x, "nonzero", 0),
        3 => unsized_result(g, &x, "compress", axis),
        _ => sequence(g, &x, axis),
    }
}

fn topk(g: &mut Gen, x: &Val, axis: usize) -> Result<(), OpError> {
    let (mut shape, sorted) = (x.shape.clone(), g.rng.chance(30));
    let k = if sorted { x.size[axis] } else { g.rng.range(0, x.size[axis] as i64) as usize };
    let mut params = vec![("axis", axis as i64), ("largest", g.rng.range(0, 1))];
    if !sorted {
        shape[axis] = Dim::len(k);
        params.push(("k", k as i64));
    }
    let types = vec![Type::tensor(x.dtype, shape.clone()), Type::tensor(DType::I64, shape)];
    let outputs = call(g, if sorted { "sort" } else { "topk" }, &params, types, &[x.id])?;
    for (v, bound) in outputs.into_iter().zip([x.bound, Bound::exact(40.0)]) {
        let v = g.val(v, bound);
        g.keep(v);
    }
    Ok(())
}

/// Results whose size only the run tells, read by operators that need not know it.
fn unsized_result(g: &mut Gen, x: &Val, name: &str, axis: usize) -> Result<(), OpError> {
    let n = Dim::sym(g.b.graph.fresh_sym());
    let (y, dtype, size) = if name == "nonzero" {
        let ty = Type::tensor(DType::I64, vec![Dim::len(x.rank()), n]);
        (call(g, name, &[], vec![ty], &[x.id])?[0], DType::I64, 1)
    } else {
        let condition = g.input(DType::Bool, &x.shape[axis..=axis])?;
        let mut shape = x.shape.clone();
        shape[axis] = n;
        let ty = Type::tensor(x.dtype, shape);
        (call(g, name, &[("axis", axis as i64)], vec![ty], &[x.id, condition.id])?[0], x.dtype, axis)
    };
    g.count("size found by a routine");
    // Its size is not known here, so that it is a result itself or read here.
    let doubled = g.b.one("add", Attrs::new(), &[y, y])?;
    let bound = if dtype.is_float() { x.bound.scaled(2.0).rounded(dtype, 1) } else { Bound::of_type(dtype) };
    let bound = if g.rng.chance(50) {
        let id = g.b.reduce("max", doubled, &[if name == "nonzero" { 0 } else { size }])?;
        g.wild.push(Val { id, dtype, shape: vec![], size: vec![], bound: Bound { finite: false, ..bound } });
        return Ok(());
    } else {
        bound
    };
    g.wild.push(Val { id: doubled, dtype, shape: vec![], size: vec![], bound });
    Ok(())
}

fn sequence(g: &mut Gen, x: &Val, axis: usize) -> Result<(), OpError> {
    let other = g.partner(x, true)?;
    let element = Type::tensor(x.dtype, x.shape.clone());
    let list = Type::Sequence(Box::new(element.clone()));
    let s = call(g, "sequence_construct", &[], vec![list], &[x.id, other.id])?[0];
    let bound = x.bound.or(other.bound);
    if g.rng.chance(50) {
        let at = g.scalar(DType::I64, 1.0)?;
        let y = call(g, "sequence_at", &[], vec![element], &[s, at.id])?[0];
        let y = g.val(y, bound);
        g.keep(y);
        return Ok(());
    }
    let mut shape = x.shape.clone();
    shape[axis] = shape[axis].clone() * Dim::int(2);
    let ty = Type::tensor(x.dtype, shape);
    let y = call(g, "concat_from_sequence", &[("axis", axis as i64)], vec![ty], &[s])?[0];
    let y = g.val(y, bound);
    g.keep(y);
    Ok(())
}
