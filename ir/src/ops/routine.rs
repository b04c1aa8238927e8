//! Irregular routines by name: their results' sizes are found out by running them.

use super::{Effects, OpRow, spec};
use crate::refuse;

pub(super) const ROWS: &[OpRow] = &[ROUTINE];

const ROUTINE: OpRow = OpRow {
    name: "routine",
    doc: "the routine called `name` with its own attributes `params`; results have `types`, whose unknown sizes are \
          fresh symbols",
    attrs: &[spec::text("name"), spec::optional(spec::named("params")), spec::types("types")],
    effects: Effects::Pure,
    infer: |cx| Ok(cx.attrs.types("types").to_vec()),
    content: None,
    eval: |cx| refuse!("routine \"{}\" is not available", cx.attrs.str("name")),
    scalar: None,
    decompose: None,
};
