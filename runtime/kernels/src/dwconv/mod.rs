//! Windows over channels-last images, one output row at a time: depthwise convolution and pooling.
//!
//! `f32_dwconv` v1, [`DwconvArgs`](crate::args::DwconvArgs):
//!
//! ```text
//! out[ow][c] = clamp(bias[c] + Σ_{kh, kw} x[ih0 + kh * dil_h][ow * stride_w - pad_w + kw * dil_w][c]
//!                                         · weights[kh * KW + kw][c])
//! ```
//!
//! `f32_pool` v1, [`PoolArgs`](crate::args::PoolArgs): the greatest element or the mean of the same
//! window. Taps outside the image are left out.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod conv;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pool;
mod portable;
mod window;

use crate::Kernel;

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
