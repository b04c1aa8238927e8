//! Size expressions: integers, symbols, `+ − ×`, floor division, min and max, in a normal form.
//!
//! A [`Dim`] is a sum of terms, each an integer coefficient times a sorted product of atoms. Two
//! expressions that are equal as polynomials over their atoms are equal as values, so equality is
//! structural. `a mod b` is stored as `a − b·⌊a/b⌋`; an index that is split and joined again
//! therefore cancels by arithmetic alone. Divisors are taken to be positive.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};
use std::sync::Arc;

mod range;

pub use range::Range;

/// A symbol: a named size of the model, or a number local to one tile program.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Sym {
    /// A size known by name: a dimension parameter, or a count found at run time.
    Name(Arc<str>),
    /// A loop variable or integer value of one tile program.
    Local(u32),
}

impl Sym {
    /// A named symbol.
    pub fn new(name: impl Into<Arc<str>>) -> Sym {
        Sym::Name(name.into())
    }
}

impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sym::Name(n) if is_plain(n) => f.write_str(n),
            Sym::Name(n) => write!(f, "{n:?}"),
            Sym::Local(n) => write!(f, "%{n}"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(name, "min" | "max" | "floor")
}

/// An indivisible part of a term.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Atom {
    /// A symbol.
    Sym(Sym),
    /// `⌊a / b⌋`
    FloorDiv(Dim, Dim),
    /// The smaller of two.
    Min(Dim, Dim),
    /// The larger of two.
    Max(Dim, Dim),
}

/// `coeff · factors…`; the factors are sorted, a power is a repeated factor.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Term {
    /// Never zero.
    pub coeff: i64,
    /// Sorted; empty for the constant term.
    pub factors: Vec<Atom>,
}

/// A size or index expression in normal form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dim(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
enum Repr {
    Const(i64),
    /// At least one term that is not constant; sorted by factors.
    Sum(Arc<Vec<Term>>),
}

/// Why an expression has no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DimError {
    /// A symbol without a value.
    #[error("size \"{0}\" is not known")]
    Unbound(Sym),
    /// The value does not fit 64 bits.
    #[error("size expression overflows")]
    Overflow,
    /// Division by zero or by a negative number.
    #[error("size expression divides by {0}")]
    BadDivisor(i64),
}

type Sum = BTreeMap<Vec<Atom>, i64>;

impl Dim {
    /// Zero.
    pub const ZERO: Dim = Dim(Repr::Const(0));
    /// One.
    pub const ONE: Dim = Dim(Repr::Const(1));

    /// A constant.
    pub const fn int(v: i64) -> Dim {
        Dim(Repr::Const(v))
    }

    /// A constant from a length.
    pub fn len(v: usize) -> Dim {
        Dim::int(i64::try_from(v).unwrap_or(i64::MAX))
    }

    /// A symbol.
    pub fn sym(sym: Sym) -> Dim {
        Dim::atom(Atom::Sym(sym))
    }

    /// A named symbol.
    pub fn named(name: &str) -> Dim {
        Dim::sym(Sym::new(name))
    }

    fn atom(atom: Atom) -> Dim {
        Dim(Repr::Sum(Arc::new(vec![Term { coeff: 1, factors: vec![atom] }])))
    }

    /// The value, if the expression is constant.
    pub fn as_const(&self) -> Option<i64> {
        match &self.0 {
            Repr::Const(v) => Some(*v),
            Repr::Sum(_) => None,
        }
    }

    /// The value as a length, if constant and not negative.
    pub fn as_len(&self) -> Option<usize> {
        self.as_const().and_then(|v| usize::try_from(v).ok())
    }

    /// The symbol, if the expression is just one.
    pub fn as_sym(&self) -> Option<&Sym> {
        match self.terms() {
            [Term { coeff: 1, factors }] => match factors.as_slice() {
                [Atom::Sym(s)] => Some(s),
                _ => None,
            },
            _ => None,
        }
    }

    /// True for the constant `v`.
    pub fn is(&self, v: i64) -> bool {
        self.as_const() == Some(v)
    }

    /// The terms of a sum that is not constant; empty for constants.
    pub fn terms(&self) -> &[Term] {
        match &self.0 {
            Repr::Const(_) => &[],
            Repr::Sum(t) => t,
        }
    }

