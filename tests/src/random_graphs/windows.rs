//! Convolutions and pooling.

use super::bound::{Bound, rounding};
use super::generator::{Gen, Val};
use super::linalg::{epilogue, widened};
use nnc_ir::{Attr, Attrs, DType, Dim, OpError, attrs};

/// A window over spatial axes.
struct Window {
    kernel: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    low: Vec<i64>,
    high: Vec<i64>,
}

/// An image `[N, C, S…]` or `[N, S…, C]` of a type, from the values made before or new.
fn image(g: &mut Gen, dtype: DType, last: bool, exact: bool) -> Result<Val, OpError> {
    let fits = |v: &&Val| {
        let channels = if last { v.shape.last() } else { v.shape.get(1) };
        let fixed = channels.is_some_and(|d| d.as_const().is_some_and(|n| n > 0));
        v.dtype == dtype && (3..=5).contains(&v.rank()) && fixed && (!exact || v.bound.is_exact())
    };
    let found: Vec<Val> = g.pool.iter().filter(fits).cloned().collect();
    if !found.is_empty() && g.rng.chance(60) {
        let at = g.rng.pick(&found);
        return if dtype.is_float() && !exact { g.calm(&at, 4.0) } else { Ok(at) };
    }
    let n_spatial = g.rng.pick(&[1, 2, 2, 2, 2, 3]);
    let c = g.rng.pick(&[1, 2, 3, 4, 6, 8, 16, 17]);
    let batch = g.rng.range(1, 2);
    let mut shape = vec![Dim::int(batch), Dim::int(c)];
    for i in 0..n_spatial {
        let n = if i == 0 && g.rng.chance(15) { g.rng.range(17, 40) } else { g.rng.range(2, 11) };
        let symbolic: Vec<Dim> = g.dims.iter().filter(|d| d.as_const().is_none()).cloned().collect();
        let d = if !symbolic.is_empty() && g.rng.chance(40) { g.rng.pick(&symbolic) } else { Dim::int(n) };
        shape.push(if n_spatial == 3 && d.as_const().is_some() { Dim::int(g.rng.range(2, 5)) } else { d });
    }
    if last {
        let c = shape.remove(1);
        shape.push(c);
    }
    g.input(dtype, &shape)
}

fn spatial(x: &Val, last: bool) -> Vec<usize> {
    if last { x.size[1..x.rank() - 1].to_vec() } else { x.size[2..].to_vec() }
}

fn channels(x: &Val, last: bool) -> usize {
    if last { x.size[x.rank() - 1] } else { x.size[1] }
}

/// A window that fits at least once, with each tap inside of the input somewhere.
fn window(g: &mut Gen, sizes: &[usize]) -> Window {
    let mut w = Window { kernel: vec![], strides: vec![], dilations: vec![], low: vec![], high: vec![] };
    let square = g.rng.chance(60);
    let (k, s, d) =
        (g.rng.pick(&[1, 2, 3, 3, 3, 5]), g.rng.pick(&[1, 1, 1, 2, 3]), g.rng.pick(&[1, 1, 1, 2]));
    for n in sizes {
        let n = *n as i64;
        let mut k = if square { k } else { g.rng.range(1, 4) };
        let s = if square { s } else { g.rng.range(1, 3) };
        let mut d = if square { d } else { g.rng.range(1, 2) };
        let most = (d * (k - 1)).min(2);
        let (mut low, mut high) = (g.rng.range(0, most), g.rng.range(0, most));
        if n + low + high < d * (k - 1) + 1 {
            (k, d, low, high) = (n.clamp(1, 2), 1, 0, 0);
        }
        w.kernel.push(k);
        w.strides.push(s);
        w.dilations.push(d);
        w.low.push(low);
        w.high.push(high);
    }
    w
}

fn dims(values: &[i64]) -> Attr {
    Attr::Dims(values.iter().map(|v| Dim::int(*v)).collect())
}

/// Counts the forms of windows that have kernels of their own.
fn count_forms(g: &mut Gen, w: &Window) {
    if w.dilations.iter().zip(&w.kernel).any(|(d, k)| *d > 1 && *k > 1) {
        g.count("dilated conv");
    }
    if w.strides.iter().any(|s| *s > 1) {
        g.count("strided conv");
    }
    if w.low.iter().chain(&w.high).any(|p| *p > 0) {
        g.count("padded conv");
    }
}

pub(super) fn conv(g: &mut Gen) -> Result<(), OpError> {
    let dtype = if g.rng.chance(8) { g.int() } else { g.float() };
    let last = g.rng.chance(40);
    let x = image(g, dtype, last, false)?;
    let (c, sizes) = (channels(&x, last), spatial(&x, last));
    let w = window(g, &sizes);
    let divisors: Vec<usize> = (1..=c).filter(|n| c % n == 0).collect();
    let groups = match g.rng.below(4) {
        0 => c,
        1 => g.rng.pick(&divisors),
        _ => 1,
    };
    let o = groups * if groups == c && g.rng.chance(60) { 1 } else { g.rng.pick(&[1, 2, 3, 5, 8, 20]) };
    if groups == c && c > 1 {
        g.count("depthwise conv");
    }
    count_forms(g, &w);
    let mut shape = vec![o, c / groups];
    shape.extend(w.kernel.iter().map(|k| *k as usize));
    let (weight, bias) = (g.constant(dtype, &shape), g.constant(dtype, &[o]));
    let k = shape[1..].iter().product::<usize>();
    let bound = sum_of_products(&x, &weight, &bias, k);
    let attrs = attrs! {
        strides: Attr::Ints(w.strides), dilations: Attr::Ints(w.dilations), pads_low: dims(&w.low),
        pads_high: dims(&w.high), groups: Attr::Int(groups as i64), channels_last: Attr::Int(i64::from(last))
    };
    let y = g.one("conv", attrs, &[&x, &weight, &bias], bound)?;
    let channel = if last { y.rank() - 1 } else { 1 };
    let y = if dtype.is_float() && y.bound.is_tame() { epilogue(g, y, "conv", Some(channel))? } else { y };
    g.keep(y);
    Ok(())
}

