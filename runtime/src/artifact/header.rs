//! Reads header and section table: every offset is compared with the file before it is used.

use super::error::ArtifactError;
use super::format::*;
use std::ops::Range;

/// The checked section table.
#[derive(Debug)]
pub(crate) struct Header {
    sections: Vec<(SectionKind, Section)>,
}

impl Header {
    /// Reads and checks the head of an artifact.
    pub(crate) fn read(file: &[u8]) -> Result<Header, ArtifactError> {
        if file.get(..4) != Some(&MAGIC[..]) {
            return Err(ArtifactError::NotAnArtifact);
        }
        let head = file.get(..HEADER_LEN).ok_or(ArtifactError::Damaged("its header is cut off"))?;
        let found = u16_at(head, 4);
        if found != MAJOR {
            let writer = writer_text(&head[8..8 + WRITER_LEN]);
            return Err(ArtifactError::Version { found, expected: MAJOR, writer });
        }
        let (expected, found) = (u64_at(head, 32), file.len() as u64);
        if expected != found {
            return Err(ArtifactError::Length { expected, found });
        }
        let count = u32_at(head, 40) as usize;
        if count > MAX_SECTIONS {
            return Err(ArtifactError::Damaged("it has too many sections"));
        }
        let table = file
            .get(HEADER_LEN..HEADER_LEN + count * ENTRY_LEN)
            .ok_or(ArtifactError::Damaged("its section table is cut off"))?;
        if header_checksum(head, table) != u64_at(head, CHECKSUM_AT) {
            return Err(ArtifactError::Checksum("header"));
        }
        Header::from_table(table, file.len() as u64)
    }

    fn from_table(table: &[u8], file_len: u64) -> Result<Header, ArtifactError> {
        let mut sections: Vec<(SectionKind, Section)> = Vec::new();
        for entry in table.chunks_exact(ENTRY_LEN) {
            let s = Section {
                kind: u32_at(entry, 0),
                target: u32_at(entry, 4),
                offset: u64_at(entry, 8),
                len: u64_at(entry, 16),
                checksum: u64_at(entry, 24),
            };
            if s.offset.checked_add(s.len).is_none_or(|end| end > file_len) {
                return Err(ArtifactError::Damaged("a section lies outside the file"));
            }
            let Some(kind) = SectionKind::ALL.into_iter().find(|k| *k as u32 == s.kind) else { continue };
            if sections.iter().any(|(k, t)| *k == kind && t.target == s.target) {
                return Err(ArtifactError::Damaged("a section is there twice"));
            }
            sections.push((kind, s));
        }
        Ok(Header { sections })
    }

    /// A section of a target, if it has one.
    pub(crate) fn find(&self, kind: SectionKind, target: usize) -> Option<&Section> {
        let is = |(k, s): &&(SectionKind, Section)| *k == kind && s.target as usize == target;
        self.sections.iter().find(is).map(|(_, s)| s)
    }

    /// A section that has to be there.
    pub(crate) fn section(&self, kind: SectionKind, target: usize) -> Result<&Section, ArtifactError> {
        self.find(kind, target).ok_or(ArtifactError::Damaged("a section is missing"))
    }
}

impl Section {
    /// Where it is, as offsets into the file.
    pub(crate) fn range(&self) -> Range<usize> {
        self.offset as usize..(self.offset + self.len) as usize
    }

    /// Its bytes, if they are those that were written.
    pub(crate) fn verified<'f>(&self, kind: SectionKind, file: &'f [u8]) -> Result<&'f [u8], ArtifactError> {
        let bytes = &file[self.range()];
        if checksum(bytes) == self.checksum { Ok(bytes) } else { Err(ArtifactError::Checksum(kind.name())) }
    }
}

/// Checksum of header and table with the checksum's own place taken as zero.
pub(crate) fn header_checksum(head: &[u8], table: &[u8]) -> u64 {
    let mut all = [head, table].concat();
    all[CHECKSUM_AT..CHECKSUM_AT + 8].fill(0);
    checksum(&all)
}

fn writer_text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}
