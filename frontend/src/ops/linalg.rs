//! Matrix products and contractions.

use super::conv::centered_value;
use super::shape::flattened;
use super::{OnnxOp, onnx};
use crate::context::{Cx, Lowered};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Dim, ScalarOp, ValueId};
use std::collections::BTreeMap;

pub(super) const ROWS: &[OnnxOp] = &[
    onnx(
        "Einsum",
        &[12, 28],
        "contraction of any number of tensors by letters; a letter may repeat in one",
        einsum,
    ),
    onnx("Gemm", &[1, 6, 7, 9, 11, 13], "`alpha * A' * B' + beta * C`", gemm),
    onnx("MatMul", &[1, 9, 13], "numpy's matmul", |cx| {
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let y = matmul(cx, a, b)?;
        cx.done(y)
    }),
    onnx("MatMulInteger", &[10], "numpy's matmul of 8-bit integers in 32 bits", |cx| {
        let (a, b) = (cx.required(0)?, cx.required(1)?);
        let (za, zb) = (cx.input(2)?, cx.input(3)?);
        let (a, b) = centered_factors(cx, (a, za), (b, zb))?;
        let y = matmul(cx, a, b)?;
        cx.done(y)
    }),
];

/// Both factors of a product minus their zero points, in 32 bits.
///
/// A zero point of the first varies by row, one of the second by column.
pub(super) fn centered_factors(
    cx: &mut Cx,
    (a, za): (ValueId, Option<ValueId>),
    (b, zb): (ValueId, Option<ValueId>),
) -> Lowered<(ValueId, ValueId)> {
    let row_axis = cx.rank(a).checked_sub(2);
    let za = match za {
        // A zero point of higher rank is [.., M, 1] already.
        Some(z) if cx.rank(z) > 1 => Some(cx.cast(z, nnc_ir::DType::I32)?),
        other => other,
    };
    let a = centered_value(cx, a, za, row_axis)?;
    let column_axis = cx.rank(b).checked_sub(1);
    Ok((a, centered_value(cx, b, zb, column_axis)?))
}

/// Letters for the axes of contractions.
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

/// numpy's matmul: vectors get an axis that is dropped again, outer axes are broadcast.
pub(super) fn matmul(cx: &mut Cx, a: ValueId, b: ValueId) -> Lowered<ValueId> {
    let (ra, rb) = (cx.rank(a), cx.rank(b));
    if ra == 0 || rb == 0 {
        unsupported!("operands must have at least one axis");
    }
    let batch = ra.max(rb).saturating_sub(2);
    if batch > 20 {
        unsupported!("at most 22 axes are supported");
    }
    let (a, lhs_batch, b, rhs_batch) = shared_batch(cx, a, b, batch)?;
    let letters = |used: &[usize]| used.iter().map(|i| LETTERS[*i] as char).collect::<String>();
    let out_batch: Vec<usize> = (0..batch).collect();
    let (row, column) = (if ra > 1 { "x" } else { "" }, if rb > 1 { "y" } else { "" });
    let lhs = format!("{}{row}z", letters(&lhs_batch));
    let rhs = format!("{}z{column}", letters(&rhs_batch));
    let out = format!("{}{row}{column}", letters(&out_batch));
    Ok(cx.contract(&lhs, &rhs, &out, a, b)?)
}

type Batched = (ValueId, Vec<usize>, ValueId, Vec<usize>);

/// Drops batch axes of size 1 from the operand that is broadcast along them.
fn shared_batch(cx: &mut Cx, a: ValueId, b: ValueId, batch: usize) -> Lowered<Batched> {
    let (mut sa, mut sb) = (cx.shape(a), cx.shape(b));
    let (ka, kb) = (sa.len().min(2), sb.len().min(2));
    let (core_a, core_b) = (sa.split_off(sa.len() - ka), sb.split_off(sb.len() - kb));
    let (mut keep_a, mut keep_b) = (Vec::new(), Vec::new());
    let (mut new_a, mut new_b) = (Vec::new(), Vec::new());
    for i in 0..batch {
        let at = |s: &[Dim]| (i + s.len()).checked_sub(batch).map(|j| s[j].clone());
        let (da, db) = (at(&sa), at(&sb));
        let one = |d: &Option<Dim>| d.as_ref().is_none_or(|d| d.is(1));
        match (da, db) {
            (da, db) if one(&da) && one(&db) => {
                // Some operand has to carry the axis.
                keep_a.push(i);
                new_a.push(Dim::ONE);
            }
            (Some(da), db) if one(&db) => {
                keep_a.push(i);
                new_a.push(da);
            }
            (da, Some(db)) if one(&da) => {
                keep_b.push(i);
                new_b.push(db);
            }
            (Some(da), Some(db)) => {
                let d = super::shape::broadcast_shape(cx, &[da], &[db])?.remove(0);
                keep_a.push(i);
                keep_b.push(i);
                new_a.push(d.clone());
                new_b.push(d);
            }
            _ => {}
        }
    }
    let a = fit_batch(cx, a, new_a, core_a, batch)?;
    let b = fit_batch(cx, b, new_b, core_b, batch)?;
    Ok((a, keep_a, b, keep_b))
}

