//! Elementary functions over contiguous tiles.
//!
//! Contracts `f32_NAME` and `f64_NAME` v1, [`UnaryArgs`](crate::args::UnaryArgs), in place allowed:
//! exp, exp2, expm1, log, log1p, log2, log10, sqrt, cbrt, sin, cos, tan, asin, acos, atan, sinh, cosh,
//! tanh, asinh, acosh, atanh, erf, sigmoid, softplus, silu, gelu (by erf), gelu_tanh, mish. Binary
//! ones, [`BinaryArgs`](crate::args::BinaryArgs): pow, atan2, fmod, with C's special cases.
//!
//! Errors of the vector kernels against the exact function, in units of the result's last place:
//! exp, log, tanh, erf at most 2, sigmoid 2.1; softplus, silu, mish at most 4; sin, cos at most 2 up
//! to |x| = 1e5 (scalar code beyond), or 1e-9 where that is more; gelu and gelu_tanh 4 for x >= -1,
//! and below that 4 or 1e-7, whichever is more. NaN gives NaN, infinities their limits; tanh, sigmoid
//! and erf never leave their range.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
// Other targets have no vector rows yet.
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod scalar;

use crate::Kernel;
use crate::args::{BinaryArgs, UnaryArgs};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::{F32x16, LANES};

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

/// Applies a scalar function to each element.
///
/// # Safety
/// The arguments are valid for elements of type `T`.
#[inline(always)]
unsafe fn each<T: Copy>(args: &UnaryArgs, f: impl Fn(T) -> T) {
    let (dst, src) = (args.dst.cast::<T>(), args.src.cast::<T>());
    for i in 0..args.n.max(0) as usize {
        // SAFETY: i < n.
        unsafe { *dst.add(i) = f(*src.add(i)) };
    }
}

/// Applies a scalar function of two operands to each pair of elements.
///
/// # Safety
/// The arguments are valid for elements of type `T`.
#[inline(always)]
unsafe fn each_pair<T: Copy>(args: &BinaryArgs, f: impl Fn(T, T) -> T) {
    let (dst, a, b) = (args.dst.cast::<T>(), args.a.cast::<T>(), args.b.cast::<T>());
    for i in 0..args.n.max(0) as usize {
        // SAFETY: i < n.
        unsafe { *dst.add(i) = f(*a.add(i), *b.add(i)) };
    }
}

/// Applies a vector function to 16 elements at a time.
///
/// # Safety
/// The arguments are valid for floats.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))] // Other targets have no vector rows yet.
#[inline(always)]
unsafe fn each_vector<V: F32x16>(args: &UnaryArgs, f: impl Fn(V) -> V) {
    let (dst, src, n) = (args.dst.cast::<f32>(), args.src.cast::<f32>(), args.n.max(0) as usize);
    let mut at = 0;
    while at + LANES <= n {
        // SAFETY: 16 elements from `at` exist.
        unsafe { f(V::load(src.add(at))).store(dst.add(at)) };
        at += LANES;
    }
    if at < n {
        // SAFETY: n - at elements from `at` exist.
        unsafe { f(V::load_part(src.add(at), n - at)).store_part(dst.add(at), n - at) };
    }
}
