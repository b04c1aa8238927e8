//! Writes artifacts: sections are streamed to a temporary file that takes the target's name at the end.
//!
//! Whatever fails (a full disk, an interrupted compiler), the target's old content stays whole.

use super::error::ArtifactError;
use super::format::*;
use super::header::header_checksum;
use nnc_tensor::plan::Plan;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// Writes one artifact; dropped before [`ArtifactWriter::finish`], it leaves nothing behind.
///
/// The order of calls is: constants, then `finish` with the code and plan of each target, and info.
pub struct ArtifactWriter {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
    at: u64,
    weights_at: u64,
    hash: Xxh3,
}

/// What an artifact holds for one target.
#[derive(Clone, Copy)]
pub struct TargetCode<'a> {
    /// Machine code; none for devices.
    pub code: &'a [u8],
    /// What runs.
    pub plan: &'a Plan,
    /// Code for devices.
    pub device: Option<&'a DeviceCode>,
}

/// Sections besides those of targets: info and weights.
const SHARED: usize = 2;
/// Most sections of one target.
const PER_TARGET: usize = 3;
/// Most targets of an artifact.
const MAX_TARGETS: usize = (MAX_SECTIONS - SHARED) / PER_TARGET;

impl ArtifactWriter {
    /// Starts an artifact that will replace `target`.
    pub fn create(target: &Path) -> Result<ArtifactWriter, ArtifactError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(|e| ArtifactError::io("create", &temporary, e))?;
        let mut writer = ArtifactWriter {
            target: target.to_path_buf(),
            temporary,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            at: 0,
            weights_at: 0,
            hash: Xxh3::new(),
        };
        // There is room for as many targets as there may be before the first page ends.
        let head = HEADER_LEN + MAX_SECTIONS * ENTRY_LEN;
        writer.put(&vec![0; head])?;
        writer.pad_to(PAGE)?;
        writer.weights_at = writer.at;
        Ok(writer)
    }

    /// Appends a constant; the answer is its offset in the weights section.
    pub fn constant(&mut self, bytes: &[u8]) -> Result<u64, ArtifactError> {
        // The weights start at a page, so alignment in the file is alignment in the section.
        let gap = self.at.next_multiple_of(WEIGHT_ALIGN) - self.at;
        let zeros = [0; WEIGHT_ALIGN as usize];
        for part in [&zeros[..gap as usize], bytes] {
            self.hash.update(part);
            self.put(part)?;
        }
        Ok(self.at - bytes.len() as u64 - self.weights_at)
    }

    /// Appends a string constant; the answer is offset and length in the weights section.
    pub fn strings(&mut self, strings: &[Vec<u8>]) -> Result<(u64, u64), ArtifactError> {
        let mut bytes = Vec::new();
        for s in strings {
            let len = u32::try_from(s.len())
                .map_err(|_| ArtifactError::Plan("a string constant is longer than 4 GiB".to_owned()))?;
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.extend_from_slice(s);
        }
        Ok((self.constant(&bytes)?, bytes.len() as u64))
    }

    /// Writes the other sections and the header, and gives the file its name. `targets` are those of the
    /// info, in order; where that names none, it is the one plan.
    pub fn finish(mut self, targets: &[TargetCode<'_>], info: &ArtifactInfo) -> Result<(), ArtifactError> {
        if targets.len() != info.targets.len().max(1) || targets.len() > MAX_TARGETS {
            return Err(ArtifactError::Plan(format!("an artifact for {} targets", targets.len())));
        }
        let weights = Section {
            kind: SectionKind::Weights as u32,
            target: 0,
            offset: self.weights_at,
            len: self.at - self.weights_at,
            checksum: self.hash.digest(),
        };
        let mut sections = vec![weights];
        for (i, target) in targets.iter().enumerate() {
            self.pad_to(PAGE)?;
            sections.push(self.section(SectionKind::Code, i, target.code)?);
        }
        // Whatever follows must not share the code's executable page.
        self.pad_to(PAGE)?;
        for (i, target) in targets.iter().enumerate() {
            let plan = postcard::to_allocvec(target.plan).map_err(|_| ArtifactError::Decode("plan"))?;
            sections.push(self.section(SectionKind::Plan, i, &plan)?);
            if let Some(device) = target.device {
                let bytes =
                    postcard::to_allocvec(device).map_err(|_| ArtifactError::Decode("device code"))?;
                sections.push(self.section(SectionKind::Device, i, &bytes)?);
            }
        }
        let bytes = postcard::to_allocvec(info).map_err(|_| ArtifactError::Decode("info"))?;
        sections.push(self.section(SectionKind::Info, 0, &bytes)?);
        sections.sort_by_key(|s| (s.kind, s.target));
        let (head, table) = header(&info.writer, self.at, &sections);
        self.close(&head, &table)
    }

    fn close(mut self, head: &[u8], table: &[u8]) -> Result<(), ArtifactError> {
        if let Some(file) = &mut self.file {
            let written = file
                .seek(SeekFrom::Start(0))
                .and_then(|_| file.write_all(head))
                .and_then(|()| file.write_all(table))
                .and_then(|()| file.flush())
                .and_then(|()| file.get_ref().sync_all());
            written.map_err(|e| ArtifactError::io("write", &self.target, e))?;
        }
        // Closed first: Windows does not rename an open file.
        self.file = None;
        fs::rename(&self.temporary, &self.target).map_err(|e| {
            // The first failure is the one to report.
            let _ = fs::remove_file(&self.temporary);
            ArtifactError::io("write", &self.target, e)
        })
    }

    fn section(&mut self, kind: SectionKind, target: usize, bytes: &[u8]) -> Result<Section, ArtifactError> {
        let offset = self.at;
        self.put(bytes)?;
        let (kind, target, len) = (kind as u32, target as u32, bytes.len() as u64);
        Ok(Section { kind, target, offset, len, checksum: checksum(bytes) })
    }

    fn pad_to(&mut self, align: u64) -> Result<(), ArtifactError> {
        let gap = self.at.next_multiple_of(align) - self.at;
        self.put(&vec![0; gap as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(|e| ArtifactError::io("write", &self.target, e))?;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for ArtifactWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is still buffered belongs to a file that goes away.
            drop(file.into_parts());
            // Nothing is left to do where even this fails.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Header and section table.
fn header(writer: &str, file_len: u64, sections: &[Section]) -> (Vec<u8>, Vec<u8>) {
    let mut head = Vec::with_capacity(HEADER_LEN);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&MAJOR.to_le_bytes());
    head.extend_from_slice(&MINOR.to_le_bytes());
    let mut name = [0; WRITER_LEN];
    let len = writer.floor_char_boundary(WRITER_LEN);
    name[..len].copy_from_slice(&writer.as_bytes()[..len]);
    head.extend_from_slice(&name);
    head.extend_from_slice(&file_len.to_le_bytes());
    head.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    head.extend_from_slice(&[0; 12]);
    let mut table = Vec::with_capacity(sections.len() * ENTRY_LEN);
    for s in sections {
        table.extend_from_slice(&s.kind.to_le_bytes());
        table.extend_from_slice(&s.target.to_le_bytes());
        for v in [s.offset, s.len, s.checksum] {
            table.extend_from_slice(&v.to_le_bytes());
        }
    }
    let sum = header_checksum(&head, &table);
    head[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
    (head, table)
}
