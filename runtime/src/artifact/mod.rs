//! Artifacts: compiled models in one file.

mod decode;
mod error;
mod format;
mod header;
mod map;
mod read;
#[cfg(feature = "write")]
mod write;

pub use error::ArtifactError;
pub use format::{ArtifactInfo, DeviceCode, DeviceEntry, DeviceText, TargetInfo, WEIGHT_ALIGN, host_abi};
pub use read::{Artifact, LoadOptions};
#[cfg(feature = "write")]
pub use write::{ArtifactWriter, TargetCode};
