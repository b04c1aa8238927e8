//! Convolutions and transposed convolutions of any spatial rank.

use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::unsupported;
use nnc_ir::{Attr, DType, Dim, ScalarOp, ValueId, attrs};

pub(super) const ROWS: &[OnnxOp] = &[
    onnx("Conv", &[1, 11, 22], "convolution [N, C, …] with weights [O, C/group, …]", |cx| {
        let (x, w, bias) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
        let y = conv(cx, x, w, bias)?;
        cx.done(y)
    }),
    onnx("ConvInteger", &[10], "convolution of 8-bit integers in 32 bits", |cx| {
        let x = centered(cx, 0, 2, None)?;
        let w = centered(cx, 1, 3, Some(0))?;
        let y = conv(cx, x, w, None)?;
        cx.done(y)
    }),
    onnx(
        "ConvTranspose",
        &[1, 11, 22],
        "transposed convolution with weights [C, O/group, …]",
        conv_transpose,
    ),
];

/// An 8-bit operand minus its zero point, in 32 bits; a zero point of rank 1 lies along `axis`.
pub(super) fn centered(cx: &mut Cx, i: usize, zero_point: usize, axis: Option<usize>) -> Lowered<ValueId> {
    let x = cx.required(i)?;
    let zero = cx.input(zero_point)?;
    centered_value(cx, x, zero, axis)
}

/// `x - zero` in 32 bits.
pub(super) fn centered_value(
    cx: &mut Cx,
    x: ValueId,
    zero: Option<ValueId>,
    axis: Option<usize>,
) -> Lowered<ValueId> {
    let x = cx.cast(x, DType::I32)?;
    let Some(zero) = zero else { return Ok(x) };
    let rank = cx.rank(x);
    let zero = cx.cast(zero, DType::I32)?;
    let zero = match (cx.rank(zero), axis) {
        (1, Some(axis)) => along(cx, zero, axis, rank)?,
        _ => zero,
    };
    Ok(cx.binary(ScalarOp::Sub, x, zero)?)
}

/// A vector as a tensor of the given rank whose other axes have size 1; one element becomes a scalar.
pub(super) fn along(cx: &mut Cx, v: ValueId, axis: usize, rank: usize) -> Lowered<ValueId> {
    let d = cx.graph.tensor_ty(v).elems();
    if d.is(1) {
        return Ok(cx.reshape(v, &[])?);
    }
    let mut shape = vec![Dim::ONE; rank];
    let Some(slot) = shape.get_mut(axis) else { unsupported!("axis {axis} lies outside rank {rank}") };
    *slot = d;
    Ok(cx.reshape(v, &shape)?)
}

/// Window attributes that convolutions and pools share.
pub(super) struct Window {
    pub(super) kernel: Vec<Dim>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pub(super) pads_low: Vec<Dim>,
    pub(super) pads_high: Vec<Dim>,
}

/// A list attribute with one positive number per spatial axis.
pub(super) fn spatial_ints(cx: &Cx, name: &str, n: usize) -> Lowered<Vec<i64>> {
    let ints = cx.attrs.ints(name)?.map_or_else(|| vec![1; n], <[i64]>::to_vec);
    if ints.len() != n || ints.iter().any(|v| *v < 1) {
        unsupported!("attribute \"{name}\" must hold {n} positive numbers, found {ints:?}");
    }
    Ok(ints)
}

/// Low and high padding per spatial axis from attribute "pads".
pub(super) fn pads(cx: &Cx, n: usize) -> Lowered<(Vec<Dim>, Vec<Dim>)> {
    let pads = cx.attrs.ints("pads")?.map_or_else(|| vec![0; 2 * n], <[i64]>::to_vec);
    if pads.len() != 2 * n {
        unsupported!("attribute \"pads\" must hold {} numbers, found {pads:?}", 2 * n);
    }
    let dims = |p: &[i64]| p.iter().map(|v| Dim::int(*v)).collect();
    Ok((dims(&pads[..n]), dims(&pads[n..])))
}

