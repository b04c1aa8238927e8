//! Conversions for AVX2 with F16C.

use core::arch::x86_64::*;

use super::blocks;

/// Rounding of the conversions to f16.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widen_f16(dst: *mut f32, src: *const u16) {
    for half in [0, 8] {
        // SAFETY: 8 of the 16 elements.
        unsafe {
            _mm256_storeu_ps(dst.add(half), _mm256_cvtph_ps(_mm_loadu_si128(src.add(half).cast())));
        }
    }
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn narrow_f16(dst: *mut u16, src: *const f32) {
    for half in [0, 8] {
        // SAFETY: 8 of the 16 elements.
        unsafe {
            let bits = _mm256_cvtps_ph::<NEAREST>(_mm256_loadu_ps(src.add(half)));
            _mm_storeu_si128(dst.add(half).cast(), bits);
        }
    }
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn widen_bf16(dst: *mut f32, src: *const u16) {
    for half in [0, 8] {
        // SAFETY: 8 of the 16 elements.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(src.add(half).cast()));
            _mm256_storeu_si256(dst.add(half).cast(), _mm256_slli_epi32::<16>(wide));
        }
    }
}

/// The upper halves of eight floats, rounded to nearest even; NaN made quiet.
#[target_feature(enable = "avx2,fma,f16c")]
fn round_bf16(x: __m256) -> __m256i {
    let bits = _mm256_castps_si256(x);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
    _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan))
}

/// # Safety
/// 16 elements at both ends.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn narrow_bf16(dst: *mut u16, src: *const f32) {
    // SAFETY: the 16 elements at both ends.
    unsafe {
        let (low, high) = (_mm256_loadu_ps(src), _mm256_loadu_ps(src.add(8)));
        // Packing works within 128-bit lanes: put the quarters back in order.
        let packed = _mm256_packus_epi32(round_bf16(low), round_bf16(high));
        _mm256_storeu_si256(dst.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
    }
}

kernel_rows! { Avx2, "avx2,fma,f16c";
    f16_to_f32_avx2: "f16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_f16(d, s));
    f32_to_f16_avx2: "f32_to_f16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_f16(d, s));
    bf16_to_f32_avx2: "bf16_to_f32" v1 (1, 16) => |args| blocks(args, |d, s| widen_bf16(d, s));
    f32_to_bf16_avx2: "f32_to_bf16" v1 (1, 16) => |args| blocks(args, |d, s| narrow_bf16(d, s));
}
