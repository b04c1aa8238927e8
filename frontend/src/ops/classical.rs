//! Classical models and their preparation of features.

use super::trees::{Post, best_class, labels};
use super::{OnnxOp, ml};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, Tensor, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    ml("ArrayFeatureExtractor", &[1], "entries of the last axis by index", |cx| {
        let (x, at) = (cx.required(0)?, cx.required(1)?);
        let rank = cx.rank(x);
        if rank == 0 {
            unsupported!("the input must have an axis");
        }
        let n = cx.graph.tensor_ty(at).elems();
        let at = cx.reshape(at, &[n])?;
        let y = cx.one("gather", attrs! { axis: Attr::Int(rank as i64 - 1) }, &[x, at])?;
        let y = if rank == 1 { cx.unsqueeze(y, &[0])? } else { y };
        cx.done(y)
    }),
    ml("Binarizer", &[1], "1 above a threshold, else 0", |cx| {
        let threshold = cx.number("threshold", 0.0)?;
        let x = cx.required(0)?;
        let dtype = cx.dtype(x);
        let above = cx.with_const(ScalarOp::Gt, x, threshold)?;
        let y = cx.cast(above, dtype)?;
        cx.done(y)
    }),
    ml("FeatureVectorizer", &[1], "columns of all inputs side by side", |cx| {
        let widths = cx.attrs.ints("inputdimensions")?.map(<[i64]>::to_vec);
        let mut columns = Vec::new();
        for (i, x) in cx.variadic()?.into_iter().enumerate() {
            let x = rows(cx, x)?;
            let x = cx.cast(x, DType::F32)?;
            columns.push(match widths.as_ref().and_then(|w| w.get(i)) {
                Some(n) => cx.slice_axis(x, 1, Dim::ZERO, Dim::int(*n))?,
                None => x,
            });
        }
        let y = cx.concat(&columns, 1)?;
        cx.done(y)
    }),
    ml("Imputer", &[1], "a marked value, or NaN, replaced column by column", imputer),
    ml(
        "LinearClassifier",
        &[1],
        "the class with the highest linear score, and all scores",
        linear_classifier,
    ),
    ml("LinearRegressor", &[1], "linear functions of the columns", |cx| {
        let n = cx.attrs.int_or("targets", 1)?;
        let post = Post::from_attr(cx)?;
        let sums = linear(cx, n)?;
        let y = post.apply(cx, sums)?;
        cx.done(y)
    }),
    ml("Normalizer", &[1], "rows divided by their largest, 1-norm or 2-norm", normalizer),
    ml("OneHotEncoder", &[1], "one at the index of the category, along a new last axis", |cx| {
        let params = super::routine::params(cx, &["cats_int64s", "cats_strings", "zeros"])?;
        let x = cx.required(0)?;
        let ints = cx.attrs.ints("cats_int64s")?.map(<[i64]>::len);
        let n = ints.or(cx.attrs.byte_strings("cats_strings")?.map(<[Vec<u8>]>::len)).unwrap_or(0);
        let mut shape = cx.shape(x);
        shape.push(Dim::len(n));
        let ty = nnc_ir::Type::tensor(DType::F32, shape);
        super::routine::one(cx, "one_hot_encoder", params, ty, &[Some(x)])
    }),
    ml("SVMRegressor", &[1], "kernels of support vectors, weighted and summed", svm_regressor),
    ml("Scaler", &[1], "`(x - offset) * scale`, column by column", |cx| {
        let x = cx.required(0)?;
        let x = cx.cast(x, DType::F32)?;
        let y = match row(cx, "offset")? {
            Some(offset) => cx.binary(ScalarOp::Sub, x, offset)?,
            None => x,
        };
        let y = match row(cx, "scale")? {
            Some(scale) => cx.binary(ScalarOp::Mul, y, scale)?,
            None => y,
        };
        cx.done(y)
    }),
];

/// A vector as one row; matrices as they are.
fn rows(cx: &mut Cx, x: ValueId) -> Lowered<ValueId> {
    if cx.rank(x) == 1 { cx.unsqueeze(x, &[0]) } else { Ok(x) }
}

