//! What this CPU is and has, by the names of Rust's `target_feature`.
#![cfg_attr(all(target_os = "linux", target_arch = "riscv64"), allow(unsafe_code))]

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

/// Those of `features` that this CPU lacks; unknown names count as lacking.
pub(crate) fn missing_features(features: &[String]) -> Vec<String> {
    features.iter().filter(|f| !has(f)).cloned().collect()
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
        assert_eq!(missing_features(&wanted), wanted);
    }
}
