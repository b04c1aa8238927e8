//! Which function stands behind a routine's name: one of the application or of the library.

use nnc_routines::Attrs;
use nnc_tensor::Value;
use nnc_tensor::plan::Attr;

/// Why a routine of the application has no result, in words.
pub type RoutineFailure = Box<dyn std::error::Error + Send + Sync>;

/// A routine of the application: attributes by name and arguments to results. An argument that was
/// left out is `Value::Optional(None)`. It must not panic on any input.
pub type RoutineFn = fn(&[(String, Attr)], &[Value]) -> Result<Vec<Value>, RoutineFailure>;

/// A routine that was found.
#[derive(Clone, Copy)]
pub(crate) enum Routine {
    Own(RoutineFn),
    Library(&'static nnc_routines::Routine),
}

impl Routine {
    /// The routine of that name, the application's first.
    pub(crate) fn find(name: &str, own: &[(&str, RoutineFn)]) -> Option<Routine> {
        let own = own.iter().find(|(n, _)| *n == name).map(|(_, f)| Routine::Own(*f));
        own.or_else(|| nnc_routines::lookup(name).map(Routine::Library))
    }

    /// Runs it.
    pub(crate) fn run(
        self,
        attrs: &[(String, Attr)],
        inputs: &[Value],
    ) -> Result<Vec<Value>, RoutineFailure> {
        match self {
            Routine::Own(f) => f(attrs, inputs),
            Routine::Library(r) => Ok((r.run)(&Attrs(attrs), inputs)?),
        }
    }
}
