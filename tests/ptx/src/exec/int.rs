//! Integer and bit instructions, lane by lane. Operands come zero-extended; a result is cut to its width.

use super::lanes::{lanes1, lanes2, lanes3};
use crate::program::{Map1, Map2, Map3, Map4, Mode};

/// A value as its type reads it: with its sign extended if it has one.
#[inline(always)]
fn wide(m: &Mode, x: u64) -> i128 {
    if m.signed { i128::from(sign_extend(m.bits, x)) } else { i128::from(x) }
}

#[inline(always)]
pub(crate) fn sign_extend(bits: u32, x: u64) -> i64 {
    ((x << (64 - bits)) as i64) >> (64 - bits)
}

#[inline(always)]
pub(crate) fn cut(bits: u32, x: u64) -> u64 {
    if bits == 64 { x } else { x & ((1 << bits) - 1) }
}

/// Brings a value into the range of a type of so many bits.
pub(crate) fn saturate(bits: u32, signed: bool, x: i128) -> u64 {
    let (low, high) =
        if signed { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
    cut(bits, x.clamp(low, high) as u64)
}

fn less(m: &Mode, a: u64, b: u64) -> bool {
    if m.signed { sign_extend(m.bits, a) < sign_extend(m.bits, b) } else { a < b }
}

/// Instructions of one operand.
pub(crate) fn unary(name: &str) -> Option<Map1> {
    Some(match name {
        "abs" => lanes1!(|m, a| cut(m.bits, sign_extend(m.bits, a).wrapping_abs() as u64)),
        "neg" => lanes1!(|m, a| cut(m.bits, a.wrapping_neg())),
        "not" => lanes1!(|m, a| cut(m.bits, !a)),
        "cnot" => lanes1!(|_m, a| u64::from(a == 0)),
        "popc" => lanes1!(|_m, a| u64::from(a.count_ones())),
        "clz" => lanes1!(|m, a| u64::from(a.leading_zeros() - (64 - m.bits))),
        "brev" => lanes1!(|m, a| a.reverse_bits() >> (64 - m.bits)),
        "bfind" => lanes1!(|m, a| bfind(m, a)),
        _ => return None,
    })
}

/// The place of the highest bit that differs from the sign, or all ones; `extra` asks for the shift that
/// brings it to the top instead.
fn bfind(m: &Mode, a: u64) -> u64 {
    let negative = m.signed && sign_extend(m.bits, a) < 0;
    let a = if negative { cut(m.bits, !a) } else { a };
    match a.checked_ilog2() {
        None => u64::from(u32::MAX),
        Some(bit) if m.extra != 0 => u64::from(m.bits - 1 - bit),
        Some(bit) => u64::from(bit),
    }
}

/// Instructions of two operands; division is apart because of zero.
pub(crate) fn binary(name: &str) -> Option<Map2> {
    Some(match name {
        "add" => lanes2!(|m, a, b| cut(m.bits, a.wrapping_add(b))),
        "sub" => lanes2!(|m, a, b| cut(m.bits, a.wrapping_sub(b))),
        "add.sat" => lanes2!(|m, a, b| saturate(m.bits, true, wide(m, a) + wide(m, b))),
        "sub.sat" => lanes2!(|m, a, b| saturate(m.bits, true, wide(m, a) - wide(m, b))),
        "mul.lo" => lanes2!(|m, a, b| cut(m.bits, a.wrapping_mul(b))),
        "mul.hi" => lanes2!(|m, a, b| cut(m.bits, (wide(m, a).wrapping_mul(wide(m, b)) >> m.bits) as u64)),
        "mul.wide" => lanes2!(|m, a, b| cut(2 * m.bits, wide(m, a).wrapping_mul(wide(m, b)) as u64)),
        "mul24.lo" => lanes2!(|m, a, b| cut(32, low24(m, a).wrapping_mul(low24(m, b)) as u64)),
        "min" => lanes2!(|m, a, b| if less(m, b, a) { b } else { a }),
        "max" => lanes2!(|m, a, b| if less(m, a, b) { b } else { a }),
        "and" => lanes2!(|_m, a, b| a & b),
        "or" => lanes2!(|_m, a, b| a | b),
        "xor" => lanes2!(|_m, a, b| a ^ b),
        "shl" => lanes2!(|m, a, b| if b >= u64::from(m.bits) { 0 } else { cut(m.bits, a << b) }),
        "shr" => lanes2!(|m, a, b| shift_right(m, a, b)),
        "bmsk.clamp" => lanes2!(|_m, a, b| mask(a, b)),
        _ => return None,
    })
}

/// `div` and `rem`; a lane whose divisor is zero gets zero, and is reported by the caller if it counts.
pub(crate) fn division(name: &str) -> Option<Map2> {
    Some(match name {
        "div" => lanes2!(|m, a, b| if b == 0 { 0 } else { cut(m.bits, (wide(m, a) / wide(m, b)) as u64) }),
        "rem" => lanes2!(|m, a, b| if b == 0 { 0 } else { cut(m.bits, (wide(m, a) % wide(m, b)) as u64) }),
        _ => return None,
    })
}

fn low24(m: &Mode, x: u64) -> i64 {
    if m.signed { sign_extend(24, x) } else { cut(24, x) as i64 }
}

/// Shifts by more than the width give zero or the sign.
#[inline(always)]
fn shift_right(m: &Mode, a: u64, b: u64) -> u64 {
    if m.signed {
        cut(m.bits, (sign_extend(m.bits, a) >> b.min(63)) as u64)
    } else if b >= u64::from(m.bits) {
        0
    } else {
        a >> b
    }
}

fn mask(from: u64, len: u64) -> u64 {
    let (from, len) = (from.min(32), len.min(32));
    cut(32, ((1 << len) - 1) << from)
}

/// Instructions of three operands.
pub(crate) fn ternary(name: &str) -> Option<Map3> {
    Some(match name {
        "mad.lo" => lanes3!(|m, a, b, c| cut(m.bits, a.wrapping_mul(b).wrapping_add(c))),
        "mad.hi" => lanes3!(|m, a, b, c| {
            let high = (wide(m, a).wrapping_mul(wide(m, b)) >> m.bits) as u64;
            cut(m.bits, high.wrapping_add(c))
        }),
        "mad.hi.sat" => lanes3!(|m, a, b, c| {
            saturate(m.bits, true, (wide(m, a).wrapping_mul(wide(m, b)) >> m.bits) + wide(m, c))
        }),
        "mad.wide" => lanes3!(|m, a, b, c| {
            let product = wide(m, a).wrapping_mul(wide(m, b)) as u64;
            cut(2 * m.bits, product.wrapping_add(c))
        }),
        "mad24.lo" => {
            lanes3!(|m, a, b, c| cut(32, (low24(m, a).wrapping_mul(low24(m, b)) as u64).wrapping_add(c)))
        }
        "sad" => lanes3!(|m, a, b, c| {
            let difference = (wide(m, a) - wide(m, b)).unsigned_abs() as u64;
            cut(m.bits, c.wrapping_add(difference))
        }),
        "bfe" => lanes3!(|m, a, b, c| bfe(m, a, b & 0xff, c & 0xff)),
        "lop3" => lanes3!(|m, a, b, c| lop3(m.extra, a, b, c)),
        "prmt" => lanes3!(|m, a, b, c| prmt(m.extra, a, b, c)),
        "shf.l.clamp" => lanes3!(|_m, a, b, c| ((b << 32 | a) << c.min(32)) >> 32),
        "shf.l.wrap" => lanes3!(|_m, a, b, c| ((b << 32 | a) << (c & 31)) >> 32),
        "shf.r.clamp" => lanes3!(|_m, a, b, c| cut(32, (b << 32 | a) >> c.min(32))),
        "shf.r.wrap" => lanes3!(|_m, a, b, c| cut(32, (b << 32 | a) >> (c & 31))),
        "dp4a" => lanes3!(|m, a, b, c| dp4a(m, a, b, c)),
        _ => return None,
    })
}

/// Bit field extract: beyond the top, bits are zero or the field's sign.
fn bfe(m: &Mode, a: u64, at: u64, len: u64) -> u64 {
    if len == 0 {
        return 0;
    }
    let top = u64::from(m.bits) - 1;
    let sign = m.signed && a >> (at + len - 1).min(top) & 1 == 1;
    let field = if at > top { 0 } else { a >> at };
    let held = len.min((top + 1).saturating_sub(at));
    let field = if held >= 64 { field } else { field & ((1 << held) - 1) };
    let fill = if held >= 64 { 0 } else { u64::MAX << held };
    cut(m.bits, if sign { field | fill } else { field })
}

fn lop3(table: u32, a: u64, b: u64, c: u64) -> u64 {
    let mut d = 0;
    for row in (0..8).filter(|row| table >> row & 1 == 1) {
        let pick = |x: u64, bit: u32| if row >> bit & 1 == 1 { x } else { !x };
        d |= pick(a, 2) & pick(b, 1) & pick(c, 0);
    }
    cut(32, d)
}

/// Bytes of `b:a` by number; `kind` 0 is the general form, the others are the named modes.
fn prmt(kind: u32, a: u64, b: u64, c: u64) -> u64 {
    let bytes = (b << 32 | a).to_le_bytes();
    let n = (c & 3) as usize;
    let by = |pick: [usize; 4]| u64::from(u32::from_le_bytes(pick.map(|i| bytes[i & 7])));
    match kind {
        0 => {
            let mut out = [0; 4];
            for (i, out) in out.iter_mut().enumerate() {
                let selector = (c >> (4 * i)) as usize & 15;
                let byte = bytes[selector & 7];
                *out = if selector & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 };
            }
            u64::from(u32::from_le_bytes(out))
        }
        1 => by([n, n + 1, n + 2, n + 3]),
        2 => by([n, n + 7, n + 6, n + 5]),
        3 => by([n; 4]),
        4 => by([n, n.max(1), n.max(2), 3]),
        5 => by([0, n.min(1), n.min(2), n]),
        _ => by([2 * (n & 1), 2 * (n & 1) + 1, 2 * (n & 1), 2 * (n & 1) + 1]),
    }
}

