//! CPU targets: names, features, and the backend made for them.

use super::CodegenError;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use std::fmt;

/// A processor architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

/// What code is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CpuTarget {
    /// Architecture.
    pub arch: Arch,
    /// x86-64: the microarchitecture level, 2 to 4. RISC-V: 1 with vectors, else 0. Else 0.
    pub level: u8,
}

/// Names of all targets but `native`.
const NAMES: &[(&str, CpuTarget)] = &[
    ("x86-64-v2", CpuTarget { arch: Arch::X86_64, level: 2 }),
    ("x86-64-v3", CpuTarget { arch: Arch::X86_64, level: 3 }),
    ("x86-64-v4", CpuTarget { arch: Arch::X86_64, level: 4 }),
    ("aarch64", CpuTarget { arch: Arch::Aarch64, level: 0 }),
    ("riscv64", CpuTarget { arch: Arch::Riscv64, level: 0 }),
    ("riscv64+v", CpuTarget { arch: Arch::Riscv64, level: 1 }),
];

const LEVEL_2: &[&str] = &["has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_cmpxchg16b", "has_popcnt"];
const LEVEL_3: &[&str] = &["has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"];
const LEVEL_4: &[&str] = &["has_avx512f", "has_avx512dq", "has_avx512vl"];

impl CpuTarget {
    /// The target with this name; `native` is the machine this runs on.
    pub fn parse(name: &str) -> Result<CpuTarget, CodegenError> {
        if name == "native" {
            return native().ok_or_else(|| CodegenError::Target {
                target: name.into(),
                reason: "this processor lacks x86-64-v2 or is of an architecture without a backend".into(),
            });
        }
        let found = NAMES.iter().find(|(n, _)| *n == name);
        found.map(|(_, t)| *t).ok_or_else(|| CodegenError::UnknownTarget(name.into()))
    }

    /// The names that [`CpuTarget::parse`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("native").chain(NAMES.iter().map(|(n, _)| *n))
    }

    /// One instruction for `a·b + c`.
    pub(super) fn has_fma(self) -> bool {
        self.arch != Arch::X86_64 || self.level >= 3
    }

    /// 128-bit vectors.
    pub(super) fn has_vectors(self) -> bool {
        self.arch != Arch::Riscv64 || self.level >= 1
    }

    /// What the CPU must have, by the names of Rust's `target_feature`.
    pub(crate) fn required(self) -> Vec<&'static str> {
        match self.arch {
            Arch::X86_64 => {
                let levels: [&[&str]; 3] = [
                    &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"],
                    &["avx", "avx2", "fma", "bmi1", "bmi2", "lzcnt"],
                    &["avx512f", "avx512dq", "avx512vl"],
                ];
                levels[..usize::from(self.level.clamp(2, 4)) - 1].concat()
            }
            Arch::Riscv64 if self.level >= 1 => vec!["v"],
            Arch::Aarch64 | Arch::Riscv64 => Vec::new(),
        }
    }

    /// The calling convention of the code, as [`nnc_runtime::host_abi`] names it.
    pub(crate) fn abi(self) -> &'static str {
        match self.arch {
            Arch::X86_64 if self.is_host() && cfg!(windows) => "windows-x64",
            Arch::X86_64 => "sysv",
            Arch::Aarch64 | Arch::Riscv64 => "standard",
        }
    }

    /// Of the architecture that this runs on.
    fn is_host(self) -> bool {
        match self.arch {
            Arch::X86_64 => cfg!(target_arch = "x86_64"),
            Arch::Aarch64 => cfg!(target_arch = "aarch64"),
            Arch::Riscv64 => cfg!(target_arch = "riscv64"),
        }
    }

    /// Flags that Cranelift must be given, as it does not take them for granted.
    fn features(self) -> Vec<&'static str> {
        match self.arch {
            Arch::X86_64 => {
                let levels = [LEVEL_2, LEVEL_3, LEVEL_4];
                levels[..usize::from(self.level.clamp(2, 4)) - 1].concat()
            }
            Arch::Aarch64 => Vec::new(),
            Arch::Riscv64 if self.level >= 1 => vec!["has_v", "has_zvl128b", "has_c", "has_zca", "has_zcd"],
            Arch::Riscv64 => vec!["has_c", "has_zca", "has_zcd"],
        }
    }

    fn triple(self) -> &'static str {
        let host = self.is_host();
        match self.arch {
            Arch::X86_64 if host && cfg!(windows) => "x86_64-pc-windows-msvc",
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 if host && cfg!(target_vendor = "apple") => "aarch64-apple-darwin",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
            Arch::Riscv64 => "riscv64gc-unknown-linux-gnu",
        }
    }

    /// The backend.
    pub(super) fn backend(self) -> Result<OwnedTargetIsa, CodegenError> {
        let fail = |reason: String| CodegenError::Target { target: self.to_string(), reason };
        let mut shared = settings::builder();
        let verifier = if cfg!(debug_assertions) { "true" } else { "false" };
        for (name, value) in [
            ("opt_level", "speed"),
            ("is_pic", "true"),
            ("enable_verifier", verifier),
            ("unwind_info", "false"),
            ("enable_probestack", "false"),
            ("preserve_frame_pointers", "false"),
        ] {
            shared.set(name, value).map_err(|e| fail(e.to_string()))?;
        }
        let mut builder = isa::lookup_by_name(self.triple()).map_err(|e| match e {
            isa::LookupError::SupportDisabled => {
                fail("nnc was built without its backend (feature \"all-targets\")".into())
            }
            other => fail(other.to_string()),
        })?;
        for name in self.features() {
            builder.enable(name).map_err(|e| fail(format!("{name}: {e}")))?;
        }
        builder.finish(settings::Flags::new(shared)).map_err(|e| fail(e.to_string()))
    }
}

impl fmt::Display for CpuTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, t)| t == self).map_or("unknown", |(n, _)| n);
        f.write_str(name)
    }
}

#[cfg(target_arch = "x86_64")]
fn native() -> Option<CpuTarget> {
    use std::arch::is_x86_feature_detected as has;
    let v2 = has!("sse4.2") && has!("popcnt");
    let v3 = v2 && has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt");
    let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let level = [v2, v3, v4].iter().filter(|x| **x).count() as u8 + 1;
    v2.then_some(CpuTarget { arch: Arch::X86_64, level })
}

#[cfg(target_arch = "aarch64")]
fn native() -> Option<CpuTarget> {
    Some(CpuTarget { arch: Arch::Aarch64, level: 0 })
}

#[cfg(target_arch = "riscv64")]
fn native() -> Option<CpuTarget> {
    Some(CpuTarget { arch: Arch::Riscv64, level: 0 })
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn native() -> Option<CpuTarget> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in CpuTarget::names().filter(|n| *n != "native") {
            assert_eq!(CpuTarget::parse(name).expect("a listed name").to_string(), name);
        }
        assert_eq!(CpuTarget::parse("z80"), Err(CodegenError::UnknownTarget("z80".into())));
    }
}
