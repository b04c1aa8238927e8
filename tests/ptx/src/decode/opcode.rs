//! An opcode taken apart at its dots. Each part that an instruction understands is taken; what is left at
//! the end is not supported, and said so.

use crate::parse::ParseError;
use crate::types::{Space, Type};

pub(crate) struct Opcode<'a> {
    pub(crate) name: &'a str,
    parts: Vec<(&'a str, bool)>,
    pub(crate) line: u32,
}

pub(crate) type Decoded<T> = Result<T, ParseError>;

impl<'a> Opcode<'a> {
    pub(crate) fn new(text: &'a str, line: u32) -> Opcode<'a> {
        let mut parts = text.split('.');
        let name = parts.next().unwrap_or("");
        Opcode { name, parts: parts.map(|p| (p, false)).collect(), line }
    }

    pub(crate) fn error<T>(&self, message: impl Into<String>) -> Decoded<T> {
        Err(ParseError { line: self.line, message: message.into() })
    }

    /// Takes a part if it is there.
    pub(crate) fn has(&mut self, name: &str) -> bool {
        self.choose(&[(name, ())]).is_some()
    }

    /// Takes the first part that is in a table.
    pub(crate) fn choose<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        self.take(|part| table.iter().find(|(name, _)| *name == part).map(|(_, value)| *value))
    }

    /// Takes the first part for which there is an answer.
    pub(crate) fn take<T>(&mut self, answer: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        for (part, taken) in self.parts.iter_mut().filter(|(_, taken)| !*taken) {
            if let Some(value) = answer(part) {
                *taken = true;
                return Some(value);
            }
        }
        None
    }

    /// Takes the next type.
    pub(crate) fn ty(&mut self) -> Decoded<Type> {
        let ty = self.take(Type::named);
        ty.map_or_else(|| self.error(format!("\"{}\" lacks a type", self.name)), Ok)
    }

    /// Takes a state space; without one addresses are generic.
    pub(crate) fn space(&mut self) -> Space {
        self.take(Space::named).unwrap_or(Space::Generic)
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self) -> Decoded<()> {
        match self.parts.iter().find(|(_, taken)| !taken) {
            Some((part, _)) => self.error(format!("\".{part}\" of \"{}\" is not supported", self.name)),
            None => Ok(()),
        }
    }
}
