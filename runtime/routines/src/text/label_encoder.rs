//! `label_encoder` and `category_mapper`: elements replaced by a table.

use crate::inputs::{Inputs, wrong};
use crate::keys::float_key;
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, Kind, Tensor, Value, movers};
use std::collections::HashMap;

/// Input `X` and the table, either as attributes (`keys_*`, `values_*`, `default_*` with the endings
/// `int64s`, `floats`, `strings`) or, as far as those are not there, as inputs 1 to 3: keys, values,
/// and one element for keys that are not found. NaN is a key like others; the last of equal keys
/// counts.
pub(crate) fn label_encoder(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let x = inputs.tensor(0, "X")?;
    let keys = match list(attrs, ["keys_int64s", "keys_floats", "keys_strings"])? {
        Some(keys) => keys,
        None => inputs.tensor(1, "keys")?.clone(),
    };
    let values = match list(attrs, ["values_int64s", "values_floats", "values_strings"])? {
        Some(values) => values,
        None => inputs.tensor(2, "values")?.clone(),
    };
    let default = match inputs.optional(3, "default")? {
        Some(default) => default.clone(),
        None => default_of(attrs, values.dtype())?,
    };
    if default.len() != 1 || default.dtype() != values.dtype() {
        return Err(wrong("default", "one element of the values' type", &default));
    }
    map(x, &keys, &values, &default)
}

/// Input `X`; attributes `cats_strings`, `cats_int64s` (the table), `default_string` = `_Unused`,
/// `default_int64` = −1. Text becomes integers, integers become text.
pub(crate) fn category_mapper(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let of = |names| list(attrs, names);
    let strings = of(["", "", "cats_strings"])?.ok_or(RoutineError::MissingAttr("cats_strings"))?;
    let ints = of(["cats_int64s", "", ""])?.ok_or(RoutineError::MissingAttr("cats_int64s"))?;
    let (keys, values) = if x.dtype() == DType::Str { (strings, ints) } else { (ints, strings) };
    let default = default_of(attrs, values.dtype())?;
    map(x, &keys, &values, &default)
}

fn list(attrs: &Attrs, names: [&'static str; 3]) -> Result<Option<Tensor>, RoutineError> {
    if let Some(ints) = attrs.ints(names[0])? {
        return Ok(Some(Tensor::from_slice(&[ints.len()], ints)?));
    }
    if let Some(floats) = attrs.floats(names[1])? {
        return Ok(Some(Tensor::from_f64s(DType::F32, &[floats.len()], floats)?));
    }
    let strings = attrs.strs(names[2])?;
    Ok(strings.map(|s| Tensor::from_strings(&[s.len()], s.to_vec())).transpose()?)
}

fn default_of(attrs: &Attrs, dtype: DType) -> Result<Tensor, RoutineError> {
    Ok(match dtype.kind() {
        Kind::Str => {
            let text = attrs.str("default_string")?.unwrap_or("_Unused");
            Tensor::from_strings(&[1], vec![text.into()])?
        }
        Kind::Float => Tensor::from_f64s(dtype, &[1], &[attrs.float_or("default_float", -0.0)?])?,
        _ => Tensor::from_ints(dtype, &[1], &[attrs.int_or("default_int64", -1)?.into()])?,
    })
}

fn map(x: &Tensor, keys: &Tensor, values: &Tensor, default: &Tensor) -> Result<Vec<Value>, RoutineError> {
    let family = |t: &Tensor| match t.dtype().kind() {
        Kind::Bool | Kind::Uint => Kind::Int,
        kind => kind,
    };
    if family(x) != family(keys) || family(x) == Kind::Complex {
        return Err(wrong("X", "of the keys' type", x));
    }
    if keys.len() != values.len() {
        return Err(wrong("values", "as many as there are keys", values));
    }
    let found = match family(x) {
        Kind::Str => find(x.strings(), keys.strings()),
        Kind::Float => {
            let of = |t: &Tensor| t.to_f64s().into_iter().map(float_key).collect::<Vec<_>>();
            find(&of(x), &of(keys))
        }
        _ => find(&x.to_ints(), &keys.to_ints()),
    };
    let flat = |t: &Tensor| t.reshaped(vec![t.len()]);
    let table = movers::concat(&[&flat(values)?, &flat(default)?], 0)?;
    Ok(vec![movers::gather(&table, 0, &found, x.shape())?.into()])
}

/// The position of each element among the keys; their number where it is none.
fn find<K: Eq + std::hash::Hash>(elements: &[K], keys: &[K]) -> Vec<i64> {
    let places: HashMap<&K, i64> = keys.iter().zip(0..).collect();
    elements.iter().map(|e| places.get(e).copied().unwrap_or(keys.len() as i64)).collect()
}
