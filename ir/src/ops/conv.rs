//! Convolution and its transpose, over any number of spatial axes.
//!
//! x is `[N, C, S…]`, or `[N, S…, C]` if `channels_last`. Products are summed as in `matmul`, over
//! patches gathered some thousand output positions at a time.

use super::check::{same_dtype, show};
use super::matmul::{Number, matmul};
use super::window::{Layout, OUTSIDE, Window, output_sizes};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{Dim, Tensor, TensorType, Type, Value, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[CONV, CONV_TRANSPOSE];

/// Positions gathered at a time.
const CHUNK: usize = 2048;

const CONV: OpRow = OpRow {
    name: "conv",
    doc: "cross-correlation of x with w [O, C/groups, K…] plus bias [O]; sizes ⌊(S+lo+hi−dil·(K−1)−1)/stride⌋+1",
    attrs: &[
        spec::int("channels_last"),
        spec::ints("dilations"),
        spec::int("groups"),
        spec::dims("pads_high"),
        spec::dims("pads_low"),
        spec::ints("strides"),
    ],
    effects: Effects::Pure,
    infer: |cx| {
        let (x, w, layout) = operands(cx)?;
        let groups = Dim::int(cx.positive_int("groups")?);
        let (channels, per_group) = (&x.shape[layout.channel()], w.shape[1].clone() * groups.clone());
        if cx.unify(channels, &per_group).is_none() {
            refuse!(
                "weight must have {channels} input channels ({} in {groups} groups), found {per_group}",
                w.shape[1]
            );
        }
        multiple("output channels", &w.shape[0], &groups)?;
        cx.expect(2, "the bias", x.dtype, &w.shape[..1])?;
        let spatial = output_sizes(cx, layout.spatial_of(&x.shape), &w.shape[2..])?;
        Ok(vec![Type::tensor(x.dtype, layout.shape(x.shape[0].clone(), w.shape[0].clone(), &spatial))])
    },
    content: None,
    eval: |cx| if cx.tensor(0)?.dtype().is_float() { eval_conv::<f64>(cx) } else { eval_conv::<i64>(cx) },
    scalar: None,
    decompose: None,
};

const CONV_TRANSPOSE: OpRow = OpRow {
    name: "conv_transpose",
    doc: "y[o·stride − pads_low + k·dilation] += x·w, cropped to `output`, w [C, O/groups, K…], plus bias [O]",
    attrs: &[
        spec::int("channels_last"),
        spec::ints("dilations"),
        spec::int("groups"),
        spec::dims("output"),
        spec::dims("pads_low"),
        spec::ints("strides"),
    ],
    effects: Effects::Pure,
    infer: |cx| {
        let (x, w, layout) = operands(cx)?;
        let groups = Dim::int(cx.positive_int("groups")?);
        let channels = &x.shape[layout.channel()];
        if cx.unify(channels, &w.shape[0]).is_none() {
            refuse!("weight must have {channels} input channels, found {}", w.shape[0]);
        }
        multiple("input channels", &w.shape[0], &groups)?;
        let out_channels = w.shape[1].clone() * groups;
        cx.expect(2, "the bias", x.dtype, std::slice::from_ref(&out_channels))?;
        let n = layout.n_spatial();
        cx.positive("strides", n)?;
        cx.positive("dilations", n)?;
        cx.dims("pads_low", n)?;
        let spatial = cx.dims("output", n)?;
        super::check::not_negative(spatial)?;
        Ok(vec![Type::tensor(x.dtype, layout.shape(x.shape[0].clone(), out_channels, spatial))])
    },
    content: None,
    eval: |cx| {
        if cx.tensor(0)?.dtype().is_float() { eval_transposed::<f64>(cx) } else { eval_transposed::<i64>(cx) }
    },
    scalar: None,
    decompose: None,
};

/// x and w of one numeric type and rank.
fn operands<'a>(cx: &'a InferCx) -> Result<(&'a TensorType, &'a TensorType, Layout), OpError> {
    cx.n_inputs(3)?;
    let (x, w) = (cx.tensor(0)?, cx.tensor(1)?);
    let layout = Layout::of(cx, x.rank())?;
    if !x.dtype.is_float() && !x.dtype.is_int() {
        refuse!("a convolution takes floats or integers, found {x}");
    }
    same_dtype("the weight", x.dtype, w.dtype)?;
    if w.rank() != x.rank() {
        refuse!("the weight must have rank {}, found {}", x.rank(), show(&w.shape));
    }
    Ok((x, w, layout))
}

fn multiple(what: &str, n: &Dim, groups: &Dim) -> Result<(), OpError> {
    match n.modulo(groups).as_const() {
        None | Some(0) => Ok(()),
        Some(_) => refuse!("{what} must be a multiple of {groups} groups, found {n}"),
    }
}

fn channels_first(t: &Tensor, layout: Layout) -> Result<Tensor, OpError> {
    Ok(movers::transpose(t, &layout.perm_to_channels_first())?)
}

/// A result in channels-first order as the tensor of the node's layout.
fn finish<T: Number>(cx: &EvalCx, layout: Layout, shape: Vec<usize>, y: &[T]) -> Result<Vec<Value>, OpError> {
    let y = T::write(cx.out(0).dtype, &shape, y)?;
    Ok(vec![movers::transpose(&y, &layout.perm_from_channels_first())?.into()])
}