    fn sum(&self) -> Sum {
        match &self.0 {
            Repr::Const(0) => Sum::new(),
            Repr::Const(v) => Sum::from([(Vec::new(), *v)]),
            Repr::Sum(t) => t.iter().map(|t| (t.factors.clone(), t.coeff)).collect(),
        }
    }

    fn from_sum(mut sum: Sum) -> Dim {
        sum.retain(|_, c| *c != 0);
        match sum.len() {
            0 => Dim::ZERO,
            1 if sum.contains_key(&Vec::new()) => Dim::int(sum[&Vec::new()]),
            _ => Dim(Repr::Sum(Arc::new(
                sum.into_iter().map(|(factors, coeff)| Term { coeff, factors }).collect(),
            ))),
        }
    }

    fn from_term(term: &Term) -> Dim {
        Dim::from_sum(Sum::from([(term.factors.clone(), term.coeff)]))
    }

    /// `⌊self / b⌋` for positive `b`.
    pub fn floor_div(&self, b: &Dim) -> Dim {
        if b.is(1) {
            return self.clone();
        }
        if let (Some(x), Some(y)) = (self.as_const(), b.as_const())
            && y > 0
        {
            return Dim::int(x.div_euclid(y));
        }
        let (whole, rest) = self.split_by(b);
        if rest.is(0) {
            return whole;
        }
        if !whole.is(0) {
            return whole + rest.floor_div(b);
        }
        // ⌊⌊x/a⌋/b⌋ = ⌊x/(a·b)⌋ for positive a, b.
        if let [Term { coeff: 1, factors }] = rest.terms()
            && let [Atom::FloorDiv(x, a)] = factors.as_slice()
        {
            return x.floor_div(&(a.clone() * b.clone()));
        }
        match reduce_common(&rest, b) {
            Some((x, y)) => x.floor_div(&y),
            None => Dim::atom(Atom::FloorDiv(rest, b.clone())),
        }
    }

    /// `whole·b + rest` with every term that `b` divides in `whole`.
    fn split_by(&self, b: &Dim) -> (Dim, Dim) {
        let (mut whole, mut rest) = (Sum::new(), Sum::new());
        let by = match (b.as_const(), b.terms()) {
            (Some(c), _) if c > 0 => Term { coeff: c, factors: Vec::new() },
            (None, [t]) if t.coeff > 0 => t.clone(),
            _ => return self.exact_quotient(b).map_or((Dim::ZERO, self.clone()), |q| (q, Dim::ZERO)),
        };
        for (factors, coeff) in self.sum() {
            match remove_factors(&factors, &by.factors) {
                Some(left) if coeff % by.coeff == 0 => *whole.entry(left).or_default() += coeff / by.coeff,
                Some(left) if left.is_empty() && by.factors.is_empty() => {
                    *whole.entry(left.clone()).or_default() += coeff.div_euclid(by.coeff);
                    *rest.entry(left).or_default() += coeff.rem_euclid(by.coeff);
                }
                _ => *rest.entry(factors).or_default() += coeff,
            }
        }
        (Dim::from_sum(whole), Dim::from_sum(rest))
    }

    /// The expression whose product with the sum `b` this one is, found by long division.
    fn exact_quotient(&self, b: &Dim) -> Option<Dim> {
        let lead = b.terms().last()?;
        let by_lead = |t: &Term| {
            let left = remove_factors(&t.factors, &lead.factors).filter(|_| t.coeff % lead.coeff == 0)?;
            Some(Dim::from_term(&Term { coeff: t.coeff / lead.coeff, factors: left }))
        };
        let (mut whole, mut rest) = (Dim::ZERO, self.clone());
        for _ in self.terms() {
            let part = rest.terms().iter().find_map(by_lead)?;
            rest = rest - part.clone() * b.clone();
            whole = whole + part;
            if rest.is(0) {
                return Some(whole);
            }
        }
        None
    }

    /// `⌈self / b⌉` for positive `b`.
    pub fn ceil_div(&self, b: &Dim) -> Dim {
        -((-self.clone()).floor_div(b))
    }

    /// `self mod b`, in `0..b`.
    pub fn modulo(&self, b: &Dim) -> Dim {
        self.clone() - self.floor_div(b) * b.clone()
    }

    /// The smaller of two.
    pub fn min_with(&self, other: &Dim) -> Dim {
        self.extreme(other, true)
    }

