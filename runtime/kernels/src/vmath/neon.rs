//! Elementary functions for NEON.
//!
//! The functions are called in closures, which have the features of the function around them; the
//! shim behind a function passed by name would have none, and nothing could be inlined into it.

#![allow(clippy::redundant_closure)] // See above.

use super::{each_vector, math};
use crate::simd::Neon;

kernel_rows! { Neon, "neon";
    f32_exp_neon: "f32_exp" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::exp(x));
    f32_log_neon: "f32_log" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::log(x));
    f32_tanh_neon: "f32_tanh" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::tanh(x));
    f32_sigmoid_neon: "f32_sigmoid" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::sigmoid(x));
    f32_erf_neon: "f32_erf" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::erf(x));
    f32_gelu_neon: "f32_gelu" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::gelu(x));
    f32_gelu_tanh_neon: "f32_gelu_tanh" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::gelu_tanh(x));
    f32_silu_neon: "f32_silu" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::silu(x));
    f32_sin_neon: "f32_sin" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::sin(x));
    f32_cos_neon: "f32_cos" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::cos(x));
    f32_softplus_neon: "f32_softplus" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::softplus(x));
    f32_mish_neon: "f32_mish" v1 (1, 16) => |args| each_vector::<Neon>(args, |x| math::mish(x));
}
