//! Instruction sets: names, order, detection.
//!
//! Detection asks the CPU and the operating system (vector registers must be saved on a task
//! switch). Nothing here is cached or global: a caller that wants another set passes it.

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// The base of the target: runs everywhere.
    Portable,
    /// AVX2, FMA and F16C (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, VL and DQ (x86-64-v4), above AVX2.
    Avx512,
    /// AVX-512 with VNNI.
    Avx512Vnni,
    /// 128-bit Advanced SIMD of aarch64.
    Neon,
    /// Advanced SIMD with products of four bytes.
    NeonDot,
}

/// What an x86-64 CPU may have, each set a superset of the one before it.
const X86_64: [Isa; 4] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni];
/// What an aarch64 CPU may have, likewise.
const AARCH64: [Isa; 3] = [Isa::Portable, Isa::Neon, Isa::NeonDot];

impl Isa {
    /// All instruction sets.
    pub const ALL: [Isa; 6] =
        [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Neon, Isa::NeonDot];

    /// The name by which an option or an artifact refers to it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Neon => "neon",
            Isa::NeonDot => "neondot",
        }
    }

    /// The instruction set of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// What CPUs with the sets that this one implies may lack and those with this one have, by the names
    /// of Rust's `target_feature`.
    pub const fn features(self) -> &'static [&'static str] {
        match self {
            // Advanced SIMD is part of the base.
            Isa::Portable | Isa::Neon => &[],
            Isa::Avx2 => &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe"],
            Isa::Avx512 => &["avx512f", "avx512bw", "avx512dq", "avx512vl"],
            Isa::Avx512Vnni => &["avx512vnni"],
            Isa::NeonDot => &["dotprod"],
        }
    }

    /// Every set that a CPU with this one also has, itself last.
    pub fn implied(self) -> &'static [Isa] {
        let chain: &'static [Isa] = if matches!(self, Isa::Neon | Isa::NeonDot) { &AARCH64 } else { &X86_64 };
        let end = chain.iter().position(|&isa| isa == self).map_or(1, |at| at + 1);
        &chain[..end]
    }

    /// The best set of this CPU. The question costs some microseconds: ask once and keep the answer.
    pub fn detect_best() -> Isa {
        detect()
    }

    /// The sets of this CPU, best last.
    pub fn available() -> &'static [Isa] {
        Isa::detect_best().implied()
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Whether all of `bits` are set in `word`.
    fn all(word: u64, bits: &[u32]) -> bool {
        bits.iter().all(|&bit| word >> bit & 1 == 1)
    }
    #[target_feature(enable = "xsave")]
    fn saved_state() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }

    if __cpuid(0).eax < 7 {
        return Isa::Portable;
    }
    let (basic, extended) = (__cpuid(1), __cpuid_count(7, 0));
    let (basic_ecx, ebx, ecx) = (u64::from(basic.ecx), u64::from(extended.ebx), u64::from(extended.ecx));
    // FMA, XSAVE in use by the system (OSXSAVE), AVX, F16C; then AVX2.
    if !(all(basic_ecx, &[12, 26, 27, 28, 29]) && all(ebx, &[5])) {
        return Isa::Portable;
    }
    // SAFETY: the XSAVE and OSXSAVE bits were checked above.
    let state = unsafe { saved_state() };
    if !all(state, &[1, 2]) {
        return Isa::Portable;
    }
    // F, DQ, BW, VL; mask registers and both halves of the upper vector state are saved.
    if !(all(ebx, &[16, 17, 30, 31]) && all(state, &[5, 6, 7])) {
        return Isa::Avx2;
    }
    if all(ecx, &[11]) { Isa::Avx512Vnni } else { Isa::Avx512 }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Isa {
    if cfg!(target_feature = "dotprod") || has_dot_products() { Isa::NeonDot } else { Isa::Neon }
}

/// The kernel's report: the CPU's own registers are not for programs to read.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn has_dot_products() -> bool {
    // SAFETY: the call reads the process's auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP) & libc::HWCAP_ASIMDDP != 0 }
}

#[cfg(all(target_arch = "aarch64", not(target_os = "linux")))]
fn has_dot_products() -> bool {
    false
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Isa {
    Isa::Portable
}
