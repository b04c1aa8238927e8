//! Pooling: a reduction over windows of the spatial axes.

use super::window::{Layout, OUTSIDE, Window, unflatten};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{AttrSpec, DType, ScalarOp, Tensor, Type, Value, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[POOL, MAX_POOL_INDICES];

const POOL: OpRow = OpRow {
    name: "pool",
    doc: "max, sum or average over windows of the spatial axes; padding never counts, but for averages if `include_pad`",
    attrs: &[
        spec::int("channels_last"),
        spec::ints("dilations"),
        spec::int("include_pad"),
        spec::ints("kernel"),
        spec::text("kind"),
        spec::dims("output"),
        PADS_HIGH,
        spec::dims("pads_low"),
        spec::ints("strides"),
    ],
    effects: Effects::Pure,
    infer: |cx| {
        let kind = cx.choice("kind", &["max", "sum", "average"])?;
        if cx.flag("include_pad")? && cx.attrs.get("pads_high").is_none() {
            refuse!("attribute \"include_pad\" needs attribute \"pads_high\"");
        }
        if kind == "average" {
            cx.floats(0, "averages")?;
        }
        infer_pool(cx)
    },
    content: None,
    eval: eval_pool,
    scalar: None,
    decompose: None,
};

/// Read by averages over padding only.
const PADS_HIGH: AttrSpec = spec::optional(spec::dims("pads_high"));

const MAX_POOL_INDICES: OpRow = OpRow {
    name: "max_pool_indices",
    doc: "where in x, flat in [N, C, S…], the first maximum of each window is; spatial axes count in reverse order \
          if `column_major`",
    attrs: &[
        spec::int("channels_last"),
        spec::int("column_major"),
        spec::ints("dilations"),
        spec::optional(spec::int("include_pad")),
        spec::ints("kernel"),
        spec::optional(spec::text("kind")),
        spec::dims("output"),
        PADS_HIGH,
        spec::dims("pads_low"),
        spec::ints("strides"),
    ],
    effects: Effects::Pure,
    infer: |cx| {
        cx.flag("column_major")?;
        let shape = infer_pool(cx)?.remove(0).as_tensor().map(|t| t.shape.clone()).unwrap_or_default();
        Ok(vec![Type::tensor(DType::I64, shape)])
    },
    content: None,
    eval: eval_indices,
    scalar: None,
    decompose: None,
};

fn infer_pool(cx: &InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(1)?;
    let x = cx.tensor(0)?;
    if !x.dtype.is_float() && !x.dtype.is_int() {
        refuse!("pooling takes floats or integers, found {x}");
    }
    let layout = Layout::of(cx, x.rank())?;
    let n = layout.n_spatial();
    cx.positive("kernel", n)?;
    cx.positive("strides", n)?;
    cx.positive("dilations", n)?;
    cx.dims("pads_low", n)?;
    if cx.attrs.get("pads_high").is_some() {
        cx.dims("pads_high", n)?;
    }
    let output = cx.dims("output", n)?;
    super::check::not_negative(output)?;
    let shape = layout.shape(x.shape[0].clone(), x.shape[layout.channel()].clone(), output);
    Ok(vec![Type::tensor(x.dtype, shape)])
}

fn window(cx: &EvalCx, x: &Tensor) -> Result<Window, OpError> {
    Ok(Window {
        input: x.shape()[2..].to_vec(),
        output: cx.lens(cx.attrs.dims("output"))?,
        kernel: cx.attrs.indices("kernel"),
        strides: cx.attrs.ints("strides").to_vec(),
        dilations: cx.attrs.ints("dilations").to_vec(),
        pads_low: cx.dims(cx.attrs.dims("pads_low"))?,
    })
}

/// For each tap, the input position of each output position.
fn taps(window: &Window) -> Vec<Vec<usize>> {
    (0..window.n_taps()).map(|t| window.positions(t, 0, window.n_outputs())).collect()
}

fn eval_pool(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let layout = Layout::checked(cx, cx.tensor(0)?.rank());
    let x = movers::transpose(cx.tensor(0)?, &layout.perm_to_channels_first())?;
    let window = window(cx, &x)?;
    let (taps, points, dtype) = (taps(&window), window.n_outputs(), x.dtype());
    let (planes, size) = (x.shape()[0] * x.shape()[1], window.n_inputs());
    let shape = [&x.shape()[..2], &window.output].concat();
    let max = cx.attrs.str("kind") == "max";
    let op = if max { ScalarOp::Max } else { ScalarOp::Add };
    let y = if let (Some((lowest, _)), Some(f)) = (dtype.int_range(), op.on_ints()) {
        let (image, bits) = (x.to_ints(), dtype.bits() as u32);
        let start = if max { lowest } else { 0 };
        let sums = fold(&image, planes, size, &taps, points, start, |a, b| f(a, b, bits));
        Tensor::from_ints(dtype, &shape, &sums)?
    } else if let Some(f) = op.on_floats() {
        let start = if max { f64::NEG_INFINITY } else { 0.0 };
        let mut sums = fold(&x.to_f64s(), planes, size, &taps, points, start, f);
        if cx.attrs.str("kind") == "average" {
            let counts = counts(cx, &window, &taps)?;
            sums.iter_mut().zip(counts.iter().cycle()).for_each(|(s, n)| *s /= n.max(1.0));
        }
        Tensor::from_f64s(dtype, &shape, &sums)?
    } else {
        refuse!("pooling has no meaning on {dtype}");
    };
    Ok(vec![movers::transpose(&y, &layout.perm_from_channels_first())?.into()])
}

fn fold<T: Copy>(
    image: &[T],
    planes: usize,
    size: usize,
    taps: &[Vec<usize>],
    points: usize,
    start: T,
    f: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut y = vec![start; planes * points];
    for p in 0..planes {
        let (plane, y) = (&image[p * size..][..size], &mut y[p * points..][..points]);
        for tap in taps {
            let inside = y.iter_mut().zip(tap).filter(|(_, at)| **at != OUTSIDE);
            inside.for_each(|(y, at)| *y = f(*y, plane[*at]));
        }
    }
    y
}

/// Divisors of averages, by output position.
fn counts(cx: &EvalCx, window: &Window, taps: &[Vec<usize>]) -> Result<Vec<f64>, OpError> {
    let n = window.n_outputs();
    if !cx.attrs.flag("include_pad") {
        let inside = |o: usize| taps.iter().filter(|t| t[o] != OUTSIDE).count();
        return Ok((0..n).map(|o| inside(o) as f64).collect());
    }
    let high = cx.dims(cx.attrs.dims("pads_high"))?;
    let along = |a: usize, o: usize| {
        let padded = window.pads_low[a].saturating_neg()..high[a].saturating_add(window.input[a] as i64);
        (0..window.kernel[a]).filter(|k| padded.contains(&window.coordinate(a, o, *k))).count()
    };
    let count = |o: usize| {
        unflatten(o, &window.output).iter().enumerate().map(|(a, o)| along(a, *o) as f64).product()
    };
    Ok((0..n).map(count).collect())
}

fn eval_indices(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let layout = Layout::checked(cx, cx.tensor(0)?.rank());
    let x = movers::transpose(cx.tensor(0)?, &layout.perm_to_channels_first())?;
    let window = window(cx, &x)?;
    let (taps, size) = (taps(&window), window.n_inputs());
    let image = x.to_f64s();
    let place = |at: usize| {
        if !cx.attrs.flag("column_major") {
            return at;
        }
        let index = unflatten(at, &window.input);
        index.iter().zip(&window.input).rev().fold(0, |p, (i, n)| p * n + i)
    };
    let mut found: Vec<i64> = Vec::new();
    for p in 0..x.shape()[0] * x.shape()[1] {
        let plane = &image[p * size..][..size];
        for o in 0..window.n_outputs() {
            let inside = taps.iter().map(|t| t[o]).filter(|at| *at != OUTSIDE);
            let better = |best: usize, at: usize| if plane[at] > plane[best] { at } else { best };
            let best = inside.reduce(better).map_or(0, place);
            found.push((p * size + best) as i64);
        }
    }
    let shape = [&x.shape()[..2], &window.output].concat();
    let y = Tensor::from_slice(&shape, &found)?;
    Ok(vec![movers::transpose(&y, &layout.perm_from_channels_first())?.into()])
}
