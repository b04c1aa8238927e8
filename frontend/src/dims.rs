//! Names of dimensions: plain symbols, and expressions over symbols such as `past + seq`.
//!
//! Exporters name a dimension by an expression over other dimensions, as plain text. It is read as
//! one only if every identifier in it stands somewhere as a dimension of its own; otherwise the
//! whole text is the name of a symbol.

use nnc_ir::Dim;
use std::collections::BTreeSet;

/// The dimension called `name`, where `plain` holds the names of plain dimensions.
pub(crate) fn named_dim(name: &str, plain: &BTreeSet<&str>, symbol: &dyn Fn(&str) -> Dim) -> Dim {
    if is_identifier(name) {
        return symbol(name);
    }
    let mut parser = Parser { rest: name.trim_start(), plain, symbol, depth: 0 };
    match parser.sum() {
        Some(d) if parser.rest.is_empty() => d,
        _ => symbol(name),
    }
}

/// Letters, digits and underscores, not starting with a digit.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

struct Parser<'a> {
    rest: &'a str,
    plain: &'a BTreeSet<&'a str>,
    symbol: &'a dyn Fn(&str) -> Dim,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Option<Dim> {
        let mut left = self.product()?;
        loop {
            if self.eat("+") {
                left = left + self.product()?;
            } else if self.eat("-") {
                left = left - self.product()?;
            } else {
                return Some(left);
            }
        }
    }

    fn product(&mut self) -> Option<Dim> {
        let mut left = self.atom()?;
        loop {
            if self.eat("*") {
                left = left * self.atom()?;
            } else if self.eat("//") || self.eat("/") {
                let by = self.atom()?;
                by.as_const().filter(|c| *c > 0)?;
                left = left.floor_div(&by);
            } else {
                return Some(left);
            }
        }
    }

    fn atom(&mut self) -> Option<Dim> {
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        if self.eat("(") {
            let inner = self.sum()?;
            return self.eat(")").then_some(inner);
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        match word.parse::<i64>() {
            Ok(v) => Some(Dim::int(v)),
            Err(_) if self.plain.contains(word) => Some((self.symbol)(word)),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_need_known_names() {
        let plain = BTreeSet::from(["past", "seq"]);
        let read = |name: &str| named_dim(name, &plain, &Dim::named);
        assert_eq!(read("past + seq"), Dim::named("past") + Dim::named("seq"));
        assert_eq!(read("2*(past+1)//2"), Dim::named("past") + Dim::ONE);
        assert_eq!(read("past + total"), Dim::named("past + total"));
        assert_eq!(read("a b"), Dim::named("a b"));
        assert_eq!(read("past +"), Dim::named("past +"));
        assert_eq!(read("seq"), Dim::named("seq"));
    }
}
