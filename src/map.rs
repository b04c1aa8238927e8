//! Model files as bytes that stay in place.
//!
//! A file is read through a private mapping, so that weights are never copied: whoever truncates a
//! model while it is compiled ends the compilation, as with any mapped file.
#![allow(unsafe_code)]

use memmap2::Mmap;
use nnc_frontend::model::SharedBytes;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The bytes of a file.
pub(crate) fn map_file(path: &Path) -> io::Result<SharedBytes> {
    let file = File::open(path)?;
    let kind = file.metadata()?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Pipes and devices cannot be mapped, and neither can nothing.
    if !kind.is_file() || kind.len() == 0 {
        return Ok(Arc::new(std::fs::read(path)?));
    }
    // SAFETY: the mapping is private and read-only, and used as plain bytes that the reader checks
    // before it believes them; the module's comment says what truncation does.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Arc::new(map))
}
