//! NumPy's `.npy`: a header in Python's notation, then the elements.
//! (numpy.org/doc/stable/reference/generated/numpy.lib.format.html)

use super::FileError;
use crate::{DType, Kind, Tensor, movers};

const MAGIC: &[u8] = b"\x93NUMPY";

fn bad(what: impl Into<String>) -> FileError {
    FileError::malformed("npy", what)
}

/// What the header says.
#[derive(Debug)]
struct Header {
    big_endian: bool,
    elem: Elem,
    fortran: bool,
    shape: Vec<usize>,
}

#[derive(Debug)]
enum Elem {
    Plain(DType),
    /// Strings of so many UTF-32 characters.
    Wide(usize),
    /// Strings of so many bytes.
    Narrow(usize),
}

/// The tensor in the bytes of a file: versions 1 to 3, numbers, booleans and strings, either byte
/// order, rows or columns first. Strings lose trailing NULs, as in NumPy.
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, FileError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| bad("the first bytes are not those of a npy file"))?;
    let short = || bad("the header is cut off");
    let ([major, _], rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (len, rest) = match major {
        1 => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (u32::from(u16::from_le_bytes(*len)), rest)
        }
        2 | 3 => {
            let (len, rest) = rest.split_first_chunk().ok_or_else(short)?;
            (u32::from_le_bytes(*len), rest)
        }
        _ => return Err(FileError::Unsupported(format!("npy version {major}"))),
    };
    let (header, data) = rest.split_at_checked(len as usize).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| bad("the header is no text"))?;
    read_data(parse_header(header)?, data)
}

fn read_data(header: Header, data: &[u8]) -> Result<Tensor, FileError> {
    let Header { big_endian, elem, fortran, mut shape } = header;
    if fortran {
        shape.reverse();
    }
    let tensor = match elem {
        Elem::Plain(dtype) => read_numbers(dtype, big_endian, shape, data)?,
        Elem::Narrow(width) => {
            let text = |s: &[u8]| Ok(trim_nuls(s).to_vec());
            read_strings(width, shape, data, text)?
        }
        Elem::Wide(width) => {
            let width = width.checked_mul(4).ok_or_else(|| bad("the strings are too long"))?;
            read_strings(width, shape, data, |s| utf8(s, big_endian))?
        }
    };
    if !fortran {
        return Ok(tensor);
    }
    let perm: Vec<usize> = (0..tensor.rank()).rev().collect();
    Ok(movers::transpose(&tensor, &perm)?)
}

