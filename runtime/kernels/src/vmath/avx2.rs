//! Elementary functions for AVX2.

use super::{each_vector, math};
use crate::simd::Avx2;

kernel_rows! { Avx2, "avx2,fma,f16c";
    f32_exp_avx2: "f32_exp" v1 (1, 16) => |args| each_vector(args, math::exp::<Avx2>);
    f32_log_avx2: "f32_log" v1 (1, 16) => |args| each_vector(args, math::log::<Avx2>);
    f32_tanh_avx2: "f32_tanh" v1 (1, 16) => |args| each_vector(args, math::tanh::<Avx2>);
    f32_sigmoid_avx2: "f32_sigmoid" v1 (1, 16) => |args| each_vector(args, math::sigmoid::<Avx2>);
    f32_erf_avx2: "f32_erf" v1 (1, 16) => |args| each_vector(args, math::erf::<Avx2>);
    f32_gelu_avx2: "f32_gelu" v1 (1, 16) => |args| each_vector(args, math::gelu::<Avx2>);
    f32_gelu_tanh_avx2: "f32_gelu_tanh" v1 (1, 16) => |args| each_vector(args, math::gelu_tanh::<Avx2>);
    f32_silu_avx2: "f32_silu" v1 (1, 16) => |args| each_vector(args, math::silu::<Avx2>);
    f32_sin_avx2: "f32_sin" v1 (1, 16) => |args| each_vector(args, math::sin::<Avx2>);
    f32_cos_avx2: "f32_cos" v1 (1, 16) => |args| each_vector(args, math::cos::<Avx2>);
    f32_softplus_avx2: "f32_softplus" v1 (1, 16) => |args| each_vector(args, math::softplus::<Avx2>);
    f32_mish_avx2: "f32_mish" v1 (1, 16) => |args| each_vector(args, math::mish::<Avx2>);
}
