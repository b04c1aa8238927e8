//! Floating-point instructions, lane by lane: exact results rounded once by the instruction's mode, with
//! subnormal numbers flushed and results clamped where it asks for that. The plain forms on f32 and f64
//! take the machine's arithmetic, which does the same.

use super::lanes::{lanes1, lanes2, lanes3};
use super::rounding::{BF16, Exact, F16, F32, Format, quotient, root, sum};
use crate::program::{Map1, Map2, Map3, Mode, Round};
use crate::types::Type;
use half::{bf16, f16};

/// A type of floating-point numbers of at most 32 bits.
pub(crate) trait Float {
    const FORMAT: Format;
    /// Two numbers stand in a register.
    const PACKED: bool;
    fn load(bits: u64) -> f64;
    fn store(value: f64) -> u64;
}

pub(crate) struct Single;
pub(crate) struct Half<const PACKED: bool>;
pub(crate) struct Brain<const PACKED: bool>;

impl Float for Single {
    const FORMAT: Format = F32;
    const PACKED: bool = false;
    fn load(bits: u64) -> f64 {
        f64::from(f32::from_bits(bits as u32))
    }
    fn store(value: f64) -> u64 {
        u64::from((value as f32).to_bits())
    }
}

impl<const PACKED: bool> Float for Half<PACKED> {
    const FORMAT: Format = F16;
    const PACKED: bool = PACKED;
    fn load(bits: u64) -> f64 {
        f16::from_bits(bits as u16).to_f64()
    }
    fn store(value: f64) -> u64 {
        u64::from(f16::from_f64(value).to_bits())
    }
}

impl<const PACKED: bool> Float for Brain<PACKED> {
    const FORMAT: Format = BF16;
    const PACKED: bool = PACKED;
    fn load(bits: u64) -> f64 {
        bf16::from_bits(bits as u16).to_f64()
    }
    fn store(value: f64) -> u64 {
        u64::from(bf16::from_f64(value).to_bits())
    }
}

/// Zero with the sign of a number that is subnormal in the format, other numbers as they are.
fn flush(format: Format, x: f64) -> f64 {
    let normal = f64::from_bits(((format.low + 1023) as u64) << 52);
    if x.abs() < normal { 0f64.copysign(x) } else { x }
}

/// An operand as the mode reads it.
pub(crate) fn input<F: Float>(m: &Mode, bits: u64) -> f64 {
    let x = F::load(bits);
    if m.ftz { flush(F::FORMAT, x) } else { x }
}

/// A result as the mode writes it.
pub(crate) fn output<F: Float>(m: &Mode, exact: Exact) -> u64 {
    let mut x = exact.round(F::FORMAT, m.round);
    if m.ftz {
        x = flush(F::FORMAT, x);
    }
    F::store(clamp(m, x))
}

/// `.sat` brings to [0, 1] and NaN to 0; `.relu` brings what is below to 0.
fn clamp(m: &Mode, x: f64) -> f64 {
    if m.sat {
        if x > 0.0 { x.min(1.0) } else { 0.0 }
    } else if m.relu && x <= 0.0 {
        0.0
    } else {
        x
    }
}

/// The number of `.min` and `.max`: NaN only where both are NaN or the mode asks, -0 below +0.
fn extreme(m: &Mode, a: f64, b: f64, lower: bool) -> Exact {
    let first = match (a.is_nan(), b.is_nan()) {
        (true, true) => true,
        (true, false) => m.nan,
        (false, true) => !m.nan,
        _ if a == b => a.is_sign_negative() == lower,
        _ => (a < b) == lower,
    };
    Exact::of(if first { a } else { b })
}

fn each<F: Float>(f: impl Fn(u32) -> u64) -> u64 {
    if F::PACKED { f(0) | f(16) << 32 >> 16 } else { f(0) }
}

fn half_of<F: Float>(x: u64, at: u32) -> u64 {
    if F::PACKED { x >> at & 0xffff } else { x }
}

