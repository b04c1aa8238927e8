//! Text to tokens. A word takes its dots with it (`ld.global.f32`, `%tid.x`, `.shared::cta`), as PTX's
//! opcodes and names do; what a word means is the parser's matter.

use super::ParseError;

/// A token without its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    Int(u64),
    /// `0f` and eight hexadecimal digits.
    F32(u32),
    /// `0d` and sixteen hexadecimal digits.
    F64(u64),
    Decimal(f64),
    Text(&'a str),
    Mark(u8),
    End,
}

/// A token, its line (from 1) and its bytes in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) line: u32,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

/// All tokens of a text, an `End` last.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, ParseError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut all = Vec::new();
    loop {
        let next = lexer.next()?;
        all.push(next);
        if next.token == Token::End {
            return Ok(all);
        }
    }
}

fn starts_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'.' | b'$' | b'%')
}

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'$')
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { line: self.line, message: message.into() }
    }

    fn next(&mut self) -> Result<Placed<'a>, ParseError> {
        self.skip_blanks()?;
        let (start, line) = (self.at, self.line);
        let token = match self.peek(0) {
            0 => Token::End,
            b'"' => self.string()?,
            c if c.is_ascii_digit() => self.number()?,
            c if starts_word(c) => self.word(),
            c if c.is_ascii_graphic() => {
                self.at += 1;
                Token::Mark(c)
            }
            c => return Err(self.error(format!("unexpected byte {c:#x}"))),
        };
        Ok(Placed { token, line, start, end: self.at })
    }

    fn skip_blanks(&mut self) -> Result<(), ParseError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'/', b'/') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                (b'/', b'*') => {
                    let rest = &self.text[self.at..];
                    let len = rest.find("*/").ok_or_else(|| self.error("a comment does not end"))? + 2;
                    self.line += rest[..len].matches('\n').count() as u32;
                    self.at += len;
                }
                _ => return Ok(()),
            }
        }
    }

    fn string(&mut self) -> Result<Token<'a>, ParseError> {
        let rest = &self.text[self.at + 1..];
        let len = rest.find('"').ok_or_else(|| self.error("a string does not end"))?;
        self.at += len + 2;
        Ok(Token::Text(&rest[..len]))
    }

    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        self.at += 1;
        loop {
            if in_word(self.peek(0)) {
                self.at += 1;
            } else if self.peek(0) == b':' && self.peek(1) == b':' {
                self.at += 2;
            } else {
                return Token::Word(&self.text[start..self.at]);
            }
        }
    }

    fn number(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric()
            || self.peek(0) == b'.'
            || (matches!(self.peek(0), b'+' | b'-') && self.is_exponent(start))
        {
            self.at += 1;
        }
        let digits = &self.text[start..self.at];
        self.literal(digits).ok_or_else(|| self.error(format!("\"{digits}\" is no number")))
    }

    /// Whether a sign at the current place belongs to a decimal's exponent.
    fn is_exponent(&self, start: usize) -> bool {
        let digits = &self.text[start..self.at];
        digits.ends_with(['e', 'E']) && !digits.starts_with("0x") && !digits.starts_with("0f")
    }

    fn literal(&self, digits: &str) -> Option<Token<'a>> {
        let lower = digits.to_ascii_lowercase();
        if let Some(bits) = lower.strip_prefix("0f").filter(|d| d.len() == 8) {
            return Some(Token::F32(u32::from_str_radix(bits, 16).ok()?));
        }
        if let Some(bits) = lower.strip_prefix("0d").filter(|d| d.len() == 16) {
            return Some(Token::F64(u64::from_str_radix(bits, 16).ok()?));
        }
        let plain = lower.strip_suffix('u').unwrap_or(&lower);
        let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Token::Int);
        if let Some(hex) = plain.strip_prefix("0x") {
            radix(hex, 16)
        } else if let Some(binary) = plain.strip_prefix("0b") {
            radix(binary, 2)
        } else if plain.contains(['.', 'e']) {
            plain.parse().ok().map(Token::Decimal)
        } else if plain.len() > 1 && plain.starts_with('0') {
            radix(plain, 8)
        } else {
            plain.parse().ok().map(Token::Int)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_their_dots_and_numbers_their_forms() {
        let text = "ld.shared::cta.f32 %f1, [%r_0$+-8]; // end\n/* a\nb */ 0f3F800000 0d3FF0000000000000 \
                    0x1F 0b101 017 12U 1.5e-3";
        let all = tokens(text).expect("tokens");
        let found: Vec<Token> = all.iter().map(|p| p.token).collect();
        let marks = |c: u8| Token::Mark(c);
        let expected = vec![
            Token::Word("ld.shared::cta.f32"),
            Token::Word("%f1"),
            marks(b','),
            marks(b'['),
            Token::Word("%r_0$"),
            marks(b'+'),
            marks(b'-'),
            Token::Int(8),
            marks(b']'),
            marks(b';'),
            Token::F32(0x3f80_0000),
            Token::F64(0x3ff0_0000_0000_0000),
            Token::Int(31),
            Token::Int(5),
            Token::Int(15),
            Token::Int(12),
            Token::Decimal(1.5e-3),
            Token::End,
        ];
        assert_eq!(found, expected);
        assert_eq!(all[10].line, 3);
    }

    #[test]
    fn what_does_not_end_or_is_no_number_is_refused() {
        for text in ["\"abc", "/* abc", "12zz", "0xgg", "\u{7}"] {
            assert!(tokens(text).is_err(), "{text:?}");
        }
    }
}
