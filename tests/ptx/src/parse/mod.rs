//! Text to syntax. Directives are read here, instructions only as an opcode with operands: what they mean
//! is decided by `decode`.

pub(crate) mod ast;
mod function;
mod lex;

use crate::types::{Space, Type};
use ast::{Syntax, Variable};
use lex::{Placed, Token};

/// Why a text is no module that can be run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

/// Reads a whole module.
pub(crate) fn parse(text: &str) -> Result<Syntax, ParseError> {
    let mut parser = Parser { tokens: lex::tokens(text)?, at: 0 };
    let mut module = Syntax::default();
    while parser.peek() != Token::End {
        parser.item(&mut module)?;
    }
    Ok(module)
}

struct Parser<'a> {
    tokens: Vec<Placed<'a>>,
    at: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.at].token
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn advance(&mut self) -> Placed<'a> {
        let placed = self.tokens[self.at];
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        placed
    }

    fn error<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError { line: self.line(), message: message.into() })
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        self.error(format!("expected {wanted}, found {:?}", self.peek()))
    }

    /// Takes a mark if it is next.
    fn mark(&mut self, c: u8) -> bool {
        let found = self.peek() == Token::Mark(c);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, c: u8) -> Parsed<()> {
        if self.mark(c) { Ok(()) } else { self.unexpected(&format!("\"{}\"", char::from(c))) }
    }

    /// Takes a word if it is next.
    fn keyword(&mut self, word: &str) -> bool {
        let found = self.peek() == Token::Word(word);
        if found {
            self.advance();
        }
        found
    }

    fn word(&mut self, wanted: &str) -> Parsed<&'a str> {
        match self.peek() {
            Token::Word(word) => {
                self.advance();
                Ok(word)
            }
            _ => self.unexpected(wanted),
        }
    }

    fn int(&mut self) -> Parsed<u64> {
        match self.peek() {
            Token::Int(value) => {
                self.advance();
                Ok(value)
            }
            _ => self.unexpected("an integer"),
        }
    }

    /// An integer that may have a minus sign before it.
    fn signed(&mut self) -> Parsed<i64> {
        let negative = self.mark(b'-');
        let value = self.int()? as i64;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    /// The rest of a line says nothing about meaning.
    fn skip_line(&mut self, line: u32) {
        while self.line() == line && self.peek() != Token::End {
            self.advance();
        }
    }

    fn item(&mut self, module: &mut Syntax) -> Parsed<()> {
        while self.keyword(".visible") || self.keyword(".weak") || self.keyword(".common") {}
        let external = self.keyword(".extern");
        let Token::Word(word) = self.peek() else { return self.unexpected("a directive") };
        let line = self.line();
        match word {
            ".version" | ".address_size" | ".file" | ".pragma" => self.skip_line(line),
            ".target" => {
                self.advance();
                module.target = self.word("a target")?.to_owned();
                self.skip_line(line);
            }
            ".entry" | ".func" => {
                self.advance();
                if let Some(function) = self.function(word == ".entry")? {
                    module.functions.push(function);
                }
            }
            _ => {
                let Some(space) = word.strip_prefix('.').and_then(Space::named) else {
                    return self.unexpected("a directive");
                };
                self.advance();
                let variable = self.variable(space)?;
                if external && variable.bytes.is_some() {
                    return self.error("only shared arrays without a size may be external");
                }
                module.variables.push(variable);
                self.expect(b';')?;
            }
        }
        Ok(())
    }

    /// What follows the state space of a declaration, up to but without the semicolon.
    fn variable(&mut self, space: Space) -> Parsed<Variable> {
        let line = self.line();
        let (mut align, mut lanes, mut ty) = (None, 1, None);
        while let Token::Word(word) = self.peek() {
            let Some(word) = word.strip_prefix('.') else { break };
            self.advance();
            match word {
                "align" => align = Some(self.int()?),
                "v2" => lanes = 2,
                "v4" => lanes = 4,
                "ptr" | "global" | "shared" | "const" | "local" => {}
                _ => ty = Some(self.type_named(word)?),
            }
        }
        let Some(ty) = ty else { return self.unexpected("a type") };
        let name = self.word("a name")?.to_owned();
        let mut count = Some(lanes);
        while self.mark(b'[') {
            let len = if self.peek() == Token::Mark(b']') { None } else { Some(self.int()?) };
            count = count.zip(len).map(|(a, b)| a * b);
            self.expect(b']')?;
        }
        let size = u64::from(ty.bytes());
        let align = align.unwrap_or(size * lanes);
        let mut init = Vec::new();
        if self.mark(b'=') {
            self.initializer(ty, &mut init)?;
            count = count.or(Some(init.len() as u64 / size));
        }
        let bytes = count.map(|n| n * size);
        if bytes.is_some_and(|b| (init.len() as u64) > b) {
            return self.error("more values than elements");
        }
        Ok(Variable { name, space, ty, align, bytes, init, line })
    }

    fn type_named(&self, word: &str) -> Parsed<Type> {
        match Type::named(word) {
            Some(ty) => Ok(ty),
            None => self.error(format!("unknown type \".{word}\"")),
        }
    }

    fn initializer(&mut self, ty: Type, bytes: &mut Vec<u8>) -> Parsed<()> {
        if self.mark(b'{') {
            while !self.mark(b'}') {
                self.initializer(ty, bytes)?;
                self.mark(b',');
            }
            return Ok(());
        }
        let negative = self.mark(b'-');
        let sign = if negative { -1.0 } else { 1.0 };
        let value = match (self.advance().token, ty) {
            (Token::F32(bits), Type::F32) => u64::from(bits),
            (Token::F64(bits), Type::F64) => bits,
            (Token::Decimal(v), Type::F32) => u64::from(((sign * v) as f32).to_bits()),
            (Token::Decimal(v), Type::F64) => (sign * v).to_bits(),
            (Token::Int(v), _) if !ty.is_float() || ty.bits() == 16 => {
                if negative {
                    v.wrapping_neg()
                } else {
                    v
                }
            }
            (Token::Int(v), Type::F32) => u64::from(((sign * v as f64) as f32).to_bits()),
            (Token::Int(v), Type::F64) => (sign * v as f64).to_bits(),
            _ => return self.error("a value does not fit its variable"),
        };
        bytes.extend_from_slice(&value.to_le_bytes()[..ty.bytes() as usize]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_sizes_alignments_and_values() {
        let text = ".version 7.0\n.target sm_80\n.address_size 64\n\
            .visible .global .align 8 .b8 a[2][3] = {1, 2, 3};\n.const .f32 c[] = {1.0, -2.5, 0f40400000};\n\
            .extern .shared .align 16 .b8 s[];\n.global .v4 .f32 v;\n.global .s16 n = -2;";
        let module = parse(text).expect("a module");
        assert_eq!(module.target, "sm_80");
        let sizes: Vec<_> = module.variables.iter().map(|v| (v.bytes, v.align)).collect();
        assert_eq!(sizes, [(Some(6), 8), (Some(12), 4), (None, 16), (Some(16), 16), (Some(2), 2)]);
        assert_eq!(module.variables[0].init, [1, 2, 3]);
        assert_eq!(module.variables[1].init[4..8], (-2.5f32).to_le_bytes());
        assert_eq!(module.variables[4].init, (-2i16).to_le_bytes());
    }

    #[test]
    fn errors_name_their_line() {
        let error = parse(".version 7.0\n.target sm_80\n.global .f33 x;").expect_err("no such type");
        assert_eq!(error.to_string(), "line 3: unknown type \".f33\"");
    }
}