/// A function on all lanes from one on exact numbers.
macro_rules! lift {
    ($F:ident, $Map:ident, |$m:ident $(, $x:ident)+| $body:expr) => {{
        fn map<$F: Float>($m: &Mode, d: &mut [u64; 32] $(, $x: &[u64; 32])+) {
            for i in 0..32 {
                d[i] = each::<$F>(|at| {
                    $(let $x = input::<$F>($m, half_of::<$F>($x[i], at));)+
                    output::<$F>($m, $body)
                });
            }
        }
        map::<$F> as $Map
    }};
}

/// The sign bit is the one thing that these touch: no rounding, no quieting of NaN.
fn signs<F: Float>(name: &str) -> Option<Map1> {
    fn with<F: Float>(m: &Mode, a: u64, change: impl Fn(u64, u64) -> u64) -> u64 {
        let sign = if F::FORMAT.precision == 24 { 1 << 31 } else { 1 << 15 };
        each::<F>(|at| {
            let x = half_of::<F>(a, at);
            let x = if m.ftz { F::store(flush(F::FORMAT, F::load(x))) } else { x };
            change(x, sign)
        })
    }
    fn abs<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = with::<F>(m, *a, |x, sign| x & !sign));
    }
    fn neg<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = with::<F>(m, *a, |x, sign| x ^ sign));
    }
    match name {
        "abs" => Some(abs::<F> as Map1),
        "neg" => Some(neg::<F> as Map1),
        _ => None,
    }
}

fn unary_of<F: Float>(name: &str) -> Option<Map1> {
    Some(match name {
        "rcp" => lift!(F, Map1, |m, a| quotient(1.0, a)),
        "sqrt" => lift!(F, Map1, |m, a| root(a)),
        "ex2" => lift!(F, Map1, |m, a| Exact::of(a.exp2())),
        "lg2" => lift!(F, Map1, |m, a| Exact::of(a.log2())),
        "rsqrt" => lift!(F, Map1, |m, a| Exact::of(1.0 / a.sqrt())),
        "sin" => lift!(F, Map1, |m, a| Exact::of(a.sin())),
        "cos" => lift!(F, Map1, |m, a| Exact::of(a.cos())),
        "tanh" => lift!(F, Map1, |m, a| Exact::of(a.tanh())),
        _ => return signs::<F>(name),
    })
}

fn binary_of<F: Float>(name: &str) -> Option<Map2> {
    Some(match name {
        "add" => lift!(F, Map2, |m, a, b| sum(a, b)),
        "sub" => lift!(F, Map2, |m, a, b| sum(a, -b)),
        "mul" => lift!(F, Map2, |m, a, b| Exact::of(a * b)),
        "div" => lift!(F, Map2, |m, a, b| quotient(a, b)),
        "min" => lift!(F, Map2, |m, a, b| extreme(m, a, b, true)),
        "max" => lift!(F, Map2, |m, a, b| extreme(m, a, b, false)),
        _ => return None,
    })
}

fn ternary_of<F: Float>(name: &str) -> Option<Map3> {
    (name == "fma").then(|| lift!(F, Map3, |m, a, b, c| sum(a * b, c)))
}

