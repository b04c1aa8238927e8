//! Packing for AVX2: contiguous columns are transposed by 8×8 blocks in registers.

use core::arch::x86_64::*;

use super::pack_b;
use crate::simd::{Avx2, LANES};

/// Writes the transposed 8×8 block.
///
/// # Safety
/// The block exists at both ends, and the CPU has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn transpose(src: *const f32, stride: isize, dst: *mut f32) {
    // SAFETY: row j of the block exists.
    let r: [__m256; 8] =
        core::array::from_fn(|j| unsafe { _mm256_loadu_ps(src.offset(j as isize * stride)) });
    let pairs: [__m256; 8] = core::array::from_fn(|i| {
        let (a, b) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
    });
    let quads: [__m256; 8] = core::array::from_fn(|i| {
        let (a, b) = (pairs[i / 4 * 4 + i % 4 / 2], pairs[i / 4 * 4 + i % 4 / 2 + 2]);
        if i % 2 == 0 { _mm256_shuffle_ps::<0x44>(a, b) } else { _mm256_shuffle_ps::<0xee>(a, b) }
    });
    for k in 0..4 {
        let (low, high) = (quads[k], quads[k + 4]);
        // SAFETY: rows k and k + 4 of the transposed block exist.
        unsafe {
            _mm256_storeu_ps(dst.add(k * LANES), _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(dst.add((k + 4) * LANES), _mm256_permute2f128_ps::<0x31>(low, high));
        }
    }
}

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_pack_b_avx2: "f32_pack_b" v1 (1, 16) => |args| {
        pack_b::<Avx2>(args, |src, stride, dst| transpose(src, stride, dst))
    };
}
