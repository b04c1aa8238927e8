//! Conversions between element types.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("BitCast", &[26], "the same bits as another type of equal width", |cx| {
        let Some(to) = cx.dtype_attr("to")? else { unsupported!("attribute \"to\" is required") };
        let x = cx.required(0)?;
        let y = cx.one("bitcast", attrs! { to: Attr::DType(to) }, &[x])?;
        cx.done(y)
    }),
    onnx("Cast", &[1, 6, 9, 13, 19, 21, 23, 24, 25, 28], "the same numbers in another type", |cx| {
        let to = target(cx)?;
        let x = cx.required(0)?;
        let y = converted(cx, x, to)?;
        cx.done(y)
    }),
    onnx("CastLike", &[15, 19, 21, 23, 24, 25], "the same numbers in the type of another tensor", |cx| {
        let (x, like) = (cx.required(0)?, cx.required(1)?);
        let to = cx.dtype(like);
        let y = converted(cx, x, to)?;
        cx.done(y)
    }),
];

/// The type that attribute "to" names: a number, in version 1 a word.
fn target(cx: &mut Cx) -> Lowered<DType> {
    if cx.version > 1 {
        let Some(to) = cx.dtype_attr("to")? else { unsupported!("attribute \"to\" is required") };
        return Ok(to);
    }
    let word = cx.attrs.required("to", cx.attrs.string("to"))?;
    Ok(match word {
        "FLOAT" => DType::F32,
        "UINT8" => DType::U8,
        "INT8" => DType::I8,
        "UINT16" => DType::U16,
        "INT16" => DType::I16,
        "INT32" => DType::I32,
        "INT64" => DType::I64,
        "BOOL" => DType::Bool,
        "FLOAT16" => DType::F16,
        "DOUBLE" => DType::F64,
        "UINT32" => DType::U32,
        "UINT64" => DType::U64,
        _ => unsupported!("attribute \"to\" names the unknown type \"{word}\""),
    })
}

fn converted(cx: &mut Cx, x: ValueId, to: DType) -> Lowered<ValueId> {
    let saturate = cx.attrs.flag_or("saturate", true)?;
    let mode = cx.attrs.string_or("round_mode", "up")?;
    if mode != "up" && to == DType::F8E8M0 {
        unsupported!("attribute \"round_mode\" must be \"up\", found \"{mode}\"");
    }
    if cx.dtype(x) == to {
        return Ok(x);
    }
    Ok(cx.one("cast", attrs! { to: Attr::DType(to), saturate: Attr::Int(i64::from(saturate)) }, &[x])?)
}
