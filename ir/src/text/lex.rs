//! Tokens, and the parts of the grammar that every level shares: texts, sizes, types.

use super::TextError;
use crate::{DType, Dim, Sym, TensorType, Type};

/// Deepest nesting of types, sizes and bodies.
const MAX_DEPTH: usize = 64;

/// A word, number, quoted text or sign.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token {
    /// Letters, digits, `_`, `.`; does not start with a digit.
    Word(String),
    /// Digits, with all that may follow in a number.
    Number(String),
    /// `%name`
    Value(String),
    /// Between quotes, escapes resolved.
    Quoted(Vec<u8>),
    /// Anything else.
    Sign(char),
    /// Nothing left.
    End,
}

/// A text, read token by token.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    start: usize,
    token: Token,
    depth: usize,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(w) | Token::Number(w) => f.write_str(w),
            Token::Value(v) => write!(f, "%{v}"),
            Token::Quoted(q) => f.write_str(&quote(q)),
            Token::Sign(c) => write!(f, "'{c}'"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Bytes between quotes; what is no printable character stands as `\xNN`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                c if c.is_control() => {
                    c.to_string().bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}")))
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out.push('"');
    out
}

/// Letters, digits, `_` and `.`, not starting with a digit.
pub(crate) fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(is_word_part)
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Result<Lexer<'a>, TextError> {
        let mut lexer = Lexer { text, at: 0, start: 0, token: Token::End, depth: 0 };
        lexer.advance()?;
        Ok(lexer)
    }

    /// The next token, not yet taken.
    pub(crate) fn peek(&self) -> &Token {
        &self.token
    }

    /// Where the next token starts.
    pub(crate) fn position(&self) -> usize {
        self.start
    }

    /// An error at the next token.
    pub(crate) fn error(&self, message: impl Into<String>) -> TextError {
        self.error_at(self.start, message)
    }

    /// An error at a position.
    pub(crate) fn error_at(&self, position: usize, message: impl Into<String>) -> TextError {
        let before = &self.text[..position];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        TextError { line, column, message: message.into() }
    }

    fn expected<T>(&self, what: &str) -> Result<T, TextError> {
        Err(self.error(format!("expected {what}, found {}", self.token)))
    }

    /// Takes the next token.
    pub(crate) fn next(&mut self) -> Result<Token, TextError> {
        let token = std::mem::replace(&mut self.token, Token::End);
        self.advance()?;
        Ok(token)
    }

    fn advance(&mut self) -> Result<(), TextError> {
        loop {
            let rest = &self.text[self.at..];
            let space = rest.len() - rest.trim_start().len();
            self.at += space;
            match self.text[self.at..].strip_prefix(';') {
                Some(comment) => self.at += 1 + comment.find('\n').unwrap_or(comment.len()),
                None => break,
            }
        }
        self.start = self.at;
        let Some(first) = self.text[self.at..].chars().next() else {
            self.token = Token::End;
            return Ok(());
        };
        self.token = match first {
            '"' => Token::Quoted(self.quoted()?),
            '%' => {
                self.at += 1;
                Token::Value(self.run(is_word_part))
            }
            '0'..='9' => Token::Number(self.number()),
            c if c.is_ascii_alphabetic() || c == '_' => Token::Word(self.run(is_word_part)),
            c => {
                self.at += c.len_utf8();
                Token::Sign(c)
            }
        };
        Ok(())
    }

    fn run(&mut self, part: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    /// Digits, a fraction if a digit follows the point, an exponent; letters too, for hexadecimal hashes.
    fn number(&mut self) -> String {
        let mut number = self.run(|c| c.is_ascii_alphanumeric());
        let fraction = self.text[self.at..].strip_prefix('.');
        if fraction.is_some_and(|f| f.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 1;
            number = format!("{number}.{}", self.run(|c| c.is_ascii_alphanumeric()));
        }
        if number.ends_with('e') && self.text[self.at..].starts_with('-') {
            self.at += 1;
            number = format!("{number}-{}", self.run(|c| c.is_ascii_digit()));
        }
        number
    }

    fn quoted(&mut self) -> Result<Vec<u8>, TextError> {
        let mut bytes = Vec::new();
        let mut chars = self.text[self.at..].char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(bytes);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => bytes.push(b'\n'),
                    Some((_, c @ ('"' | '\\'))) => bytes.push(c as u8),
                    Some((_, 'x')) => {
                        let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                        let byte = u8::from_str_radix(&digits, 16);
                        bytes.push(
                            byte.map_err(|_| self.error_at(self.at + i, "expected two digits after \\x"))?,
                        );
                    }
                    _ => return Err(self.error_at(self.at + i, "unknown escape")),
                },
                c => bytes.extend(c.to_string().bytes()),
            }
        }
        Err(self.error_at(self.at, "a quote is not closed"))
    }

    /// Takes a sign if it is next.
    pub(crate) fn accept(&mut self, sign: char) -> Result<bool, TextError> {
        let found = self.token == Token::Sign(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Takes a word if it is next.
    pub(crate) fn accept_word(&mut self, word: &str) -> Result<bool, TextError> {
        let found = matches!(&self.token, Token::Word(w) if w == word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(crate) fn sign(&mut self, sign: char) -> Result<(), TextError> {
        if self.accept(sign)? { Ok(()) } else { self.expected(&format!("'{sign}'")) }
    }

    pub(crate) fn keyword(&mut self, word: &str) -> Result<(), TextError> {
        if self.accept_word(word)? { Ok(()) } else { self.expected(&format!("\"{word}\"")) }
    }

    pub(crate) fn word(&mut self, what: &str) -> Result<String, TextError> {
        match &self.token {
            Token::Word(_) => match self.next()? {
                Token::Word(w) => Ok(w),
                _ => self.expected(what),
            },
            _ => self.expected(what),
        }
    }

    /// A word, or a quoted text.
    pub(crate) fn name(&mut self, what: &str) -> Result<String, TextError> {
        if let Token::Word(_) = self.token { self.word(what) } else { self.text(what) }
    }

    pub(crate) fn quoted_bytes(&mut self, what: &str) -> Result<Vec<u8>, TextError> {
        match &self.token {
            Token::Quoted(q) => {
                let q = q.clone();
                self.advance()?;
                Ok(q)
            }
            _ => self.expected(what),
        }
    }

    pub(crate) fn text(&mut self, what: &str) -> Result<String, TextError> {
        let at = self.start;
        let bytes = self.quoted_bytes(what)?;
        String::from_utf8(bytes).map_err(|_| self.error_at(at, "a text must be UTF-8"))
    }

    pub(crate) fn value(&mut self) -> Result<String, TextError> {
        match &self.token {
            Token::Value(v) => {
                let v = v.clone();
                self.advance()?;
                Ok(v)
            }
            _ => self.expected("a value"),
        }
    }

    /// `open item, item close`
    pub(crate) fn list<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<T, TextError>,
    ) -> Result<Vec<T>, TextError> {
        self.sign(open)?;
        let mut items = Vec::new();
        if self.accept(close)? {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.accept(close)? {
                return Ok(items);
            }
            self.sign(',')?;
        }
    }

    /// The digits of a number with its sign.
    pub(crate) fn number_text(&mut self) -> Result<String, TextError> {
        let sign = if self.accept('-')? { "-" } else { "" };
        match &self.token {
            Token::Number(_) | Token::Word(_) => match self.next()? {
                Token::Number(n) => Ok(format!("{sign}{n}")),
                Token::Word(w) if w == "inf" || w == "NaN" => Ok(format!("{sign}{w}")),
                other => Err(self.error(format!("expected a number, found {other}"))),
            },
            _ => self.expected("a number"),
        }
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, TextError> {
        let at = self.start;
        let text = self.number_text()?;
        text.parse().map_err(|_| self.error_at(at, format!("expected {what}, found {text}")))
    }

    pub(crate) fn int(&mut self) -> Result<i64, TextError> {
        self.parsed("a 64-bit integer")
    }

    pub(crate) fn float(&mut self) -> Result<f64, TextError> {
        self.parsed("a number")
    }

    /// Runs `f` one level deeper.
    pub(crate) fn nested<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, TextError>,
    ) -> Result<T, TextError> {
        self.enter()?;
        let result = f(self);
        self.leave();
        result
    }

    /// One level deeper, if that is not too deep.
    pub(crate) fn enter(&mut self) -> Result<(), TextError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.error("nested too deeply")) } else { Ok(()) }
    }

    /// One level up.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// A size expression.
    pub(crate) fn dim(&mut self) -> Result<Dim, TextError> {
        self.nested(|l| {
            let mut sum = l.product()?;
            loop {
                if l.accept('+')? {
                    sum = sum + l.product()?;
                } else if l.accept('-')? {
                    sum = sum - l.product()?;
                } else {
                    return Ok(sum);
                }
            }
        })
    }

    fn product(&mut self) -> Result<Dim, TextError> {
        if self.accept('-')? {
            // The lowest integer has no positive counterpart.
            let at = self.start;
            if let Token::Number(n) = &self.token {
                let n: i64 =
                    format!("-{n}").parse().map_err(|_| self.error_at(at, "a number exceeds 64 bits"))?;
                self.advance()?;
                return self.factors(Dim::int(n));
            }
            return Ok(-self.nested(Self::product)?);
        }
        let first = self.factor()?;
        self.factors(first)
    }

    fn factors(&mut self, mut product: Dim) -> Result<Dim, TextError> {
        while self.accept('*')? {
            product = product * self.factor()?;
        }
        Ok(product)
    }

    fn factor(&mut self) -> Result<Dim, TextError> {
        if self.accept('(')? {
            let d = self.dim()?;
            self.sign(')')?;
            return Ok(d);
        }
        let at = self.start;
        match self.token.clone() {
            Token::Number(n) => {
                self.advance()?;
                n.parse().map(Dim::int).map_err(|_| self.error_at(at, format!("expected a size, found {n}")))
            }
            Token::Quoted(_) => Ok(Dim::named(&self.text("a size")?)),
            Token::Value(v) => {
                self.advance()?;
                let number =
                    v.parse().map_err(|_| self.error_at(at, format!("expected a size, found %{v}")))?;
                Ok(Dim::sym(Sym::Local(number)))
            }
            Token::Word(w) => {
                self.advance()?;
                match w.as_str() {
                    "floor" | "min" | "max" => self.function(&w, at),
                    _ => Ok(Dim::named(&w)),
                }
            }
            _ => self.expected("a size"),
        }
    }

    fn function(&mut self, name: &str, at: usize) -> Result<Dim, TextError> {
        let args = self.list('(', ')', Self::dim)?;
        match (name, args.as_slice()) {
            ("floor", [a, b]) => Ok(a.floor_div(b)),
            ("min", [a, b]) => Ok(a.min_with(b)),
            ("max", [a, b]) => Ok(a.max_with(b)),
            _ => Err(self.error_at(at, format!("{name} takes 2 sizes, found {}", args.len()))),
        }
    }

    pub(crate) fn dims(&mut self) -> Result<Vec<Dim>, TextError> {
        self.list('[', ']', Self::dim)
    }

    pub(crate) fn dtype(&mut self) -> Result<DType, TextError> {
        let at = self.start;
        let word = self.word("a data type")?;
        DType::from_name(&word).ok_or_else(|| self.error_at(at, format!("unknown data type {word}")))
    }

    /// A type: `f32[n, 3]`, `seq(T)`, `opt(T)`, `map(K, T)`.
    pub(crate) fn ty(&mut self) -> Result<Type, TextError> {
        self.nested(|l| {
            let kind = match &l.token {
                Token::Word(w) if matches!(w.as_str(), "seq" | "opt" | "map") => w.clone(),
                _ => return Ok(Type::Tensor(TensorType::new(l.dtype()?, l.dims()?))),
            };
            l.advance()?;
            l.sign('(')?;
            let key = if kind == "map" {
                let key = l.dtype()?;
                l.sign(',')?;
                Some(key)
            } else {
                None
            };
            let inner = Box::new(l.ty()?);
            l.sign(')')?;
            Ok(match (kind.as_str(), key) {
                ("seq", _) => Type::Sequence(inner),
                (_, Some(key)) => Type::Map(key, inner),
                _ => Type::Optional(inner),
            })
        })
    }
}
