//! Pools over windows and over all spatial axes.

use super::conv::{Window, extent, window};
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Attr, Attrs, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("AveragePool", &[1, 7, 10, 11, 19, 22], "mean over windows", |cx| {
        let include = cx.attrs.flag_or("count_include_pad", false)?;
        let x = cx.required(0)?;
        let y = pool(cx, x, "average", include)?;
        cx.done(y)
    }),
    onnx("GlobalAveragePool", &[1, 22], "mean over all spatial axes", |cx| {
        let x = cx.required(0)?;
        let axes = spatial_axes(cx, x)?;
        let y = mean_keep(cx, x, &axes)?;
        cx.done(y)
    }),
    onnx("GlobalLpPool", &[1, 2, 22], "p-norm over all spatial axes", |cx| {
        let p = norm_order(cx)?;
        let x = cx.required(0)?;
        let axes = spatial_axes(cx, x)?;
        let powers = abs_power(cx, x, p)?;
        let sum = cx.reduce_keep("sum", powers, &axes)?;
        let y = root(cx, sum, p)?;
        cx.done(y)
    }),
    onnx("GlobalMaxPool", &[1, 22], "largest over all spatial axes", |cx| {
        let x = cx.required(0)?;
        let axes = spatial_axes(cx, x)?;
        let y = cx.reduce_keep("max", x, &axes)?;
        cx.done(y)
    }),
    onnx("LpPool", &[1, 2, 11, 18, 22], "p-norm over windows", |cx| {
        let p = norm_order(cx)?;
        let x = cx.required(0)?;
        let powers = abs_power(cx, x, p)?;
        let sum = pool(cx, powers, "sum", false)?;
        let y = root(cx, sum, p)?;
        cx.done(y)
    }),
    onnx("MaxPool", &[1, 8, 10, 11, 12, 22], "largest over windows, and where it lies", max_pool),
];

/// The order of a norm: a number in version 1, an integer since.
fn norm_order(cx: &Cx) -> Lowered<f64> {
    if cx.version == 1 {
        return cx.number("p", 2.0);
    }
    let p = cx.attrs.int_or("p", 2)?;
    if !(1..=64).contains(&p) {
        unsupported!("attribute \"p\" must lie in 1 to 64, found {p}");
    }
    Ok(p as f64)
}

fn spatial_axes(cx: &Cx, x: ValueId) -> Lowered<Vec<usize>> {
    if cx.rank(x) < 3 {
        unsupported!("the input must have at least one spatial axis, found {}", cx.graph.ty(x));
    }
    Ok((2..cx.rank(x)).collect())
}

/// The mean over axes, kept with size 1.
pub(super) fn mean_keep(cx: &mut Cx, x: ValueId, axes: &[usize]) -> Lowered<ValueId> {
    let sum = cx.reduce_keep("sum", x, axes)?;
    let dtype = cx.dtype(x);
    let count = cx.count(x, axes, dtype)?;
    Ok(cx.binary(ScalarOp::Div, sum, count)?)
}

/// `|x|^p`
pub(super) fn abs_power(cx: &mut Cx, x: ValueId, p: f64) -> Lowered<ValueId> {
    if p == 2.0 {
        return Ok(cx.binary(ScalarOp::Mul, x, x)?);
    }
    let magnitude = cx.unary(ScalarOp::Abs, x)?;
    if p == 1.0 { Ok(magnitude) } else { cx.with_const(ScalarOp::Pow, magnitude, p) }
}

/// `x^(1/p)` of what is not negative.
pub(super) fn root(cx: &mut Cx, x: ValueId, p: f64) -> Lowered<ValueId> {
    if p == 1.0 {
        return Ok(x);
    }
    if p == 2.0 {
        return Ok(cx.unary(ScalarOp::Sqrt, x)?);
    }
    cx.with_const(ScalarOp::Pow, x, 1.0 / p)
}

