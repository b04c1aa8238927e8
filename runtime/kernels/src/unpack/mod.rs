//! Numbers of four bits made floats, panel by panel.
//!
//! `f32_unpack4` v1, [`Unpack4Args`]: with `s` the scale and `z` the zero point of the block of k and of
//! column j,
//!
//! ```text
//! dst[panel][k][j] = (src[panel][k][j] - z) · s
//! ```
//!
//! Panels have 16 columns. A row of a panel is eight bytes: byte i holds column i in its low half and column
//! i + 8 in its high half.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::Kernel;
use crate::args::{Unpack4Args, word_f32};
use crate::simd::LANES;

/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx512::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
];

/// Bytes of a row of a panel.
const ROW: usize = LANES / 2;

/// Rows of a panel that share their scales.
struct Block {
    /// The first row.
    src: *const u8,
    /// Where it goes.
    dst: *mut f32,
    /// Rows.
    rows: usize,
    /// Sixteen scales.
    scales: *const f32,
    /// Sixteen zero points.
    zeros: *const f32,
}

/// The loops around a function for one block.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
unsafe fn unpack(args: &Unpack4Args, of_block: impl Fn(&Block)) {
    let (k_n, panels) = (args.k.max(0) as usize, args.panels.max(0) as usize);
    let block = args.block.max(1) as usize;
    let zero = [word_f32(args.zero); LANES];
    for panel in 0..panels {
        let at = |stride: i64| panel as isize * stride as isize;
        let src = args.src.wrapping_offset(at(args.src_panel_stride));
        let dst = args.dst.wrapping_offset(at(args.dst_panel_stride));
        for first in (0..k_n).step_by(block) {
            let scale = at(args.scale_panel_stride) + (first / block * LANES) as isize;
            of_block(&Block {
                src: src.wrapping_add(first * ROW),
                dst: dst.wrapping_add(first * LANES),
                rows: block.min(k_n - first),
                scales: args.scales.wrapping_offset(scale),
                zeros: if args.zeros.is_null() { zero.as_ptr() } else { args.zeros.wrapping_offset(scale) },
            });
        }
    }
}
