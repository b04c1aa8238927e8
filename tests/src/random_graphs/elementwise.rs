//! Elementwise operators, with broadcasting.

use super::bound::Bound;
use super::generator::{Gen, INTS, Val};
use nnc_ir::{Arity, Attr, Attrs, DType, OpError, ScalarOp, attrs};

/// One to three operators in a chain.
pub(super) fn chain(g: &mut Gen) -> Result<(), OpError> {
    for _ in 0..g.rng.range(1, 3) {
        match g.rng.below(11) {
            0 => select(g)?,
            1 => cast(g)?,
            2 if g.rng.chance(30) => bitcast(g)?,
            _ => scalar(g)?,
        }
    }
    Ok(())
}

fn scalar(g: &mut Gen) -> Result<(), OpError> {
    let op = g.rng.pick(ScalarOp::ALL);
    let on_floats = op.on_floats().is_some();
    let dtype = match (on_floats, op.on_ints().is_some()) {
        (true, true) => {
            let some = g.dtype();
            if some == DType::Bool && (matches!(op.arity(), Arity::Unary) || arithmetic(op)) {
                DType::I32
            } else {
                some
            }
        }
        (true, false) => g.float(),
        _ if matches!(op, ScalarOp::Shl | ScalarOp::Shr) => g.int(),
        _ if g.rng.chance(50) => DType::Bool,
        _ => g.int(),
    };
    let v = match op.arity() {
        Arity::Unary => unary(g, op, dtype)?,
        Arity::Binary => binary(g, op, dtype)?,
        Arity::Compare => {
            let a = g.exact(dtype, 0..=4)?;
            let b = g.partner(&a, true)?;
            g.one(op.name(), Attrs::new(), &[&a, &b], Bound::exact(1.0))?
        }
        Arity::Test => {
            let a = g.exact(dtype, 0..=4)?;
            let a = if g.rng.chance(60) { unbounded(g, &a)? } else { a };
            g.one(op.name(), Attrs::new(), &[&a], Bound::exact(1.0))?
        }
    };
    g.keep(v);
    Ok(())
}

fn arithmetic(op: ScalarOp) -> bool {
    use ScalarOp::*;
    matches!(op, Add | Sub | Mul | Div | Rem | Mod | Pow | Shl | Shr)
}

/// With infinities or NaN where an element is zero or negative.
fn unbounded(g: &mut Gen, a: &Val) -> Result<Val, OpError> {
    let bound = Bound { finite: false, ..a.bound };
    if g.rng.chance(50) {
        g.one("log", Attrs::new(), &[a], bound)
    } else {
        g.one("sqrt", Attrs::new(), &[a], bound)
    }
}

/// What a function asks of its operand, its largest slope there and its largest result.
enum Domain {
    /// Anything.
    Any(f64, f64),
    /// Magnitudes up to the first number.
    Within(f64, f64, f64),
    /// Numbers from the first number on.
    From(f64, f64, f64),
    /// Operands known to the last bit.
    Exact,
}

fn domain(op: ScalarOp, mag: f64) -> Domain {
    use Domain::*;
    match op {
        ScalarOp::Sqrt => From(0.25, 1.0, mag + 1.0),
        ScalarOp::Exp => Within(3.0, 20.1, 20.1),
        ScalarOp::Log => From(0.5, 2.0, 8.0),
        ScalarOp::Tan => Within(1.0, 3.5, 1.6),
        ScalarOp::Asin | ScalarOp::Acos => Within(0.5, 1.2, 3.2),
        ScalarOp::Atanh => Within(0.5, 1.4, 0.6),
        ScalarOp::Sinh | ScalarOp::Cosh => Within(3.0, 10.1, 10.1),
        ScalarOp::Acosh => From(1.5, 0.9, 8.0),
        ScalarOp::Sin | ScalarOp::Cos | ScalarOp::Tanh | ScalarOp::Erf | ScalarOp::Sigmoid => Any(1.13, 1.0),
        ScalarOp::Atan => Any(1.0, 1.6),
        ScalarOp::Asinh => Any(1.0, 8.0),
        ScalarOp::Softplus => Any(1.0, mag + 0.7),
        ScalarOp::Gelu | ScalarOp::GeluTanh | ScalarOp::Silu | ScalarOp::Mish => Any(1.2, mag),
        ScalarOp::Neg | ScalarOp::Abs => Any(1.0, mag),
        _ => Exact,
    }
}

/// A unary function of a float, where it is continuous.
pub(super) fn unary_of(g: &mut Gen, op: ScalarOp, x: &Val) -> Result<Val, OpError> {
    let (x, slope, mag) = match domain(op, x.bound.mag) {
        Domain::Any(slope, mag) => (x.clone(), slope, mag),
        Domain::Within(limit, slope, mag) => (g.calm(x, limit)?, slope, mag),
        Domain::From(low, slope, mag) => (g.positive(x, low, 1024.0)?, slope, mag),
        Domain::Exact => (x.clone(), 0.0, x.bound.mag + 1.0),
    };
    let bound = match op {
        ScalarOp::Neg | ScalarOp::Abs => x.bound,
        ScalarOp::Sign | ScalarOp::Ceil | ScalarOp::Floor | ScalarOp::Round | ScalarOp::Trunc => {
            Bound::exact(mag)
        }
        _ => x.bound.through(x.dtype, slope, mag),
    };
    g.one(op.name(), Attrs::new(), &[&x], bound)
}

