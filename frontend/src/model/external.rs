//! Weights in files beside the model, which the model names and therefore nobody trusts.
//!
//! A file is taken only from inside the model's own folder, after all links are resolved, and is
//! opened (mapped) once however many tensors lie in it. Mapping is the caller's, since it is
//! unsafe and this crate is not.

use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::types::{ByteRange, SharedBytes};
use crate::error::Error;

/// Opens a file as bytes that stay in place.
pub type OpenFile<'a> = dyn Fn(&Path) -> io::Result<SharedBytes> + 'a;

/// The files beside a model.
#[derive(Default)]
pub struct ExternalFiles<'a> {
    folder: Option<(PathBuf, &'a OpenFile<'a>)>,
    opened: HashMap<PathBuf, SharedBytes>,
}

impl<'a> ExternalFiles<'a> {
    /// No files: a model that refers to one is refused.
    pub fn none() -> ExternalFiles<'a> {
        ExternalFiles::default()
    }

    /// The files inside `folder`, opened by `open`.
    pub fn beside(folder: &Path, open: &'a OpenFile<'a>) -> ExternalFiles<'a> {
        // The folder of a bare file name is empty, which no file system call accepts.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        ExternalFiles { folder: Some((folder.to_owned(), open)), opened: HashMap::new() }
    }

    /// The bytes that `entries` (the `external_data` of a tensor) refer to, `len` in number.
    pub(crate) fn read(
        &mut self,
        tensor: &str,
        entries: &[(String, String)],
        len: usize,
    ) -> Result<ByteRange, Error> {
        let value =
            |key: &str| entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let location = value("location").unwrap_or("");
        self.range(location, value("offset"), value("length"), len).map_err(|reason| Error::ExternalData {
            tensor: tensor.to_owned(),
            path: PathBuf::from(location),
            reason,
        })
    }

    fn range(
        &mut self,
        location: &str,
        offset: Option<&str>,
        length: Option<&str>,
        len: usize,
    ) -> Result<ByteRange, String> {
        let offset = offset.map_or(Ok(0), |text| number("offset", text))?;
        let stated = length.map_or(Ok(len), |text| number("length", text))?;
        if stated != len {
            return Err(format!(
                "expected a length of {len} bytes for the tensor's dimensions, found {stated}"
            ));
        }
        let file = self.open(location)?;
        let size = (*file).as_ref().len();
        let end = offset.checked_add(len).ok_or_else(|| format!("offset {offset} overflows"))?;
        ByteRange::new(file, offset..end)
            .ok_or_else(|| format!("the file is too short: expected at least {end} bytes, found {size}"))
    }

    fn open(&mut self, location: &str) -> Result<SharedBytes, String> {
        let (folder, open) = self
            .folder
            .as_ref()
            .ok_or("the model was not read from a folder, so it has no files beside it")?;
        let path = inside(folder, location)?;
        if let Some(bytes) = self.opened.get(&path) {
            return Ok(Arc::clone(bytes));
        }
        let bytes = open(&path).map_err(|error| error.to_string())?;
        self.opened.insert(path, Arc::clone(&bytes));
        Ok(bytes)
    }
}

fn number(key: &str, text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| format!("{key} \"{text}\" is not a number of bytes"))
}

/// The real path of `location` in `folder`, if it is a file that truly lies inside.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    if location.is_empty() {
        return Err("no location is stated".to_owned());
    }
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("the location must be a relative path without \"..\"".to_owned());
    }
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let path = folder.join(relative).canonicalize().map_err(|error| error.to_string())?;
    if !path.starts_with(&folder) {
        return Err("the file lies outside the model's folder".to_owned());
    }
    if !path.is_file() {
        return Err("is not a regular file".to_owned());
    }
    Ok(path)
}
