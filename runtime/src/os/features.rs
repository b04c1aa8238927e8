//! What this CPU is and has, by the names of Rust's `target_feature`.
//!
//! A limit, where one is given, makes the CPU one that has this instruction set and those it implies,
//! and nothing of the others.
#![cfg_attr(all(target_os = "linux", target_arch = "riscv64"), allow(unsafe_code))]

use nnc_kernels::Isa;

/// The architecture's name as targets begin with it.
pub(crate) fn host_architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "x86-64"
    } else if cfg!(target_arch = "aarch64") {
        "aarch64"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else {
        std::env::consts::ARCH
    }
}

/// What levels of the x86-64 architecture ask for, as far as compiled code uses it.
const LEVELS: &[(&str, &[&str])] = &[
    ("x86-64-v4", &["avx512f", "avx512bw", "avx512dq", "avx512vl"]),
    ("x86-64-v3", &["avx", "avx2", "bmi1", "bmi2", "fma", "lzcnt"]),
    ("x86-64-v2", &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"]),
];

/// The best target whose code this CPU can run.
pub(crate) fn best_target(limit: Option<Isa>) -> &'static str {
    let has_all = |features: &[&str]| features.iter().all(|f| has_within(f, limit));
    match host_architecture() {
        "x86-64" => LEVELS.iter().find(|(_, f)| has_all(f)).map_or("x86-64", |(name, _)| name),
        "riscv64" if has_within("v", limit) => "riscv64+v",
        other => other,
    }
}

/// Those of `features` that this CPU lacks; unknown names count as lacking.
pub(crate) fn missing_features(features: &[String], limit: Option<Isa>) -> Vec<String> {
    features.iter().filter(|f| !has_within(f, limit)).cloned().collect()
}

fn has_within(name: &str, limit: Option<Isa>) -> bool {
    let beyond = |limit: Isa| {
        let others = Isa::ALL.into_iter().filter(|isa| !limit.implied().contains(isa));
        others.into_iter().any(|isa| isa.features().contains(&name))
    };
    has(name) && !limit.is_some_and(beyond)
}

/// Matches a name against literals, each given to the detection macro.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! detect {
    ($name:expr, $detect:ident: $($feature:tt)*) => {
        match $name {
            $($feature => std::arch::$detect!($feature),)*
            _ => false,
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn has(name: &str) -> bool {
    detect!(name, is_x86_feature_detected: "sse" "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "lzcnt"
        "movbe" "bmi1" "bmi2" "avx" "f16c" "fma" "avx2" "avx512f" "avx512bw" "avx512cd" "avx512dq"
        "avx512vl" "avx512vnni" "avx512bf16" "avx512fp16" "avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn has(name: &str) -> bool {
    detect!(name, is_aarch64_feature_detected: "neon" "fp16" "dotprod" "bf16" "i8mm" "sve" "lse" "fhm")
}

/// The kernel's report; bit numbers are letters of the base extensions.
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
fn has(name: &str) -> bool {
    // SAFETY: the call reads the process's auxiliary vector.
    let caps = unsafe { libc::getauxval(libc::AT_HWCAP) };
    match name.as_bytes() {
        [letter @ b'a'..=b'z'] => caps >> (letter - b'a') & 1 == 1,
        _ => false,
    }
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_os = "linux", target_arch = "riscv64")
)))]
fn has(_: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_features_are_missing() {
        let wanted = vec!["no-such-thing".to_owned()];
        assert_eq!(missing_features(&wanted, None), wanted);
    }

    #[test]
    fn limits_take_features_and_levels_away() {
        for isa in Isa::ALL {
            let features: Vec<String> = isa.features().iter().map(|f| (*f).to_owned()).collect();
            assert_eq!(missing_features(&features, Some(Isa::Portable)), features);
        }
        let levels = [("x86-64-v2", Isa::Portable), ("x86-64-v3", Isa::Avx2), ("x86-64-v4", Isa::Avx512)];
        for (name, isa) in levels.into_iter().filter(|(_, isa)| Isa::available().contains(isa)) {
            let expected = if cfg!(target_arch = "x86_64") { name } else { host_architecture() };
            assert_eq!(best_target(Some(isa)).trim_end_matches("+v"), expected);
        }
    }
}