/// Reshapes away or broadcasts the batch axes of a factor.
fn fit_batch(cx: &mut Cx, x: ValueId, mut batch: Vec<Dim>, core: Vec<Dim>, n: usize) -> Lowered<ValueId> {
    batch.extend(core.iter().cloned());
    let old = cx.shape(x);
    if old == batch {
        return Ok(x);
    }
    let unequal = |a: &[Dim], b: &[Dim]| a.iter().filter(|d| !d.is(1)).ne(b.iter().filter(|d| !d.is(1)));
    if unequal(&old, &batch) && batch.len() == n + core.len() {
        return Ok(cx.broadcast(x, &batch)?);
    }
    Ok(cx.reshape(x, &batch)?)
}

fn gemm(cx: &mut Cx) -> Lowered {
    let (alpha, beta) = (cx.number("alpha", 1.0)?, cx.number("beta", 1.0)?);
    let (ta, tb) = (cx.attrs.flag_or("transA", false)?, cx.attrs.flag_or("transB", false)?);
    if cx.version < 7 {
        cx.attrs.int("broadcast")?;
    }
    let (mut a, b, c) = (cx.required(0)?, cx.required(1)?, cx.input(2)?);
    if cx.rank(a) > 2 && !ta {
        // The first operator sets allowed more axes, read as a matrix.
        a = flattened(cx, a, 1)?;
    }
    cx.expect_rank("the first operand", a, 2)?;
    cx.expect_rank("the second operand", b, 2)?;
    let (lhs, rhs) = (if ta { "km" } else { "mk" }, if tb { "nk" } else { "kn" });
    let mut y = cx.contract(lhs, rhs, "mn", a, b)?;
    if alpha != 1.0 {
        y = scaled(cx, y, alpha)?;
    }
    if let Some(c) = c
        && beta != 0.0
    {
        let c = if beta == 1.0 { c } else { scaled(cx, c, beta)? };
        let shape = cx.shape(y);
        let c = cx.broadcast(c, &shape)?;
        y = cx.binary(ScalarOp::Add, y, c)?;
    }
    cx.done(y)
}

/// `x * factor`; integers are scaled as floats and cut.
fn scaled(cx: &mut Cx, x: ValueId, factor: f64) -> Lowered<ValueId> {
    let dtype = cx.dtype(x);
    if dtype.is_int() && factor.fract() != 0.0 {
        let wide = cx.cast(x, nnc_ir::DType::F64)?;
        let y = cx.with_const(ScalarOp::Mul, wide, factor)?;
        return Ok(cx.cast(y, dtype)?);
    }
    cx.with_const(ScalarOp::Mul, x, factor)
}

/// One term of an equation: letters before and after the ellipsis, if there is one.
struct Term {
    letters: Vec<char>,
}

fn einsum(cx: &mut Cx) -> Lowered {
    let equation = cx.attrs.required("equation", cx.attrs.string("equation"))?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs.to_owned(), Some(output.to_owned())),
        None => (equation, None),
    };
    let values = cx.variadic()?;
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != values.len() {
        unsupported!("the equation has {} terms for {} inputs", terms.len(), values.len());
    }
    let widest = terms
        .iter()
        .zip(&values)
        .filter(|(t, _)| t.contains("..."))
        .map(|(t, v)| cx.rank(*v).saturating_sub(t.len().saturating_sub(3)))
        .max()
        .unwrap_or(0);
    let mut operands = Vec::new();
    for (term, v) in terms.iter().zip(&values) {
        let term = parse_term(term, Some(cx.rank(*v)), widest)?;
        operands.push(diagonal(cx, *v, term)?);
    }
    let output = match output {
        Some(o) => parse_term(&o, None, widest)?.letters,
        None => implied_output(&terms, widest)?,
    };
    let (v, letters) = contract_all(cx, operands, &output)?;
    let y = permuted(cx, v, &letters, &output)?;
    cx.done(y)
}

/// Letters of a term; the axes of an ellipsis get private letters, aligned to the right.
fn parse_term(text: &str, rank: Option<usize>, widest: usize) -> Lowered<Term> {
    let private = |i: usize| char::from_u32(0xE000 + u32::try_from(i).unwrap_or(0)).unwrap_or('\u{E000}');
    let (before, after) = match text.split_once("...") {
        Some((b, a)) => (b, Some(a)),
        None => (text, None),
    };
    let mut letters: Vec<char> = before.chars().collect();
    if let Some(after) = after {
        let named = before.chars().count() + after.chars().count();
        let n = match rank {
            Some(rank) => rank.checked_sub(named).unwrap_or(usize::MAX),
            None => widest,
        };
        if n > widest {
            unsupported!("term \"{text}\" has more letters than its operand axes");
        }
        letters.extend((widest - n..widest).map(private));
        letters.extend(after.chars());
    }
    let valid = |c: &char| c.is_ascii_alphabetic() || *c >= '\u{E000}';
    if !letters.iter().all(valid) || rank.is_some_and(|r| r != letters.len()) {
        unsupported!("term \"{text}\" does not fit its operand");
    }
    Ok(Term { letters })
}

