//! Sequences and optionals.
//!
//! A sequence has elements of one data type and rank; sizes in which they differ are unknown (`?`).

use super::routine::{Params, call, fresh, one, params};
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered, normal_axis};
use crate::import::elem_type;
use crate::model::ValueType;
use crate::refusal::unsupported;
use nnc_ir::{DType, Dim, TensorType, Type, ValueId};
use nnc_tensor::plan::Attr as Param;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("ConcatFromSequence", &[11], "the tensors of a sequence joined along an axis", concat_from_sequence),
    onnx("Optional", &[15, 28], "an optional of a value or of none", |cx| {
        let x = cx.input_value(0);
        let inner = match (x, cx.attrs.type_proto("type")?) {
            (Some(v), _) => cx.graph.ty(v).clone(),
            (None, Some(Some(ty))) => stated(ty)?,
            (None, _) => unsupported!("neither an input nor attribute \"type\" tells the type"),
        };
        one(cx, "optional", Vec::new(), Type::Optional(Box::new(inner)), &[x])
    }),
    onnx("OptionalGetElement", &[15, 18, 28], "the value in an optional", |cx| {
        let x = cx.value(0)?;
        let Type::Optional(inner) = cx.graph.ty(x).clone() else { return cx.done(x) };
        let ty = sized(cx, &inner);
        one(cx, "optional_get_element", Vec::new(), ty, &[Some(x)])
    }),
    onnx("OptionalHasElement", &[15, 18, 28], "whether an optional holds a value", |cx| {
        let x = cx.input_value(0);
        let optional = x.is_some_and(|v| matches!(cx.graph.ty(v), Type::Optional(_)));
        if !optional {
            let known = cx.constant(nnc_ir::Tensor::from_bools(&[], &[x.is_some()])?);
            return cx.done(known);
        }
        one(cx, "optional_has_element", Vec::new(), Type::tensor(DType::Bool, vec![]), &[x])
    }),
    onnx("SequenceAt", &[11], "an element of a sequence", |cx| {
        let (s, at) = (cx.value(0)?, cx.required(1)?);
        let ty = element(cx, s)?;
        let ty = sized(cx, &ty);
        one(cx, "sequence_at", Vec::new(), ty, &[Some(s), Some(at)])
    }),
    onnx("SequenceConstruct", &[11], "the inputs as a sequence", |cx| {
        let values = (0..cx.n_inputs()).map(|i| cx.value(i)).collect::<Lowered<Vec<_>>>()?;
        let Some((first, rest)) = values.split_first() else { unsupported!("at least one input is needed") };
        let mut ty = cx.graph.ty(*first).clone();
        for v in rest {
            ty = common(&ty, cx.graph.ty(*v))?;
        }
        let inputs: Vec<_> = values.iter().map(|v| Some(*v)).collect();
        one(cx, "sequence_construct", Vec::new(), Type::Sequence(Box::new(ty)), &inputs)
    }),
    onnx("SequenceEmpty", &[11], "a sequence of nothing; its rank is that of what is inserted later", |cx| {
        let dtype = cx.dtype_attr("dtype")?.unwrap_or(DType::F32);
        one(cx, "sequence_empty", Vec::new(), Type::Sequence(Box::new(unknown_rank(dtype))), &[])
    }),
    onnx("SequenceErase", &[11], "a sequence without one of its elements", |cx| {
        let (s, at) = (cx.value(0)?, cx.input(1)?);
        element(cx, s)?;
        let ty = cx.graph.ty(s).clone();
        one(cx, "sequence_erase", Vec::new(), ty, &[Some(s), at])
    }),
    onnx("SequenceInsert", &[11], "a sequence with another element", |cx| {
        let (s, v, at) = (cx.value(0)?, cx.value(1)?, cx.input(2)?);
        let ty = element(cx, s)?;
        let ty = common(&ty, cx.graph.ty(v))?;
        one(cx, "sequence_insert", Vec::new(), Type::Sequence(Box::new(ty)), &[Some(s), Some(v), at])
    }),
    onnx("SequenceLength", &[11], "the number of elements of a sequence", |cx| {
        let s = cx.value(0)?;
        element(cx, s)?;
        one(cx, "sequence_length", Vec::new(), Type::tensor(DType::I64, vec![]), &[Some(s)])
    }),
    onnx("SequenceMap", &[17], "a subgraph applied to each element of sequences", sequence_map),
    onnx("SplitToSequence", &[11, 24], "parts of a tensor along an axis, as a sequence", split_to_sequence),
];

