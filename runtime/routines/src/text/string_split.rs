//! `string_split`: texts cut at a delimiter or at white space.

use super::utf8;
use crate::inputs::{Inputs, room_for};
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};

/// Input `X`; attributes `delimiter` (none or empty: runs of white space), `maxsplit` (none: as often
/// as possible; the rest stays whole); outputs the pieces along a new last axis, filled up with
/// empty texts, and their numbers (i64). As Python's `str.split`.
pub(crate) fn string_split(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).strings(0, "X")?;
    let delimiter = attrs.str("delimiter")?.unwrap_or("");
    let most = attrs.int("maxsplit")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let cut = |s| -> Result<Vec<&str>, RoutineError> {
        Ok(match delimiter {
            "" => split_space(utf8(s)?, most),
            _ => utf8(s)?.splitn(most.saturating_add(1), delimiter).collect(),
        })
    };
    let pieces: Vec<Vec<&str>> = x.strings().iter().map(|s| cut(s)).collect::<Result<_, _>>()?;
    let width = pieces.iter().map(Vec::len).max().unwrap_or(0);
    let shape = [x.shape(), &[width]].concat();
    let mut out = room_for(&shape)?;
    for row in &pieces {
        let filled = row.iter().copied().chain(std::iter::repeat("")).take(width);
        out.extend(filled.map(|s| s.as_bytes().to_vec()));
    }
    let counts: Vec<i64> = pieces.iter().map(|p| p.len() as i64).collect();
    let counts = Tensor::from_slice(x.shape(), &counts)?;
    Ok(vec![Tensor::from_strings(&shape, out)?.into(), counts.into()])
}

fn split_space(s: &str, most: usize) -> Vec<&str> {
    // Python counts four control characters that Unicode does not.
    let space = |c: char| c.is_whitespace() || matches!(c, '\x1c'..='\x1f');
    let (mut pieces, mut rest) = (Vec::new(), s.trim_start_matches(space));
    while !rest.is_empty() {
        let end = if pieces.len() == most { None } else { rest.find(space) };
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = after.trim_start_matches(space);
    }
    pieces
}
