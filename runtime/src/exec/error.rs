//! Why a run has no result.

use nnc_tensor::{DType, DimError, TensorError};

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A device failed.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// A name that no input has.
    #[error("the model has no input \"{name}\"; it has {known}")]
    UnknownInput {
        /// Given.
        name: String,
        /// The inputs' names.
        known: String,
    },
    /// A name that no output has.
    #[error("the model has no output \"{name}\"; it has {known}")]
    UnknownOutput {
        /// Given.
        name: String,
        /// The outputs' names.
        known: String,
    },
    /// An input without a value.
    #[error("input \"{0}\" is missing")]
    MissingInput(String),
    /// The wrong number of inputs or outputs.
    #[error("expected {expected} {what}, found {found}")]
    Count {
        /// Inputs or outputs.
        what: &'static str,
        /// The model's number.
        expected: usize,
        /// Given.
        found: usize,
    },
    /// A value of another kind.
    #[error("{what} \"{name}\" must be {expected}, found {found}")]
    Kind {
        /// Input or output.
        what: &'static str,
        /// Its name.
        name: String,
        /// Element type or container.
        expected: String,
        /// The same of the value.
        found: String,
    },
    /// The wrong number of dimensions.
    #[error("input \"{name}\" must have {expected} dimensions, found {found}")]
    Rank {
        /// Its name.
        name: String,
        /// The model's.
        expected: usize,
        /// The value's.
        found: usize,
    },
    /// A size that differs from the model's or from that of another input.
    #[error("input \"{name}\": size {axis} is {found}, expected {expected}")]
    Size {
        /// The input's name.
        name: String,
        /// Which dimension.
        axis: usize,
        /// The value's size.
        found: usize,
        /// The expression, and its value where it is not a number already.
        expected: String,
    },
    /// Bytes that do not fit the shape.
    #[error("{what} \"{name}\" takes {expected} bytes, found {found}")]
    Length {
        /// Input or output.
        what: &'static str,
        /// Its name.
        name: String,
        /// By its shape.
        expected: usize,
        /// Given.
        found: usize,
    },
    /// A size expression without a value.
    #[error(transparent)]
    Dim(#[from] DimError),
    /// A size that is found during the run and used before.
    #[error("size \"{0}\" is not known yet")]
    NotKnown(String),
    /// A size below zero.
    #[error("size \"{expr}\" is {value}")]
    Negative {
        /// The expression.
        expr: String,
        /// Its value.
        value: i64,
    },
    /// Two sizes differ.
    #[error("sizes must agree: {expected} expected, found {found}{given}")]
    Disagree {
        /// Expression and value.
        expected: String,
        /// Expression and value.
        found: String,
        /// The inputs' dimensions that these sizes come from.
        given: String,
    },
    /// More bytes than can be counted.
    #[error("a value of type {dtype} is too large for this machine")]
    TooLarge {
        /// Its element type.
        dtype: DType,
    },
    /// The system has not that much memory.
    #[error("cannot allocate {0} bytes")]
    NoMemory(usize),
    /// More memory than [`RunOptions::max_memory`](crate::RunOptions::max_memory).
    #[error("the run needs {needed} bytes, allowed are {allowed}")]
    Limit {
        /// Bytes in use with the one asked for.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// The deadline passed.
    #[error("the run's deadline has passed")]
    Deadline,
    /// The caller canceled the run.
    #[error("the run was canceled")]
    Canceled,
    /// A routine refused its arguments.
    #[error("{name}: {source}")]
    Routine {
        /// The routine.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value is used where none has been computed.
    #[error("a value is used before it is computed")]
    NotComputed,
    /// Values of one loop differ in shape from turn to turn, so that they cannot be joined.
    #[error("turn {turn} of the loop yields a value of another shape than turn 0")]
    Ragged {
        /// Which turn.
        turn: i64,
    },
    /// A view beyond its buffer, or an element beyond a buffer's end.
    #[error("elements beyond the end of a value are used")]
    OutOfBounds,
    /// A result of another type or shape than planned.
    #[error("expected a result of type {expected}, found {found}")]
    Result {
        /// Planned.
        expected: String,
        /// Found.
        found: String,
    },
    /// A tensor that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Where one of the others happened.
    #[error("step {step}, node \"{node}\": {source}")]
    Step {
        /// Number of the step at the plan's top level.
        step: usize,
        /// The node of the model; empty if the step has none.
        node: String,
        /// What happened.
        source: Box<RunError>,
    },
}

impl RunError {
    /// Adds the place, unless an inner step has been added.
    pub(crate) fn at(self, step: usize, node: &str) -> RunError {
        match self {
            RunError::Step { .. } | RunError::Deadline | RunError::Canceled => self,
            other => RunError::Step { step, node: node.to_owned(), source: Box::new(other) },
        }
    }
}
