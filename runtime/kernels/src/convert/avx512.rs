//! Conversions for AVX-512.

use core::arch::x86_64::*;

use super::blocks;

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn widen_f16(dst: *mut f32, src: *const u16) {
    // SAFETY: the 16 elements at both ends.
    unsafe { _mm512_storeu_ps(dst, _mm512_cvtph_ps(_mm256_loadu_si256(src.cast()))) };
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn narrow_f16(dst: *mut u16, src: *const f32) {
    // SAFETY: the 16 elements at both ends.
    unsafe {
        let bits = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(src));
        _mm256_storeu_si256(dst.cast(), bits);
    }
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn widen_bf16(dst: *mut f32, src: *const u16) {
    // SAFETY: the 16 elements at both ends.
    unsafe {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(src.cast()));
        _mm512_storeu_si512(dst.cast(), _mm512_slli_epi32::<16>(wide));
    }
}

/// Rounds to nearest even in integers: the instruction of avx512_bf16 flushes subnormals.
///
/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn narrow_bf16(dst: *mut u16, src: *const f32) {
    // SAFETY: the 16 elements at both ends.
    unsafe {
        let x = _mm512_loadu_ps(src);
        let bits = _mm512_castps_si512(x);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
        let chosen = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x0040_0000));
        _mm256_storeu_si256(dst.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(chosen)));
    }
}

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f16_to_f32_avx512: "f16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_f16(d, s));
    f32_to_f16_avx512: "f32_to_f16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_f16(d, s));
    bf16_to_f32_avx512: "bf16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_bf16(d, s));
    f32_to_bf16_avx512: "f32_to_bf16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_bf16(d, s));
}
