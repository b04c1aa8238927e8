//! The artifact file: header, section table, sections. All numbers are little-endian.
//!
//! ```text
//!  0  4  "nncA"
//!  4  2  major version: readers refuse another one
//!  6  2  minor version: readers ignore sections they do not know
//!  8 24  version of the writer, UTF-8, zero-padded (the same place in every major version)
//! 32  8  length of the file
//! 40  4  number of sections
//! 44  4  zero
//! 48  8  checksum of header and section table, this field taken as zero
//! 56 32  per section: kind (4), number of its target (4), offset (8), length (8), checksum (8)
//! ```
//!
//! There is code for one or more targets. Each has a plan and a section of code of its own, and one with
//! code for devices, if it is for them; the weights are shared.
//! Checksums are XXH3 with 64 bits. Info and plan are postcard; the code is machine code that needs
//! no relocation; the weights are what [`Place::Constant`](nnc_tensor::plan::Place) points into.
//! A string constant is stored element by element as a length (4 bytes) and its bytes.

use nnc_tensor::plan::DimId;
use serde::{Deserialize, Serialize};

/// The first four bytes.
pub(crate) const MAGIC: [u8; 4] = *b"nncA";
/// Major version that this library reads and writes.
pub(crate) const MAJOR: u16 = 3;
/// Minor version that this library writes.
#[cfg(feature = "write")]
pub(crate) const MINOR: u16 = 0;
/// Bytes before the section table.
pub(crate) const HEADER_LEN: usize = 56;
/// Bytes of one row of the section table.
pub(crate) const ENTRY_LEN: usize = 32;
/// Where the header's checksum is.
pub(crate) const CHECKSUM_AT: usize = 48;
/// Bytes for the writer's version.
pub(crate) const WRITER_LEN: usize = 24;
/// More sections than any minor version will have.
pub(crate) const MAX_SECTIONS: usize = 64;
/// Code and weights start at multiples of this.
#[cfg(feature = "write")]
pub(crate) const PAGE: u64 = 4096;
/// Constants start at multiples of this within the weights.
pub const WEIGHT_ALIGN: u64 = 64;

/// What a section holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum SectionKind {
    /// [`ArtifactInfo`].
    Info = 1,
    /// The plan.
    Plan = 2,
    /// Machine code.
    Code = 3,
    /// Constants.
    Weights = 4,
    /// [`DeviceCode`]; only of targets that are devices.
    Device = 5,
}

impl SectionKind {
    /// Every kind; each target has a plan and code.
    pub(crate) const ALL: [SectionKind; 5] =
        [SectionKind::Info, SectionKind::Plan, SectionKind::Code, SectionKind::Weights, SectionKind::Device];

    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SectionKind::Info => "info",
            SectionKind::Plan => "plan",
            SectionKind::Code => "code",
            SectionKind::Weights => "weights",
            SectionKind::Device => "device code",
        }
    }
}

/// One row of the section table.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Section {
    /// A [`SectionKind`], or one from a later minor version.
    pub(crate) kind: u32,
    /// Number of the target that it belongs to; zero where it serves all.
    pub(crate) target: u32,
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// Of its bytes.
    pub(crate) checksum: u64,
}

/// Checksum of a section.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Where an artifact comes from and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArtifactInfo {
    /// The model's name.
    pub model: String,
    /// The precision class it was compiled for: `f32`, `f32-strict`, `f32-fast`, `bf16`, `f16`.
    pub precision: String,
    /// Version of the compiler.
    pub writer: String,
    /// What there is code for; none where the artifact holds a plan without machine code.
    pub targets: Vec<TargetInfo>,
    /// Hash of the options of the compilation.
    pub options_hash: u64,
    /// Hash of the model file.
    pub model_hash: u64,
}

/// A machine that there is code for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Its name: `x86-64-v3`, `aarch64`, `cuda`.
    pub name: String,
    /// Calling convention of the code, as [`host_abi`] names it.
    pub abi: String,
    /// What the CPU must have, by the names of Rust's `target_feature`: `avx2`, `fma`.
    pub features: Vec<String>,
}

/// Code of the plan's kernels for devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceCode {
    /// One for each kernel of the plan, in order.
    pub entries: Vec<DeviceEntry>,
    /// The same entries for different devices.
    pub texts: Vec<DeviceText>,
}

/// How a kernel is launched on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceEntry {
    /// Its name in the texts.
    pub name: String,
    /// Threads of a block.
    pub threads: u32,
    /// A grid point takes a thread, not a block.
    pub thread_per_point: bool,
    /// Bytes of workspace for each block, or for each thread where a point takes one.
    pub workspace: DimId,
}

/// A text in PTX.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceText {
    /// Major number of the compute capability that it needs.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Only devices of exactly this capability take it.
    pub exact: bool,
    /// The text.
    pub text: String,
}

/// The name of the calling convention that compiled code must follow on this system.
pub fn host_abi() -> &'static str {
    match (cfg!(windows), cfg!(target_arch = "x86_64")) {
        (true, true) => "windows-x64",
        (false, true) => "sysv",
        _ => "standard",
    }
}