/// Numbers of an attribute: one for all columns, or one for each.
fn row(cx: &mut Cx, name: &str) -> Lowered<Option<ValueId>> {
    let Some(numbers) = cx.attrs.floats(name)? else { return Ok(None) };
    let shape: &[usize] = if numbers.len() == 1 { &[] } else { &[numbers.len()] };
    let t = Tensor::from_slice(&[numbers.len()], numbers)?.reshaped(shape.to_vec())?;
    Ok(Some(cx.constant(t)))
}

/// `x · coefficientsᵀ + intercepts`, one column a target.
fn linear(cx: &mut Cx, targets: i64) -> Lowered<ValueId> {
    let coefficients = cx.attrs.required("coefficients", cx.attrs.floats("coefficients"))?;
    let n = usize::try_from(targets).unwrap_or(0).max(1);
    if !coefficients.len().is_multiple_of(n) {
        unsupported!("attribute \"coefficients\" holds {} numbers for {n} targets", coefficients.len());
    }
    let x = cx.required(0)?;
    let x = rows(cx, x)?;
    let x = cx.cast(x, DType::F32)?;
    cx.expect_rank("the input", x, 2)?;
    let w = cx.constant(Tensor::from_slice(&[n, coefficients.len() / n], coefficients)?);
    let y = cx.contract("mk", "nk", "mn", x, w)?;
    match row(cx, "intercepts")? {
        Some(b) => Ok(cx.binary(ScalarOp::Add, y, b)?),
        None => Ok(y),
    }
}

fn linear_classifier(cx: &mut Cx) -> Lowered {
    // Whether one score per pair of classes is meant; regression scores are per class in either case.
    cx.attrs.int("multi_class")?;
    let post = Post::from_attr(cx)?;
    let Some(labels) = labels(cx, "classlabels_ints", "classlabels_strings")? else {
        unsupported!("no attribute gives the class labels");
    };
    let n = labels.len();
    let intercepts = cx.attrs.floats("intercepts")?.map_or(n, <[f32]>::len);
    let labels = cx.constant(labels);
    if n == 2 && intercepts == 1 {
        // One score, for the second class.
        let score = linear(cx, 1)?;
        let over = cx.with_const(ScalarOp::Gt, score, 0.0)?;
        let rows = cx.dim(score, 0);
        let over = cx.reshape(over, &[rows])?;
        let at = cx.cast(over, DType::I64)?;
        let y = cx.one("gather", attrs! { axis: Attr::Int(0) }, &[labels, at])?;
        cx.output(0, y);
        let positive = post.apply(cx, score)?;
        let negative = cx.affine(positive, -1.0, 1.0)?;
        let both = cx.concat(&[negative, positive], 1)?;
        cx.output(1, both);
        return Ok(());
    }
    let scores = linear(cx, n as i64)?;
    best_class(cx, scores, labels, post)
}

fn normalizer(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let x = cx.cast(x, DType::F32)?;
    let axis = cx.rank(x).saturating_sub(1);
    if cx.rank(x) == 0 {
        unsupported!("the input must have an axis");
    }
    let norm = match cx.attrs.string_or("norm", "MAX")? {
        "MAX" => {
            let magnitude = cx.unary(ScalarOp::Abs, x)?;
            cx.reduce_keep("max", magnitude, &[axis])?
        }
        "L1" => {
            let magnitude = cx.unary(ScalarOp::Abs, x)?;
            cx.reduce_keep("sum", magnitude, &[axis])?
        }
        "L2" => {
            let squares = cx.binary(ScalarOp::Mul, x, x)?;
            let sum = cx.reduce_keep("sum", squares, &[axis])?;
            cx.unary(ScalarOp::Sqrt, sum)?
        }
        other => unsupported!("attribute \"norm\" is unknown: \"{other}\""),
    };
    // A row of zeros stays as it is.
    let empty = cx.with_const(ScalarOp::Eq, norm, 0.0)?;
    let one = cx.scalar(DType::F32, 1.0)?;
    let norm = cx.select(empty, one, norm)?;
    let y = cx.binary(ScalarOp::Div, x, norm)?;
    cx.done(y)
}

