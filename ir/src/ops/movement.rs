//! Movement: the same elements in another arrangement.

use super::check::{not_negative, same_dtype, show};
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{Dim, Tensor, Type, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[BROADCAST, RESHAPE, TRANSPOSE, SLICE, PAD, CONCAT, REVERSE];

const BROADCAST: OpRow = OpRow {
    name: "broadcast",
    doc: "x repeated to `shape`, right-aligned as in numpy; each size of x is 1 or the result's",
    attrs: &[spec::dims("shape")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let (x, shape) = (cx.tensor(0)?, cx.attrs.dims("shape"));
        not_negative(shape)?;
        let fits = |(from, to): (&Dim, &Dim)| {
            let fits = from.is(1) || (to.clone() - from.clone()).is(0) || !is_fixed(from) || !is_fixed(to);
            if !from.is(1) {
                cx.assume(from, to, !is_fixed(from));
            }
            fits
        };
        if x.rank() > shape.len() || !x.shape.iter().rev().zip(shape.iter().rev()).all(fits) {
            refuse!("{} cannot be broadcast to {}", show(&x.shape), show(shape));
        }
        Ok(vec![Type::tensor(x.dtype, shape.to_vec())])
    },
    content: Some(|cx| {
        let n: usize = cx.attrs.dims("shape").iter().try_fold(1, |n: usize, d| n.checked_mul(d.as_len()?))?;
        match cx.content(0)? {
            [one] if n <= 64 => Some(vec![one.clone(); n]),
            same if same.len() == n => Some(same.to_vec()),
            _ => None,
        }
    }),
    eval: |cx| Ok(vec![movers::broadcast_to(cx.tensor(0)?, &cx.lens(cx.attrs.dims("shape"))?)?.into()]),
    scalar: None,
    decompose: None,
};

fn is_fixed(d: &Dim) -> bool {
    d.as_const().is_some()
}

const RESHAPE: OpRow = OpRow {
    name: "reshape",
    doc: "the elements of x in row-major order under `shape`",
    attrs: &[spec::dims("shape")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let (x, shape) = (cx.tensor(0)?, cx.attrs.dims("shape"));
        not_negative(shape)?;
        let (found, expected) = (Dim::product(shape), x.elems());
        if is_fixed(&found) && is_fixed(&expected) && found != expected {
            refuse!("{} has {expected} elements, {} has {found}", show(&x.shape), show(shape));
        }
        cx.assume(&found, &expected, false);
        Ok(vec![Type::tensor(x.dtype, shape.to_vec())])
    },
    content: Some(|cx| Some(cx.content(0)?.to_vec())),
    eval: |cx| Ok(vec![cx.tensor(0)?.reshaped(cx.lens(cx.attrs.dims("shape"))?)?.into()]),
    scalar: None,
    decompose: None,
};

const TRANSPOSE: OpRow = OpRow {
    name: "transpose",
    doc: "axis i of the result is axis perm[i] of x",
    attrs: &[spec::ints("perm")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.tensor(0)?;
        let perm = cx.axes("perm", x.rank())?;
        if perm.len() != x.rank() {
            refuse!("attribute \"perm\" must have {} entries, found {perm:?}", x.rank());
        }
        Ok(vec![Type::tensor(x.dtype, perm.iter().map(|p| x.shape[*p].clone()).collect())])
    },
    content: Some(|cx| Some(cx.content(0)?.to_vec())),
    eval: |cx| Ok(vec![movers::transpose(cx.tensor(0)?, &cx.attrs.indices("perm"))?.into()]),
    scalar: None,
    decompose: None,
};

const SLICE: OpRow = OpRow {
    name: "slice",
    doc: "y[i] = x[starts + i·steps], `sizes` elements along each axis; steps may be negative, not zero",
    attrs: &[spec::dims("sizes"), spec::dims("starts"), spec::ints("steps")],
    effects: Effects::Pure,
    infer: infer_slice,
    content: Some(|cx| {
        let content = cx.content(0)?;
        let [start] = cx.attrs.dims("starts") else { return Some(content.to_vec()) };
        let (start, step) = (start.as_const()?, *cx.attrs.ints("steps").first()?);
        let size = cx.attrs.dims("sizes").first()?.as_const()?;
        let at =
            |i: i64| content.get(usize::try_from(i.checked_mul(step)?.checked_add(start)?).ok()?).cloned();
        (0..size.min(65)).map(at).collect()
    }),
    eval: |cx| {
        let starts = cx.dims(cx.attrs.dims("starts"))?;
        let sizes = cx.lens(cx.attrs.dims("sizes"))?;
        Ok(vec![movers::slice(cx.tensor(0)?, &starts, cx.attrs.ints("steps"), &sizes)?.into()])
    },
    scalar: None,
    decompose: None,
};

fn infer_slice(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(1)?;
    let x = cx.tensor(0)?;
    let (starts, sizes) = (cx.dims("starts", x.rank())?, cx.dims("sizes", x.rank())?);
    let steps = cx.attrs.ints("steps");
    if steps.len() != x.rank() || steps.contains(&0) {
        refuse!("attribute \"steps\" must have {} entries that are not 0, found {steps:?}", x.rank());
    }
    not_negative(sizes)?;
    for (axis, n) in x.shape.iter().enumerate() {
        let (start, size) = (&starts[axis], &sizes[axis]);
        let (Some(n), Some(first), Some(size)) = (n.as_const(), start.as_const(), size.as_const()) else {
            continue;
        };
        let last = i128::from(first) + i128::from(steps[axis]) * i128::from(size - 1);
        if size > 0 && !((0..n).contains(&first) && (0..i128::from(n)).contains(&last)) {
            refuse!("elements {first}..={last} lie outside of axis {axis} of size {n}");
        }
    }
    Ok(vec![Type::tensor(x.dtype, sizes.to_vec())])
}

const PAD: OpRow = OpRow {
    name: "pad",
    doc: "x with `low` and `high` elements added at the ends of each axis (removed if negative): the scalar \
          `value`, or by `mode` reflect, edge, wrap as in numpy",
    attrs: &[spec::dims("high"), spec::dims("low"), spec::text("mode")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(2)?;
        let x = cx.tensor(0)?;
        let (low, high) = (cx.dims("low", x.rank())?, cx.dims("high", x.rank())?);
        cx.choice("mode", &["constant", "reflect", "edge", "wrap"])?;
        cx.expect(1, "the value", x.dtype, &[])?;
        let sum = |(i, n): (usize, &Dim)| low[i].clone() + n.clone() + high[i].clone();
        let shape: Vec<Dim> = x.shape.iter().enumerate().map(sum).collect();
        not_negative(&shape)?;
        Ok(vec![Type::tensor(x.dtype, shape)])
    },
    content: None,
    eval: eval_pad,
    scalar: None,
    decompose: None,
};

fn eval_pad(cx: &EvalCx) -> Result<Vec<crate::Value>, OpError> {
    let (x, value) = (cx.tensor(0)?, cx.tensor(1)?);
    let (low, high) = (cx.dims(cx.attrs.dims("low"))?, cx.dims(cx.attrs.dims("high"))?);
    let mode = cx.attrs.str("mode");
    if mode == "constant" {
        return Ok(vec![movers::pad_constant(x, &low, &high, value)?.into()]);
    }
    let mut y = x.clone();
    for axis in 0..x.rank() {
        let n = x.shape()[axis] as i64;
        let size = low[axis].checked_add(n).and_then(|s| s.checked_add(high[axis]));
        let Some(size) = size.filter(|s| *s >= 0) else {
            refuse!("axis {axis} of size {n} is cut below zero");
        };
        if n == 0 && size > 0 {
            refuse!("axis {axis} is empty: there is nothing to repeat");
        }
        let from: Vec<i64> =
            (0..size).map(|i| source_index(mode, i128::from(i) - i128::from(low[axis]), n.into())).collect();
        y = movers::gather(&y, axis, &from, &[from.len()])?;
    }
    Ok(vec![y.into()])
}

/// Which of `n` elements stands at position `i` of the endless continuation.
fn source_index(mode: &str, i: i128, n: i128) -> i64 {
    let at = match mode {
        "edge" => i.clamp(0, n - 1),
        "wrap" => i.rem_euclid(n),
        _ if n == 1 => 0,
        _ => {
            let at = i.rem_euclid(2 * (n - 1));
            at.min(2 * (n - 1) - at)
        }
    };
    // It lies in 0..n.
    at as i64
}

const CONCAT: OpRow = OpRow {
    name: "concat",
    doc: "one or more tensors, joined along `axis`",
    attrs: &[spec::int("axis")],
    effects: Effects::Pure,
    infer: |cx| {
        let first = cx.tensor(0)?.clone();
        let axis = cx.axis("axis", first.rank())?;
        let (mut shape, mut joined) = (first.shape.clone(), Dim::ZERO);
        for i in 0..cx.inputs.len() {
            let t = cx.tensor(i)?;
            same_dtype(&format!("operand {i}"), first.dtype, t.dtype)?;
            if t.rank() != first.rank() {
                refuse!("operand {i} must have rank {}, found {t}", first.rank());
            }
            for a in (0..first.rank()).filter(|a| *a != axis) {
                shape[a] = cx.unify(&shape[a], &t.shape[a]).ok_or_else(|| {
                    OpError(format!("{first} and {t} cannot be joined along axis {axis}: axis {a} differs"))
                })?;
            }
            joined = joined + t.shape[axis].clone();
        }
        shape[axis] = joined;
        Ok(vec![Type::tensor(first.dtype, shape)])
    },
    content: Some(|cx| {
        let parts: Option<Vec<&[Dim]>> = (0..cx.inputs.len()).map(|i| cx.content(i)).collect();
        Some(parts?.concat())
    }),
    eval: |cx| {
        let parts: Vec<&Tensor> = (0..cx.inputs.len()).map(|i| cx.tensor(i)).collect::<Result<_, _>>()?;
        Ok(vec![movers::concat(&parts, cx.attrs.index("axis"))?.into()])
    },
    scalar: None,
    decompose: None,
};

const REVERSE: OpRow = OpRow {
    name: "reverse",
    doc: "x with the order of elements along `axes` turned around",
    attrs: &[spec::ints("axes")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(1)?;
        let x = cx.tensor(0)?;
        cx.axes("axes", x.rank())?;
        Ok(vec![x.clone().into()])
    },
    content: Some(|cx| {
        let mut content = cx.content(0)?.to_vec();
        if !cx.attrs.ints("axes").is_empty() {
            content.reverse();
        }
        Some(content)
    }),
    eval: |cx| Ok(vec![movers::reverse(cx.tensor(0)?, &cx.attrs.indices("axes"))?.into()]),
    scalar: None,
    decompose: None,
};
