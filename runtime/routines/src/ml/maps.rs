//! Maps: `zipmap` makes them, `dict_vectorizer` and `cast_map` turn them into tensors.

use crate::inputs::{Inputs, kind_of, room_for, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, MapKey, Tensor, Value, movers};
use std::collections::BTreeMap;

type Entries = [(MapKey, Value)];

fn keys(attrs: &Attrs, ints: &'static str, strings: &'static str) -> Result<Vec<MapKey>, RoutineError> {
    match (attrs.ints(ints)?, attrs.strs(strings)?) {
        (Some(ints), _) if !ints.is_empty() => Ok(ints.iter().map(|v| MapKey::Int(*v)).collect()),
        (_, Some(strings)) => Ok(strings.iter().map(|s| MapKey::Str(s.clone())).collect()),
        _ => Err(RoutineError::MissingAttr(strings)),
    }
}

/// Input `X` of shape `[n, c]` or `[c]`; attributes `classlabels_int64s` or `classlabels_strings`, one
/// label a column; output a sequence of n maps (or one) from label to scalar.
pub(crate) fn zipmap(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let labels = keys(attrs, "classlabels_int64s", "classlabels_strings")?;
    let (rows, columns) = match *x.shape() {
        [c] => (1, c),
        [n, c] => (n, c),
        _ => return Err(wrong("X", "of shape [n, c] or [c]", x)),
    };
    if columns != labels.len() {
        return Err(wrong("X", "of as many columns as there are labels", x));
    }
    let flat = x.reshaped(vec![x.len()])?;
    let mut maps = room_for(&[rows])?;
    for row in 0..rows {
        let entry = |(column, label): (usize, &MapKey)| -> Result<_, RoutineError> {
            let at = (row * columns + column) as i64;
            Ok((label.clone(), Value::Tensor(movers::gather(&flat, 0, &[at], &[])?)))
        };
        maps.push(Value::Map(labels.iter().enumerate().map(entry).collect::<Result<_, _>>()?));
    }
    Ok(vec![Value::Sequence(maps)])
}

/// Input a map (or a sequence of maps); attributes `int64_vocabulary` or `string_vocabulary`; output
/// `[n]` (or `[maps, n]`): the value of each key of the vocabulary, zero where there is none.
/// Without any value the type is attribute `dtype`, else f32.
pub(crate) fn dict_vectorizer(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let vocabulary = keys(attrs, "int64_vocabulary", "string_vocabulary")?;
    let value = Inputs(inputs).value(0).ok_or(RoutineError::MissingInput("X"))?;
    let maps: Vec<&Entries> = match value {
        Value::Sequence(maps) => maps.iter().map(entries).collect::<Result<_, _>>()?,
        map => vec![entries(map)?],
    };
    let dtype = match maps.iter().find_map(|m| m.first()) {
        Some((_, value)) => scalar(value)?.dtype(),
        None => attrs.dtype("dtype")?.unwrap_or(DType::F32),
    };
    let zero = Tensor::zeros(dtype, &[1])?;
    let mut shape = vec![maps.len(), vocabulary.len()];
    let mut cells = room_for(&shape)?;
    for map in &maps {
        let by_key: BTreeMap<&MapKey, &Value> = map.iter().map(|(k, v)| (k, v)).collect();
        for key in &vocabulary {
            cells.push(by_key.get(key).map_or(Ok(zero.clone()), |v| scalar(v))?);
        }
    }
    if !matches!(value, Value::Sequence(_)) {
        shape.remove(0);
    }
    if cells.is_empty() {
        return Ok(vec![Tensor::zeros(dtype, &shape)?.into()]);
    }
    let row = movers::concat(&cells.iter().collect::<Vec<_>>(), 0)?;
    Ok(vec![row.reshaped(shape)?.into()])
}

/// Input a map from integers; attributes `cast_to` = `TO_FLOAT` (`TO_INT64`, `TO_STRING`), `map_form`
/// = `DENSE` (`SPARSE`: each value at its key), `max_map` = 1 (the length when sparse); output
/// `[1, n]` by rising key.
pub(crate) fn cast_map(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let to = match attrs.str("cast_to")?.unwrap_or("TO_FLOAT") {
        "TO_FLOAT" => DType::F32,
        "TO_INT64" => DType::I64,
        "TO_STRING" => DType::Str,
        _ => {
            let expected = "\"TO_FLOAT\", \"TO_INT64\" or \"TO_STRING\"";
            return Err(RoutineError::Attr { name: "cast_to", expected });
        }
    };
    let map = entries(Inputs(inputs).value(0).ok_or(RoutineError::MissingInput("X"))?)?;
    let mut cells: Vec<(i64, Tensor)> = Vec::new();
    for (key, value) in map {
        let MapKey::Int(key) = key else {
            return Err(RoutineError::Mismatch("a map from integers is needed".into()));
        };
        cells.push((*key, nnc_tensor::cast(&scalar(value)?, to, true)?));
    }
    cells.sort_by_key(|(key, _)| *key);
    let form = attrs.str("map_form")?.unwrap_or("DENSE");
    let row: Vec<Tensor> = match form {
        "DENSE" => cells.into_iter().map(|(_, t)| t).collect(),
        "SPARSE" => sparse_row(&cells, attrs.int_or("max_map", 1)?, to)?,
        _ => return Err(RoutineError::Attr { name: "map_form", expected: "\"DENSE\" or \"SPARSE\"" }),
    };
    if row.is_empty() {
        return Ok(vec![Tensor::zeros(to, &[1, 0])?.into()]);
    }
    let joined = movers::concat(&row.iter().collect::<Vec<_>>(), 0)?;
    Ok(vec![joined.reshaped(vec![1, row.len()])?.into()])
}

fn sparse_row(cells: &[(i64, Tensor)], len: i64, to: DType) -> Result<Vec<Tensor>, RoutineError> {
    let bad = || RoutineError::Attr { name: "max_map", expected: "larger than every key" };
    let len = usize::try_from(len).map_err(|_| bad())?;
    let mut row = room_for(&[len])?;
    row.resize(len, Tensor::zeros(to, &[1])?);
    for (key, value) in cells {
        let place = usize::try_from(*key).ok().and_then(|k| row.get_mut(k)).ok_or_else(bad)?;
        *place = value.clone();
    }
    Ok(row)
}

fn entries(value: &Value) -> Result<&Entries, RoutineError> {
    match value {
        Value::Map(m) => Ok(m),
        other => {
            let found = kind_of(other).into();
            Err(RoutineError::Input { name: "X", expected: "a map", found })
        }
    }
}

/// A map's value as a tensor of shape `[1]`.
fn scalar(value: &Value) -> Result<Tensor, RoutineError> {
    match value {
        Value::Tensor(t) if t.len() == 1 => Ok(t.reshaped(vec![1])?),
        Value::Tensor(t) => Err(wrong("X", "a map to scalars", t)),
        other => {
            let found = format!("one to {}", kind_of(other));
            Err(RoutineError::Input { name: "X", expected: "a map to scalars", found })
        }
    }
}