/// The element type of a sequence of tensors whose rank nothing has told yet.
pub(super) fn unknown_rank(dtype: DType) -> Type {
    Type::tensor(dtype, vec![Dim::named("?rank")])
}

/// Whether this is [`unknown_rank`].
pub(super) fn is_unknown_rank(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|t| t.shape == [Dim::named("?rank")])
}

/// The type that covers both; sizes that differ are unknown.
pub(super) fn common(a: &Type, b: &Type) -> Lowered<Type> {
    match (a, b) {
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype && is_unknown_rank(a) => Ok(b.clone()),
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype && is_unknown_rank(b) => Ok(a.clone()),
        (Type::Tensor(x), Type::Tensor(y)) if x.dtype == y.dtype && x.rank() == y.rank() => {
            let join = |(p, q): (&Dim, &Dim)| if p == q { p.clone() } else { Dim::named("?") };
            Ok(Type::tensor(x.dtype, x.shape.iter().zip(&y.shape).map(join).collect()))
        }
        (Type::Sequence(x), Type::Sequence(y)) => Ok(Type::Sequence(Box::new(common(x, y)?))),
        (Type::Optional(x), Type::Optional(y)) => Ok(Type::Optional(Box::new(common(x, y)?))),
        _ if a == b => Ok(a.clone()),
        _ => unsupported!("elements must have one data type and rank, found {a} and {b}"),
    }
}

/// A type as an attribute states it; sizes do not count.
fn stated(ty: &ValueType) -> Lowered<Type> {
    Ok(match ty {
        ValueType::Tensor { elem, shape } => match shape {
            Some(shape) => Type::tensor(elem_type(*elem)?, vec![Dim::named("?"); shape.len()]),
            None => unknown_rank(elem_type(*elem)?),
        },
        ValueType::Sequence(Some(t)) => Type::Sequence(Box::new(stated(t)?)),
        ValueType::Optional(Some(t)) => Type::Optional(Box::new(stated(t)?)),
        _ => unsupported!("attribute \"type\" states a type that is not supported"),
    })
}

/// The type of a sequence's elements.
fn element(cx: &Cx, s: ValueId) -> Lowered<Type> {
    match cx.graph.ty(s) {
        Type::Sequence(t) => Ok((**t).clone()),
        other => unsupported!("input 0 must be a sequence, found {other}"),
    }
}

/// The type of one element taken out: unknown sizes become symbols.
fn sized(cx: &mut Cx, ty: &Type) -> Type {
    let Type::Tensor(TensorType { dtype, shape }) = ty else { return ty.clone() };
    let size = |d: &Dim| if d.mentions(&nnc_ir::Sym::new("?")) { fresh(cx) } else { d.clone() };
    Type::tensor(*dtype, shape.iter().map(size).collect())
}

fn tensor_element(cx: &Cx, s: ValueId) -> Lowered<TensorType> {
    match element(cx, s)? {
        Type::Tensor(t) if !is_unknown_rank(&Type::Tensor(t.clone())) => Ok(t),
        other => unsupported!("the sequence must hold tensors of a known rank, found {other}"),
    }
}

fn concat_from_sequence(cx: &mut Cx) -> Lowered {
    let s = cx.value(0)?;
    let ty = tensor_element(cx, s)?;
    let new_axis = cx.attrs.flag_or("new_axis", false)?;
    let mut params = params(cx, &["new_axis"])?;
    let axis = cx.required_axis("axis", ty.rank() + usize::from(new_axis))?;
    params.push(("axis".to_owned(), Param::Int(axis as i64)));
    let Type::Tensor(ty) = sized(cx, &Type::Tensor(ty)) else { unsupported!("expected tensors") };
    let mut shape = ty.shape;
    let n = fresh(cx);
    if new_axis {
        shape.insert(axis, n);
    } else {
        shape[axis] = n;
    }
    one(cx, "concat_from_sequence", params, Type::tensor(ty.dtype, shape), &[Some(s)])
}

