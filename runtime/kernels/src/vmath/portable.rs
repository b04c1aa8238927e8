//! Elementary functions for any target, by the C library's scalar functions.

use super::{each, each_pair, scalar};

/// A function of doubles at single precision.
fn narrow(f: impl Fn(f64) -> f64) -> impl Fn(f32) -> f32 {
    move |x| f(f64::from(x)) as f32
}

kernel_rows! { Portable;
    f32_exp_portable: "f32_exp" v1 (1, 1) => |args| each(args, libm::expf);
    f32_exp2_portable: "f32_exp2" v1 (1, 1) => |args| each(args, libm::exp2f);
    f32_expm1_portable: "f32_expm1" v1 (1, 1) => |args| each(args, libm::expm1f);
    f32_log_portable: "f32_log" v1 (1, 1) => |args| each(args, libm::logf);
    f32_log1p_portable: "f32_log1p" v1 (1, 1) => |args| each(args, libm::log1pf);
    f32_log2_portable: "f32_log2" v1 (1, 1) => |args| each(args, libm::log2f);
    f32_log10_portable: "f32_log10" v1 (1, 1) => |args| each(args, libm::log10f);
    f32_sqrt_portable: "f32_sqrt" v1 (1, 1) => |args| each(args, libm::sqrtf);
    f32_cbrt_portable: "f32_cbrt" v1 (1, 1) => |args| each(args, libm::cbrtf);
    f32_sin_portable: "f32_sin" v1 (1, 1) => |args| each(args, libm::sinf);
    f32_cos_portable: "f32_cos" v1 (1, 1) => |args| each(args, libm::cosf);
    f32_tan_portable: "f32_tan" v1 (1, 1) => |args| each(args, libm::tanf);
    f32_asin_portable: "f32_asin" v1 (1, 1) => |args| each(args, libm::asinf);
    f32_acos_portable: "f32_acos" v1 (1, 1) => |args| each(args, libm::acosf);
    f32_atan_portable: "f32_atan" v1 (1, 1) => |args| each(args, libm::atanf);
    f32_sinh_portable: "f32_sinh" v1 (1, 1) => |args| each(args, libm::sinhf);
    f32_cosh_portable: "f32_cosh" v1 (1, 1) => |args| each(args, libm::coshf);
    f32_tanh_portable: "f32_tanh" v1 (1, 1) => |args| each(args, libm::tanhf);
    f32_asinh_portable: "f32_asinh" v1 (1, 1) => |args| each(args, libm::asinhf);
    f32_acosh_portable: "f32_acosh" v1 (1, 1) => |args| each(args, libm::acoshf);
    f32_atanh_portable: "f32_atanh" v1 (1, 1) => |args| each(args, libm::atanhf);
    f32_erf_portable: "f32_erf" v1 (1, 1) => |args| each(args, libm::erff);
    f32_sigmoid_portable: "f32_sigmoid" v1 (1, 1) => |args| each(args, narrow(scalar::sigmoid));
    f32_softplus_portable: "f32_softplus" v1 (1, 1) => |args| each(args, narrow(scalar::softplus));
    f32_silu_portable: "f32_silu" v1 (1, 1) => |args| each(args, narrow(scalar::silu));
    f32_gelu_portable: "f32_gelu" v1 (1, 1) => |args| each(args, narrow(scalar::gelu));
    f32_gelu_tanh_portable: "f32_gelu_tanh" v1 (1, 1) => |args| each(args, narrow(scalar::gelu_tanh));
    f32_mish_portable: "f32_mish" v1 (1, 1) => |args| each(args, narrow(scalar::mish));
    f32_pow_portable: "f32_pow" v1 (1, 1) => |args| each_pair(args, libm::powf);
    f32_atan2_portable: "f32_atan2" v1 (1, 1) => |args| each_pair(args, libm::atan2f);
    f32_fmod_portable: "f32_fmod" v1 (1, 1) => |args| each_pair(args, libm::fmodf);
    f64_exp_portable: "f64_exp" v1 (1, 1) => |args| each(args, libm::exp);
    f64_exp2_portable: "f64_exp2" v1 (1, 1) => |args| each(args, libm::exp2);
    f64_expm1_portable: "f64_expm1" v1 (1, 1) => |args| each(args, libm::expm1);
    f64_log_portable: "f64_log" v1 (1, 1) => |args| each(args, libm::log);
    f64_log1p_portable: "f64_log1p" v1 (1, 1) => |args| each(args, libm::log1p);
    f64_log2_portable: "f64_log2" v1 (1, 1) => |args| each(args, libm::log2);
    f64_log10_portable: "f64_log10" v1 (1, 1) => |args| each(args, libm::log10);
    f64_sqrt_portable: "f64_sqrt" v1 (1, 1) => |args| each(args, libm::sqrt);
    f64_cbrt_portable: "f64_cbrt" v1 (1, 1) => |args| each(args, libm::cbrt);
    f64_sin_portable: "f64_sin" v1 (1, 1) => |args| each(args, libm::sin);
    f64_cos_portable: "f64_cos" v1 (1, 1) => |args| each(args, libm::cos);
    f64_tan_portable: "f64_tan" v1 (1, 1) => |args| each(args, libm::tan);
    f64_asin_portable: "f64_asin" v1 (1, 1) => |args| each(args, libm::asin);
    f64_acos_portable: "f64_acos" v1 (1, 1) => |args| each(args, libm::acos);
    f64_atan_portable: "f64_atan" v1 (1, 1) => |args| each(args, libm::atan);
    f64_sinh_portable: "f64_sinh" v1 (1, 1) => |args| each(args, libm::sinh);
    f64_cosh_portable: "f64_cosh" v1 (1, 1) => |args| each(args, libm::cosh);
    f64_tanh_portable: "f64_tanh" v1 (1, 1) => |args| each(args, libm::tanh);
    f64_asinh_portable: "f64_asinh" v1 (1, 1) => |args| each(args, libm::asinh);
    f64_acosh_portable: "f64_acosh" v1 (1, 1) => |args| each(args, libm::acosh);
    f64_atanh_portable: "f64_atanh" v1 (1, 1) => |args| each(args, libm::atanh);
    f64_erf_portable: "f64_erf" v1 (1, 1) => |args| each(args, libm::erf);
    f64_sigmoid_portable: "f64_sigmoid" v1 (1, 1) => |args| each(args, scalar::sigmoid);
    f64_softplus_portable: "f64_softplus" v1 (1, 1) => |args| each(args, scalar::softplus);
    f64_silu_portable: "f64_silu" v1 (1, 1) => |args| each(args, scalar::silu);
    f64_gelu_portable: "f64_gelu" v1 (1, 1) => |args| each(args, scalar::gelu);
    f64_gelu_tanh_portable: "f64_gelu_tanh" v1 (1, 1) => |args| each(args, scalar::gelu_tanh);
    f64_mish_portable: "f64_mish" v1 (1, 1) => |args| each(args, scalar::mish);
    f64_pow_portable: "f64_pow" v1 (1, 1) => |args| each_pair(args, libm::pow);
    f64_atan2_portable: "f64_atan2" v1 (1, 1) => |args| each_pair(args, libm::atan2);
    f64_fmod_portable: "f64_fmod" v1 (1, 1) => |args| each_pair(args, libm::fmod);
}
