//! Elements chosen and placed by indices.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "Gather",
        &[1, 11, 13],
        "elements along an axis by indices; negative ones count from the end",
        |cx| {
            let (x, indices) = (cx.required(0)?, cx.required(1)?);
            let axis = cx.axis("axis", 0, cx.rank(x))?;
            let y = gather(cx, x, indices, axis)?;
            cx.done(y)
        },
    ),
    onnx("GatherElements", &[11, 13], "elements along an axis, an index for each", |cx| {
        let (x, indices) = (cx.required(0)?, cx.required(1)?);
        let axis = cx.axis("axis", 0, cx.rank(x))?;
        let y = cx.one("gather_elements", attrs! { axis: Attr::Int(axis as i64) }, &[x, indices])?;
        cx.done(y)
    }),
    onnx("GatherND", &[11, 12, 13], "parts at coordinates in the last axis of the indices", |cx| {
        let (x, indices) = (cx.required(0)?, cx.required(1)?);
        let batch_dims = cx.attrs.int_or("batch_dims", 0)?;
        let y = cx.one("gather_nd", attrs! { batch_dims: Attr::Int(batch_dims) }, &[x, indices])?;
        cx.done(y)
    }),
    onnx(
        "ReverseSequence",
        &[10, 28],
        "the first elements of each row reversed, as many as given",
        reverse_sequence,
    ),
    onnx("Scatter", &[9, 11], "older name of ScatterElements", scatter_elements),
    onnx(
        "ScatterElements",
        &[11, 13, 16, 18],
        "updates placed along an axis, an index for each",
        scatter_elements,
    ),
    onnx("ScatterND", &[11, 13, 16, 18], "updates placed at coordinates", |cx| {
        let (x, indices, updates) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
        let reduction = reduction(cx)?;
        let y = cx.one("scatter_nd", attrs! { reduction: Attr::Str(reduction) }, &[x, indices, updates])?;
        cx.done(y)
    }),
    onnx("TensorScatter", &[24], "a cache with new rows written from given positions on", tensor_scatter),
    onnx("Trilu", &[14], "the upper or lower triangle, zeros elsewhere", trilu),
];

/// numpy.take; one known index is a slice.
pub(super) fn gather(cx: &mut Cx, x: ValueId, indices: ValueId, axis: usize) -> Lowered<ValueId> {
    let known = cx.rank(indices) == 0;
    if let (true, Some(content)) = (known, cx.content_of(indices))
        && let [Some(index)] = content.iter().map(Dim::as_const).collect::<Vec<_>>()[..]
    {
        let size = cx.dim(x, axis);
        let start = if index < 0 { size.clone() + Dim::int(index) } else { Dim::int(index) };
        if let (Some(s), Some(d)) = (start.as_const(), size.as_const())
            && !(0..d).contains(&s)
        {
            unsupported!("index {index} lies outside an axis of size {d}");
        }
        let part = cx.slice_axis(x, axis, start, Dim::ONE)?;
        return cx.squeeze(part, &[axis]);
    }
    Ok(cx.one("gather", attrs! { axis: Attr::Int(axis as i64) }, &[x, indices])?)
}

/// How updates combine with what is there.
fn reduction(cx: &Cx) -> Lowered<String> {
    let word = cx.attrs.string_or("reduction", "none")?;
    if !matches!(word, "none" | "add" | "mul" | "min" | "max") {
        unsupported!("attribute \"reduction\" is unknown: \"{word}\"");
    }
    Ok(word.to_owned())
}

fn scatter_elements(cx: &mut Cx) -> Lowered {
    let (x, indices, updates) = (cx.required(0)?, cx.required(1)?, cx.required(2)?);
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let reduction = reduction(cx)?;
    let attrs = attrs! { axis: Attr::Int(axis as i64), reduction: Attr::Str(reduction) };
    let y = cx.one("scatter_elements", attrs, &[x, indices, updates])?;
    cx.done(y)
}

fn trilu(cx: &mut Cx) -> Lowered {
    let upper = cx.attrs.flag_or("upper", true)?;
    let x = cx.required(0)?;
    let rank = cx.rank(x);
    if rank < 2 {
        unsupported!("the input must have at least 2 axes, found {}", cx.graph.ty(x));
    }
    let matrix = cx.shape(x)[rank - 2..].to_vec();
    let (row, column) = (cx.iota(&matrix, 0, DType::I64)?, cx.iota(&matrix, 1, DType::I64)?);
    let diagonal = match cx.input(1)? {
        Some(k) => {
            let k = cx.reshape(k, &[])?;
            cx.binary(ScalarOp::Add, row, k)?
        }
        None => row,
    };
    let kept = cx.binary(if upper { ScalarOp::Ge } else { ScalarOp::Le }, column, diagonal)?;
    let dtype = cx.dtype(x);
    let zero = cx.constant(nnc_ir::Tensor::zeros(dtype, &[])?);
    let y = cx.select(kept, x, zero)?;
    cx.done(y)
}

fn reverse_sequence(cx: &mut Cx) -> Lowered {
    let (x, lens) = (cx.required(0)?, cx.required(1)?);
    let rank = cx.rank(x);
    if rank < 2 {
        unsupported!("the input must have at least 2 axes, found {}", cx.graph.ty(x));
    }
    let (time, batch) = (cx.axis("time_axis", 0, rank)?, cx.axis("batch_axis", 1, rank)?);
    if time == batch {
        unsupported!("attributes \"time_axis\" and \"batch_axis\" must differ");
    }
    let shape = cx.shape(x);
    let place = cx.iota(&shape, time, DType::I64)?;
    let lens = cx.cast(lens, DType::I64)?;
    let mut column = vec![Dim::ONE; rank];
    column[batch] = shape[batch].clone();
    let lens = cx.reshape(lens, &column)?;
    let last = cx.with_const(ScalarOp::Sub, lens, 1.0)?;
    let mirrored = cx.binary(ScalarOp::Sub, last, place)?;
    let inside = cx.binary(ScalarOp::Lt, place, lens)?;
    let at = cx.select(inside, mirrored, place)?;
    let y = cx.one("gather_elements", attrs! { axis: Attr::Int(time as i64) }, &[x, at])?;
    cx.done(y)
}

fn tensor_scatter(cx: &mut Cx) -> Lowered {
    let (past, update, places) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
    let rank = cx.rank(past);
    let axis = cx.axis("axis", -2, rank)?;
    let circular = match cx.attrs.string_or("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => unsupported!("attribute \"mode\" must be \"linear\" or \"circular\", found \"{other}\""),
    };
    let shape = cx.shape(update);
    let mut at = cx.iota(&shape, axis, DType::I64)?;
    if let Some(places) = places {
        let places = cx.cast(places, DType::I64)?;
        let mut column = vec![Dim::ONE; rank];
        column[0] = shape[0].clone();
        let places = cx.reshape(places, &column)?;
        at = cx.binary(ScalarOp::Add, at, places)?;
    }
    if circular {
        let size = cx.dim(past, axis);
        let size = cx.size_scalar(&size, DType::I64)?;
        at = cx.binary(ScalarOp::Mod, at, size)?;
    }
    let attrs = attrs! { axis: Attr::Int(axis as i64), reduction: Attr::Str("none".into()) };
    let y = cx.one("scatter_elements", attrs, &[past, at, update])?;
    cx.done(y)
}