fn split_to_sequence(cx: &mut Cx) -> Lowered {
    let (x, parts) = (cx.required(0)?, cx.input(1)?);
    let ty = cx.graph.tensor_ty(x).clone();
    let axis = normal_axis(cx.attrs.int_or("axis", 0)?, ty.rank())?;
    let keep = cx.attrs.flag_or("keepdims", true)?;
    let params: Params = vec![
        ("axis".to_owned(), Param::Int(axis as i64)),
        ("keepdims".to_owned(), Param::Int(i64::from(keep))),
    ];
    let mut shape = ty.shape;
    match parts {
        None if keep => shape[axis] = Dim::ONE,
        None => drop(shape.remove(axis)),
        Some(_) => shape[axis] = Dim::named("?"),
    }
    let ty = Type::Sequence(Box::new(Type::tensor(ty.dtype, shape)));
    one(cx, "split_to_sequence", params, ty, &[Some(x), parts])
}

/// A loop that takes the elements out and inserts the results into sequences.
fn sequence_map(cx: &mut Cx) -> Lowered {
    let graph = cx.graph_attr("body")?;
    let inputs = (0..cx.n_inputs()).map(|i| cx.value(i)).collect::<Lowered<Vec<_>>>()?;
    let Some(first) = inputs.first() else { unsupported!("at least one input is needed") };
    element(cx, *first)?;
    let scalar = || Type::tensor(DType::I64, vec![]);
    let take = |cx: &mut Cx<'_, '_, '_>, params: &[ValueId]| {
        let mut values = Vec::new();
        for v in &inputs {
            values.push(match cx.graph.ty(*v).clone() {
                Type::Sequence(t) => {
                    let ty = sized(cx, &t);
                    call(cx, "sequence_at", Vec::new(), vec![ty], &[Some(*v), Some(params[0])])?[0]
                }
                _ => *v,
            });
        }
        Ok(values)
    };
    // A first import tells the types of the results.
    let problems = cx.n_problems();
    let turn = [scalar(), Type::tensor(DType::Bool, vec![])];
    let probe = cx.body(graph, &turn, &mut { take })?;
    cx.forget_problems(problems);
    let mut carried = Vec::new();
    for v in &probe.results {
        let ty = any_size(cx.graph.ty(*v));
        carried.push(call(cx, "sequence_empty", Vec::new(), vec![Type::Sequence(Box::new(ty))], &[])?[0]);
    }
    let mut types = turn.to_vec();
    types.extend(carried.iter().map(|v| cx.graph.ty(*v).clone()));
    let body = cx.body(graph, &types, &mut { take })?;
    let (params, found) = (body.params.clone(), body.results.clone());
    let results = cx.at_block(body.block, |cx| {
        let mut results = vec![params[1]];
        for (s, v) in params[2..].iter().zip(&found) {
            let ty = cx.graph.ty(*s).clone();
            results.push(call(cx, "sequence_insert", Vec::new(), vec![ty], &[Some(*s), Some(*v)])?[0]);
        }
        Ok(results)
    })?;
    let trip = call(cx, "sequence_length", Vec::new(), vec![scalar()], &[Some(*first)])?[0];
    let outputs = super::control::add_loop(cx, &body, results, Some(trip), None, &carried)?;
    outputs.into_iter().enumerate().for_each(|(i, v)| cx.output(i, v));
    Ok(())
}

/// The same type with every size that is no number unknown.
fn any_size(ty: &Type) -> Type {
    let Type::Tensor(t) = ty else { return ty.clone() };
    let size = |d: &Dim| if d.as_const().is_some() { d.clone() } else { Dim::named("?") };
    Type::tensor(t.dtype, t.shape.iter().map(size).collect())
}
