//! Panics are bugs; one of them must not end a run over many cases, nor look like a crash.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once};

/// The latest panic, on whatever thread.
static LATEST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `f`; a panic becomes its message and place.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| panic::set_hook(Box::new(note)));
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|_| {
        let latest = LATEST.lock().ok().and_then(|mut latest| latest.take());
        latest.unwrap_or_else(|| "panic".to_owned())
    })
}

fn note(info: &panic::PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("panic");
    let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
    if let Ok(mut latest) = LATEST.lock() {
        *latest = Some(format!("{text}{place}"));
    }
}
