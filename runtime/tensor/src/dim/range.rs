//! What bounds of symbols say about size expressions.

use super::{Atom, Dim, Sym};

impl Dim {
    /// Bounds of the value where `range` gives those of symbols (inclusive); `None` where unknown.
    pub fn bounds(&self, range: &dyn Fn(&Sym) -> Range) -> (Option<i64>, Option<i64>) {
        if let Some(v) = self.as_const() {
            return (Some(v), Some(v));
        }
        let mut sum = (Some(0i64), Some(0i64));
        for t in self.terms() {
            let mut p = (Some(t.coeff), Some(t.coeff));
            for a in &t.factors {
                p = mul_bounds(p, atom_bounds(a, range));
            }
            sum = (opt2(sum.0, p.0, i64::checked_add), opt2(sum.1, p.1, i64::checked_add));
        }
        sum
    }

    /// Simplifies divisions, minima and maxima with the help of bounds of the symbols.
    ///
    /// Besides numbers, the symbolic upper bounds serve: `⌊(s·q + r)/s⌋ = q` where `0 ≤ r < s` follows.
    pub fn simplify(&self, range: &dyn Fn(&Sym) -> Range) -> Dim {
        let mut out = Dim::ZERO;
        if self.as_const().is_some() {
            return self.clone();
        }
        for t in self.terms() {
            let mut x = Dim::int(t.coeff);
            for a in &t.factors {
                x = x * simplify_atom(a, range);
            }
            out = out + x;
        }
        out
    }

    /// True if the value is at least `low` for sure.
    pub fn at_least(&self, low: i64, range: &dyn Fn(&Sym) -> Range) -> bool {
        if let Some(v) = self.as_const() {
            return v >= low;
        }
        if self.bounds(range).0.is_some_and(|l| l >= low) {
            return true;
        }
        // Put in the symbolic maximum of every symbol that only lowers the value.
        let mut least = Dim::ZERO;
        for t in self.terms() {
            let term = Dim::from_term(t);
            let lowers = t.coeff < 0 && t.factors.iter().all(|a| matches!(a, Atom::Sym(_)));
            least = least + if lowers { term.substitute(&|s| range(s).top) } else { term };
        }
        least != *self && least.bounds(range).0.is_some_and(|l| l >= low)
    }
}

/// What is known of a symbol's value; the bounds are inclusive.
#[derive(Clone, Default, Debug)]
pub struct Range {
    /// Least value.
    pub low: Option<i64>,
    /// Greatest value.
    pub high: Option<i64>,
    /// Greatest value as an expression.
    pub top: Option<Dim>,
}

impl Range {
    /// A length: not negative.
    pub fn length() -> Range {
        Range { low: Some(0), ..Range::default() }
    }
}

type Bounds = (Option<i64>, Option<i64>);

fn opt2(a: Option<i64>, b: Option<i64>, f: fn(i64, i64) -> Option<i64>) -> Option<i64> {
    f(a?, b?)
}

fn mul_bounds(a: Bounds, b: Bounds) -> Bounds {
    if let (Some(al), Some(ah), Some(bl), Some(bh)) = (a.0, a.1, b.0, b.1) {
        let all = [al.checked_mul(bl), al.checked_mul(bh), ah.checked_mul(bl), ah.checked_mul(bh)];
        if all.iter().all(Option::is_some) {
            return (all.iter().flatten().min().copied(), all.iter().flatten().max().copied());
        }
        return (None, None);
    }
    // Half-open: only the sign matters.
    match (a.0, b.0) {
        (Some(x), Some(y)) if x >= 0 && y >= 0 => (x.checked_mul(y), None),
        _ => match (a.1, b.0) {
            (Some(x), Some(y)) if x <= 0 && y >= 0 => (None, x.checked_mul(y)),
            _ => (None, None),
        },
    }
}

fn atom_bounds(a: &Atom, range: &dyn Fn(&Sym) -> Range) -> Bounds {
    match a {
        Atom::Sym(s) => {
            let r = range(s);
            (r.low, r.high)
        }
        Atom::FloorDiv(x, y) => match (x.bounds(range), y.bounds(range)) {
            ((lo, hi), (Some(dl), dh)) if dl > 0 => {
                let least =
                    |v: i64| if v >= 0 { dh.map_or(0, |d| v.div_euclid(d)) } else { v.div_euclid(dl) };
                let most =
                    |v: i64| if v >= 0 { v.div_euclid(dl) } else { dh.map_or(-1, |d| v.div_euclid(d)) };
                (lo.map(least), hi.map(most))
            }
            _ => (None, None),
        },
        Atom::Min(x, y) => {
            let (a, b) = (x.bounds(range), y.bounds(range));
            let hi = match (a.1, b.1) {
                (Some(p), Some(q)) => Some(p.min(q)),
                (p, q) => p.or(q),
            };
            (opt2(a.0, b.0, |p, q| Some(p.min(q))), hi)
        }
        Atom::Max(x, y) => {
            let (a, b) = (x.bounds(range), y.bounds(range));
            let lo = match (a.0, b.0) {
                (Some(p), Some(q)) => Some(p.max(q)),
                (p, q) => p.or(q),
            };
            (lo, opt2(a.1, b.1, |p, q| Some(p.max(q))))
        }
    }
}

fn simplify_atom(a: &Atom, range: &dyn Fn(&Sym) -> Range) -> Dim {
    let below = |x: &Dim, y: &Dim| (y.clone() - x.clone()).at_least(0, range);
    match a {
        Atom::Sym(s) => Dim::sym(s.clone()),
        Atom::FloorDiv(x, y) => {
            let (x, y) = (x.simplify(range), y.simplify(range));
            let (whole, rest) = x.split_by(&y);
            let small = below(&Dim::ZERO, &rest) && below(&(rest.clone() + Dim::ONE), &y);
            if small { whole } else { x.floor_div(&y) }
        }
        Atom::Min(x, y) | Atom::Max(x, y) => {
            let (x, y) = (x.simplify(range), y.simplify(range));
            let least = matches!(a, Atom::Min(..));
            match (below(&x, &y), below(&y, &x)) {
                (true, _) => {
                    if least {
                        x
                    } else {
                        y
                    }
                }
                (_, true) => {
                    if least {
                        y
                    } else {
                        x
                    }
                }
                _ => x.extreme(&y, least),
            }
        }
    }
}