    /// The larger of two.
    pub fn max_with(&self, other: &Dim) -> Dim {
        self.extreme(other, false)
    }

    fn extreme(&self, other: &Dim, smaller: bool) -> Dim {
        if let Some(d) = (self.clone() - other.clone()).as_const() {
            return if (d <= 0) == smaller { self.clone() } else { other.clone() };
        }
        // max(a, min(a, b)) = a and max(a, max(a, b)) = max(a, b), and the same the other way round.
        match (other.absorbs(self, smaller), self.absorbs(other, smaller)) {
            (Some(kept), _) | (_, Some(kept)) => return kept.clone(),
            (None, None) => {}
        }
        let (a, b) = if self <= other { (self, other) } else { (other, self) };
        let (a, b) = (a.clone(), b.clone());
        Dim::atom(if smaller { Atom::Min(a, b) } else { Atom::Max(a, b) })
    }

    /// The extreme of `self` and `other` where `self` is an extreme that holds `other` already.
    fn absorbs<'a>(&'a self, other: &'a Dim, smaller: bool) -> Option<&'a Dim> {
        let [Term { coeff: 1, factors }] = self.terms() else { return None };
        let [Atom::Min(a, b) | Atom::Max(a, b)] = factors.as_slice() else { return None };
        if a != other && b != other {
            return None;
        }
        let same = matches!(factors.as_slice(), [Atom::Min(..)]) == smaller;
        Some(if same { self } else { other })
    }

    /// The product of many.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::ONE, |a, d| a * d.clone())
    }

    /// Replaces symbols; `f` answers `None` for those that stay.
    pub fn substitute(&self, f: &dyn Fn(&Sym) -> Option<Dim>) -> Dim {
        let mut out = Dim::int(0);
        match &self.0 {
            Repr::Const(v) => return Dim::int(*v),
            Repr::Sum(terms) => {
                for t in terms.iter() {
                    let mut x = Dim::int(t.coeff);
                    for a in &t.factors {
                        x = x * substitute_atom(a, f);
                    }
                    out = out + x;
                }
            }
        }
        out
    }

    /// Calls `f` for every symbol, also inside divisions; one may come several times.
    pub fn visit_syms(&self, f: &mut dyn FnMut(&Sym)) {
        for t in self.terms() {
            for a in &t.factors {
                match a {
                    Atom::Sym(s) => f(s),
                    Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                        a.visit_syms(f);
                        b.visit_syms(f);
                    }
                }
            }
        }
    }

    /// True if the symbol occurs anywhere.
    pub fn mentions(&self, sym: &Sym) -> bool {
        let mut found = false;
        self.visit_syms(&mut |s| found |= s == sym);
        found
    }

    /// Splits `self = coefficient·sym + rest` if the symbol occurs only linearly and outside divisions.
    pub fn linear_in(&self, sym: &Sym) -> Option<(Dim, Dim)> {
        let wanted = Atom::Sym(sym.clone());
        let (mut coeff, mut rest) = (Sum::new(), Sum::new());
        for (factors, c) in self.sum() {
            match remove_factors(&factors, std::slice::from_ref(&wanted)) {
                Some(left) => *coeff.entry(left).or_default() += c,
                None => *rest.entry(factors).or_default() += c,
            }
        }
        let (coeff, rest) = (Dim::from_sum(coeff), Dim::from_sum(rest));
        (!coeff.mentions(sym) && !rest.mentions(sym)).then_some((coeff, rest))
    }

    /// The value under an assignment of the symbols.
    pub fn eval(&self, env: &dyn Fn(&Sym) -> Option<i64>) -> Result<i64, DimError> {
        match &self.0 {
            Repr::Const(v) => Ok(*v),
            Repr::Sum(terms) => terms.iter().try_fold(0i64, |sum, t| {
                let x = t
                    .factors
                    .iter()
                    .try_fold(t.coeff, |p, a| p.checked_mul(eval_atom(a, env)?).ok_or(DimError::Overflow))?;
                sum.checked_add(x).ok_or(DimError::Overflow)
            }),
        }
    }
}