fn imputer(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let dtype = cx.dtype(x);
    let (value, marked) = if dtype.is_int() {
        let values = cx.attrs.required("imputed_value_int64s", cx.attrs.ints("imputed_value_int64s"))?;
        let marked = cx.attrs.int_or("replaced_value_int64", 0)?;
        let marked = cx.size_scalar(&Dim::int(marked), dtype)?;
        (Tensor::from_slice(&[values.len()], values)?, cx.binary(ScalarOp::Eq, x, marked)?)
    } else {
        let values = cx.attrs.required("imputed_value_floats", cx.attrs.floats("imputed_value_floats"))?;
        let marked = cx.number("replaced_value_float", 0.0)?;
        let hit = if marked.is_nan() {
            cx.unary(ScalarOp::IsNan, x)?
        } else {
            cx.with_const(ScalarOp::Eq, x, marked)?
        };
        (Tensor::from_slice(&[values.len()], values)?, hit)
    };
    let value = if value.len() == 1 { value.reshaped(Vec::new())? } else { value };
    let value = cx.constant(value);
    let value = cx.cast(value, dtype)?;
    let y = cx.select(marked, value, x)?;
    cx.done(y)
}

/// Kernel values `[rows, vectors]` of the input and support vectors.
fn kernel(cx: &mut Cx, x: ValueId, vectors: ValueId) -> Lowered<ValueId> {
    let params = cx.attrs.floats("kernel_params")?.unwrap_or(&[]);
    let number = |i: usize| params.get(i).map_or(0.0, |v| f64::from(*v));
    let (gamma, shift, degree) = (number(0), number(1), number(2));
    match cx.attrs.string_or("kernel_type", "LINEAR")? {
        "LINEAR" => Ok(cx.contract("mk", "nk", "mn", x, vectors)?),
        "POLY" => {
            let dot = cx.contract("mk", "nk", "mn", x, vectors)?;
            let base = cx.affine(dot, gamma, shift)?;
            cx.with_const(ScalarOp::Pow, base, degree)
        }
        "SIGMOID" => {
            let dot = cx.contract("mk", "nk", "mn", x, vectors)?;
            let line = cx.affine(dot, gamma, shift)?;
            Ok(cx.unary(ScalarOp::Tanh, line)?)
        }
        "RBF" => {
            let (a, b) = (cx.unsqueeze(x, &[1])?, cx.unsqueeze(vectors, &[0])?);
            let difference = cx.binary(ScalarOp::Sub, a, b)?;
            let squares = cx.binary(ScalarOp::Mul, difference, difference)?;
            let distance = cx.reduce("sum", squares, &[2])?;
            let exponent = cx.with_const(ScalarOp::Mul, distance, -gamma)?;
            Ok(cx.unary(ScalarOp::Exp, exponent)?)
        }
        other => unsupported!("attribute \"kernel_type\" is unknown: \"{other}\""),
    }
}

fn svm_regressor(cx: &mut Cx) -> Lowered {
    let post = Post::from_attr(cx)?;
    let n = usize::try_from(cx.attrs.int_or("n_supports", 0)?).unwrap_or(0);
    let coefficients = cx.attrs.required("coefficients", cx.attrs.floats("coefficients"))?;
    let vectors = cx.attrs.floats("support_vectors")?.unwrap_or(&[]);
    let rho = cx.attrs.floats("rho")?.and_then(|r| r.first()).map_or(0.0, |r| f64::from(*r));
    let x = cx.required(0)?;
    let x = rows(cx, x)?;
    let x = cx.cast(x, DType::F32)?;
    cx.expect_rank("the input", x, 2)?;
    let sums = if n == 0 {
        // Without vectors the coefficients are those of a linear function.
        let w = cx.constant(Tensor::from_slice(&[1, coefficients.len()], coefficients)?);
        kernel(cx, x, w)?
    } else {
        if coefficients.len() != n || !vectors.len().is_multiple_of(n) {
            unsupported!("attributes \"coefficients\" and \"support_vectors\" do not fit {n} vectors");
        }
        let v = cx.constant(Tensor::from_slice(&[n, vectors.len() / n], vectors)?);
        let values = kernel(cx, x, v)?;
        let w = cx.constant(Tensor::from_slice(&[1, n], coefficients)?);
        cx.contract("mk", "nk", "mn", values, w)?
    };
    let mut y = cx.with_const(ScalarOp::Add, sums, rho)?;
    if cx.attrs.flag_or("one_class", false)? {
        let inside = cx.with_const(ScalarOp::Gt, y, 0.0)?;
        let (one, minus) = (cx.scalar(DType::F32, 1.0)?, cx.scalar(DType::F32, -1.0)?);
        y = cx.select(inside, one, minus)?;
    }
    let y = post.apply(cx, y)?;
    cx.done(y)
}
