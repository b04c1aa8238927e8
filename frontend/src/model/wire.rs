//! One bounded walk over the protobuf wire format, before any decoder sees the bytes.
//!
//! It rebuilds the message without what is not needed (doc strings, training, unknown fields)
//! and puts, in place of each tensor's `raw_data`, the number of the byte range where that data
//! lies. So weights stay in the mapped file and the decoder copies names and small numbers only.
//! After it, every length lies inside its parent, nesting is bounded, and there is no group
//! (a wire type that ONNX never used and that makes decoders recurse).

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::ops::Range;

use crate::error::{Error, MAX_DEPTH};

/// A subgraph costs three messages (graph, node, attribute); the rest is for what hangs below.
const MAX_MESSAGE_DEPTH: usize = 3 * MAX_DEPTH + 16;
/// Bounds the decoder's memory: an empty message is 2 bytes in the file but hundreds decoded.
const MAX_FIELDS: usize = 4 << 20;
/// Room for a message's length, filled in when it is known: five bytes of seven bits.
const LENGTH_BYTES: usize = 5;

/// The messages of ONNX, as far as the walk must tell them apart.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    TypeElement,
    TypeMap,
    TypeTensor,
    Shape,
    Tensor,
    SparseTensor,
    Function,
    /// Two scalar or string fields, numbered 1 and 2.
    Pair,
}

/// What the walk does with a field.
enum Treat {
    Drop,
    Keep,
    Raw,
    Child(Kind),
}

/// The message without weights, and where the weights lie in the bytes it was made from.
pub(crate) struct Stripped {
    /// A valid message; each `raw_data` in it is an index into `raw`, 8 bytes, little-endian.
    pub(crate) message: Vec<u8>,
    /// The byte ranges of the `raw_data` fields.
    pub(crate) raw: Vec<Range<usize>>,
}

/// The depth to which the stripped message may nest, for the decoder's own limit.
pub(crate) fn decoder_depth() -> u32 {
    u32::try_from(MAX_MESSAGE_DEPTH).unwrap_or(u32::MAX)
}

/// Walks over `bytes`, a message of `kind`.
pub(crate) fn strip(bytes: &[u8], kind: Kind) -> Result<Stripped, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    if kind == Kind::Model {
        check_start(bytes)?;
    }
    let mut walk = Walk { bytes, at: 0, fields: 0, out: Vec::new(), raw: Vec::new() };
    walk.message(kind, bytes.len(), 0)?;
    Ok(Stripped { message: walk.out, raw: walk.raw })
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: usize,
    out: Vec<u8>,
    raw: Vec<Range<usize>>,
}

