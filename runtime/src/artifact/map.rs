//! The artifact's bytes in memory: the file mapped read-only, its code mapped read-execute.
//!
//! A mapped file is read through a private mapping: whoever truncates an artifact while a program
//! uses it ends that program, as with a shared library. Replacing the file (as the writer does) is safe.
#![allow(unsafe_code)]

use super::error::ArtifactError;
use crate::os::{BLOCK_ALIGN, Block};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// All bytes of an artifact.
#[derive(Clone)]
pub(crate) struct Image(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Image {
    /// Bytes that were read or received; moved where they do not begin at a cache line, since the
    /// constants inside have to.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Image> {
        if bytes.as_ptr().align_offset(BLOCK_ALIGN) == 0 {
            return Some(Image(Arc::new(bytes)));
        }
        let mut block = Block::zeroed(bytes.len())?;
        block.copy_from_slice(&bytes);
        Some(Image(Arc::new(block)))
    }

    /// The whole file, mapped read-only.
    pub(crate) fn map(file: &File, path: &Path) -> Result<Image, ArtifactError> {
        // SAFETY: the mapping is private and only ever read, through slices of plain bytes that the
        // loader checks before it believes them; the module's comment says what truncation does.
        let map = unsafe { Mmap::map(file) }.map_err(|e| ArtifactError::io("map", path, e))?;
        Ok(Image(Arc::new(map)))
    }

    /// A handle on the bytes for tensors that share them.
    pub(crate) fn owner(&self) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
        Arc::clone(&self.0)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Machine code in executable memory.
pub(crate) struct Code(Option<Mmap>);

impl Code {
    /// A range of a file, mapped read-execute.
    pub(crate) fn map(file: &File, path: &Path, offset: u64, len: usize) -> Result<Code, ArtifactError> {
        if len == 0 {
            return Ok(Code(None));
        }
        // SAFETY: as for `Image::map`; the pages are executable but nothing here runs them, and the
        // caller has checked that the range lies inside the file.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map_exec(file) };
        Ok(Code(Some(map.map_err(|e| ArtifactError::io("map the code of", path, e))?)))
    }

    /// A copy of `bytes` in memory of its own, made read-execute.
    pub(crate) fn copy(bytes: &[u8]) -> Result<Code, ArtifactError> {
        if bytes.is_empty() {
            return Ok(Code(None));
        }
        let mut map = MmapMut::map_anon(bytes.len()).map_err(ArtifactError::Map)?;
        map.copy_from_slice(bytes);
        Ok(Code(Some(map.make_exec().map_err(ArtifactError::Map)?)))
    }

    /// The code.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}
