//! Packing of B at run time.
//!
//! `f32_pack_b` v1, [`PackBArgs`](crate::args::PackBArgs): element (k, j) of the source goes to
//! `dst[(j / 16) * dst_panel_stride + k * 16 + j % 16]`; columns beyond n of the last panel become 0.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::Kernel;
use crate::args::PackBArgs;
use crate::simd::{F32x16, LANES};

/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[
    portable::ROWS,
    #[cfg(target_arch = "x86_64")]
    avx2::ROWS,
    #[cfg(target_arch = "aarch64")]
    neon::ROWS,
];

/// Packs all panels; contiguous rows are copied by vectors, contiguous columns by `transpose`, which
/// writes an 8×8 block (source rows are columns of B) and may only read it.
///
/// # Safety
/// The arguments are valid.
#[inline(always)]
unsafe fn pack_b<V: F32x16>(args: &PackBArgs, transpose: impl Fn(*const f32, isize, *mut f32)) {
    let (k_n, n) = (args.k.max(0) as usize, args.n.max(0) as usize);
    let (k_stride, n_stride) = (args.k_stride as isize, args.n_stride as isize);
    for panel in 0..n.div_ceil(LANES) {
        let column = panel * LANES;
        let len = (n - column).min(LANES);
        let src = args.src.wrapping_offset(column as isize * n_stride);
        let dst = args.dst.wrapping_offset(panel as isize * args.dst_panel_stride as isize);
        let mut k = 0;
        if n_stride != 1 && k_stride == 1 && len == LANES {
            while k + 8 <= k_n {
                for half in 0..2 {
                    let block = src.wrapping_offset(half * 8 * n_stride).wrapping_add(k);
                    transpose(block, n_stride, dst.wrapping_add(k * LANES + half as usize * 8));
                }
                k += 8;
            }
        }
        while k < k_n {
            let row = src.wrapping_offset(k as isize * k_stride);
            // SAFETY: row k has `len` columns from here; the panel has 16 elements for it.
            unsafe {
                let values = if n_stride == 1 { V::load_up_to(row, len) } else { gather(row, n_stride, len) };
                values.store(dst.wrapping_add(k * LANES));
            }
            k += 1;
        }
    }
}

/// Reads `len` elements `stride` apart, the other lanes are 0.
///
/// # Safety
/// The elements exist.
#[inline(always)]
unsafe fn gather<V: F32x16>(src: *const f32, stride: isize, len: usize) -> V {
    let mut lanes = [0.0; LANES];
    for (j, lane) in lanes.iter_mut().enumerate().take(len) {
        // SAFETY: j < len.
        *lane = unsafe { *src.offset(j as isize * stride) };
    }
    // SAFETY: 16 lanes.
    unsafe { V::load(lanes.as_ptr()) }
}