fn sum_of_products(x: &Val, w: &Val, bias: &Val, k: usize) -> Bound {
    if !x.dtype.is_float() {
        return Bound::of_type(x.dtype);
    }
    let sum = x.bound.times(w.bound).scaled(k as f64).plus(bias.bound);
    Bound { err: sum.err + rounding(widened(x.dtype), k) * sum.mag, ..sum }.rounded(x.dtype, 1)
}

pub(super) fn conv_transpose(g: &mut Gen) -> Result<(), OpError> {
    let dtype = if g.rng.chance(8) { g.int() } else { g.float() };
    let last = g.rng.chance(30);
    let x = image(g, dtype, last, false)?;
    let (c, sizes) = (channels(&x, last), spatial(&x, last));
    let w = window(g, &sizes);
    let divisors: Vec<usize> = (1..=c).filter(|n| c % n == 0).collect();
    let groups = if g.rng.chance(50) { 1 } else { g.rng.pick(&divisors) };
    let per_group = g.rng.pick(&[1, 2, 3, 8]);
    let mut shape = vec![c, per_group];
    shape.extend(w.kernel.iter().map(|k| *k as usize));
    let (weight, bias) = (g.constant(dtype, &shape), g.constant(dtype, &[per_group * groups]));
    let spatial_dims: Vec<Dim> = if last { x.shape[1..x.rank() - 1].to_vec() } else { x.shape[2..].to_vec() };
    let output = (0..sizes.len()).map(|i| {
        let reach = w.dilations[i] * (w.kernel[i] - 1) + 1;
        let full = (sizes[i] as i64 - 1) * w.strides[i] + reach - w.low[i] - w.high[i];
        let extra = if full < 1 { 1 - full } else { g.rng.range(0, 1) };
        (spatial_dims[i].clone() - Dim::ONE) * Dim::int(w.strides[i])
            + Dim::int(reach - w.low[i] - w.high[i] + extra)
    });
    let output = output.collect();
    let k = c / groups * shape[2..].iter().product::<usize>();
    let bound = sum_of_products(&x, &weight, &bias, k);
    let attrs = attrs! {
        strides: Attr::Ints(w.strides), dilations: Attr::Ints(w.dilations), pads_low: dims(&w.low),
        output: Attr::Dims(output), groups: Attr::Int(groups as i64), channels_last: Attr::Int(i64::from(last))
    };
    let y = g.one("conv_transpose", attrs, &[&x, &weight, &bias], bound)?;
    g.keep(y);
    Ok(())
}

/// Attributes that pooling operators share.
fn pool_attrs(x: &Val, w: &Window, last: bool) -> Attrs {
    let spatial: &[Dim] = if last { &x.shape[1..x.rank() - 1] } else { &x.shape[2..] };
    let output = (0..spatial.len()).map(|i| {
        let reach = w.dilations[i] * (w.kernel[i] - 1) + 1;
        (spatial[i].clone() + Dim::int(w.low[i] + w.high[i] - reach)).floor_div(&Dim::int(w.strides[i]))
            + Dim::ONE
    });
    attrs! {
        kernel: Attr::Ints(w.kernel.clone()), strides: Attr::Ints(w.strides.clone()),
        dilations: Attr::Ints(w.dilations.clone()), pads_low: dims(&w.low), pads_high: dims(&w.high),
        output: Attr::Dims(output.collect()), channels_last: Attr::Int(i64::from(last))
    }
}

pub(super) fn pool(g: &mut Gen) -> Result<(), OpError> {
    let indices = g.rng.chance(25);
    let dtype = if g.rng.chance(15) { g.int() } else { g.float() };
    let last = g.rng.chance(40);
    let x = image(g, dtype, last, indices)?;
    if x.len() == 0 {
        return Ok(());
    }
    let w = window(g, &spatial(&x, last));
    let attrs = pool_attrs(&x, &w, last);
    if indices {
        let attrs = attrs.with("column_major", Attr::Int(g.rng.range(0, 1)));
        let y = g.one("max_pool_indices", attrs, &[&x], Bound::exact(1e4))?;
        g.keep(y);
        return Ok(());
    }
    if last {
        g.count("pool on channels-last");
    }
    let kinds: &[&str] = if dtype.is_float() { &["max", "sum", "average"] } else { &["max", "sum"] };
    let kind = g.rng.pick(kinds);
    let k = w.kernel.iter().product::<i64>() as usize;
    let bound = match kind {
        _ if !dtype.is_float() => Bound::of_type(dtype),
        "max" => x.bound,
        "sum" => x.bound.scaled(k as f64).rounded(dtype, k),
        _ => x.bound.rounded(dtype, k),
    };
    let include = kind == "average" && g.rng.chance(50);
    let attrs = attrs.with("kind", Attr::Str(kind.into())).with("include_pad", Attr::Int(i64::from(include)));
    let y = g.one("pool", attrs, &[&x], bound)?;
    g.keep(y);
    Ok(())
}
