//! Names of values while graphs are imported: scopes, what is used, sparse constants made dense.

use super::{Slot, tensor};
use crate::model::{Graph, SparseTensorRef};
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{DType, Tensor};
use std::collections::{BTreeSet, HashMap};

/// Largest sparse constant that is made dense, in elements.
const MAX_DENSE: usize = 1 << 28;

/// Names of the graphs around the current node, innermost last.
#[derive(Default)]
pub(crate) struct Scopes<'m>(Vec<HashMap<&'m str, Slot>>);

impl<'m> Scopes<'m> {
    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self) {
        self.0.push(HashMap::new());
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) fn bind(&mut self, name: &'m str, slot: Slot) {
        if let Some(inner) = self.0.last_mut() {
            inner.insert(name, slot);
        }
    }

    /// The value of a name; `None` if it has none, `Some(None)` if it was refused.
    pub(crate) fn lookup(&self, name: &str) -> Option<Slot> {
        self.0.iter().rev().find_map(|s| s.get(name).copied())
    }
}

/// Which nodes the outputs need, and the names they read; nodes stand in data-flow order.
pub(crate) fn live_nodes<'m>(graph: &'m Graph, outputs: &[&'m str]) -> (Vec<bool>, BTreeSet<&'m str>) {
    let mut used: BTreeSet<&str> = outputs.iter().copied().collect();
    let mut live = vec![false; graph.nodes.len()];
    for (node, live) in graph.nodes.iter().zip(&mut live).rev() {
        if node.outputs.iter().any(|o| used.contains(o.as_str())) {
            *live = true;
            used.extend(node.inputs.iter().map(String::as_str));
            node.attrs.iter().flat_map(|a| a.value.graphs()).for_each(|g| mentioned(g, &mut used));
        }
    }
    (live, used)
}

/// Every name that a subgraph reads, its own included.
fn mentioned<'m>(graph: &'m Graph, used: &mut BTreeSet<&'m str>) {
    used.extend(graph.outputs.iter().map(|o| o.name.as_str()));
    for node in &graph.nodes {
        used.extend(node.inputs.iter().map(String::as_str));
        node.attrs.iter().flat_map(|a| a.value.graphs()).for_each(|g| mentioned(g, used));
    }
}

/// A sparse constant as a dense one.
pub(crate) fn dense(s: &SparseTensorRef) -> Result<Tensor, Refusal> {
    let (values, indices) = (tensor(&s.values)?, tensor(&s.indices)?);
    let shape: Vec<usize> = s.dims.iter().filter_map(|d| usize::try_from(*d).ok()).collect();
    let len = shape.iter().try_fold(1usize, |a, d| a.checked_mul(*d)).filter(|n| *n <= MAX_DENSE);
    let (Some(len), true) = (len, shape.len() == s.dims.len() && !values.dtype().is_packed()) else {
        unsupported!(
            "sparse tensor \"{}\" of shape {:?} is too large or of packed elements",
            s.values.name,
            s.dims
        );
    };
    let mut strings = vec![Vec::new(); if values.dtype() == DType::Str { len } else { 0 }];
    let size = values.dtype().size();
    let mut bytes = vec![0u8; if values.dtype() == DType::Str { 0 } else { len * size }];
    let places = places(&indices, &shape)?;
    if places.len() != values.len() {
        unsupported!(
            "sparse tensor \"{}\" has {} indices for {} values",
            s.values.name,
            places.len(),
            values.len()
        );
    }
    for (i, place) in places.into_iter().enumerate() {
        if values.dtype() == DType::Str {
            strings[place] = values.strings()[i].clone();
        } else {
            bytes[place * size..][..size].copy_from_slice(&values.bytes()[i * size..][..size]);
        }
    }
    Ok(match values.dtype() {
        DType::Str => Tensor::from_strings(&shape, strings)?,
        dtype => Tensor::from_bytes(dtype, shape, &bytes)?,
    })
}

/// Linear places from indices `[n]` or `[n, rank]`, each checked against the shape.
fn places(indices: &Tensor, shape: &[usize]) -> Result<Vec<usize>, Refusal> {
    let outside = || Refusal::because(format!("a sparse index lies outside the shape {shape:?}"));
    let ints = indices.to_ints();
    let as_len = |v: &i128| usize::try_from(*v).map_err(|_| outside());
    let len: usize = shape.iter().product();
    if indices.rank() < 2 {
        return ints
            .iter()
            .map(|v| as_len(v).and_then(|v| if v < len { Ok(v) } else { Err(outside()) }))
            .collect();
    }
    if indices.shape()[1] != shape.len() || shape.is_empty() {
        return Err(outside());
    }
    let linear = |row: &[i128]| {
        row.iter().zip(shape).try_fold(0usize, |at, (v, d)| {
            let v = as_len(v)?;
            if v < *d { Ok(at * d + v) } else { Err(outside()) }
        })
    };
    ints.chunks(shape.len()).map(linear).collect()
}
