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
];

/// Bytes of a row of a panel.
const ROW: usize = LANES / 2;

/// Sixteen columns of one row.
///
/// # Safety
/// `src` is good for eight bytes.
#[inline(always)]
unsafe fn row(src: *const u8) -> [f32; LANES] {
    // SAFETY: the caller's promise.
    let bytes = unsafe { src.cast::<[u8; ROW]>().read_unaligned() };
    let mut columns = [0.0; LANES];
    for (i, byte) in bytes.into_iter().enumerate() {
        columns[i] = f32::from(byte & 15);
        columns[i + ROW] = f32::from(byte >> 4);
    }
    columns
}

/// The body of every row of the table.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
unsafe fn unpack(args: &Unpack4Args) {
    let (k_n, panels, block) =
        (args.k.max(0) as usize, args.panels.max(0) as usize, args.block.max(1) as usize);
    for panel in 0..panels {
        let at = |stride: i64| panel as isize * stride as isize;
        let src = args.src.wrapping_offset(at(args.src_panel_stride));
        let scales = args.scales.wrapping_offset(at(args.scale_panel_stride));
        let dst = args.dst.wrapping_offset(at(args.dst_panel_stride));
        for first in (0..k_n).step_by(block) {
            let of_block = first / block * LANES;
            let mut zeros = [word_f32(args.zero); LANES];
            // SAFETY: the block has 16 scales, and zero points if there are any; row k exists at both ends.
            unsafe {
                let scale = scales.add(of_block).cast::<[f32; LANES]>().read_unaligned();
                if !args.zeros.is_null() {
                    let from = args.zeros.wrapping_offset(at(args.scale_panel_stride)).add(of_block);
                    zeros = from.cast::<[f32; LANES]>().read_unaligned();
                }
                for k in first..(first + block).min(k_n) {
                    let mut columns = row(src.add(k * ROW));
                    for (column, (zero, scale)) in columns.iter_mut().zip(zeros.iter().zip(scale)) {
                        *column = (*column - zero) * scale;
                    }
                    dst.add(k * LANES).cast::<[f32; LANES]>().write_unaligned(columns);
                }
            }
        }
    }
}
