//! Elementary functions for AVX-512.
//!
//! The functions are called in closures, which have the features of the function around them; the
//! shim behind a function passed by name would have none, and nothing could be inlined into it.

#![allow(clippy::redundant_closure)] // See above.

use super::{each_vector, math};
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_exp_avx512: "f32_exp" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::exp(x));
    f32_log_avx512: "f32_log" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::log(x));
    f32_tanh_avx512: "f32_tanh" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::tanh(x));
    f32_sigmoid_avx512: "f32_sigmoid" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::sigmoid(x));
    f32_erf_avx512: "f32_erf" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::erf(x));
    f32_gelu_avx512: "f32_gelu" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::gelu(x));
    f32_gelu_tanh_avx512: "f32_gelu_tanh" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::gelu_tanh(x));
    f32_silu_avx512: "f32_silu" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::silu(x));
    f32_sin_avx512: "f32_sin" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::sin(x));
    f32_cos_avx512: "f32_cos" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::cos(x));
    f32_softplus_avx512: "f32_softplus" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::softplus(x));
    f32_mish_avx512: "f32_mish" v1 (1, 16) => |args| each_vector::<Avx512>(args, |x| math::mish(x));
}
