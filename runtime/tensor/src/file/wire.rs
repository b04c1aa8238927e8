//! The wire format of protocol buffers: keys, varints, lengths. No message types.

use super::FileError;

/// The value of one field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// Walks through the fields of a message.
pub(super) struct Reader<'a>(&'a [u8]);

fn bad(what: &str) -> FileError {
    FileError::malformed("protobuf", what)
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next field's number and value, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, FileError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.array()?),
            2 => {
                let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| bad("a field is cut off"))?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(self.array()?),
            _ => return Err(bad("unknown wire type")),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, FileError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| bad("a number is cut off"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(bad("a number is too long"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(|| bad("a number is cut off"))?;
        self.0 = rest;
        Ok(*array)
    }
}

impl<'a> Field<'a> {
    /// A message, bytes or text.
    pub(super) fn bytes(self) -> Result<&'a [u8], FileError> {
        match self {
            Field::Bytes(b) => Ok(b),
            _ => Err(bad("expected a length-delimited field")),
        }
    }

    /// An integer.
    pub(super) fn varint(self) -> Result<u64, FileError> {
        match self {
            Field::Varint(v) => Ok(v),
            _ => Err(bad("expected an integer field")),
        }
    }

    /// Calls `f` for the one number, or for each of a packed field.
    pub(super) fn each_varint(self, mut f: impl FnMut(u64)) -> Result<(), FileError> {
        match self {
            Field::Varint(v) => f(v),
            _ => {
                let mut numbers = Reader(self.bytes()?);
                while !numbers.0.is_empty() {
                    f(numbers.varint()?);
                }
            }
        }
        Ok(())
    }

    /// The bytes of one number of `size` bytes, or of a packed field of such.
    pub(super) fn append_fixed(&self, size: usize, out: &mut Vec<u8>) -> Result<(), FileError> {
        match self {
            Field::Fixed32(b) if size == 4 => out.extend(b),
            Field::Fixed64(b) if size == 8 => out.extend(b),
            Field::Bytes(b) if b.len().is_multiple_of(size) => out.extend(*b),
            _ => return Err(bad("expected numbers of a fixed width")),
        }
        Ok(())
    }
}

/// Appends an integer field.
pub(super) fn put_varint(field: u32, value: u64, out: &mut Vec<u8>) {
    raw_varint(u64::from(field) << 3, out);
    raw_varint(value, out);
}

/// Appends a field of bytes, text or a message.
pub(super) fn put_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    raw_varint((u64::from(field) << 3) | 2, out);
    raw_varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn raw_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
