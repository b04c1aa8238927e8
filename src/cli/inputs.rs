//! Inputs made up: random numbers and zeros of the model's types.

use super::failure::Failure;
use nnc_runtime::{DType, Dim, Port, Tensor, Value};
use nnc_tensor::{Kind, Sym};
use std::collections::BTreeMap;

/// Sizes of free dimensions by name.
pub(crate) type Sizes = BTreeMap<String, i64>;

/// The size that a name stands for: 1 where `sizes` does not say.
pub(crate) fn size_of(sizes: &Sizes, name: &Sym) -> i64 {
    sizes.get(name.to_string().trim_matches('"')).copied().unwrap_or(1)
}

/// One value for each input; free sizes that `sizes` does not name are 1.
pub(crate) fn random_inputs(ports: &[Port], sizes: &Sizes, seed: u64) -> Result<Vec<Value>, Failure> {
    let value = |(i, port): (usize, &Port)| random_input(port, sizes, seed + i as u64);
    ports.iter().enumerate().map(value).collect()
}

/// A value for one input.
pub(crate) fn random_input(port: &Port, sizes: &Sizes, seed: u64) -> Result<Value, Failure> {
    match &port.container {
        None => Ok(Value::Tensor(random(port.dtype, &shape_of(port, sizes)?, seed)?)),
        Some(container) => Err(Failure::user(format!(
            "input \"{}\" is {container}, which cannot be made up; give it as a .pb file",
            port.name
        ))),
    }
}

/// An input's shape with free sizes filled in.
pub(crate) fn shape_of(port: &Port, sizes: &Sizes) -> Result<Vec<usize>, Failure> {
    let size = |d: &Dim| {
        let value = d.eval(&|s| Some(size_of(sizes, s)));
        value.ok().and_then(|v| usize::try_from(v).ok())
    };
    let wrong = || Failure::user(format!("input \"{}\" has no shape for these sizes", port.name));
    port.shape.iter().map(|d| size(d).ok_or_else(wrong)).collect()
}

/// Random elements: floats from −1 to 1, integers from 0 to 9 (indices and token numbers are small).
pub(crate) fn random(dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor, Failure> {
    let n: usize = shape.iter().product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut next = || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let count = if dtype.kind() == Kind::Complex { 2 * n } else { n };
    let made = match dtype.kind() {
        Kind::Float | Kind::Complex => {
            let unit = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
            let x: Vec<f64> = (0..count).map(|_| 2.0 * unit(next()) - 1.0).collect();
            Tensor::from_f64s(dtype, shape, &x)
        }
        Kind::Bool => {
            Tensor::from_ints(dtype, shape, &(0..n).map(|_| i128::from(next() >> 63)).collect::<Vec<_>>())
        }
        Kind::Int | Kind::Uint => {
            let top = dtype.int_range().map_or(9, |(_, top)| top.min(9)).unsigned_abs() as u64;
            Tensor::from_ints(
                dtype,
                shape,
                &(0..n).map(|_| i128::from(next() % (top + 1))).collect::<Vec<_>>(),
            )
        }
        Kind::Str => {
            Tensor::from_strings(shape, (0..n).map(|_| format!("s{}", next() % 10).into_bytes()).collect())
        }
    };
    made.map_err(|e| Failure::user(e.to_string()))
}

/// All elements zero or empty.
pub(crate) fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, Failure> {
    Tensor::zeros(dtype, shape).map_err(|e| Failure::user(e.to_string()))
}
