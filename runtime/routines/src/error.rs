//! Why a routine has no result.

use nnc_tensor::TensorError;

/// What is wrong with the arguments of a routine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RoutineError {
    /// An input that has to be there.
    #[error("input \"{0}\" is missing")]
    MissingInput(&'static str),
    /// An input of another kind: a sequence where a tensor is needed, floats for integers.
    #[error("input \"{name}\" must be {expected}, found {found}")]
    Input {
        /// Which.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// An attribute that has to be there.
    #[error("attribute \"{0}\" is missing")]
    MissingAttr(&'static str),
    /// An attribute with another type or value than it may have.
    #[error("attribute \"{name}\" must be {expected}")]
    Attr {
        /// Which.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// An axis beyond the dimensions.
    #[error("axis must lie in -{rank}..{rank}, found {axis}")]
    Axis {
        /// Asked for.
        axis: i64,
        /// Number of dimensions.
        rank: usize,
    },
    /// A position beyond the elements.
    #[error("position must lie in -{len}..{len}, found {position}")]
    Position {
        /// Asked for.
        position: i64,
        /// Number of elements.
        len: usize,
    },
    /// The result does not fit in memory.
    #[error("result of shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// Text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    NotUtf8,
    /// Shapes or values that do not fit each other.
    #[error("{0}")]
    Mismatch(String),
    /// A tensor cannot be made or moved.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
