//! `one_hot_encoder`: one at the index of the category.

use crate::inputs::{Inputs, count_of, room_for, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, Tensor, Value};
use std::collections::HashMap;

/// Input `X`; attributes `cats_strings` or `cats_int64s` (numbers are cut to integers), `zeros` = 1
/// (0: an element of no category is an error); output f32 with a new last axis.
pub(crate) fn one_hot_encoder(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let (places, count): (Vec<Option<usize>>, usize) = if x.dtype() == DType::Str {
        let cats = attrs.strs("cats_strings")?.ok_or(RoutineError::MissingAttr("cats_strings"))?;
        (find(x.strings(), cats), cats.len())
    } else {
        let cats = attrs.ints("cats_int64s")?.ok_or(RoutineError::MissingAttr("cats_int64s"))?;
        let cats: Vec<i128> = cats.iter().map(|v| (*v).into()).collect();
        (find(&x.to_ints(), &cats), cats.len())
    };
    if !attrs.flag_or("zeros", true)? && places.contains(&None) {
        return Err(wrong("X", "of known categories", x));
    }
    let shape = [x.shape(), &[count]].concat();
    let mut out = room_for::<f32>(&shape)?;
    out.resize(count_of(&shape)?, 0.0);
    for (row, place) in out.chunks_exact_mut(count.max(1)).zip(places) {
        if let Some(place) = place {
            row[place] = 1.0;
        }
    }
    Ok(vec![Tensor::from_slice(&shape, &out)?.into()])
}

fn find<K: Eq + std::hash::Hash>(elements: &[K], cats: &[K]) -> Vec<Option<usize>> {
    let places: HashMap<&K, usize> = cats.iter().zip(0..).collect();
    elements.iter().map(|e| places.get(e).copied()).collect()
}