/// Without an arrow: the ellipsis, then the letters that occur once, in order.
fn implied_output(terms: &[&str], widest: usize) -> Lowered<Vec<char>> {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for c in terms.iter().flat_map(|t| t.chars()).filter(char::is_ascii_alphabetic) {
        *counts.entry(c).or_default() += 1;
    }
    let mut letters = parse_term("...", None, widest)?.letters;
    letters.extend(counts.into_iter().filter(|(_, n)| *n == 1).map(|(c, _)| c));
    Ok(letters)
}

type Labeled = (ValueId, Vec<char>);

/// Takes the diagonal where a letter repeats in one term.
fn diagonal(cx: &mut Cx, mut v: ValueId, term: Term) -> Lowered<Labeled> {
    let mut letters = term.letters;
    while let Some((i, j)) = repeated(&letters) {
        let shape = cx.shape(v);
        let row = cx.iota(&shape, i, nnc_ir::DType::I64)?;
        let column = cx.iota(&shape, j, nnc_ir::DType::I64)?;
        let on = cx.binary(ScalarOp::Eq, row, column)?;
        let dtype = cx.dtype(v);
        let zero = cx.scalar(dtype, 0.0)?;
        let kept = cx.select(on, v, zero)?;
        v = cx.reduce("sum", kept, &[j])?;
        letters.remove(j);
    }
    Ok((v, letters))
}

fn repeated(letters: &[char]) -> Option<(usize, usize)> {
    letters.iter().enumerate().find_map(|(j, c)| letters[..j].iter().position(|d| d == c).map(|i| (i, j)))
}

/// Contracts operands from left to right; letters that nobody needs any more are summed.
fn contract_all(cx: &mut Cx, operands: Vec<Labeled>, output: &[char]) -> Lowered<Labeled> {
    let mut rest = operands.into_iter();
    let Some(mut left) = rest.next() else { unsupported!("at least one input is needed") };
    let mut rest: Vec<Labeled> = rest.collect();
    if rest.is_empty() {
        return summed(cx, left, output);
    }
    while !rest.is_empty() {
        let right = rest.remove(0);
        let needed = |c: &char| output.contains(c) || rest.iter().any(|(_, l)| l.contains(c));
        left = contract_pair(cx, left, right, &needed)?;
    }
    Ok(left)
}

/// Sums the axes that are not in the output.
fn summed(cx: &mut Cx, (v, letters): Labeled, output: &[char]) -> Lowered<Labeled> {
    let axes: Vec<usize> = (0..letters.len()).filter(|i| !output.contains(&letters[*i])).collect();
    if axes.is_empty() {
        return Ok((v, letters));
    }
    let v = cx.reduce("sum", v, &axes)?;
    Ok((v, letters.into_iter().filter(|c| output.contains(c)).collect()))
}

fn contract_pair(cx: &mut Cx, a: Labeled, b: Labeled, needed: &dyn Fn(&char) -> bool) -> Lowered<Labeled> {
    let (a, b) = (without_ones(cx, a, &b)?, b);
    let b = without_ones(cx, b, &a)?;
    let mut names: BTreeMap<char, char> = BTreeMap::new();
    for c in a.1.iter().chain(&b.1) {
        let n = names.len();
        let letter =
            *LETTERS.get(n).ok_or_else(|| Refusal::because("at most 26 axes are supported"))? as char;
        names.entry(*c).or_insert(letter);
    }
    let text = |letters: &[char]| letters.iter().map(|c| names[c]).collect::<String>();
    let mut out: Vec<char> = a.1.iter().copied().filter(|c| needed(c)).collect();
    out.extend(b.1.iter().copied().filter(|c| needed(c) && !a.1.contains(c)));
    let v = cx.contract(&text(&a.1), &text(&b.1), &text(&out), a.0, b.0)?;
    Ok((v, out))
}

/// Drops axes of size 1 that the other operand has larger.
fn without_ones(cx: &mut Cx, (v, letters): Labeled, other: &Labeled) -> Lowered<Labeled> {
    let shape = cx.shape(v);
    let larger = |c: char| {
        let at = other.1.iter().position(|d| *d == c)?;
        (!cx.dim(other.0, at).is(1)).then_some(())
    };
    let drop: Vec<usize> =
        (0..letters.len()).filter(|i| shape[*i].is(1) && larger(letters[*i]).is_some()).collect();
    let kept = letters.iter().enumerate().filter(|(i, _)| !drop.contains(i)).map(|(_, c)| *c).collect();
    Ok((cx.squeeze(v, &drop)?, kept))
}

/// The axes in the order of the output.
fn permuted(cx: &mut Cx, v: ValueId, letters: &[char], output: &[char]) -> Lowered<ValueId> {
    let place = |c: &char| letters.iter().position(|d| d == c);
    let perm: Option<Vec<usize>> = output.iter().map(place).collect();
    match perm {
        Some(perm) if perm.len() == letters.len() => Ok(cx.transpose(v, &perm)?),
        _ => unsupported!("the output of the equation has a letter that no input has, or has one twice"),
    }
}
