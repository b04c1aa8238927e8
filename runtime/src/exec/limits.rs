//! What a run may use, and what it records.

use super::{Profile, RunError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Limits and records of one run.
#[derive(Default)]
pub struct RunOptions<'a> {
    /// When the run gives up.
    pub deadline: Option<Instant>,
    /// The run gives up soon after this becomes true.
    pub cancel: Option<Arc<AtomicBool>>,
    /// Bytes that the session's memory may grow to.
    pub max_memory: Option<u64>,
    /// Takes the times of the steps.
    pub profile: Option<&'a mut Profile>,
}

/// The limits of a run, as its threads look at them.
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    pub(crate) max_memory: u64,
}

impl Limits {
    /// There is something to look at during the run.
    pub(crate) fn watched(&self) -> bool {
        self.deadline.is_some() || self.cancel.is_some()
    }

    /// Gives up where the caller wants it.
    pub(crate) fn poll(&self) -> Result<(), RunError> {
        if self.cancel.as_ref().is_some_and(|c| c.load(Ordering::Relaxed)) {
            return Err(RunError::Canceled);
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(RunError::Deadline);
        }
        Ok(())
    }
}
