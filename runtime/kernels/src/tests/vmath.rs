//! Elementary functions against f64: the C library's, or formulas over them.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use super::guard::Guarded;
use super::{Random, call, rows_of};
use crate::args::{BinaryArgs, UnaryArgs};
use crate::{Isa, Kernel, kernels};

/// A function, where it is tested, and how far its kernels may be off.
struct Case {
    name: &'static str,
    exact: fn(f64) -> f64,
    /// The interval that is swept.
    domain: (f64, f64),
    /// Greatest error in units of the last place.
    ulps: f64,
    /// Errors up to this are allowed whatever their size in ulps.
    absolute: f64,
}

const fn case(name: &'static str, exact: fn(f64) -> f64, lo: f64, hi: f64, ulps: f64) -> Case {
    Case { name, exact, domain: (lo, hi), ulps, absolute: 0.0 }
}

fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// The standard library's loses digits near -1, so by symmetry.
fn atanh(x: f64) -> f64 {
    x.abs().atanh().copysign(x)
}

fn gelu_tanh(x: f64) -> f64 {
    x * sigmoid(2.0 * (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3)))
}

fn mish(x: f64) -> f64 {
    x * x.exp().ln_1p().tanh()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x / 2f64.sqrt())
}

const CASES: &[Case] = &[
    case("exp", f64::exp, -104.5, 89.5, 2.0),
    case("exp2", f64::exp2, -150.5, 128.5, 2.0),
    case("expm1", f64::exp_m1, -30.0, 89.5, 2.0),
    case("log", f64::ln, 0.0, 10.0, 2.0),
    case("log1p", f64::ln_1p, -1.0, 10.0, 2.0),
    case("log2", f64::log2, 0.0, 10.0, 2.0),
    case("log10", f64::log10, 0.0, 10.0, 2.5),
    case("sqrt", f64::sqrt, 0.0, 1e6, 0.5001),
    case("cbrt", f64::cbrt, -100.0, 100.0, 1.0),
    Case { absolute: 1e-9, ..case("sin", f64::sin, -100.0, 100.0, 2.0) },
    Case { absolute: 1e-9, ..case("cos", f64::cos, -100.0, 100.0, 2.0) },
    Case { absolute: 1e-9, ..case("sin", f64::sin, -1.2e5, 1.2e5, 2.0) },
    Case { absolute: 1e-9, ..case("cos", f64::cos, -1.2e5, 1.2e5, 2.0) },
    case("tan", f64::tan, -10.0, 10.0, 2.0),
    case("asin", f64::asin, -1.0, 1.0, 2.0),
    case("acos", f64::acos, -1.0, 1.0, 2.0),
    case("atan", f64::atan, -50.0, 50.0, 2.0),
    case("sinh", f64::sinh, -80.0, 80.0, 2.5),
    case("cosh", f64::cosh, -80.0, 80.0, 2.5),
    case("tanh", f64::tanh, -12.0, 12.0, 2.0),
    case("asinh", f64::asinh, -80.0, 80.0, 3.0),
    case("acosh", f64::acosh, 1.0, 80.0, 3.0),
    case("atanh", atanh, -1.0, 1.0, 3.0),
    case("erf", libm::erf, -6.0, 6.0, 2.0),
    case("sigmoid", sigmoid, -104.0, 40.0, 2.1),
    case("softplus", |x| x.exp().ln_1p(), -100.0, 40.0, 4.0),
    case("silu", |x| x * sigmoid(x), -87.0, 40.0, 4.0),
    case("gelu_tanh", gelu_tanh, -1.0, 40.0, 4.0),
    Case { absolute: 1e-7, ..case("gelu_tanh", gelu_tanh, -40.0, 4.0, 4.0) },
    case("mish", mish, -87.0, 40.0, 4.0),
    case("gelu", gelu, -1.0, 40.0, 4.0),
    Case { absolute: 1e-7, ..case("gelu", gelu, -40.0, 4.0, 4.0) },
];

/// The distance from a float to its neighbor.
fn ulp(x: f64) -> f64 {
    let bits = (x.abs() as f32).min(f32::MAX).to_bits();
    f64::from(f32::from_bits(bits + 1)) - f64::from(f32::from_bits(bits))
}

