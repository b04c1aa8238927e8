//! Placeholder while the family is written.
use crate::Kernel;
/// The family's rows.
pub(crate) const ROWS: &[&[Kernel]] = &[];
