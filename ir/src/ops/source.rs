//! Sources: values that come from attributes, and the place where run-time integers become sizes.

use super::check::not_negative;
use super::{Effects, OpRow, spec};
use crate::{DType, Dim, Sym, Tensor, Type, refuse};

pub(super) const ROWS: &[OpRow] = &[CONSTANT, DIMS, IOTA, SYMBOLS];

const CONSTANT: OpRow = OpRow {
    name: "constant",
    doc: "the tensor `value`",
    attrs: &[spec::tensor("value")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(0)?;
        let t = cx.attrs.tensor("value");
        Ok(vec![Type::tensor(t.dtype(), t.shape().iter().map(|n| Dim::len(*n)).collect())])
    },
    content: Some(|cx| {
        let t = cx.attrs.tensor("value");
        let small = t.rank() <= 1 && t.len() <= 64 && t.dtype().int_range().is_some();
        small.then(|| t.to_ints().into_iter().map(|v| Some(Dim::int(i64::try_from(v).ok()?))).collect())?
    }),
    eval: |cx| Ok(vec![cx.attrs.tensor("value").clone().into()]),
    scalar: None,
    decompose: None,
};

const DIMS: OpRow = OpRow {
    name: "dims",
    doc: "`values` as an i64 vector, or as an i64 scalar if `scalar`",
    attrs: &[spec::int("scalar"), spec::dims("values")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(0)?;
        let n = cx.attrs.dims("values").len();
        if !cx.flag("scalar")? {
            return Ok(vec![Type::tensor(DType::I64, vec![Dim::len(n)])]);
        }
        if n != 1 {
            refuse!("a scalar takes 1 value, found {n}");
        }
        Ok(vec![Type::tensor(DType::I64, vec![])])
    },
    content: Some(|cx| Some(cx.attrs.dims("values").to_vec())),
    eval: |cx| {
        let values = cx.dims(cx.attrs.dims("values"))?;
        let shape = if cx.attrs.flag("scalar") { vec![] } else { vec![values.len()] };
        Ok(vec![Tensor::from_slice(&shape, &values)?.into()])
    },
    scalar: None,
    decompose: None,
};

const IOTA: OpRow = OpRow {
    name: "iota",
    doc: "a tensor of `shape` whose elements are their index along `axis`",
    attrs: &[spec::int("axis"), spec::dtype("dtype"), spec::dims("shape")],
    effects: Effects::Pure,
    infer: |cx| {
        cx.n_inputs(0)?;
        let (shape, dtype) = (cx.attrs.dims("shape"), cx.attrs.dtype("dtype"));
        cx.axis("axis", shape.len())?;
        not_negative(shape)?;
        if !dtype.is_int() && !dtype.is_float() {
            refuse!("iota counts in integers or floats, found {dtype}");
        }
        Ok(vec![Type::tensor(dtype, shape.to_vec())])
    },
    content: Some(|cx| {
        let (_, most) = cx.attrs.dtype("dtype").int_range()?;
        let [n] = cx.attrs.dims("shape") else { return None };
        let n = n.as_const().filter(|n| *n <= 64 && i128::from(*n) <= most)?;
        Some((0..n).map(Dim::int).collect())
    }),
    eval: |cx| {
        let (shape, axis) = (cx.lens(cx.attrs.dims("shape"))?, cx.attrs.index("axis"));
        let line: Vec<i128> = (0..shape[axis] as i128).collect();
        let mut column = vec![1; shape.len() - axis];
        column[0] = shape[axis];
        let line = Tensor::from_ints(cx.attrs.dtype("dtype"), &column, &line)?;
        Ok(vec![nnc_tensor::movers::broadcast_to(&line, &shape)?.into()])
    },
    scalar: None,
    decompose: None,
};

const SYMBOLS: OpRow = OpRow {
    name: "symbols",
    doc: "the integers of a scalar or vector as i64, after which `names` mean them in sizes",
    attrs: &[spec::texts("names")],
    effects: Effects::Binds,
    infer: |cx| {
        cx.n_inputs(1)?;
        let (t, n) = (cx.integers(0, "sizes")?, cx.attrs.strs("names").len());
        let fits = match t.shape.as_slice() {
            [] => n == 1,
            [k] => k.is(n as i64),
            _ => false,
        };
        if !fits {
            refuse!("{n} symbols take i64[{n}], found {t}");
        }
        if let Some(bad) = cx.attrs.strs("names").iter().find(|s| std::str::from_utf8(s).is_err()) {
            refuse!("names of symbols must be UTF-8, found {:?}", String::from_utf8_lossy(bad));
        }
        Ok(vec![Type::tensor(DType::I64, vec![Dim::len(n)])])
    },
    content: Some(|cx| Some(cx.attrs.strs("names").iter().map(|s| Dim::sym(symbol(s))).collect())),
    eval: |cx| {
        let values = cx.i64s(0)?;
        Ok(vec![Tensor::from_slice(&[values.len()], &values)?.into()])
    },
    scalar: None,
    decompose: None,
};

/// The symbol of an entry of the attribute `names`.
pub(crate) fn symbol(name: &[u8]) -> Sym {
    Sym::new(&*String::from_utf8_lossy(name))
}