/// Four products of bytes; `signed` is the type of `a`, bit 0 of `extra` that of `b`.
fn dp4a(m: &Mode, a: u64, b: u64, c: u64) -> u64 {
    let byte = |x: u64, i: u32, signed: bool| {
        let byte = (x >> (8 * i)) as u8;
        if signed { i64::from(byte as i8) } else { i64::from(byte) }
    };
    let sum: i64 = (0..4).map(|i| byte(a, i, m.signed) * byte(b, i, m.extra & 1 == 1)).sum();
    cut(32, c.wrapping_add(sum as u64))
}

/// Instructions of four operands.
pub(crate) fn quaternary(name: &str) -> Option<Map4> {
    fn bfi(m: &Mode, d: &mut [u64; 32], a: &[u64; 32], b: &[u64; 32], c: &[u64; 32], e: &[u64; 32]) {
        for i in 0..32 {
            let (at, len, width) = (c[i] & 0xff, e[i] & 0xff, u64::from(m.bits));
            let len = len.min(width.saturating_sub(at));
            let ones = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
            let field = if at >= width { 0 } else { ones << at };
            let moved = if at >= width { 0 } else { a[i] << at };
            d[i] = cut(m.bits, b[i] & !field | moved & field);
        }
    }
    (name == "bfi").then_some(bfi as Map4)
}
