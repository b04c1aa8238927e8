//! Numbers of four bits for AVX2.

use core::arch::x86_64::*;

use super::{Block, ROW, unpack};
use crate::simd::LANES;

/// One block.
///
/// # Safety
/// The block exists, and the CPU has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block(b: &Block) {
    let low = _mm_set1_epi8(15);
    // SAFETY: the block has 16 scales and zero points, and its rows exist at both ends.
    unsafe {
        let scales = [_mm256_loadu_ps(b.scales), _mm256_loadu_ps(b.scales.add(ROW))];
        let zeros = [_mm256_loadu_ps(b.zeros), _mm256_loadu_ps(b.zeros.add(ROW))];
        for k in 0..b.rows {
            let bytes = _mm_loadl_epi64(b.src.add(k * ROW).cast());
            let halves = [_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16::<4>(bytes), low)];
            for (half, bytes) in halves.into_iter().enumerate() {
                let numbers = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
                let y = _mm256_mul_ps(_mm256_sub_ps(numbers, zeros[half]), scales[half]);
                _mm256_storeu_ps(b.dst.add(k * LANES + half * ROW), y);
            }
        }
    }
}

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_unpack4_avx2: "f32_unpack4" v1 (1, 16) => |args| unpack(args, |b| block(b));
}
