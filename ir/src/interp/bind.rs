//! Values of symbols: learned from the shapes that values turn out to have.

use crate::{Dim, Graph, Sym, TensorType, Type, Value};
use std::collections::HashMap;

/// Values of symbols, with the order of their discovery, so that a body's can be forgotten.
#[derive(Default)]
pub(super) struct Symbols {
    values: HashMap<Sym, i64>,
    order: Vec<Sym>,
}

impl Symbols {
    pub(super) fn get(&self, s: &Sym) -> Option<i64> {
        self.values.get(s).copied()
    }

    /// How many are known.
    pub(super) fn mark(&self) -> usize {
        self.order.len()
    }

    /// Forgets all that were learned after the mark.
    pub(super) fn forget(&mut self, mark: usize) {
        for s in self.order.drain(mark..) {
            self.values.remove(&s);
        }
    }

    /// Gives a symbol its value; refuses another one than it has.
    pub(super) fn set(&mut self, graph: &Graph, s: &Sym, v: i64) -> Result<(), String> {
        if let Some((lo, hi)) = graph.bounds.get(s)
            && !(*lo..=*hi).contains(&v)
        {
            return Err(format!("size \"{s}\" must be in {lo}..={hi}, found {v}"));
        }
        match self.values.get(s) {
            Some(known) if *known != v => Err(format!("size \"{s}\" must be {known}, found {v}")),
            Some(_) => Ok(()),
            None => {
                self.values.insert(s.clone(), v);
                self.order.push(s.clone());
                Ok(())
            }
        }
    }

    /// Compares a value with its type. Symbols without a value get the one that fits.
    pub(super) fn learn(&mut self, graph: &Graph, ty: &Type, value: &Value) -> Result<(), String> {
        match (ty, value) {
            (Type::Tensor(ty), Value::Tensor(t)) => {
                if t.dtype() != ty.dtype || t.rank() != ty.rank() {
                    return Err(format!("expected {ty}, found {t:?}"));
                }
                for (d, n) in ty.shape.iter().zip(t.shape()) {
                    self.size(graph, d, *n).map_err(|why| format!("expected {ty}, found {t:?}: {why}"))?;
                }
                Ok(())
            }
            (Type::Sequence(_), Value::Sequence(_))
            | (Type::Optional(_), Value::Optional(_))
            | (Type::Map(..), Value::Map(_)) => Ok(()),
            _ => Err(format!("expected {ty}, found a value of another kind")),
        }
    }

    fn size(&mut self, graph: &Graph, d: &Dim, found: usize) -> Result<(), String> {
        let found = i64::try_from(found).map_err(|_| "a size exceeds 63 bits".to_owned())?;
        if let Some(s) = d.as_sym() {
            return self.set(graph, s, found);
        }
        if let Some((s, v)) = self.solve(d, found) {
            return self.set(graph, &s, v);
        }
        match d.eval(&|s| self.get(s)) {
            Ok(v) if v == found => Ok(()),
            Ok(v) => Err(format!("size {d} must be {v}, found {found}")),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The only unknown symbol of an expression and the value that makes it `found`.
    fn solve(&self, d: &Dim, found: i64) -> Option<(Sym, i64)> {
        let mut unknown: Vec<Sym> = Vec::new();
        d.visit_syms(&mut |s| {
            if self.get(s).is_none() && !unknown.contains(s) {
                unknown.push(s.clone());
            }
        });
        let [s] = unknown.as_slice() else { return None };
        let (coeff, rest) = d.linear_in(s)?;
        let coeff = coeff.eval(&|s| self.get(s)).ok()?;
        let rest = rest.eval(&|s| self.get(s)).ok()?;
        let left = found.checked_sub(rest)?;
        (left.checked_rem(coeff)? == 0).then(|| (s.clone(), left / coeff))
    }

    /// Learns from all inputs: sizes that are a symbol first, then the expressions.
    pub(super) fn learn_inputs(
        &mut self,
        graph: &Graph,
        types: &[&Type],
        values: &[Value],
    ) -> Result<(), (usize, String)> {
        for (i, (ty, value)) in types.iter().zip(values).enumerate() {
            if let (Type::Tensor(TensorType { shape, .. }), Value::Tensor(t)) = (ty, value)
                && shape.len() == t.rank()
            {
                for (s, n) in shape.iter().zip(t.shape()).filter_map(|(d, n)| Some((d.as_sym()?, n))) {
                    self.size(graph, &Dim::sym(s.clone()), *n).map_err(|why| (i, why))?;
                }
            }
        }
        let learn = |(i, (ty, value)): (usize, (&&Type, &Value))| {
            self.learn(graph, ty, value).map_err(|why| (i, why))
        };
        types.iter().zip(values).enumerate().try_for_each(learn)
    }
}
