//! `cvt`: between integers, between floating-point formats, and across.

use super::float::{Brain, Float, Half, PLAIN, Single, input, output};
use super::int::{cut, saturate, sign_extend};
use super::lanes::lanes1;
use super::rounding::{Exact, F32, TF32, to_integer};
use crate::program::{Map1, Map2, Mode};
use crate::types::Type;

/// What `cvt` does to a lane: `mode.bits` and `mode.signed` are of the source, the low byte of `extra` is
/// the width of an integer destination, bit 8 its sign, bits 16 and up the register's width.
pub(crate) fn extra(to: Type, register_bits: u32) -> u32 {
    to.bits() | u32::from(to.is_signed()) << 8 | register_bits << 16
}

fn to_bits(m: &Mode) -> (u32, bool, u32) {
    (m.extra & 0xff, m.extra >> 8 & 1 == 1, m.extra >> 16)
}

/// An integer of the destination's type in a register that may be wider.
fn widen(m: &Mode, x: u64) -> u64 {
    let (bits, signed, register) = to_bits(m);
    let x = cut(bits, x);
    if signed { cut(register, sign_extend(bits, x) as u64) } else { x }
}

fn integer(m: &Mode, a: u64) -> u64 {
    let a = cut(m.bits, a);
    let value = if m.signed { i128::from(sign_extend(m.bits, a)) } else { i128::from(a) };
    let (bits, signed, _) = to_bits(m);
    widen(m, if m.sat { saturate(bits, signed, value) } else { value as u64 })
}

fn float_to_integer(m: &Mode, x: f64) -> u64 {
    let (bits, signed, _) = to_bits(m);
    if x.is_nan() {
        // The manual: zero, unless a side is 64 bits wide; then the highest bit alone.
        let zero = m.bits != 64 && bits != 64;
        return widen(m, if zero { 0 } else { 1 << (bits - 1) });
    }
    // A cast from a double to i128 saturates, and so loses nothing that the range keeps.
    widen(m, saturate(bits, signed, to_integer(x, m.round) as i128))
}

/// An integer exactly: a double and the rest.
fn exact(m: &Mode, a: u64) -> Exact {
    let a = cut(m.bits, a);
    let value = if m.signed { i128::from(sign_extend(m.bits, a)) } else { i128::from(a) };
    let near = value as f64;
    Exact { value: near, rest: (value - near as i128) as f64 }
}

fn integer_to<F: Float>() -> Map1 {
    fn map<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = output::<F>(m, exact(m, *a)));
    }
    map::<F> as Map1
}

fn integer_from<F: Float>() -> Map1 {
    fn map<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = float_to_integer(m, input::<F>(m, *a)));
    }
    map::<F> as Map1
}

/// The mode for one side: `cvt.ftz` flushes f32 alone.
fn flushing<F: Float>(m: &Mode) -> Mode {
    Mode { ftz: m.ftz && F::FORMAT.precision == F32.precision, ..*m }
}

/// Between formats; bit 9 of `extra` rounds to an integer instead.
fn between<F: Float, G: Float>() -> Map1 {
    fn map<F: Float, G: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        let (read, write) = (flushing::<F>(m), flushing::<G>(m));
        for (d, a) in d.iter_mut().zip(a) {
            let x = input::<F>(&read, *a);
            let whole = m.extra & WHOLE != 0;
            *d = output::<G>(&write, Exact::of(if whole { to_integer(x, m.round) } else { x }));
        }
    }
    map::<F, G> as Map1
}

/// Asks `between` for an integer.
pub(crate) const WHOLE: u32 = 1 << 9;

fn from_double<F: Float>() -> Map1 {
    fn map<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = output::<F>(m, Exact::of(f64::from_bits(*a))));
    }
    map::<F> as Map1
}

fn to_double<F: Float>() -> Map1 {
    fn map<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32]) {
        d.iter_mut().zip(a).for_each(|(d, a)| *d = input::<F>(m, *a).to_bits());
    }
    map::<F> as Map1
}

macro_rules! by_source {
    ($from:expr, $f:ident $(, $more:ty)?) => {
        match $from {
            Type::F32 => Some($f::<Single $(, $more)?>()),
            Type::F16 => Some($f::<Half<false> $(, $more)?>()),
            Type::Bf16 => Some($f::<Brain<false> $(, $more)?>()),
            _ => None,
        }
    };
}

/// The conversion of one value.
pub(crate) fn single(to: Type, from: Type) -> Option<Map1> {
    match (to, from) {
        _ if !to.is_float() && !from.is_float() => Some(lanes1!(|m, a| integer(m, a))),
        (_, Type::F64) if !to.is_float() => Some(lanes1!(|m, a| float_to_integer(m, f64::from_bits(a)))),
        _ if !to.is_float() => by_source!(from, integer_from),
        (Type::F64, _) if !from.is_float() => Some(lanes1!(|m, a| exact(m, a).value.to_bits())),
        _ if !from.is_float() => by_source!(to, integer_to),
        (Type::F64, Type::F64) => Some(lanes1!(|m, a| {
            let x = f64::from_bits(a);
            if m.extra & WHOLE != 0 { to_integer(x, m.round).to_bits() } else { a }
        })),
        (Type::F64, _) => by_source!(from, to_double),
        (_, Type::F64) => by_source!(to, from_double),
        (Type::Tf32, Type::F32) => Some(lanes1!(|m, a| tf32(m, a))),
        (Type::F32, _) => by_source!(from, between, Single),
        (Type::F16, _) => by_source!(from, between, Half<false>),
        (Type::Bf16, _) => by_source!(from, between, Brain<false>),
        _ => None,
    }
}

fn tf32(m: &Mode, a: u64) -> u64 {
    let x = Exact::of(Single::load(a)).round(TF32, m.round);
    Single::store(if m.relu && x <= 0.0 { 0.0 } else { x })
}

/// Two f32 to the halves of a register, the first to the upper one.
pub(crate) fn pair(to: Type) -> Option<Map2> {
    fn map<F: Float>(m: &Mode, d: &mut [u64; 32], a: &[u64; 32], b: &[u64; 32]) {
        let write = flushing::<F>(m);
        for i in 0..32 {
            let half = |x| output::<F>(&write, Exact::of(input::<Single>(m, x)));
            d[i] = half(a[i]) << 16 | half(b[i]);
        }
    }
    match to {
        Type::F16x2 => Some(map::<Half<false>> as Map2),
        Type::Bf16x2 => Some(map::<Brain<false>> as Map2),
        _ => None,
    }
}

/// A double as the nearest f32's bits.
pub(crate) fn nearest_single(x: f64) -> u64 {
    output::<Single>(&PLAIN, Exact::of(x))
}
