//! Attributes as text. Their kinds come from the operator's row, so that `[1, 2]` needs no mark.

use super::lex::{Lexer, Token, quote};
use super::{TextError, tensor};
use crate::{Attr, AttrKind};
use nnc_tensor::plan;

fn join<T>(items: &[T], f: impl FnMut(&T) -> String) -> String {
    format!("[{}]", items.iter().map(f).collect::<Vec<_>>().join(", "))
}

/// An attribute's value as text; the bytes of large tensors go to `data`.
pub(super) fn print(attr: &Attr, data: &mut Vec<u8>) -> String {
    match attr {
        Attr::Int(v) => v.to_string(),
        Attr::Float(v) => format!("{v:?}"),
        Attr::Str(s) => quote(s.as_bytes()),
        Attr::Ints(v) => join(v, i64::to_string),
        Attr::Floats(v) => join(v, |x| format!("{x:?}")),
        Attr::Strs(v) => join(v, |s| quote(s)),
        Attr::Dims(v) => join(v, ToString::to_string),
        Attr::DType(d) => d.to_string(),
        Attr::Tensor(t) => tensor::print(t, data),
        Attr::Types(v) => join(v, ToString::to_string),
        Attr::Named(v) => {
            let one = |(name, a): &(String, plan::Attr)| format!("{} = {}", quote(name.as_bytes()), named(a));
            let all: Vec<String> = v.iter().map(one).collect();
            format!("{{{}}}", all.join(", "))
        }
    }
}

/// A routine's own attribute: lists name their kind, since no row does.
fn named(attr: &plan::Attr) -> String {
    match attr {
        plan::Attr::Int(v) => format!("int {v}"),
        plan::Attr::Float(v) => format!("float {v:?}"),
        plan::Attr::Str(s) => quote(s.as_bytes()),
        plan::Attr::Ints(v) => format!("ints {}", join(v, i64::to_string)),
        plan::Attr::Floats(v) => format!("floats {}", join(v, |x| format!("{x:?}"))),
        plan::Attr::Strs(v) => format!("strs {}", join(v, |s| quote(s))),
    }
}

/// Reads an attribute of a kind.
pub(super) fn parse(l: &mut Lexer, kind: AttrKind, data: &[u8]) -> Result<Attr, TextError> {
    Ok(match kind {
        AttrKind::Int => Attr::Int(l.int()?),
        AttrKind::Float => Attr::Float(l.float()?),
        AttrKind::Str => Attr::Str(l.text("a text")?),
        AttrKind::Ints => Attr::Ints(l.list('[', ']', Lexer::int)?),
        AttrKind::Floats => Attr::Floats(l.list('[', ']', Lexer::float)?),
        AttrKind::Strs => Attr::Strs(l.list('[', ']', |l| l.quoted_bytes("a text"))?),
        AttrKind::Dims => Attr::Dims(l.dims()?),
        AttrKind::DType => Attr::DType(l.dtype()?),
        AttrKind::Tensor => Attr::Tensor(tensor::parse(l, data)?),
        AttrKind::Types => Attr::Types(l.list('[', ']', Lexer::ty)?),
        AttrKind::Named => Attr::Named(l.list('{', '}', |l| {
            let name = l.text("a name")?;
            l.sign('=')?;
            Ok((name, parse_named(l)?))
        })?),
    })
}

fn parse_named(l: &mut Lexer) -> Result<plan::Attr, TextError> {
    if let Token::Quoted(_) = l.peek() {
        return Ok(plan::Attr::Str(l.text("a text")?));
    }
    let at = l.position();
    Ok(match l.word("a value")?.as_str() {
        "int" => plan::Attr::Int(l.int()?),
        "float" => plan::Attr::Float(l.float()?),
        "ints" => plan::Attr::Ints(l.list('[', ']', Lexer::int)?),
        "floats" => plan::Attr::Floats(l.list('[', ']', Lexer::float)?),
        "strs" => plan::Attr::Strs(l.list('[', ']', |l| l.quoted_bytes("a text"))?),
        other => {
            return Err(l.error_at(at, format!("expected int, float, ints, floats or strs, found {other}")));
        }
    })
}
