//! Elementary functions for AVX-512.

use super::{each_vector, math};
use crate::simd::Avx512;

kernel_rows! { Avx512, "avx512f,avx512bw,avx512vl,avx512dq";
    f32_exp_avx512: "f32_exp" v1 (1, 16) => |args| each_vector(args, math::exp::<Avx512>);
    f32_log_avx512: "f32_log" v1 (1, 16) => |args| each_vector(args, math::log::<Avx512>);
    f32_tanh_avx512: "f32_tanh" v1 (1, 16) => |args| each_vector(args, math::tanh::<Avx512>);
    f32_sigmoid_avx512: "f32_sigmoid" v1 (1, 16) => |args| each_vector(args, math::sigmoid::<Avx512>);
    f32_erf_avx512: "f32_erf" v1 (1, 16) => |args| each_vector(args, math::erf::<Avx512>);
    f32_gelu_avx512: "f32_gelu" v1 (1, 16) => |args| each_vector(args, math::gelu::<Avx512>);
    f32_gelu_tanh_avx512: "f32_gelu_tanh" v1 (1, 16) => |args| each_vector(args, math::gelu_tanh::<Avx512>);
    f32_silu_avx512: "f32_silu" v1 (1, 16) => |args| each_vector(args, math::silu::<Avx512>);
    f32_sin_avx512: "f32_sin" v1 (1, 16) => |args| each_vector(args, math::sin::<Avx512>);
    f32_cos_avx512: "f32_cos" v1 (1, 16) => |args| each_vector(args, math::cos::<Avx512>);
    f32_softplus_avx512: "f32_softplus" v1 (1, 16) => |args| each_vector(args, math::softplus::<Avx512>);
    f32_mish_avx512: "f32_mish" v1 (1, 16) => |args| each_vector(args, math::mish::<Avx512>);
}