fn s(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

fn bits(x: f32) -> u64 {
    u64::from(x.to_bits())
}

fn d(x: u64) -> f64 {
    f64::from_bits(x)
}

/// Instructions of one operand; `plain` says that the mode changes nothing.
pub(crate) fn unary(name: &str, ty: Type, plain: bool) -> Option<Map1> {
    match (ty, name) {
        (Type::F32, "sqrt") if plain => Some(lanes1!(|_m, a| bits(s(a).sqrt()))),
        (Type::F64, "abs") => Some(lanes1!(|_m, a| a & !(1 << 63))),
        (Type::F64, "neg") => Some(lanes1!(|_m, a| a ^ 1 << 63)),
        (Type::F64, "rcp") if plain => Some(lanes1!(|_m, a| (1.0 / d(a)).to_bits())),
        (Type::F64, "sqrt") if plain => Some(lanes1!(|_m, a| d(a).sqrt().to_bits())),
        (Type::F32, _) => unary_of::<Single>(name),
        (Type::F16, _) => unary_of::<Half<false>>(name),
        (Type::F16x2, _) => unary_of::<Half<true>>(name),
        (Type::Bf16, _) => unary_of::<Brain<false>>(name),
        (Type::Bf16x2, _) => unary_of::<Brain<true>>(name),
        _ => None,
    }
}

/// Instructions of two operands.
pub(crate) fn binary(name: &str, ty: Type, plain: bool) -> Option<Map2> {
    match (ty, name) {
        (Type::F32, "add") if plain => Some(lanes2!(|_m, a, b| bits(s(a) + s(b)))),
        (Type::F32, "sub") if plain => Some(lanes2!(|_m, a, b| bits(s(a) - s(b)))),
        (Type::F32, "mul") if plain => Some(lanes2!(|_m, a, b| bits(s(a) * s(b)))),
        (Type::F32, "div") if plain => Some(lanes2!(|_m, a, b| bits(s(a) / s(b)))),
        (Type::F64, "add") if plain => Some(lanes2!(|_m, a, b| (d(a) + d(b)).to_bits())),
        (Type::F64, "sub") if plain => Some(lanes2!(|_m, a, b| (d(a) - d(b)).to_bits())),
        (Type::F64, "mul") if plain => Some(lanes2!(|_m, a, b| (d(a) * d(b)).to_bits())),
        (Type::F64, "div") if plain => Some(lanes2!(|_m, a, b| (d(a) / d(b)).to_bits())),
        (Type::F64, "min") => Some(lanes2!(|m, a, b| extreme(m, d(a), d(b), true).value.to_bits())),
        (Type::F64, "max") => Some(lanes2!(|m, a, b| extreme(m, d(a), d(b), false).value.to_bits())),
        (Type::F32, "copysign") => Some(lanes2!(|_m, a, b| b & 0x7fff_ffff | a & 0x8000_0000)),
        (Type::F64, "copysign") => Some(lanes2!(|_m, a, b| b & !(1 << 63) | a & 1 << 63)),
        (Type::F32, _) => binary_of::<Single>(name),
        (Type::F16, _) => binary_of::<Half<false>>(name),
        (Type::F16x2, _) => binary_of::<Half<true>>(name),
        (Type::Bf16, _) => binary_of::<Brain<false>>(name),
        (Type::Bf16x2, _) => binary_of::<Brain<true>>(name),
        _ => None,
    }
}

/// Instructions of three operands.
pub(crate) fn ternary(name: &str, ty: Type, plain: bool) -> Option<Map3> {
    match (ty, name) {
        (Type::F32, "fma") if plain => Some(lanes3!(|_m, a, b, c| bits(f32::mul_add(s(a), s(b), s(c))))),
        (Type::F64, "fma") if plain => Some(lanes3!(|_m, a, b, c| f64::mul_add(d(a), d(b), d(c)).to_bits())),
        (Type::F32, _) => ternary_of::<Single>(name),
        (Type::F16, _) => ternary_of::<Half<false>>(name),
        (Type::F16x2, _) => ternary_of::<Half<true>>(name),
        (Type::Bf16, _) => ternary_of::<Brain<false>>(name),
        (Type::Bf16x2, _) => ternary_of::<Brain<true>>(name),
        _ => None,
    }
}

/// The mode of an instruction that changes nothing.
pub(crate) const PLAIN: Mode = Mode {
    round: Round::Nearest,
    ftz: false,
    sat: false,
    relu: false,
    nan: false,
    bits: 32,
    signed: false,
    extra: 0,
};
