//! Contractions, and the epilogues that kernels take in.

use super::bound::{Bound, rounding};
use super::elementwise::{binary_of, unary_of};
use super::generator::{Gen, Val};
use super::movement;
use nnc_ir::{Attr, DType, Dim, OpError, ScalarOp, attrs};

/// What an axis of an operand is in a contraction.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Batch,
    Own,
    Summed,
    /// Summed, but in one operand only.
    Alone,
}

/// A contraction of a value, often under another view, with a weight or an input, and an epilogue.
pub(super) fn contract(g: &mut Gen) -> Result<(), OpError> {
    let dtype = match g.rng.below(10) {
        0 => g.int(),
        1 => g.rng.pick(&[DType::I8, DType::U8]),
        _ => g.float(),
    };
    let mut a = g.operand(dtype, 1..=4)?;
    if dtype.is_float() {
        a = g.calm(&a, 4.0)?;
    }
    if g.rng.chance(30) {
        a = if g.rng.chance(50) { movement::reshape(g, &a)? } else { movement::transpose(g, &a)? };
        g.count("view into contract");
    }
    let y = contract_with(g, &a)?;
    let y = if dtype.is_float() && y.bound.is_tame() { epilogue(g, y, "contract", None)? } else { y };
    g.keep(y);
    Ok(())
}

fn contract_with(g: &mut Gen, a: &Val) -> Result<Val, OpError> {
    let roles: Vec<Role> = (0..a.rank())
        .map(|i| match g.rng.below(20) {
            0 => Role::Alone,
            _ if i + 1 == a.rank() && g.rng.chance(70) => Role::Summed,
            1..5 => Role::Batch,
            5..9 => Role::Summed,
            _ => Role::Own,
        })
        .collect();
    let letters: Vec<char> = "abcdef".chars().take(a.rank()).collect();
    let mut rhs: Vec<(char, Dim)> = Vec::new();
    let mut out: Vec<char> = Vec::new();
    for ((role, letter), d) in roles.iter().zip(&letters).zip(&a.shape) {
        if matches!(role, Role::Batch | Role::Summed) {
            rhs.push((*letter, d.clone()));
        }
        if matches!(role, Role::Batch | Role::Own) {
            out.push(*letter);
        }
    }
    let n_cols = if g.rng.chance(80) { 1 } else { g.rng.below(3) };
    for letter in ['x', 'y'].into_iter().take(n_cols) {
        rhs.push((letter, g.shape(1).remove(0)));
        out.push(letter);
    }
    let keep_order = g.rng.chance(50);
    if !keep_order {
        let order = g.rng.permutation(rhs.len());
        rhs = order.iter().map(|i| rhs[*i].clone()).collect();
        let order = g.rng.permutation(out.len());
        out = order.iter().map(|i| out[*i]).collect();
    }
    let shape: Vec<Dim> = rhs.iter().map(|(_, d)| d.clone()).collect();
    let bytes = [DType::I8, DType::U8];
    let mixed = bytes.contains(&a.dtype) && g.rng.chance(60);
    let rhs_type = if mixed { g.rng.pick(&bytes) } else { a.dtype };
    let b = weight(g, rhs_type, &shape)?;
    let to = match a.dtype {
        _ if mixed => DType::I32,
        DType::F16 | DType::BF16 if g.rng.chance(30) => DType::F32,
        DType::I32 if g.rng.chance(30) => DType::I64,
        dtype => dtype,
    };
    let alone = |r: Role| (0..a.rank()).filter(|i| roles[*i] == r).map(|i| a.size[i]).product::<usize>();
    let k = alone(Role::Summed) * alone(Role::Alone);
    let bound = if to.is_float() {
        let sum = a.bound.times(b.bound).scaled(k as f64);
        Bound { err: sum.err + rounding(widened(a.dtype), k) * sum.mag, ..sum }.rounded(to, 1)
    } else {
        Bound::of_type(to)
    };
    let attrs = attrs! {
        lhs: Attr::Str(letters.into_iter().collect()), rhs: Attr::Str(rhs.iter().map(|(l, _)| *l).collect()),
        out: Attr::Str(out.into_iter().collect()), to: Attr::DType(to)
    };
    g.one("contract", attrs, &[a, &b], bound)
}

