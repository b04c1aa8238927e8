//! `mma.sync`: fragments to matrices, the product, and back, in the layouts of the manual.
//!
//! A register holds a group of neighbors along k. Lane `4 g + t` holds, of matrix a, rows `g` and `g + 8`
//! in turn and of each chunk of four groups the `t`-th; of matrix b, column `g` likewise; of c and d, rows
//! `g` and `g + 8` and columns `2 t` and `2 t + 1`.

use super::float::{Half, PLAIN, output};
use super::int::saturate;
use super::launch::Cx;
use super::rounding::Exact;
use super::warp::Warp;
use crate::check::fault::Trap;
use crate::program::{Element, Lanes, MatrixOp};
use half::{bf16, f16};

/// The value of an element; integers are exact in a double.
pub(crate) fn decode(e: Element, bits: u64) -> f64 {
    match e {
        Element::F16 => f16::from_bits(bits as u16).to_f64(),
        Element::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        // The lowest 13 bits take no part.
        Element::Tf32 => f64::from(f32::from_bits(bits as u32 & !0x1fff)),
        Element::F32 => f64::from(f32::from_bits(bits as u32)),
        Element::F64 => f64::from_bits(bits),
        Element::S8 => f64::from(bits as u8 as i8),
        Element::U8 => f64::from(bits as u8),
        Element::S32 => f64::from(bits as u32 as i32),
    }
}

/// An accumulator's bits; integers wrap unless they are to saturate.
pub(crate) fn encode(e: Element, value: f64, saturates: bool) -> u64 {
    match e {
        Element::F16 => output::<Half<false>>(&PLAIN, Exact::of(value)),
        Element::F64 => value.to_bits(),
        Element::S32 if saturates => saturate(32, true, value as i128),
        Element::S32 => u64::from(value as i64 as u32),
        _ => u64::from((value as f32).to_bits()),
    }
}

/// Where an element of a fragment lies: row and column for matrix a, n and k for matrix b.
fn place(rows: usize, e: Element, lane: usize, register: usize, part: usize) -> (usize, usize) {
    let (g, t, per) = (lane / 4, lane % 4, 32usize.div_ceil(e.bits()));
    let (half, chunk) = if rows == 16 { (register % 2, register / 2) } else { (0, register) };
    (g + 8 * half, chunk * 4 * per + t * per + part)
}

/// A matrix of `rows` times `k` from its fragment.
pub(crate) fn spread(rows: usize, k: usize, e: Element, registers: &[Lanes]) -> Vec<f64> {
    let mut out = vec![0.0; rows * k];
    for (r, values) in registers.iter().enumerate() {
        for (lane, value) in values.iter().enumerate() {
            for part in 0..32usize.div_ceil(e.bits()) {
                let (row, column) = place(rows, e, lane, r, part);
                out[row * k + column] = decode(e, value >> (part * e.bits()));
            }
        }
    }
    out
}

/// Row and column of the `i`-th accumulator of a lane.
pub(crate) fn accumulator(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + 8 * (i / 2 % 2), lane % 4 * 2 + i % 2 + 8 * (i / 4))
}

impl Warp {
    pub(super) fn multiply_add(&mut self, op: &MatrixOp, cx: &Cx) -> Result<(), Trap> {
        let a = spread(op.m, op.k, op.a, &self.gather(cx, &op.a_regs)?);
        let b = spread(op.n, op.k, op.b, &self.gather(cx, &op.b_regs)?);
        let c = self.gather(cx, &op.c_regs)?;
        let mut d = vec![[0u64; 32]; op.d_regs.len()];
        let per = 32usize.div_ceil(op.c.bits());
        for lane in 0..32 {
            for i in 0..op.m * op.n / 32 {
                let (row, column) = accumulator(lane, i);
                let (register, shift) = (i / per, i % per * op.c.bits());
                let start = decode(op.c, c[register][lane] >> shift);
                let (a, b) = (&a[row * op.k..][..op.k], &b[column * op.k..][..op.k]);
                let sum: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                d[register][lane] |= encode(op.c, start + sum, op.saturate) << shift;
            }
        }
        for (register, values) in op.d_regs.iter().zip(&d) {
            self.put(*register, u32::MAX, values);
        }
        Ok(())
    }
}
