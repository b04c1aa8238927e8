//! Constants as text: numbers where they read back to the same bytes, else hexadecimal; large ones by
//! their place in the data file.

use super::TextError;
use super::lex::{Lexer, Token, quote};
use crate::{DType, Kind, Tensor};
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_64;

/// Most bytes that stand in the text itself.
const MAX_INLINE: usize = 1024;

/// Where tensors start in the data file.
const ALIGN: usize = 64;

/// A tensor as text; the bytes of a large one go to `data`.
pub(super) fn print(t: &Tensor, data: &mut Vec<u8>) -> String {
    let mut out = format!("{}{:?} ", t.dtype(), t.shape());
    if t.dtype() == DType::Str {
        let all: Vec<String> = t.strings().iter().map(|s| quote(s)).collect();
        write!(out, "[{}]", all.join(", ")).expect("a string takes any text");
    } else if t.bytes().len() > MAX_INLINE {
        data.resize(data.len().next_multiple_of(ALIGN), 0);
        let hash = xxh3_64(t.bytes());
        write!(out, "data({}, x{hash:016x})", data.len()).expect("a string takes any text");
        data.extend_from_slice(t.bytes());
    } else {
        out.push_str(&numbers(t).unwrap_or_else(|| hex(t.bytes())));
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("x".into(), |s, b| format!("{s}{b:02x}"))
}

/// The elements as numbers, if these give the same bytes again.
fn numbers(t: &Tensor) -> Option<String> {
    let (texts, again): (Vec<String>, Tensor) = match t.dtype().kind() {
        Kind::Float => {
            let write =
                |x: f64| if t.dtype() == DType::F32 { format!("{:?}", x as f32) } else { format!("{x:?}") };
            let texts: Vec<String> = t.to_f64s().into_iter().map(write).collect();
            let values: Vec<f64> = texts.iter().map(|s| s.parse().ok()).collect::<Option<_>>()?;
            (texts, Tensor::from_f64s(t.dtype(), t.shape(), &values).ok()?)
        }
        Kind::Bool | Kind::Int | Kind::Uint => {
            let values = t.to_ints();
            let texts = values.iter().map(ToString::to_string).collect();
            (texts, Tensor::from_ints(t.dtype(), t.shape(), &values).ok()?)
        }
        Kind::Complex | Kind::Str => return None,
    };
    (again == *t).then(|| format!("[{}]", texts.join(", ")))
}

/// Reads what [`print`] wrote.
pub(super) fn parse(l: &mut Lexer, data: &[u8]) -> Result<Tensor, TextError> {
    let at = l.position();
    let dtype = l.dtype()?;
    let shape = l.list('[', ']', |l| l.parsed::<usize>("a length"))?;
    if *l.peek() == Token::Sign('[') {
        return elements(l, dtype, &shape);
    }
    let word = l.word("elements")?;
    let tensor = if word == "data" {
        l.sign('(')?;
        let offset: usize = l.parsed("an offset")?;
        l.sign(',')?;
        let hash = l.word("a hash")?;
        l.sign(')')?;
        let end = dtype.bytes_for(elems(&shape).unwrap_or(usize::MAX)).and_then(|n| n.checked_add(offset));
        let bytes = end.and_then(|end| data.get(offset..end));
        let bytes = bytes.ok_or_else(|| l.error_at(at, "the tensor exceeds the data file"))?;
        if format!("x{:016x}", xxh3_64(bytes)) != hash {
            return Err(l.error_at(at, format!("the data file has other bytes than those of hash {hash}")));
        }
        Tensor::from_bytes(dtype, shape, bytes)
    } else {
        let bytes = word.strip_prefix('x').and_then(unhex);
        let bytes = bytes.ok_or_else(|| l.error_at(at, format!("expected elements, found {word}")))?;
        Tensor::from_bytes(dtype, shape, &bytes)
    };
    tensor.map_err(|e| l.error_at(at, e.to_string()))
}

fn elems(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|p| u8::from_str_radix(std::str::from_utf8(p).ok().filter(|p| p.len() == 2)?, 16).ok())
        .collect()
}

fn elements(l: &mut Lexer, dtype: DType, shape: &[usize]) -> Result<Tensor, TextError> {
    let at = l.position();
    let tensor = match dtype.int_range() {
        _ if dtype == DType::Str => {
            let strings = l.list('[', ']', |l| l.quoted_bytes("a string"))?;
            Tensor::from_strings(shape, strings)
        }
        Some((least, most)) => {
            let values = l.list('[', ']', |l| {
                let at = l.position();
                let v: i128 = l.parsed("an integer")?;
                let fits = (least..=most).contains(&v);
                if fits { Ok(v) } else { Err(l.error_at(at, format!("{v} exceeds {dtype}"))) }
            })?;
            Tensor::from_ints(dtype, shape, &values)
        }
        None => {
            let values = l.list('[', ']', Lexer::float)?;
            Tensor::from_f64s(dtype, shape, &values)
        }
    };
    tensor.map_err(|e| l.error_at(at, e.to_string()))
}
