//! Elementary functions for AVX2.
//!
//! The functions are called in closures, which have the features of the function around them; the
//! shim behind a function passed by name would have none, and nothing could be inlined into it.

#![allow(clippy::redundant_closure)] // See above.

use super::{each_vector, math};
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_exp_avx2: "f32_exp" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::exp(x));
    f32_log_avx2: "f32_log" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::log(x));
    f32_tanh_avx2: "f32_tanh" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::tanh(x));
    f32_sigmoid_avx2: "f32_sigmoid" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::sigmoid(x));
    f32_erf_avx2: "f32_erf" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::erf(x));
    f32_gelu_avx2: "f32_gelu" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::gelu(x));
    f32_gelu_tanh_avx2: "f32_gelu_tanh" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::gelu_tanh(x));
    f32_silu_avx2: "f32_silu" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::silu(x));
    f32_sin_avx2: "f32_sin" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::sin(x));
    f32_cos_avx2: "f32_cos" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::cos(x));
    f32_softplus_avx2: "f32_softplus" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::softplus(x));
    f32_mish_avx2: "f32_mish" v1 (1, 16) => |args| each_vector::<Avx2>(args, |x| math::mish(x));
}
