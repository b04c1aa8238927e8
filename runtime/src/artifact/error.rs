//! Why an artifact cannot be loaded or written.

use crate::device::DeviceError;
use std::path::{Path, PathBuf};

/// Why an artifact cannot be loaded or written.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused.
    #[error("cannot {action} \"{}\": {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Memory for code given as bytes.
    #[error("cannot map the code: {0}")]
    Map(std::io::Error),
    /// Another kind of file.
    #[error("this is no nnc artifact: it does not start with \"nncA\"")]
    NotAnArtifact,
    /// Written in another major format.
    #[error("the artifact has format {found}, written by nnc {writer}; this runtime reads format {expected}")]
    Version {
        /// The file's major version.
        found: u16,
        /// This library's.
        expected: u16,
        /// Version of the writer.
        writer: String,
    },
    /// The file ends early or is longer than it says.
    #[error("the artifact is incomplete: it says it has {expected} bytes, found {found}")]
    Length {
        /// By the header.
        expected: u64,
        /// By the file system.
        found: u64,
    },
    /// A part lies outside the file, or is missing or doubled.
    #[error("the artifact is damaged: {0}")]
    Damaged(&'static str),
    /// The bytes of a section are not those that were written.
    #[error("the artifact is damaged: the checksum of its {0} is wrong")]
    Checksum(&'static str),
    /// A section cannot be decoded.
    #[error("the artifact is damaged: its {0} cannot be decoded")]
    Decode(&'static str),
    /// An index, offset or size of the plan is wrong.
    #[error("the artifact's plan is not valid: {0}")]
    Plan(String),
    /// For another kind of CPU.
    #[error(
        "the artifact was compiled for {target}; this CPU is {host}: compile the model with --target {host}"
    )]
    Target {
        /// The artifact's target.
        target: String,
        /// The best target of this CPU.
        host: &'static str,
    },
    /// For another operating system's calling convention.
    #[error("the artifact follows the calling convention \"{found}\"; this system's is \"{expected}\"")]
    Abi {
        /// The artifact's.
        found: String,
        /// This system's.
        expected: &'static str,
    },
    /// The CPU lacks instructions.
    #[error("the artifact was compiled for {target}; this CPU is {host} and lacks {}", missing.join(", "))]
    Features {
        /// The artifact's target.
        target: String,
        /// The best target of this CPU.
        host: &'static str,
        /// What the CPU lacks.
        missing: Vec<String>,
    },
    /// An instruction set was asked for that the CPU lacks.
    #[error("this CPU has no instruction set \"{0}\"")]
    Isa(&'static str),
    /// No kernel serves a contract.
    #[error("this runtime has no kernel \"{name}\" version {version} for this CPU")]
    Kernel {
        /// The contract's name.
        name: String,
        /// Its version.
        version: u32,
    },
    /// A device that was asked for cannot be opened.
    #[error(transparent)]
    NoDevice(#[from] DeviceError),
    /// The code is for devices, and there is none, or it refuses.
    #[error("the artifact was compiled for {target}: {source}")]
    Device {
        /// The artifact's target.
        target: String,
        /// What the device says.
        source: DeviceError,
    },
    /// A device was given, and there is code for CPUs alone.
    #[error("the artifact has no code for devices: it was compiled for {}", targets.join(", "))]
    NoDeviceCode {
        /// The artifact's targets.
        targets: Vec<String>,
    },
    /// A routine is not part of this build.
    #[error("this runtime has no routine \"{name}\"{}", feature.map(|f| format!("; it needs the feature \"{f}\"")).unwrap_or_default())]
    Routine {
        /// Its name.
        name: String,
        /// The feature that is off, where the name is known.
        feature: Option<&'static str>,
    },
}

impl ArtifactError {
    /// What to do about it, where the artifact is right but of no use here.
    pub fn help(&self) -> Option<String> {
        match self {
            ArtifactError::Target { host, .. } | ArtifactError::Features { host, .. } => {
                Some(format!("compile the model with --target {host}"))
            }
            ArtifactError::NoDeviceCode { targets } => {
                Some(format!("compile the model with --target {},cuda", targets.join(",")))
            }
            ArtifactError::Version { .. } | ArtifactError::Abi { .. } | ArtifactError::Kernel { .. } => {
                Some("compile the model again on this machine, or with --target for this CPU".into())
            }
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> ArtifactError {
        ArtifactError::Io { action, path: path.to_path_buf(), source }
    }
}