impl Walk<'_> {
    fn message(&mut self, kind: Kind, end: usize, depth: usize) -> Result<(), Error> {
        if depth > MAX_MESSAGE_DEPTH {
            return Err(Error::TooDeep { what: "subgraphs or types" });
        }
        while self.at < end {
            let start = self.at;
            let tag = self.varint(kind, end)?;
            let (number, wire) = (tag >> 3, tag & 7);
            if number == 0 || number > 0x1fff_ffff {
                return Err(damaged(kind, start, "a field number is out of range"));
            }
            let treat = treat(kind, number);
            match wire {
                2 => self.delimited(kind, &treat, tag, end, depth)?,
                0 | 1 | 5 => {
                    self.scalar(kind, wire, end)?;
                    match treat {
                        Treat::Drop => {}
                        Treat::Keep => self.copy(start..self.at),
                        _ => return Err(damaged(kind, start, "a message has the form of a number")),
                    }
                }
                _ => return Err(damaged(kind, start, "a field has an unknown form")),
            }
        }
        Ok(())
    }

    /// A field with a length: a string, packed numbers or a message; its tag is read already.
    fn delimited(
        &mut self,
        kind: Kind,
        treat: &Treat,
        tag: u64,
        end: usize,
        depth: usize,
    ) -> Result<(), Error> {
        let start = self.at;
        let len = self.varint(kind, end)?;
        let left = end.saturating_sub(self.at);
        let inside = usize::try_from(len).ok().filter(|&len| len <= left);
        let Some(len) = inside else {
            return Err(Error::Truncated { what: name(kind), offset: start, needed: len, left });
        };
        let body = self.at..self.at.saturating_add(len);
        if !matches!(treat, Treat::Drop) {
            self.count()?;
            self.put_varint(tag);
        }
        match *treat {
            Treat::Drop => {}
            Treat::Keep => self.copy(start..body.end),
            Treat::Raw => {
                let index = u64::try_from(self.raw.len()).unwrap_or(u64::MAX);
                self.put_varint(8);
                self.out.extend_from_slice(&index.to_le_bytes());
                self.raw.push(body.clone());
            }
            Treat::Child(child) => {
                let room = self.out.len();
                self.out.extend_from_slice(&[0; LENGTH_BYTES]);
                self.message(child, body.end, depth.saturating_add(1))?;
                self.fill_length(room)?;
            }
        }
        self.at = body.end;
        Ok(())
    }

    fn scalar(&mut self, kind: Kind, wire: u64, end: usize) -> Result<(), Error> {
        let width = match wire {
            0 => return self.varint(kind, end).map(|_| ()),
            1 => 8,
            _ => 4,
        };
        let after = self.at.saturating_add(width);
        if after > end {
            let left = end.saturating_sub(self.at);
            let needed = if wire == 1 { 8 } else { 4 };
            return Err(Error::Truncated { what: name(kind), offset: self.at, needed, left });
        }
        self.at = after;
        Ok(())
    }

    fn varint(&mut self, kind: Kind, end: usize) -> Result<u64, Error> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64_u32).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at).filter(|_| self.at < end) else {
                return Err(Error::Truncated { what: name(kind), offset: start, needed: 1, left: 0 });
            };
            self.at = self.at.saturating_add(1);
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged(kind, start, "a number is longer than ten bytes"))
    }

    fn count(&mut self) -> Result<(), Error> {
        self.fields = self.fields.saturating_add(1);
        if self.fields > MAX_FIELDS {
            return Err(Error::TooMany { what: "fields", limit: MAX_FIELDS });
        }
        Ok(())
    }

    fn copy(&mut self, range: Range<usize>) {
        self.out.extend_from_slice(self.bytes.get(range).unwrap_or(&[]));
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(low_seven(value) | 0x80);
            value >>= 7;
        }
        self.out.push(low_seven(value));
    }

    /// Writes the length of what follows `room` into it, padded to its width.
    fn fill_length(&mut self, room: usize) -> Result<(), Error> {
        let body = room.saturating_add(LENGTH_BYTES);
        let len = self.out.len().saturating_sub(body);
        let mut rest = u32::try_from(len).map_err(|_| Error::TooMany {
            what: "bytes besides weights",
            limit: u32::MAX.try_into().unwrap_or(usize::MAX),
        })?;
        for (index, byte) in self.out.iter_mut().skip(room).take(LENGTH_BYTES).enumerate() {
            let more = if index.saturating_add(1) < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = low_seven(u64::from(rest)) | more;
            rest >>= 7;
        }
        Ok(())
    }
}

fn low_seven(value: u64) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}

/// Refuses files that cannot be a model by their first field, with a guess at what they are.
fn check_start(bytes: &[u8]) -> Result<(), Error> {
    let known = |head: &[u8]| bytes.starts_with(head);
    let guess = if known(b"\x1f\x8b") {
        "it is compressed with gzip"
    } else if known(b"PK\x03\x04") {
        "it is a zip archive"
    } else if known(b"\x89HDF") {
        "it is an HDF5 file"
    } else if bytes.get(4..8) == Some(b"TFL3") {
        "it is a TensorFlow Lite model"
    } else if bytes.get(4..8) == Some(b"ORTM") {
        "it is a model in ONNX Runtime's own format"
    } else if known(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the file itself"
    } else {
        "its first bytes are not those of a model"
    };
    let first = bytes.first().copied().unwrap_or(0);
    // Fields 1 and 5 are numbers; 2, 3, 4, 6, 7, 8 and 14 have a length; 20 and up take two bytes.
    let numbers = [0x08, 0x28];
    let lengths = [0x12, 0x1a, 0x22, 0x32, 0x3a, 0x42, 0x72];
    let wide = [[0xa2, 0x01], [0xca, 0x01], [0xd2, 0x01]];
    let starts_well =
        numbers.contains(&first) || lengths.contains(&first) || wide.iter().any(|tag| bytes.starts_with(tag));
    if starts_well && !known(b"version https://git-lfs") {
        return Ok(());
    }
    Err(Error::NotOnnx { reason: guess.to_owned() })
}

