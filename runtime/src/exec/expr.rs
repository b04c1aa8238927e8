//! Size expressions compiled to short programs, so that binding new shapes takes microseconds.

use nnc_tensor::dim::Atom;
use nnc_tensor::{Dim, DimError, Sym};
use std::collections::HashMap;
use std::ops::Range;

/// Expressions nested deeper than any compiler writes them are refused.
const MAX_DEPTH: usize = 64;
/// Operands that wait during the evaluation of an expression, at most.
const STACK: usize = 32;

/// The value of a size or symbol that is not known yet.
pub(crate) const UNKNOWN: i64 = i64::MIN;

#[derive(Clone, Copy, Debug)]
enum Op {
    Const(i64),
    Sym(u32),
    Add,
    Mul,
    FloorDiv,
    Min,
    Max,
}

/// The symbols of a plan, numbered.
#[derive(Default)]
pub(crate) struct Symbols {
    pub(crate) names: Vec<Sym>,
    index: HashMap<Sym, u32>,
}

impl Symbols {
    pub(crate) fn number(&mut self, sym: &Sym) -> u32 {
        if let Some(n) = self.index.get(sym) {
            return *n;
        }
        let n = self.names.len() as u32;
        self.names.push(sym.clone());
        self.index.insert(sym.clone(), n);
        n
    }
}

/// All size expressions of a plan, by the numbers of its size table.
#[derive(Default)]
pub(crate) struct Exprs {
    ops: Vec<Op>,
    ranges: Vec<Range<u32>>,
}

impl Exprs {
    /// Adds the next expression; `None` where it is too deep.
    pub(crate) fn push(&mut self, dim: &Dim, symbols: &mut Symbols) -> Option<()> {
        let start = self.ops.len();
        self.compile(dim, symbols, 0)?;
        self.ranges.push(start as u32..self.ops.len() as u32);
        (waiting(&self.ops[start..]) <= STACK).then_some(())
    }

    fn compile(&mut self, dim: &Dim, symbols: &mut Symbols, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let terms = dim.terms();
        if terms.is_empty() {
            self.ops.push(Op::Const(dim.as_const().unwrap_or(0)));
        }
        for (i, term) in terms.iter().enumerate() {
            let plain = term.coeff == 1 && !term.factors.is_empty();
            if !plain {
                self.ops.push(Op::Const(term.coeff));
            }
            for (j, atom) in term.factors.iter().enumerate() {
                self.atom(atom, symbols, depth + 1)?;
                if j > 0 || !plain {
                    self.ops.push(Op::Mul);
                }
            }
            if i > 0 {
                self.ops.push(Op::Add);
            }
        }
        Some(())
    }

    fn atom(&mut self, atom: &Atom, symbols: &mut Symbols, depth: usize) -> Option<()> {
        let (a, b, op) = match atom {
            Atom::Sym(s) => {
                self.ops.push(Op::Sym(symbols.number(s)));
                return Some(());
            }
            Atom::FloorDiv(a, b) => (a, b, Op::FloorDiv),
            Atom::Min(a, b) => (a, b, Op::Min),
            Atom::Max(a, b) => (a, b, Op::Max),
        };
        self.compile(a, symbols, depth)?;
        self.compile(b, symbols, depth)?;
        self.ops.push(op);
        Some(())
    }

    /// The value of expression `at` under the symbols' values.
    pub(crate) fn eval(&self, at: usize, symbols: &Symbols, values: &[i64]) -> Result<i64, DimError> {
        let mut stack = [0i64; STACK];
        let mut top = 0;
        for op in &self.ops[self.range(at)] {
            let value = match *op {
                Op::Const(v) => v,
                Op::Sym(s) => match values[s as usize] {
                    UNKNOWN => return Err(DimError::Unbound(symbols.names[s as usize].clone())),
                    v => v,
                },
                _ => {
                    top -= 2;
                    binary(*op, stack[top], stack[top + 1])?
                }
            };
            stack[top] = value;
            top += 1;
        }
        Ok(stack[0])
    }

    /// The symbols of expression `at`; one may come several times.
    pub(crate) fn symbols_of(&self, at: usize) -> impl Iterator<Item = u32> {
        self.ops[self.range(at)].iter().filter_map(|op| match op {
            Op::Sym(s) => Some(*s),
            _ => None,
        })
    }

    /// The only symbol, if the expression is nothing else.
    pub(crate) fn lone_symbol(&self, at: usize) -> Option<u32> {
        match self.ops[self.range(at)] {
            [Op::Sym(s)] => Some(s),
            _ => None,
        }
    }

    fn range(&self, at: usize) -> Range<usize> {
        let r = &self.ranges[at];
        r.start as usize..r.end as usize
    }
}

/// The most operands that wait at once.
fn waiting(ops: &[Op]) -> usize {
    let (mut now, mut most) = (0usize, 0);
    for op in ops {
        match op {
            Op::Const(_) | Op::Sym(_) => now += 1,
            _ => now -= 1,
        }
        most = most.max(now);
    }
    most
}

fn binary(op: Op, a: i64, b: i64) -> Result<i64, DimError> {
    let value = match op {
        Op::Add => a.checked_add(b),
        Op::Mul => a.checked_mul(b),
        Op::Min => Some(a.min(b)),
        Op::Max => Some(a.max(b)),
        _ if b <= 0 => return Err(DimError::BadDivisor(b)),
        _ => Some(a.div_euclid(b)),
    };
    // The smallest number of all stands for "not known".
    value.filter(|v| *v != UNKNOWN).ok_or(DimError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_agree_with_the_expressions_they_come_from() {
        let (n, m) = (Dim::named("n"), Dim::named("m"));
        let all = [
            Dim::int(-3),
            n.clone(),
            -n.clone(),
            n.clone() * n.clone() * 4.into() - m.clone() + 7.into(),
            (n.clone() - 5.into()).floor_div(&(m.clone() + 1.into())) * n.clone(),
            n.min_with(&(m.clone() * 2.into())).max_with(&n.modulo(&3.into())),
            n.ceil_div(&(m.clone() - 2.into())),
        ];
        let (mut exprs, mut symbols) = (Exprs::default(), Symbols::default());
        for d in &all {
            exprs.push(d, &mut symbols).unwrap();
        }
        for (nv, mv) in [(0, 1), (7, 2), (11, 5), (1 << 40, 1 << 40)] {
            let env = |s: &Sym| Some(if s.to_string() == "n" { nv } else { mv });
            let values: Vec<i64> = symbols.names.iter().map(|s| env(s).unwrap()).collect();
            for (i, d) in all.iter().enumerate() {
                assert_eq!(exprs.eval(i, &symbols, &values), d.eval(&env), "{d} at n = {nv}, m = {mv}");
            }
        }
        assert!(matches!(exprs.eval(1, &symbols, &[UNKNOWN, 1]), Err(DimError::Unbound(_))));
    }

    #[test]
    fn bottomless_expressions_are_refused() {
        let mut deep = Dim::named("n");
        for i in 0..200 {
            deep = deep.min_with(&Dim::named(&format!("m{i}"))) + Dim::ONE;
        }
        assert!(Exprs::default().push(&deep, &mut Symbols::default()).is_none());
    }
}