/// How many elements a dilated kernel spans.
pub(super) fn extent(kernel: &Dim, dilation: i64) -> Dim {
    (kernel.clone() - Dim::ONE) * Dim::int(dilation) + Dim::ONE
}

/// The window of a convolution or pool over `spatial` sizes; automatic padding becomes explicit.
pub(super) fn window(cx: &Cx, spatial: &[Dim], kernel: Vec<Dim>) -> Lowered<Window> {
    let n = spatial.len();
    let (strides, dilations) = (spatial_ints(cx, "strides", n)?, spatial_ints(cx, "dilations", n)?);
    let (mut pads_low, mut pads_high) = pads(cx, n)?;
    let auto = cx.attrs.string_or("auto_pad", "NOTSET")?;
    match auto {
        "NOTSET" | "" => {}
        "VALID" => {
            pads_low = vec![Dim::ZERO; n];
            pads_high = pads_low.clone();
        }
        "SAME_UPPER" | "SAME_LOWER" => {
            for i in 0..n {
                let stride = Dim::int(strides[i]);
                let out = spatial[i].ceil_div(&stride);
                let span = (out - Dim::ONE) * stride + extent(&kernel[i], dilations[i]);
                let total = cx.simplify(&(span - spatial[i].clone()).max_with(&Dim::ZERO));
                let half = total.floor_div(&Dim::int(2));
                let rest = total - half.clone();
                (pads_low[i], pads_high[i]) = if auto == "SAME_UPPER" { (half, rest) } else { (rest, half) };
            }
        }
        other => unsupported!("attribute \"auto_pad\" is unknown: \"{other}\""),
    }
    Ok(Window { kernel, strides, dilations, pads_low, pads_high })
}

/// Checks attribute "kernel_shape" against the weights' sizes.
fn check_kernel(cx: &Cx, kernel: &[Dim]) -> Lowered {
    let Some(stated) = cx.attrs.ints("kernel_shape")? else { return Ok(()) };
    let agree = |(a, b): (&i64, &Dim)| b.as_const().is_none_or(|b| b == *a);
    if stated.len() != kernel.len() || !stated.iter().zip(kernel).all(agree) {
        unsupported!("attribute \"kernel_shape\" is {stated:?}, but the weights have {kernel:?}");
    }
    Ok(())
}

/// Spatial rank, groups and kernel sizes, with the ranks checked.
fn geometry(cx: &Cx, x: ValueId, w: ValueId) -> Lowered<(Vec<Dim>, Vec<Dim>, i64)> {
    let rank = cx.rank(x);
    if rank < 3 {
        unsupported!("the input must have at least one spatial axis, found {}", cx.graph.ty(x));
    }
    cx.expect_rank("the weight", w, rank)?;
    let groups = cx.attrs.int_or("group", 1)?;
    if groups < 1 {
        unsupported!("attribute \"group\" must be positive, found {groups}");
    }
    let kernel = cx.shape(w)[2..].to_vec();
    check_kernel(cx, &kernel)?;
    Ok((cx.shape(x)[2..].to_vec(), kernel, groups))
}

/// A convolution by the node's attributes, with zeros for a bias left out.
pub(super) fn conv(cx: &mut Cx, x: ValueId, w: ValueId, bias: Option<ValueId>) -> Lowered<ValueId> {
    let (spatial, kernel, groups) = geometry(cx, x, w)?;
    let win = window(cx, &spatial, kernel)?;
    let bias = match bias {
        Some(b) => b,
        None => {
            let (dtype, channels) = (cx.dtype(x), cx.dim(w, 0));
            zeros(cx, dtype, &[channels])?
        }
    };
    let attrs = attrs! {
        strides: Attr::Ints(win.strides), dilations: Attr::Ints(win.dilations), pads_low: Attr::Dims(win.pads_low),
        pads_high: Attr::Dims(win.pads_high), groups: Attr::Int(groups), channels_last: Attr::Int(0)
    };
    Ok(cx.one("conv", attrs, &[x, w, bias])?)
}

