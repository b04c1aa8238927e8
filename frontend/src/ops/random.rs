//! Random numbers. Without a seed each run draws others; with one, the runtime's own generator.

use super::routine::random;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use nnc_ir::{DType, Dim, Type};
use nnc_tensor::plan::Attr as Param;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Bernoulli", &[15, 22], "ones with given probabilities", |cx| {
        let x = cx.required(0)?;
        let dtype = cx.dtype_attr("dtype")?.unwrap_or(cx.dtype(x));
        let ty = Type::tensor(dtype, cx.shape(x));
        let v = random(cx, "bernoulli", vec![number_of(dtype)], ty, Some(x))?;
        cx.done(v)
    }),
    onnx("Multinomial", &[7, 22], "classes drawn by unnormalized logarithms of probabilities", |cx| {
        let x = cx.required(0)?;
        cx.expect_rank("the input", x, 2)?;
        let n = cx.attrs.int_or("sample_size", 1)?;
        let dtype = cx.dtype_attr("dtype")?.unwrap_or(DType::I32);
        let ty = Type::tensor(dtype, vec![cx.dim(x, 0), Dim::int(n)]);
        let params = vec![number_of(dtype), ("sample_size".to_owned(), Param::Int(n))];
        let v = random(cx, "multinomial", params, ty, Some(x))?;
        cx.done(v)
    }),
    onnx("RandomNormal", &[1, 22], "normal numbers of a given shape", |cx| {
        of_shape(cx, "random_normal", [("mean", 0.0), ("scale", 1.0)])
    }),
    onnx("RandomNormalLike", &[1, 22], "normal numbers in the shape of a tensor", |cx| {
        like(cx, "random_normal", [("mean", 0.0), ("scale", 1.0)])
    }),
    onnx("RandomUniform", &[1, 22], "uniform numbers of a given shape", |cx| {
        of_shape(cx, "random_uniform", [("high", 1.0), ("low", 0.0)])
    }),
    onnx("RandomUniformLike", &[1, 22], "uniform numbers in the shape of a tensor", |cx| {
        like(cx, "random_uniform", [("high", 1.0), ("low", 0.0)])
    }),
];

fn number_of(dtype: DType) -> (String, Param) {
    ("dtype".to_owned(), Param::Int(i64::from(dtype.onnx())))
}

type Numbers = [(&'static str, f32); 2];

fn numbers(cx: &Cx, names: Numbers) -> Lowered<Vec<(String, Param)>> {
    names.iter().map(|(n, default)| Ok(((*n).to_owned(), Param::Float(cx.number(n, *default)?)))).collect()
}

fn of_shape(cx: &mut Cx, name: &str, names: Numbers) -> Lowered {
    let shape = cx.attrs.required("shape", cx.attrs.ints("shape"))?;
    let dtype = cx.dtype_attr("dtype")?.unwrap_or(DType::F32);
    let mut params = numbers(cx, names)?;
    params.push(number_of(dtype));
    params.push(("shape".to_owned(), Param::Ints(shape.to_vec())));
    let ty = Type::tensor(dtype, shape.iter().map(|d| Dim::int(*d)).collect());
    let v = random(cx, name, params, ty, None)?;
    cx.done(v)
}

fn like(cx: &mut Cx, name: &str, names: Numbers) -> Lowered {
    let x = cx.required(0)?;
    let dtype = cx.dtype_attr("dtype")?.unwrap_or(cx.dtype(x));
    let mut params = numbers(cx, names)?;
    params.push(number_of(dtype));
    let ty = Type::tensor(dtype, cx.shape(x));
    let v = random(cx, name, params, ty, Some(x))?;
    cx.done(v)
}