fn damaged(kind: Kind, offset: usize, reason: &'static str) -> Error {
    Error::Damaged { what: name(kind), offset, reason }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "the model",
        Kind::Graph => "a graph",
        Kind::Node => "a node",
        Kind::Attribute => "an attribute",
        Kind::ValueInfo => "a value's description",
        Kind::Type | Kind::TypeElement | Kind::TypeMap | Kind::TypeTensor => "a type",
        Kind::Shape => "a shape",
        Kind::Tensor => "a tensor",
        Kind::SparseTensor => "a sparse tensor",
        Kind::Function => "a function",
        Kind::Pair => "an entry",
    }
}

/// The fields of each message by number, from `onnx.proto`.
fn treat(kind: Kind, number: u64) -> Treat {
    use Treat::{Child, Drop, Keep, Raw};
    match (kind, number) {
        (Kind::Model, 1) => Keep,
        (Kind::Model, 7) => Child(Kind::Graph),
        (Kind::Model, 8 | 14) => Child(Kind::Pair),
        (Kind::Model, 25) => Child(Kind::Function),
        (Kind::Graph, 1) => Child(Kind::Node),
        (Kind::Graph, 2) => Keep,
        (Kind::Graph, 5) => Child(Kind::Tensor),
        (Kind::Graph, 11..=13) => Child(Kind::ValueInfo),
        (Kind::Graph, 15) => Child(Kind::SparseTensor),
        (Kind::Node, 1..=4 | 7 | 8) => Keep,
        (Kind::Node, 5) => Child(Kind::Attribute),
        (Kind::Attribute, 1..=4 | 7..=9 | 20 | 21) => Keep,
        (Kind::Attribute, 5 | 10) => Child(Kind::Tensor),
        (Kind::Attribute, 6 | 11) => Child(Kind::Graph),
        (Kind::Attribute, 14 | 15) => Child(Kind::Type),
        (Kind::Attribute, 22 | 23) => Child(Kind::SparseTensor),
        (Kind::ValueInfo, 1) => Keep,
        (Kind::ValueInfo, 2) => Child(Kind::Type),
        (Kind::Type, 1 | 8) => Child(Kind::TypeTensor),
        (Kind::Type, 4 | 9) => Child(Kind::TypeElement),
        (Kind::Type, 5) => Child(Kind::TypeMap),
        (Kind::TypeElement, 1) => Child(Kind::Type),
        (Kind::TypeMap, 1) => Keep,
        (Kind::TypeMap, 2) => Child(Kind::Type),
        (Kind::TypeTensor, 1) => Keep,
        (Kind::TypeTensor, 2) => Child(Kind::Shape),
        (Kind::Shape, 1) => Child(Kind::Pair),
        (Kind::Tensor, 1 | 2 | 4..=8 | 10 | 11 | 14) => Keep,
        (Kind::Tensor, 3 | 13) => Child(Kind::Pair),
        (Kind::Tensor, 9) => Raw,
        (Kind::SparseTensor, 1 | 2) => Child(Kind::Tensor),
        (Kind::SparseTensor, 3) => Keep,
        (Kind::Function, 1 | 4..=6 | 10 | 13) => Keep,
        (Kind::Function, 7) => Child(Kind::Node),
        (Kind::Function, 9) => Child(Kind::Pair),
        (Kind::Function, 11) => Child(Kind::Attribute),
        (Kind::Function, 12) => Child(Kind::ValueInfo),
        (Kind::Pair, 1 | 2) => Keep,
        _ => Drop,
    }
}
