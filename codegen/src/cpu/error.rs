//! What can go wrong in code generation.

/// Why kernels could not be compiled.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodegenError {
    /// The name of a target is not known.
    #[error("target \"{0}\" is not known")]
    UnknownTarget(String),
    /// The target exists but this build has no backend for it.
    #[error("target \"{target}\" is not available: {reason}")]
    Target {
        /// Its name.
        target: String,
        /// Why.
        reason: String,
    },
    /// The kernel uses something that has no machine code form.
    #[error("kernel \"{kernel}\": {what} is not supported by this backend")]
    Unsupported {
        /// The kernel's name.
        kernel: String,
        /// What it uses.
        what: String,
    },
    /// The backend refused or crashed: a bug of the compiler.
    #[error("internal error: kernel \"{kernel}\": {message}")]
    Internal {
        /// The kernel's name.
        kernel: String,
        /// What the backend said.
        message: String,
    },
}