/// Output sizes of a pool, rounded down or up.
///
/// Rounded up, the last window still has to start inside the input or the low padding.
fn output_sizes(spatial: &[Dim], win: &Window, ceil: bool) -> Vec<Dim> {
    (0..spatial.len())
        .map(|i| {
            let stride = Dim::int(win.strides[i]);
            let padded = spatial[i].clone() + win.pads_low[i].clone();
            let free = padded.clone() + win.pads_high[i].clone() - extent(&win.kernel[i], win.dilations[i]);
            if ceil {
                let windows = free.ceil_div(&stride) + Dim::ONE;
                windows.min_with(&padded.ceil_div(&stride))
            } else {
                free.floor_div(&stride) + Dim::ONE
            }
        })
        .collect()
}

/// The window attributes of a pool node with the sizes of its output.
fn geometry(cx: &Cx, x: ValueId) -> Lowered<(Window, Vec<Dim>)> {
    let spatial = cx.shape(x).get(2..).unwrap_or(&[]).to_vec();
    if spatial.is_empty() {
        unsupported!("the input must have at least one spatial axis, found {}", cx.graph.ty(x));
    }
    let kernel = cx.attrs.required("kernel_shape", cx.attrs.ints("kernel_shape"))?;
    if kernel.len() != spatial.len() || kernel.iter().any(|k| *k < 1) {
        unsupported!(
            "attribute \"kernel_shape\" must hold {} positive numbers, found {kernel:?}",
            spatial.len()
        );
    }
    let win = window(cx, &spatial, kernel.iter().map(|k| Dim::int(*k)).collect())?;
    let ceil = cx.attrs.flag_or("ceil_mode", false)?;
    let output = output_sizes(&spatial, &win, ceil).iter().map(|d| cx.simplify(d)).collect();
    Ok((win, output))
}

/// A pool by the node's attributes.
fn pool(cx: &mut Cx, x: ValueId, kind: &str, include_pad: bool) -> Lowered<ValueId> {
    let (win, output) = geometry(cx, x)?;
    let attrs = pool_attrs(win, output, include_pad)?.with("kind", Attr::Str(kind.to_owned()));
    Ok(cx.one("pool", attrs, &[x])?)
}

fn pool_attrs(win: Window, output: Vec<Dim>, include_pad: bool) -> Lowered<Attrs> {
    let kernel: Option<Vec<i64>> = win.kernel.iter().map(Dim::as_const).collect();
    let kernel = kernel.ok_or_else(|| Refusal::because("the kernel must be known at compile time"))?;
    Ok(attrs! {
        kernel: Attr::Ints(kernel), strides: Attr::Ints(win.strides), dilations: Attr::Ints(win.dilations),
        pads_low: Attr::Dims(win.pads_low), pads_high: Attr::Dims(win.pads_high), output: Attr::Dims(output),
        include_pad: Attr::Int(i64::from(include_pad)), channels_last: Attr::Int(0)
    })
}

/// A sum over windows along one axis, of the same size as the input where padded so.
pub(super) fn window_sum(
    cx: &mut Cx,
    x: ValueId,
    kernel: &[i64],
    low: &[i64],
    output: Vec<Dim>,
) -> Lowered<ValueId> {
    let n = kernel.len();
    let zero = || vec![Dim::ZERO; n];
    let win = Window {
        kernel: kernel.iter().map(|k| Dim::int(*k)).collect(),
        strides: vec![1; n],
        dilations: vec![1; n],
        pads_low: low.iter().map(|p| Dim::int(*p)).collect(),
        pads_high: zero(),
    };
    let attrs = pool_attrs(win, output, false)?.with("kind", Attr::Str("sum".to_owned()));
    Ok(cx.one("pool", attrs, &[x])?)
}

fn max_pool(cx: &mut Cx) -> Lowered {
    let x = cx.required(0)?;
    let column_major = cx.attrs.int_or("storage_order", 0)?;
    let y = pool(cx, x, "max", false)?;
    cx.output(0, y);
    if cx.wants(1) {
        let (win, output) = geometry(cx, x)?;
        let attrs = pool_attrs(win, output, false)?
            .with("kind", Attr::Str("max".to_owned()))
            .with("column_major", Attr::Int(column_major));
        let indices = cx.one("max_pool_indices", attrs, &[x])?;
        cx.output(1, indices);
    }
    Ok(())
}