fn substitute_atom(atom: &Atom, f: &dyn Fn(&Sym) -> Option<Dim>) -> Dim {
    match atom {
        Atom::Sym(s) => f(s).unwrap_or_else(|| Dim::sym(s.clone())),
        Atom::FloorDiv(a, b) => a.substitute(f).floor_div(&b.substitute(f)),
        Atom::Min(a, b) => a.substitute(f).min_with(&b.substitute(f)),
        Atom::Max(a, b) => a.substitute(f).max_with(&b.substitute(f)),
    }
}

fn eval_atom(atom: &Atom, env: &dyn Fn(&Sym) -> Option<i64>) -> Result<i64, DimError> {
    match atom {
        Atom::Sym(s) => env(s).ok_or_else(|| DimError::Unbound(s.clone())),
        Atom::FloorDiv(a, b) => match (a.eval(env)?, b.eval(env)?) {
            (_, d) if d <= 0 => Err(DimError::BadDivisor(d)),
            (n, d) => Ok(n.div_euclid(d)),
        },
        Atom::Min(a, b) => Ok(a.eval(env)?.min(b.eval(env)?)),
        Atom::Max(a, b) => Ok(a.eval(env)?.max(b.eval(env)?)),
    }
}

/// `all` without `some`, each once; `None` if one is missing. Both are sorted.
fn remove_factors(all: &[Atom], some: &[Atom]) -> Option<Vec<Atom>> {
    let mut left = all.to_vec();
    for s in some {
        let at = left.iter().position(|a| a == s)?;
        left.remove(at);
    }
    Some(left)
}

/// Divides numerator and denominator by their common integer and common factors.
fn reduce_common(a: &Dim, b: &Dim) -> Option<(Dim, Dim)> {
    let (an, bn) = (a.sum(), b.sum());
    let gcd = an.values().chain(bn.values()).fold(0, |g, c| gcd(g, c.unsigned_abs()));
    let mut common: Option<Vec<Atom>> = None;
    for factors in an.keys().chain(bn.keys()) {
        common = Some(match common {
            None => factors.clone(),
            Some(c) => intersect(&c, factors),
        });
    }
    let common = common.unwrap_or_default();
    if gcd <= 1 && common.is_empty() {
        return None;
    }
    let by = i64::try_from(gcd.max(1)).ok()?;
    let divide = |sum: Sum| -> Option<Dim> {
        let mut out = Sum::new();
        for (factors, c) in sum {
            out.insert(remove_factors(&factors, &common)?, c / by);
        }
        Some(Dim::from_sum(out))
    };
    Some((divide(an)?, divide(bn)?))
}

fn intersect(a: &[Atom], b: &[Atom]) -> Vec<Atom> {
    let mut left = b.to_vec();
    a.iter()
        .filter(|x| {
            let at = left.iter().position(|y| y == *x);
            at.map(|i| left.remove(i)).is_some()
        })
        .cloned()
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Add for Dim {
    type Output = Dim;
    fn add(self, other: Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), other.as_const()) {
            return Dim::int(a.saturating_add(b));
        }
        let mut sum = self.sum();
        for (factors, c) in other.sum() {
            let e = sum.entry(factors).or_default();
            *e = e.saturating_add(c);
        }
        Dim::from_sum(sum)
    }
}

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        self * Dim::int(-1)
    }
}

impl Sub for Dim {
    type Output = Dim;
    fn sub(self, other: Dim) -> Dim {
        self + (-other)
    }
}

impl Mul for Dim {
    type Output = Dim;
    fn mul(self, other: Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), other.as_const()) {
            return Dim::int(a.saturating_mul(b));
        }
        let mut out = Sum::new();
        for (fa, ca) in self.sum() {
            for (fb, cb) in other.sum() {
                let mut factors = [fa.as_slice(), fb.as_slice()].concat();
                factors.sort();
                let e = out.entry(factors).or_default();
                *e = e.saturating_add(ca.saturating_mul(cb));
            }
        }
        Dim::from_sum(out)
    }
}