/// The type that sums are kept in.
pub(super) fn widened(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A weight: mostly constant, sometimes a value made before.
fn weight(g: &mut Gen, dtype: DType, shape: &[Dim]) -> Result<Val, OpError> {
    let found: Vec<Val> = g
        .pool
        .iter()
        .filter(|v| v.dtype == dtype && v.shape == shape && (!dtype.is_float() || v.bound.mag <= 8.0))
        .cloned()
        .collect();
    if !found.is_empty() && g.rng.chance(30) {
        return Ok(g.rng.pick(&found));
    }
    let v = g.leaf_or_constant(dtype, shape, 70)?;
    if dtype == DType::F32 && g.rng.chance(10) {
        return unary_of(g, ScalarOp::Tanh, &v);
    }
    Ok(v)
}

/// A chain of what kernels fuse after their sums. `channel` is the axis of the bias (the last by
/// default).
pub(super) fn epilogue(g: &mut Gen, y: Val, what: &str, channel: Option<usize>) -> Result<Val, OpError> {
    let conv = what == "conv";
    let mut y = y;
    for _ in 0..g.rng.range(0, 3) {
        if !y.bound.is_tame() {
            return Ok(y);
        }
        y = match g.rng.below(5) {
            0 => {
                g.count(if conv { "conv + bias" } else { "contract + bias" });
                bias(g, &y, channel)?
            }
            1 => {
                g.count(if conv { "conv + residual" } else { "contract + residual" });
                let other = residual(g, &y)?;
                binary_of(g, ScalarOp::Add, &y, &other)?
            }
            2 => {
                g.count(if conv { "conv + clamp" } else { "contract + clamp" });
                clamp(g, &y)?
            }
            3 => {
                g.count(if conv { "conv + activation" } else { "contract + activation" });
                let op = g.rng.pick(&[
                    ScalarOp::Sigmoid,
                    ScalarOp::Tanh,
                    ScalarOp::Gelu,
                    ScalarOp::Silu,
                    ScalarOp::Erf,
                    ScalarOp::Mish,
                ]);
                unary_of(g, op, &y)?
            }
            _ => {
                let by = g.rng.pick(&[0.125, 0.3, -0.75]);
                g.with_number(ScalarOp::Mul, &y, by, y.bound.scaled(f64::abs(by)).rounded(y.dtype, 1))?
            }
        };
    }
    Ok(y)
}

fn bias(g: &mut Gen, y: &Val, channel: Option<usize>) -> Result<Val, OpError> {
    if y.rank() == 0 {
        return Ok(y.clone());
    }
    let axis = channel.unwrap_or(y.rank() - 1);
    let mut shape = vec![Dim::ONE; y.rank()];
    shape[axis] = y.shape[axis].clone();
    let b = g.leaf_or_constant(y.dtype, &shape, 80)?;
    let b = g.broadcast(&b, &y.shape)?;
    binary_of(g, ScalarOp::Add, y, &b)
}

fn residual(g: &mut Gen, y: &Val) -> Result<Val, OpError> {
    let same = |v: &&Val| v.dtype == y.dtype && v.shape == y.shape;
    let found: Vec<Val> = g.pool.iter().filter(same).cloned().collect();
    if found.is_empty() || g.rng.chance(30) { g.input(y.dtype, &y.shape) } else { Ok(g.rng.pick(&found)) }
}

fn clamp(g: &mut Gen, y: &Val) -> Result<Val, OpError> {
    let low = g.rng.pick(&[0.0, 0.0, -1.0, -0.5]);
    let bound = y.bound.or(Bound::exact(1.0));
    let z = g.with_number(ScalarOp::Max, y, low, bound)?;
    if g.rng.chance(50) {
        return Ok(z);
    }
    g.with_number(ScalarOp::Min, &z, 6.0, Bound { mag: 6.0, ..bound })
}