/// Applies a unary kernel, in place or not, to values whose end is guarded.
fn apply<T: Copy + Default>(kernel: &Kernel, values: &[T], in_place: bool) -> Vec<T> {
    let src = Guarded::new(values);
    let dst = Guarded::new(&vec![T::default(); values.len()]);
    let out = if in_place { &src } else { &dst };
    let args =
        UnaryArgs { dst: out.ptr().cast(), src: src.ptr().cast_const().cast(), n: values.len() as i64 };
    call(kernel, &args);
    out.get().to_vec()
}

/// Points of an interval: evenly spread, random, and near its ends and 0.
fn points((lo, hi): (f64, f64)) -> Vec<f32> {
    let mut random = Random(3);
    let mut points: Vec<f64> = (0..40_000).map(|i| lo + (hi - lo) * f64::from(i) / 39_999.0).collect();
    points.extend((0..40_000).map(|_| lo + (hi - lo) * (f64::from(random.next()) + 1.0) / 2.0));
    // Magnitudes from 1 down to the subnormals, in steps of a few percent.
    let tiny = (0..4_000).map(|i| 2f64.powf(-f64::from(i) * 0.037));
    points.extend(tiny.flat_map(|x| [x, -x, lo + x, hi - x]));
    points.retain(|&x| (lo..=hi).contains(&f64::from(x as f32)));
    points.into_iter().map(|x| x as f32).collect()
}