fn eval_conv<T: Number>(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let layout = Layout::checked(cx, cx.tensor(0)?.rank());
    let (x, w) = (channels_first(cx.tensor(0)?, layout)?, cx.tensor(1)?);
    let (pads_low, pads_high) = (cx.dims(cx.attrs.dims("pads_low"))?, cx.dims(cx.attrs.dims("pads_high"))?);
    let (strides, dilations) = (cx.attrs.ints("strides").to_vec(), cx.attrs.ints("dilations").to_vec());
    let (input, kernel) = (x.shape()[2..].to_vec(), w.shape()[2..].to_vec());
    let mut output = Vec::new();
    for a in 0..input.len() {
        let reach = i128::from(dilations[a]) * (kernel[a] as i128 - 1) + 1;
        let room = input[a] as i128 + i128::from(pads_low[a]) + i128::from(pads_high[a]) - reach;
        output.push(usize::try_from(room.div_euclid(strides[a].into()) + 1).unwrap_or(0));
    }
    let window = Window { input, output, kernel, strides, dilations, pads_low };
    let groups = cx.attrs.index("groups");
    let (n, c, o, per_group) = (x.shape()[0], x.shape()[1], w.shape()[0], w.shape()[1]);
    if c != per_group.saturating_mul(groups) || !o.is_multiple_of(groups) || cx.tensor(2)?.shape() != [o] {
        refuse!("weight {:?} and bias {:?} do not fit {c} channels", w.shape(), cx.tensor(2)?.shape());
    }
    let (weight, bias, image) = (T::read(w), T::read(cx.tensor(2)?), T::read(&x));
    let (points, size) = (window.n_outputs(), window.n_inputs());
    let (depth, rows) = (per_group * window.n_taps(), o / groups);
    let mut y = vec![T::ZERO; n * o * points];
    for from in (0..points).step_by(CHUNK) {
        let width = CHUNK.min(points - from);
        let taps: Vec<Vec<usize>> =
            (0..window.n_taps()).map(|t| window.positions(t, from, from + width)).collect();
        for (b, g) in (0..n).flat_map(|b| (0..groups).map(move |g| (b, g))) {
            let planes = &image[(b * c + g * per_group) * size..][..per_group * size];
            let patches = gather_patches(planes, size, &taps, width);
            let mut sums: Vec<T> =
                (0..rows).flat_map(|r| std::iter::repeat_n(bias[g * rows + r], width)).collect();
            matmul(&weight[g * rows * depth..], &patches, &mut sums, rows, depth, width);
            for r in 0..rows {
                let at = (b * o + g * rows + r) * points + from;
                y[at..at + width].copy_from_slice(&sums[r * width..][..width]);
            }
        }
    }
    let shape = [&[n, o][..], &window.output].concat();
    finish(cx, layout, shape, &y)
}

/// Rows (channel, tap) of the input elements that meet them, zero outside.
fn gather_patches<T: Number>(planes: &[T], size: usize, taps: &[Vec<usize>], width: usize) -> Vec<T> {
    let mut patches = Vec::with_capacity(planes.len().checked_div(size).unwrap_or(0) * taps.len() * width);
    for plane in planes.chunks(size.max(1)) {
        for tap in taps {
            patches.extend(tap.iter().map(|at| if *at == OUTSIDE { T::ZERO } else { plane[*at] }));
        }
    }
    // Without input elements there are no planes to go through, but still rows of zeros.
    if size == 0 {
        patches.clear();
    }
    patches
}

fn eval_transposed<T: Number>(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let layout = Layout::checked(cx, cx.tensor(0)?.rank());
    let (x, w) = (channels_first(cx.tensor(0)?, layout)?, cx.tensor(1)?);
    // The window of the convolution whose gradient this is: from the result back to x.
    let window = Window {
        input: cx.lens(cx.attrs.dims("output"))?,
        output: x.shape()[2..].to_vec(),
        kernel: w.shape()[2..].to_vec(),
        strides: cx.attrs.ints("strides").to_vec(),
        dilations: cx.attrs.ints("dilations").to_vec(),
        pads_low: cx.dims(cx.attrs.dims("pads_low"))?,
    };
    let groups = cx.attrs.index("groups");
    let (n, c, per_group) = (x.shape()[0], x.shape()[1], w.shape()[1]);
    let o = per_group.saturating_mul(groups);
    if w.shape()[0] != c || !c.is_multiple_of(groups) || cx.tensor(2)?.shape() != [o] {
        refuse!("weight {:?} and bias {:?} do not fit {c} channels", w.shape(), cx.tensor(2)?.shape());
    }
    let rows = per_group * window.n_taps();
    let (depth, points, size) = (c / groups, window.n_outputs(), window.n_inputs());
    let weight = T::read(&movers::transpose(&w.reshaped(vec![groups, depth, rows])?, &[0, 2, 1])?);
    let (bias, image) = (T::read(cx.tensor(2)?), T::read(&x));
    let taps: Vec<Vec<usize>> = (0..window.n_taps()).map(|t| window.positions(t, 0, points)).collect();
    let mut y: Vec<T> =
        (0..n).flat_map(|_| bias.iter().flat_map(|v| std::iter::repeat_n(*v, size))).collect();
    for (b, g) in (0..n).flat_map(|b| (0..groups).map(move |g| (b, g))) {
        let mut sums = vec![T::ZERO; rows * points];
        let planes = &image[(b * c + g * depth) * points..][..depth * points];
        matmul(&weight[g * rows * depth..], planes, &mut sums, rows, depth, points);
        for (row, sums) in sums.chunks(points.max(1)).enumerate() {
            let (channel, tap) = (row / taps.len(), &taps[row % taps.len()]);
            let plane = &mut y[(b * o + g * per_group + channel) * size..][..size];
            let inside = tap.iter().zip(sums).filter(|(at, _)| **at != OUTSIDE);
            inside.for_each(|(at, s)| plane[*at] = plane[*at].plus(*s));
        }
    }
    let shape = [&[n, o][..], &window.input].concat();
    finish(cx, layout, shape, &y)
}