/// A constant of zeros where the shape is known, else a broadcast one.
pub(super) fn zeros(cx: &mut Cx, dtype: DType, shape: &[Dim]) -> Lowered<ValueId> {
    let fixed: Option<Vec<usize>> = shape.iter().map(Dim::as_len).collect();
    match fixed {
        Some(shape) if shape.iter().product::<usize>() <= 1 << 16 => {
            Ok(cx.constant(nnc_ir::Tensor::zeros(dtype, &shape)?))
        }
        _ => Ok(cx.splat(dtype, 0.0, shape)?),
    }
}

fn conv_transpose(cx: &mut Cx) -> Lowered {
    let (x, w, bias) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
    let (spatial, kernel, groups) = geometry(cx, x, w)?;
    let n = spatial.len();
    let (strides, dilations) = (spatial_ints(cx, "strides", n)?, spatial_ints(cx, "dilations", n)?);
    let (pads_low, output) = transposed_sizes(cx, &spatial, &kernel, &strides, &dilations)?;
    let channels = cx.dim(w, 1) * Dim::int(groups);
    let dtype = cx.dtype(x);
    let bias = match bias {
        Some(b) => b,
        None => zeros(cx, dtype, &[channels])?,
    };
    let attrs = attrs! {
        strides: Attr::Ints(strides), dilations: Attr::Ints(dilations), pads_low: Attr::Dims(pads_low),
        output: Attr::Dims(output), groups: Attr::Int(groups), channels_last: Attr::Int(0)
    };
    let y = cx.one("conv_transpose", attrs, &[x, w, bias])?;
    cx.done(y)
}

/// Low padding and output sizes: given outright, automatic, or by the explicit padding.
fn transposed_sizes(
    cx: &Cx,
    spatial: &[Dim],
    kernel: &[Dim],
    strides: &[i64],
    dilations: &[i64],
) -> Lowered<(Vec<Dim>, Vec<Dim>)> {
    let n = spatial.len();
    let (low, high) = pads(cx, n)?;
    let auto = cx.attrs.string_or("auto_pad", "NOTSET")?;
    let given = cx.attrs.ints("output_shape")?;
    // Some files state all axes, some the spatial ones only.
    let given = given.map(|g| &g[g.len().saturating_sub(n)..]).filter(|g| g.len() == n);
    let extra = cx.attrs.ints("output_padding")?.map_or_else(|| vec![0; n], <[i64]>::to_vec);
    if extra.len() != n {
        unsupported!("attribute \"output_padding\" must hold {n} numbers, found {extra:?}");
    }
    let (mut pads_low, mut output) = (Vec::new(), Vec::new());
    for i in 0..n {
        let stride = Dim::int(strides[i]);
        let full = (spatial[i].clone() - Dim::ONE) * stride.clone()
            + Dim::int(extra[i])
            + extent(&kernel[i], dilations[i]);
        let out = match (given, auto) {
            (Some(g), _) => Dim::int(g[i]),
            (None, "SAME_UPPER" | "SAME_LOWER") => spatial[i].clone() * stride,
            (None, "VALID") => {
                pads_low.push(Dim::ZERO);
                output.push(full);
                continue;
            }
            (None, _) => {
                output.push(full - low[i].clone() - high[i].clone());
                pads_low.push(low[i].clone());
                continue;
            }
        };
        let total = cx.simplify(&(full - out.clone()).max_with(&Dim::ZERO));
        let half = total.floor_div(&Dim::int(2));
        pads_low.push(if auto == "SAME_UPPER" { half } else { total - half });
        output.push(out);
    }
    Ok((pads_low, output))
}