#[test]
fn errors_stay_within_their_bounds() {
    let mut failures: Vec<String> = Vec::new();
    for case in CASES {
        let values = points(case.domain);
        for kernel in rows_of(&format!("f32_{}", case.name)) {
            let mut worst = (0.0, 0.0, 0.0, 0.0);
            for (&x, got) in values.iter().zip(apply(kernel, &values, false)) {
                let want = (case.exact)(f64::from(x));
                if f64::from(got) == want || got == want as f32 {
                    continue;
                }
                let error = (f64::from(got) - want).abs();
                let ulps = error / ulp(want);
                if error > case.absolute && (ulps.is_nan() || ulps > worst.0) {
                    worst = (
                        if ulps.is_nan() { f64::INFINITY } else { ulps },
                        f64::from(x),
                        f64::from(got),
                        want,
                    );
                }
            }
            if worst.0 > case.ulps {
                let (ulps, x, got, want) = worst;
                failures.push(format!("{}({x:e}) = {got:e}, not {want:e}: {ulps:.2} ulp", kernel.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn doubles_agree_with_the_c_library() {
    for case in CASES {
        let values: Vec<f64> = points(case.domain).into_iter().map(f64::from).collect();
        for kernel in rows_of(&format!("f64_{}", case.name)) {
            for (&x, got) in values.iter().zip(apply(kernel, &values, false)) {
                let want = (case.exact)(x);
                let near = (got - want).abs() <= 1e-13 * want.abs().max(1e-3);
                assert!(got == want || near, "{}({x:e}) = {got:e}, expected {want:e}", kernel.name);
            }
        }
    }
}

#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // The results at -inf, -0, 0, inf.
    let table: &[(&str, [f32; 4])] = &[
        ("exp", [0.0, 1.0, 1.0, inf]),
        ("log", [nan, -inf, -inf, inf]),
        ("tanh", [-1.0, -0.0, 0.0, 1.0]),
        ("sigmoid", [0.0, 0.5, 0.5, 1.0]),
        ("erf", [-1.0, -0.0, 0.0, 1.0]),
        ("gelu", [-0.0, -0.0, 0.0, inf]),
        ("gelu_tanh", [-0.0, -0.0, 0.0, inf]),
        ("silu", [-0.0, -0.0, 0.0, inf]),
        ("mish", [-0.0, -0.0, 0.0, inf]),
        ("sin", [nan, -0.0, 0.0, nan]),
        ("cos", [nan, 1.0, 1.0, nan]),
        ("softplus", [0.0, 2f32.ln(), 2f32.ln(), inf]),
    ];
    for &(name, want) in table {
        for kernel in rows_of(&format!("f32_{name}")) {
            let got = apply(kernel, &[-inf, -0.0, 0.0, inf, nan, -1.0], false);
            for (got, want) in got.iter().zip(want) {
                let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                assert!(same, "{}: {got} instead of {want}", kernel.name);
            }
            assert!(got[4].is_nan(), "{} lost a NaN", kernel.name);
            assert_eq!(got[5].is_nan(), name == "log", "{} at -1", kernel.name);
        }
    }
}

#[test]
fn bounded_functions_keep_their_range_and_grow() {
    let values: Vec<f32> = (-200_000..=200_000).map(|i| i as f32 * 1e-4).collect();
    for (name, lo) in [("tanh", -1.0), ("erf", -1.0), ("sigmoid", 0.0)] {
        for kernel in rows_of(&format!("f32_{name}")) {
            let got = apply(kernel, &values, false);
            assert!(got.iter().all(|y| (lo..=1.0).contains(y)), "{} leaves its range", kernel.name);
            for (i, pair) in got.windows(2).enumerate() {
                // Within the error of two neighbors, and not at all where the function is flat.
                let slack = if values[i].abs() > 4.5 { f32::EPSILON } else { 2.0 * f32::EPSILON };
                assert!(pair[1] >= pair[0] - slack, "{} falls at {}", kernel.name, values[i]);
            }
        }
    }
}

#[test]
fn every_length_in_place_and_not() {
    for kernel in kernels().filter(|row| Isa::available().contains(&row.isa)) {
        let Some(case) = CASES.iter().find(|case| kernel.contract == format!("f32_{}", case.name)) else {
            continue;
        };
        let (lo, hi) = case.domain;
        let middle = |x: f32| (lo + (hi - lo) * (0.5 + 0.3 * f64::from(x))) as f32;
        let values: Vec<f32> = Random(5).vec(67).into_iter().map(middle).collect();
        let want = apply(kernel, &values, false);
        for len in 0..values.len() {
            for in_place in [false, true] {
                let got = apply(kernel, &values[..len], in_place);
                assert_eq!(got, want[..len], "{} of {len} elements", kernel.name);
            }
        }
    }
}

#[test]
fn binary_functions() {
    let pairs: Vec<(f64, f64)> = vec![
        (2.0, 3.0),
        (-2.0, 3.0),
        (-2.0, 0.5),
        (0.0, 0.0),
        (0.0, -1.0),
        (1.0, f64::NAN),
        (f64::NAN, 0.0),
        (f64::NEG_INFINITY, 3.0),
        (5.5, -2.0),
        (-5.5, 2.0),
        (7.0, f64::INFINITY),
        (1.0, -0.0),
        (-0.0, -1.0),
    ];
    type Exact = fn(f64, f64) -> f64;
    for (name, exact) in [("pow", f64::powf as Exact), ("atan2", f64::atan2), ("fmod", |a, b| a % b)] {
        for kernel in rows_of(&format!("f64_{name}")) {
            check_binary(kernel, &pairs, exact, |got, want| (got - want).abs() < 1e-12);
        }
        for kernel in rows_of(&format!("f32_{name}")) {
            let pairs: Vec<_> = pairs.iter().map(|&(a, b)| (a as f32, b as f32)).collect();
            let exact = |a: f32, b: f32| exact(f64::from(a), f64::from(b)) as f32;
            check_binary(kernel, &pairs, exact, |got, want| (got - want).abs() < 1e-5);
        }
    }
}

/// Checks a binary kernel pair by pair; NaN must meet NaN.
fn check_binary<T: Copy + PartialOrd + core::fmt::Debug>(
    kernel: &Kernel,
    pairs: &[(T, T)],
    exact: impl Fn(T, T) -> T,
    near: impl Fn(T, T) -> bool,
) {
    let (a, b): (Vec<T>, Vec<T>) = pairs.iter().copied().unzip();
    let (a, b) = (Guarded::new(&a), Guarded::new(&b));
    let apart = Guarded::new(b.get());
    let n = pairs.len() as i64;
    // In place comes last: it replaces its operand.
    for dst in [&apart, &a] {
        call(kernel, &BinaryArgs { dst: dst.ptr().cast(), a: a.ptr().cast(), b: b.ptr().cast(), n });
    }
    for (&got, &in_place) in apart.get().iter().zip(a.get()) {
        assert!(equal(got, in_place), "{} in place: {in_place:?} instead of {got:?}", kernel.name);
    }
    for (&got, &(a, b)) in apart.get().iter().zip(pairs) {
        let want = exact(a, b);
        let same =
            got == want || near(got, want) || got.partial_cmp(&got).or(want.partial_cmp(&want)).is_none();
        assert!(same, "{}({a:?}, {b:?}) = {got:?}, expected {want:?}", kernel.name);
    }
}

/// Whether two values are equal or neither is a number.
fn equal<T: PartialOrd>(a: T, b: T) -> bool {
    a == b || a.partial_cmp(&a).is_none() && b.partial_cmp(&b).is_none()
}
