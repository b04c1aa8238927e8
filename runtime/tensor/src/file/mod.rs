//! Tensors in files: NumPy's `.npy` and `.npz`, and the protobuf messages of ONNX's test data.
//!
//! Nothing in a file is believed before it is checked: a malformed one is an error value, and no
//! memory is reserved that its bytes do not fill.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod npy;
mod npz;
mod proto;
mod wire;

pub use npy::{read_npy, write_npy};
pub use npz::{read_npz, write_npz};
pub use proto::{ProtoKind, read_tensor_proto, read_value_proto, write_tensor_proto};

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The bytes end too early or break the rules of the format.
    #[error("malformed {format}: {what}")]
    Malformed {
        /// `npy` or `protobuf`.
        format: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A valid file that holds something this crate does not read.
    #[error("{0} cannot be read")]
    Unsupported(String),
    /// A data type that the format does not have.
    #[error("npy files have no type {0}, cast it to another")]
    NoType(crate::DType),
    /// Shape and data do not agree.
    #[error(transparent)]
    Tensor(#[from] crate::TensorError),
    /// The archive is damaged.
    #[error("npz archive: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The unpacked data of an archive exceed the caller's limit.
    #[error("npz archive holds more than {0} bytes")]
    TooLarge(u64),
}

impl FileError {
    fn malformed(format: &'static str, what: impl Into<String>) -> FileError {
        FileError::Malformed { format, what: what.into() }
    }
}
