//! Random numbers: `random_uniform`, `random_normal`, `bernoulli`, `multinomial` from a counter, and
//! `dropout_mask` from NumPy's generator.
//!
//! Attribute `seed` fixes the numbers: the same seed gives the same result at every run. Without it
//! each run draws a fresh seed. Element i depends on seed and i alone.

mod mt19937;
mod philox;

use crate::inputs::{Inputs, count_of, room_for, wrong};
use crate::{Attrs, RoutineError};
use mt19937::Mt19937;
use nnc_tensor::{DType, Tensor, Value};
use philox::Philox;
use std::hash::{BuildHasher, RandomState};

fn generator(attrs: &Attrs) -> Result<Philox, RoutineError> {
    let seed = attrs.float("seed")?.filter(|s| !s.is_nan());
    Ok(Philox::new(seed.map_or_else(fresh_seed, f64::to_bits)))
}

/// The standard library's source of randomness for hash maps.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// Attribute `shape`, or the shape of the first input.
fn shape_of(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<usize>, RoutineError> {
    let expected = "a list of sizes";
    match attrs.ints("shape")? {
        Some(sizes) => sizes
            .iter()
            .map(|d| usize::try_from(*d).map_err(|_| RoutineError::Attr { name: "shape", expected }))
            .collect(),
        None => Ok(Inputs(inputs).tensor(0, "input")?.shape().to_vec()),
    }
}

/// Attribute `dtype`, or the type of the first input, or f32.
fn dtype_of(attrs: &Attrs, inputs: &[Value]) -> Result<DType, RoutineError> {
    let given = attrs.dtype("dtype")?;
    let like = Inputs(inputs).optional(0, "input")?.map(Tensor::dtype);
    Ok(given.or(like).unwrap_or(DType::F32))
}

fn fill(
    attrs: &Attrs,
    inputs: &[Value],
    number: impl Fn(&Philox, u64) -> f64,
) -> Result<Vec<Value>, RoutineError> {
    let (random, shape) = (generator(attrs)?, shape_of(attrs, inputs)?);
    let mut data = room_for::<f64>(&shape)?;
    let len = count_of(&shape)?;
    data.extend((0..len as u64).map(|i| number(&random, i)));
    Ok(vec![Tensor::from_f64s(dtype_of(attrs, inputs)?, &shape, &data)?.into()])
}

/// Attributes `low` = 0, `high` = 1, `shape` (or like the first input), `dtype`, `seed`.
pub(crate) fn uniform(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let (low, high) = (attrs.float_or("low", 0.0)?, attrs.float_or("high", 1.0)?);
    fill(attrs, inputs, |random, i| low + (high - low) * random.uniforms(i).0)
}

/// Attributes `mean` = 0, `scale` = 1, `shape` (or like the first input), `dtype`, `seed`. By the
/// method of Box and Muller.
pub(crate) fn normal(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let (mean, scale) = (attrs.float_or("mean", 0.0)?, attrs.float_or("scale", 1.0)?);
    fill(attrs, inputs, |random, i| {
        let (u, v) = random.uniforms(i);
        // 1 − u lies in (0, 1], where the logarithm is finite.
        mean + scale * (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    })
}

/// Input probabilities; attributes `dtype`, `seed`; output ones with these probabilities.
pub(crate) fn bernoulli(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let p = Inputs(inputs).tensor(0, "input")?;
    if !p.dtype().is_float() {
        return Err(wrong("input", "a tensor of probabilities", p));
    }
    let random = generator(attrs)?;
    let draw = |(i, p): (usize, f64)| i128::from(random.uniforms(i as u64).0 < p);
    let data: Vec<i128> = p.to_f64s().into_iter().enumerate().map(draw).collect();
    Ok(vec![Tensor::from_ints(dtype_of(attrs, inputs)?, p.shape(), &data)?.into()])
}

/// Input logarithms of weights `[batch, classes]`; attributes `sample_size` = 1, `dtype` = i32,
/// `seed`; output classes `[batch, sample_size]`.
pub(crate) fn multinomial(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "input")?;
    let (&[batch, classes], true) = (x.shape(), x.dtype().is_float()) else {
        return Err(wrong("input", "numbers of shape [batch, classes]", x));
    };
    let expected = "not negative";
    let samples = usize::try_from(attrs.int_or("sample_size", 1)?)
        .map_err(|_| RoutineError::Attr { name: "sample_size", expected })?;
    let random = generator(attrs)?;
    let mut out = room_for::<i128>(&[batch, samples])?;
    for (row, logits) in x.to_f64s().chunks_exact(classes.max(1)).enumerate() {
        let sums = cumulative_weights(logits);
        let total = sums.last().copied().unwrap_or(0.0);
        for sample in 0..samples {
            let point = total * random.uniforms((row * samples + sample) as u64).0;
            let class = sums.partition_point(|s| *s <= point);
            // No class has a weight (or it is NaN): the first one stands.
            out.push(if class < classes { class as i128 } else { 0 });
        }
    }
    if classes == 0 && batch * samples > 0 {
        return Err(wrong("input", "of at least one class", x));
    }
    let dtype = attrs.dtype("dtype")?.unwrap_or(DType::I32);
    Ok(vec![Tensor::from_ints(dtype, &[batch, samples], &out)?.into()])
}

fn cumulative_weights(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    let weight = |x: &f64| {
        let w = if *x == largest { 1.0 } else { (x - largest).exp() };
        sum += if w.is_nan() { 0.0 } else { w };
        sum
    };
    logits.iter().map(weight).collect()
}

/// Inputs `data` (only its shape matters) and `ratio` = 0.5; attribute `seed`; output what
/// `numpy.random.RandomState(seed).uniform(size=shape) >= ratio` is.
pub(crate) fn dropout_mask(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let ratio = Inputs(inputs).float(1, "ratio")?.unwrap_or(0.5);
    let shape = shape_of(attrs, inputs)?;
    // NumPy takes seeds of 32 bits.
    let seed = attrs.int("seed")?.map_or_else(|| fresh_seed() as u32, |s| s as u32);
    let mut random = Mt19937::new(seed);
    let mut keep = room_for::<bool>(&shape)?;
    let len = count_of(&shape)?;
    keep.extend((0..len).map(|_| random.uniform() >= ratio));
    Ok(vec![Tensor::from_bools(&shape, &keep)?.into()])
}