impl From<i64> for Dim {
    fn from(v: i64) -> Dim {
        Dim::int(v)
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(v) = self.as_const() {
            return write!(f, "{v}");
        }
        // Constants last reads better: n + 1.
        let (constants, others): (Vec<_>, Vec<_>) = self.terms().iter().partition(|t| t.factors.is_empty());
        for (i, t) in others.into_iter().chain(constants).enumerate() {
            let magnitude = t.coeff.unsigned_abs();
            match (i, t.coeff < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            if magnitude != 1 || t.factors.is_empty() {
                write!(f, "{magnitude}")?;
                if !t.factors.is_empty() {
                    f.write_str("*")?;
                }
            }
            for (j, a) in t.factors.iter().enumerate() {
                if j > 0 {
                    f.write_str("*")?;
                }
                match a {
                    Atom::Sym(s) => write!(f, "{s}")?,
                    Atom::FloorDiv(a, b) => write!(f, "floor({a}, {b})")?,
                    Atom::Min(a, b) => write!(f, "min({a}, {b})")?,
                    Atom::Max(a, b) => write!(f, "max({a}, {b})")?,
                }
            }
        }
        Ok(())
    }
}

impl Dim {
    /// The single terms of the sum, constants included.
    pub fn summands(&self) -> Vec<Dim> {
        match self.as_const() {
            Some(_) => vec![self.clone()],
            None => self.terms().iter().map(Dim::from_term).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(name: &str) -> Dim {
        Dim::named(name)
    }

    #[test]
    fn equal_polynomials_are_equal_values() {
        assert_eq!((s("a") + s("b")) * (s("a") - s("b")), s("a") * s("a") - s("b") * s("b"));
        assert_eq!(s("n") * 2.into() + Dim::ONE - s("n"), Dim::ONE + s("n"));
    }

    #[test]
    fn an_index_split_and_joined_cancels() {
        let (i, d) = (s("i"), s("d"));
        assert_eq!(i.floor_div(&d) * d.clone() + i.modulo(&d), i);
    }

    #[test]
    fn floor_division_takes_out_whole_terms() {
        assert_eq!((s("n") * 6.into() + 7.into()).floor_div(&3.into()), s("n") * 2.into() + 2.into());
        assert_eq!((s("n") * s("c") * s("c")).floor_div(&(s("c") * s("n"))), s("c"));
        assert_eq!((s("n") * 4.into()).floor_div(&6.into()), (s("n") * 2.into()).floor_div(&3.into()));
        let sum = s("n") + s("c") * 2.into() + 1.into();
        let factor = s("n") * 12.into() + s("b") * s("c");
        assert_eq!((factor.clone() * sum.clone()).floor_div(&sum), factor);
        assert_eq!((sum.clone() * sum.clone()).floor_div(&sum), sum);
    }

    #[test]
    fn extremes_absorb_each_other() {
        let (a, b) = (s("a"), s("b"));
        let low = a.min_with(&b);
        assert_eq!(a.max_with(&low), a);
        assert_eq!(low.min_with(&b), low);
        assert_eq!(a.max_with(&b).min_with(&a), a);
    }

    #[test]
    fn lower_bounds_hold_for_constants_and_lengths() {
        let at_least = |d: Dim, low: i64| d.at_least(low, &|_| Range::length());
        assert!(at_least(Dim::int(0), 0) && !at_least(Dim::int(-1), 0) && !at_least(Dim::int(-3), -2));
        assert!(at_least(s("n") + Dim::ONE, 1) && !at_least(s("n") - Dim::ONE, 0));
    }

    #[test]
    fn bounds_remove_divisions() {
        let range = |x: &Sym| match x.to_string().as_str() {
            "j" => Range { low: Some(0), high: Some(7), top: None },
            "k" => Range { low: Some(0), high: None, top: Some(s("d") - 1.into()) },
            _ => Range::length(),
        };
        let e = (s("i") * 8.into() + s("j")).floor_div(&8.into());
        assert_eq!(e.simplify(&range), s("i"));
        let e = (s("i") * s("d") + s("k")).floor_div(&s("d"));
        assert_eq!(e.simplify(&range), s("i"));
    }

    #[test]
    fn evaluation_agrees_with_integers_and_reports_errors() {
        let env = |x: &Sym| (x.to_string() == "n").then_some(7);
        let e = (s("n") + 1.into()).floor_div(&3.into()).max_with(&s("n").min_with(&5.into()));
        assert_eq!(e.eval(&env), Ok(5));
        assert_eq!(s("m").eval(&env), Err(DimError::Unbound(Sym::new("m"))));
        assert_eq!(s("n").floor_div(&(s("n") - 7.into())).eval(&env), Err(DimError::BadDivisor(0)));
    }

    #[test]
    fn text_reads_well() {
        assert_eq!((s("past + seq") * 2.into() - 1.into()).to_string(), "2*\"past + seq\" - 1");
    }
}
