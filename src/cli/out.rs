//! What goes to standard output.

use super::failure::Failure;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes a line to standard output; ends the program quietly where nobody reads any more.
macro_rules! say {
    ($($t:tt)*) => { $crate::cli::out::line(&format!($($t)*)) };
}
pub(crate) use say;

/// Writes a line and hands it on at once.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            eprintln!("error: cannot write to standard output: {e}");
            std::process::exit(2);
        }
    }
}

/// A table without borders; the last column fills the line.
pub(crate) fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

/// Prints a table.
pub(crate) fn print_table(table: &comfy_table::Table) {
    table.lines().for_each(|l| line(l.trim_end()));
}

/// A number of bytes in words.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n, ["B", "KB", "MB", "GB", "TB"])
}

/// A number of arithmetic operations in words.
pub(crate) fn operations(n: u64) -> String {
    scaled(n, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"])
}

/// A number with a unit, each the thousandfold of the one before.
fn scaled(n: u64, units: [&str; 5]) -> String {
    let (mut x, mut unit) = (n as f64, 0);
    while x >= 1000.0 && unit + 1 < units.len() {
        x /= 1000.0;
        unit += 1;
    }
    match x {
        _ if unit == 0 => format!("{n} {}", units[0]),
        x if x < 10.0 => format!("{x:.1} {}", units[unit]),
        x => format!("{x:.0} {}", units[unit]),
    }
}

/// A time in seconds in words.
pub(crate) fn seconds(t: f64) -> String {
    match t {
        t if t < 1e-3 => format!("{:.1} µs", t * 1e6),
        t if t < 1.0 => format!("{:.3} ms", t * 1e3),
        t => format!("{t:.2} s"),
    }
}

/// A line that turns while something takes long; nothing where standard error is no terminal.
pub(crate) fn spinner(what: &str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner().with_message(what.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Writes a file whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |e: std::io::Error| Failure::user(format!("cannot write \"{}\": {e}", path.display()));
    let mut file = place_for(path)?;
    file.write_all(bytes).and_then(|()| file.flush()).map_err(fail)?;
    file.persist(path).map(drop).map_err(|e| fail(e.error))
}

/// A temporary file beside a file that can be written; it goes if nothing is done with it.
pub(crate) fn place_for(path: &Path) -> Result<tempfile::NamedTempFile, Failure> {
    replaceable(path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::NamedTempFile::new_in(folder)
        .map_err(|e| Failure::user(format!("cannot write \"{}\": {e}", path.display())))
}

/// Refuses to put a file in the place of a device or folder.
pub(crate) fn replaceable(path: &Path) -> Result<(), Failure> {
    match std::fs::metadata(path) {
        Ok(kind) if !kind.is_file() => Err(Failure::user(format!(
            "cannot write \"{}\": it exists and is no regular file",
            path.display()
        ))),
        _ => Ok(()),
    }
}
