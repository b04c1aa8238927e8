//! What goes to standard output.

use std::io::{ErrorKind, Write};

/// Writes a line to standard output; ends the program quietly where nobody reads any more.
macro_rules! say {
    ($($t:tt)*) => { $crate::cli::out::line(&format!($($t)*)) };
}
pub(crate) use say;

/// Writes a line and hands it on at once.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            eprintln!("error: cannot write to standard output: {e}");
            std::process::exit(2);
        }
    }
}
