//! The contraction of two tensors: every sum of products that is neither window nor recurrence.

use super::matmul::{Number, matmul, matmul_transposed};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{DType, Dim, Tensor, Type, Value, refuse};
use nnc_tensor::movers;
use std::collections::BTreeMap;

pub(super) const ROWS: &[OpRow] = &[CONTRACT];

const CONTRACT: OpRow = OpRow {
    name: "contract",
    doc: "einsum of two operands, a letter an axis: letters missing from `out` are summed; the sum is rounded to `to`",
    attrs: &[spec::text("lhs"), spec::text("out"), spec::text("rhs"), spec::dtype("to")],
    effects: Effects::Pure,
    infer: infer_contract,
    content: None,
    eval: |cx| {
        if cx.tensor(0)?.dtype().is_float() { eval_contract::<f64>(cx) } else { eval_contract::<i64>(cx) }
    },
    scalar: None,
    decompose: None,
};

fn infer_contract(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(2)?;
    let (a, b, to) = (cx.tensor(0)?, cx.tensor(1)?, cx.attrs.dtype("to"));
    let bytes = |d: DType| matches!(d, DType::I8 | DType::U8);
    let integers = a.dtype == b.dtype && a.dtype.is_int() && to.is_int();
    let floats = a.dtype == b.dtype && a.dtype.is_float() && to.is_float();
    let mixed = bytes(a.dtype) && bytes(b.dtype) && to == DType::I32;
    if !(integers || floats || mixed) {
        refuse!(
            "contract takes floats or integers of one type (or i8 with u8 to i32), found {a} and {b} to {to}"
        );
    }
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    for (name, t) in [("lhs", a), ("rhs", b)] {
        let letters = letters(name, cx.attrs.str(name))?;
        if letters.len() != t.rank() {
            refuse!("{name} {:?} must have a letter for each axis of {t}", cx.attrs.str(name));
        }
        for (letter, size) in letters.iter().zip(&t.shape) {
            let both = match sizes.get(letter) {
                Some(other) => cx.unify(other, size),
                None => Some(size.clone()),
            };
            let Some(both) = both else {
                refuse!("axis '{letter}' must have size {}, found {size}", sizes[letter]);
            };
            sizes.insert(*letter, both);
        }
    }
    let out = letters("out", cx.attrs.str("out"))?;
    let shape = out.iter().map(|l| match sizes.get(l) {
        Some(d) => Ok(d.clone()),
        None => refuse!("axis '{l}' of the result is in neither operand"),
    });
    Ok(vec![Type::tensor(to, shape.collect::<Result<_, _>>()?)])
}

fn letters(name: &str, text: &str) -> Result<Vec<char>, OpError> {
    let all: Vec<char> = text.chars().collect();
    let plain = |i: usize| all[i].is_ascii_alphabetic() && !all[..i].contains(&all[i]);
    if !(0..all.len()).all(plain) {
        refuse!("{name} must be different letters, found {text:?}");
    }
    Ok(all)
}

/// An operand with its axes as `[batch, own, summed]` or in another order of such groups.
fn arrange(t: &Tensor, letters: &str, order: &str) -> Result<Tensor, OpError> {
    let perm: Vec<usize> = order.chars().filter_map(|l| letters.find(l)).collect();
    Ok(movers::transpose(t, &perm)?)
}

/// Sums runs of `n` neighbors.
fn sum_runs<T: Number>(data: Vec<T>, n: usize, len: usize) -> Vec<T> {
    if n == 1 {
        return data;
    }
    (0..len).map(|i| data[i * n..(i + 1) * n].iter().fold(T::ZERO, |s, x| s.plus(*x))).collect()
}

fn eval_contract<T: Number>(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (a, b) = (cx.tensor(0)?, cx.tensor(1)?);
    let (lhs, rhs, out) = (cx.attrs.str("lhs"), cx.attrs.str("rhs"), cx.attrs.str("out"));
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    for (letter, size) in lhs.chars().zip(a.shape()).chain(rhs.chars().zip(b.shape())) {
        let known = *sizes.entry(letter).or_insert(*size);
        if known != *size {
            refuse!("axis '{letter}' must have size {known}, found {size}");
        }
    }
    let pick = |from: &str, also: &str, summed: bool, shared: bool| -> String {
        from.chars().filter(|l| also.contains(*l) == shared && out.contains(*l) != summed).collect()
    };
    let len = |group: &str| group.chars().map(|l| sizes[&l]).product::<usize>();
    let (batch, inner) = (pick(lhs, rhs, false, true), pick(lhs, rhs, true, true));
    let (rows, alone_a) = (pick(lhs, rhs, false, false), pick(lhs, rhs, true, false));
    let (cols, alone_b) = (pick(rhs, lhs, false, false), pick(rhs, lhs, true, false));
    let (nb, m, k, n) = (len(&batch), len(&rows), len(&inner), len(&cols));
    let x = T::read(&arrange(a, lhs, &format!("{batch}{rows}{inner}{alone_a}"))?);
    let x = sum_runs(x, len(&alone_a), nb * m * k);
    // Rows of the second operand that hold its inner axis stay rows.
    let by_column = rhs.chars().last().is_some_and(|l| inner.contains(l));
    let order = if by_column { format!("{batch}{cols}{inner}") } else { format!("{batch}{inner}{cols}") };
    let y = T::read(&arrange(b, rhs, &format!("{order}{alone_b}"))?);
    let y = sum_runs(y, len(&alone_b), nb * k * n);
    let mut z = vec![T::ZERO; nb * m * n];
    for i in 0..nb {
        let (x, y, z) = (&x[i * m * k..], &y[i * k * n..], &mut z[i * m * n..]);
        if by_column { matmul_transposed(x, y, z, m, k, n) } else { matmul(x, y, z, m, k, n) }
    }
    let order = format!("{batch}{rows}{cols}");
    let shape: Vec<usize> = order.chars().map(|l| sizes[&l]).collect();
    let z = T::write(cx.attrs.dtype("to"), &shape, &z)?;
    Ok(vec![arrange(&z, &order, out)?.into()])
}