fn unary(g: &mut Gen, op: ScalarOp, dtype: DType) -> Result<Val, OpError> {
    if !dtype.is_float() {
        let x = g.operand(dtype, 0..=4)?;
        return g.one(op.name(), Attrs::new(), &[&x], Bound::of_type(dtype));
    }
    let exact = matches!(domain(op, 1.0), Domain::Exact);
    let x = if exact { g.exact(dtype, 0..=4)? } else { g.operand(dtype, 0..=4)? };
    unary_of(g, op, &x)
}

fn binary(g: &mut Gen, op: ScalarOp, dtype: DType) -> Result<Val, OpError> {
    let exact = matches!(op, ScalarOp::Rem | ScalarOp::Mod);
    let a = if exact { g.exact(dtype, 0..=4)? } else { g.operand(dtype, 0..=4)? };
    if !dtype.is_float() {
        let b = g.partner(&a, false)?;
        return g.one(op.name(), Attrs::new(), &[&a, &b], Bound::of_type(dtype));
    }
    if exact {
        // Neither operand nor divisor with more bits than a quotient keeps apart from integers.
        let a = g.leaf(dtype, &a.shape)?;
        let b = g.leaf(dtype, &a.shape)?;
        let b = g.positive(&b, 0.5, 4.0)?;
        return g.one(op.name(), Attrs::new(), &[&a, &b], Bound::exact(4.0));
    }
    let b = g.partner(&a, false)?;
    binary_of(g, op, &a, &b)
}

/// A continuous binary function of floats of one shape.
pub(super) fn binary_of(g: &mut Gen, op: ScalarOp, a: &Val, b: &Val) -> Result<Val, OpError> {
    let dtype = a.dtype;
    let (mut a, mut b) = (a.clone(), b.clone());
    let bound = match op {
        ScalarOp::Add | ScalarOp::Sub => a.bound.plus(b.bound).rounded(dtype, 1),
        ScalarOp::Mul => a.bound.times(b.bound).rounded(dtype, 1),
        ScalarOp::Max | ScalarOp::Min => a.bound.or(b.bound),
        ScalarOp::Div => {
            b = g.positive(&b, 0.5, 64.0)?;
            let inverse = Bound { mag: 2.0, err: 4.0 * b.bound.err, finite: true };
            a.bound.times(inverse).rounded(dtype, 1)
        }
        ScalarOp::Pow => {
            (a, b) = (g.positive(&a, 0.5, 2.0)?, g.calm(&b, 2.0)?);
            Bound { mag: 6.5, err: 16.0 * a.bound.err + 6.5 * b.bound.err, finite: true }.rounded(dtype, 1)
        }
        ScalarOp::Atan2 => {
            b = g.positive(&b, 0.5, 64.0)?;
            Bound { mag: 1.6, err: 2.0 * (a.bound.err + b.bound.err), finite: true }.rounded(dtype, 1)
        }
        other => unreachable!("{} is not a continuous function of two floats", other.name()),
    };
    g.one(op.name(), Attrs::new(), &[&a, &b], bound)
}

/// A boolean of this shape.
pub(super) fn condition(g: &mut Gen, like: &Val) -> Result<Val, OpError> {
    let found: Vec<Val> =
        g.pool.iter().filter(|v| v.dtype == DType::Bool && v.shape == like.shape).cloned().collect();
    if !found.is_empty() && g.rng.chance(60) {
        return Ok(g.rng.pick(&found));
    }
    if like.bound.is_exact() && g.rng.chance(40) && like.dtype != DType::Bool {
        let other = g.partner(like, true)?;
        return g.one("lt", Attrs::new(), &[like, &other], Bound::exact(1.0));
    }
    g.leaf(DType::Bool, &like.shape)
}

fn select(g: &mut Gen) -> Result<(), OpError> {
    let dtype = g.dtype();
    let a = g.operand(dtype, 0..=4)?;
    let b = g.partner(&a, false)?;
    let c = condition(g, &a)?;
    let v = g.one("select", Attrs::new(), &[&c, &a, &b], a.bound.or(b.bound))?;
    g.keep(v);
    Ok(())
}

fn cast(g: &mut Gen) -> Result<(), OpError> {
    let (from, to) = (g.dtype(), g.dtype());
    let x = if to.is_float() { g.operand(from, 0..=4)? } else { g.exact(from, 0..=4)? };
    let v = match (from.is_float(), to.is_float()) {
        (true, true) => g.cast(&x, to, x.bound.rounded(to, 1))?,
        // Out of range is undefined.
        (true, false) => {
            let x = g.calm(&x, 100.0)?;
            if !x.bound.is_exact() {
                return Ok(());
            }
            let unsigned = to.int_range().is_some_and(|(low, _)| low == 0) && to != DType::Bool;
            let x = if unsigned { g.one("abs", Attrs::new(), &[&x], x.bound)? } else { x };
            g.cast(&x, to, Bound::of_type(to))?
        }
        (false, true) => {
            if x.bound.mag > 60000.0 && to == DType::F16 {
                return Ok(());
            }
            g.cast(&x, to, x.bound.rounded(to, 1))?
        }
        (false, false) => g.cast(&x, to, Bound::of_type(to))?,
    };
    g.keep(v);
    Ok(())
}

fn bitcast(g: &mut Gen) -> Result<(), OpError> {
    let from = if g.rng.chance(50) { g.float() } else { g.rng.pick(INTS) };
    let to: Vec<DType> = INTS.iter().copied().filter(|d| d.bits() == from.bits() && *d != from).collect();
    let to = g.rng.pick(&to);
    let x = g.exact(from, 0..=4)?;
    let v = g.one("bitcast", attrs! { to: Attr::DType(to) }, &[&x], Bound::of_type(to))?;
    g.keep(v);
    Ok(())
}