fn read_numbers(dtype: DType, big: bool, shape: Vec<usize>, data: &[u8]) -> Result<Tensor, FileError> {
    // A complex number is two of half its width.
    let width = if dtype.kind() == Kind::Complex { dtype.size() / 2 } else { dtype.size() };
    let len = crate::tensor::byte_len(dtype, &shape)?;
    let data = data.get(..len).ok_or_else(|| bad("the elements are cut off"))?;
    let mut data = data.to_vec();
    if big {
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if dtype == DType::Bool {
        data.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Ok(Tensor::from_bytes(dtype, shape, &data)?)
}

fn read_strings(
    width: usize,
    shape: Vec<usize>,
    data: &[u8],
    text: impl Fn(&[u8]) -> Result<Vec<u8>, FileError>,
) -> Result<Tensor, FileError> {
    if width == 0 {
        return Err(FileError::Unsupported("a npy file of strings of no length".into()));
    }
    let len = crate::tensor::elem_count(&shape)?;
    let data = len.checked_mul(width).and_then(|n| data.get(..n));
    let data = data.ok_or_else(|| bad("the elements are cut off"))?;
    let strings = data.chunks_exact(width).map(text).collect::<Result<_, _>>()?;
    Ok(Tensor::from_strings(&shape, strings)?)
}

fn trim_nuls(s: &[u8]) -> &[u8] {
    let len = s.iter().rposition(|b| *b != 0).map_or(0, |i| i.saturating_add(1));
    s.get(..len).unwrap_or(s)
}

fn utf8(s: &[u8], big: bool) -> Result<Vec<u8>, FileError> {
    let mut out = String::new();
    for b in s.as_chunks::<4>().0 {
        let code = if big { u32::from_be_bytes(*b) } else { u32::from_le_bytes(*b) };
        out.push(char::from_u32(code).ok_or_else(|| bad("a string holds an invalid character"))?);
    }
    out.truncate(out.trim_end_matches('\0').len());
    Ok(out.into_bytes())
}

/// A value of the header's dictionary.
enum Literal<'a> {
    Str(&'a str),
    Bool(bool),
    Ints(Vec<usize>),
}

fn parse_header(text: &str) -> Result<Header, FileError> {
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    let mut rest = expect(text, '{')?;
    while !rest.trim_start().starts_with('}') {
        let (Literal::Str(key), after) = parse_literal(rest)? else {
            return Err(bad("a key of the header is no string"));
        };
        let (value, after) = parse_literal(expect(after, ':')?)?;
        match (key, value) {
            ("descr", Literal::Str(s)) => descr = Some(s),
            ("fortran_order", Literal::Bool(b)) => fortran = Some(b),
            ("shape", Literal::Ints(v)) => shape = Some(v),
            _ => return Err(bad(format!("unknown key or value of \"{key}\" in the header"))),
        }
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
        return Err(bad("the header lacks a key"));
    };
    let (big_endian, elem) = parse_descr(descr)?;
    Ok(Header { big_endian, elem, fortran, shape })
}

fn expect(text: &str, c: char) -> Result<&str, FileError> {
    text.trim_start().strip_prefix(c).ok_or_else(|| bad(format!("expected '{c}' in the header")))
}

fn parse_literal(text: &str) -> Result<(Literal<'_>, &str), FileError> {
    let text = text.trim_start();
    for (word, value) in [("True", true), ("False", false)] {
        if let Some(rest) = text.strip_prefix(word) {
            return Ok((Literal::Bool(value), rest));
        }
    }
    for quote in ['\'', '"'] {
        if let Some((s, rest)) = text.strip_prefix(quote).and_then(|t| t.split_once(quote)) {
            return Ok((Literal::Str(s), rest));
        }
    }
    if let Some((list, rest)) = text.strip_prefix('(').and_then(|t| t.split_once(')')) {
        let items = list.split(',').map(str::trim).filter(|s| !s.is_empty());
        // Python 2 marked long integers.
        let ints = items.map(|s| s.trim_end_matches('L').parse()).collect::<Result<_, _>>();
        return Ok((Literal::Ints(ints.map_err(|_| bad("a size is no number"))?), rest));
    }
    Err(FileError::Unsupported("a npy file of records".into()))
}

fn parse_descr(descr: &str) -> Result<(bool, Elem), FileError> {
    let unknown = || FileError::Unsupported(format!("npy type \"{descr}\""));
    let mut chars = descr.chars();
    let big = match chars.next() {
        Some('>') => true,
        Some('<' | '|' | '=') => false,
        _ => return Err(unknown()),
    };
    let kind = chars.next().ok_or_else(unknown)?;
    let size: usize = chars.as_str().parse().map_err(|_| unknown())?;
    let elem = match (kind, size) {
        ('U', n) => Elem::Wide(n),
        ('S' | 'a', n) => Elem::Narrow(n),
        _ => Elem::Plain(TYPES.iter().find(|t| (t.1, t.2) == (kind, size)).ok_or_else(unknown)?.0),
    };
    Ok((big, elem))
}

/// Letter and bytes of the types that NumPy has.
const TYPES: [(DType, char, usize); 14] = [
    (DType::Bool, 'b', 1),
    (DType::U8, 'u', 1),
    (DType::U16, 'u', 2),
    (DType::U32, 'u', 4),
    (DType::U64, 'u', 8),
    (DType::I8, 'i', 1),
    (DType::I16, 'i', 2),
    (DType::I32, 'i', 4),
    (DType::I64, 'i', 8),
    (DType::F16, 'f', 2),
    (DType::F32, 'f', 4),
    (DType::F64, 'f', 8),
    (DType::C64, 'c', 8),
    (DType::C128, 'c', 16),
];

/// The bytes of a `.npy` file, version 1 (2 where the header is long).
///
/// Strings are stored as `U`, or as `S` where they are not all UTF-8. Types that NumPy lacks
/// are an error.
pub fn write_npy(tensor: &Tensor) -> Result<Vec<u8>, FileError> {
    let (descr, data) = match tensor.dtype() {
        DType::Str => encode_strings(tensor.strings()),
        dtype => {
            let (_, kind, size) = TYPES.iter().find(|t| t.0 == dtype).ok_or(FileError::NoType(dtype))?;
            let order = if *size == 1 { '|' } else { '<' };
            (format!("{order}{kind}{size}"), tensor.bytes().to_vec())
        }
    };
    let sizes: String = tensor.shape().iter().map(|d| format!("{d},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let mut out = MAGIC.to_vec();
    // The elements start at a multiple of 64.
    let pad = |header: &mut String, fixed: usize| {
        while !header.len().saturating_add(fixed).saturating_add(1).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
    };
    if header.len() < 60_000 {
        pad(&mut header, 10);
        out.extend([1, 0]);
        out.extend((header.len() as u16).to_le_bytes());
    } else {
        pad(&mut header, 12);
        out.extend([2, 0]);
        out.extend((header.len() as u32).to_le_bytes());
    }
    out.extend(header.as_bytes());
    out.extend(data);
    Ok(out)
}

fn encode_strings(strings: &[Vec<u8>]) -> (String, Vec<u8>) {
    let texts: Option<Vec<&str>> = strings.iter().map(|s| std::str::from_utf8(s).ok()).collect();
    let mut data = Vec::new();
    let Some(texts) = texts else {
        let width = strings.iter().map(Vec::len).max().unwrap_or(0).max(1);
        strings.iter().for_each(|s| data.extend(s.iter().copied().chain(std::iter::repeat(0)).take(width)));
        return (format!("|S{width}"), data);
    };
    let width = texts.iter().map(|s| s.chars().count()).max().unwrap_or(0).max(1);
    for s in texts {
        let codes = s.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
        data.extend(codes.flat_map(u32::to_le_bytes));
    }
    (format!("<U{width}"), data)
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
