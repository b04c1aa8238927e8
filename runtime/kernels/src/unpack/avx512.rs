//! Numbers of four bits for AVX-512.

use core::arch::x86_64::*;

use super::{Block, ROW, unpack};
use crate::simd::LANES;

/// One block.
///
/// # Safety
/// The block exists, and the CPU has AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn block(b: &Block) {
    let low = _mm_set1_epi8(15);
    // SAFETY: the block has 16 scales and zero points, and its rows exist at both ends.
    unsafe {
        let (scales, zeros) = (_mm512_loadu_ps(b.scales), _mm512_loadu_ps(b.zeros));
        for k in 0..b.rows {
            let bytes = _mm_loadl_epi64(b.src.add(k * ROW).cast());
            let halves = _mm_unpacklo_epi64(bytes, _mm_srli_epi16::<4>(bytes));
            let numbers = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(halves, low)));
            let y = _mm512_mul_ps(_mm512_sub_ps(numbers, zeros), scales);
            _mm512_storeu_ps(b.dst.add(k * LANES), y);
        }
    }
}

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_unpack4_avx512: "f32_unpack4" v1 (1, 16) => |args| unpack(args, |b| block(b));
}
