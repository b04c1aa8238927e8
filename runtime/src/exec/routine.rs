//! Which function stands behind a routine's name.

use nnc_tensor::Value;
use nnc_tensor::plan::Attr;

/// Why a routine has no result, in words.
pub type RoutineFailure = Box<dyn std::error::Error + Send + Sync>;

/// A routine: attributes by name and arguments to results. An argument that was left out is
/// `Value::Optional(None)`. It must not panic on any input.
pub type RoutineFn = fn(&[(String, Attr)], &[Value]) -> Result<Vec<Value>, RoutineFailure>;

/// The application's routine of that name.
pub(crate) fn find(name: &str, own: &[(&str, RoutineFn)]) -> Option<RoutineFn> {
    own.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
}
