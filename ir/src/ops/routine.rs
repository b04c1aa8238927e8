//! Irregular routines by name: their results' sizes are found out by running them.

use super::{Effects, EvalCx, OpError, OpRow, spec};
use crate::{Attr, Attrs, Value, refuse};

pub(super) const ROWS: &[OpRow] = &[ROUTINE];

const ROUTINE: OpRow = OpRow {
    name: "routine",
    doc: "the routine called `name` with its own attributes `params`; results have `types`, whose unknown sizes are \
          fresh symbols",
    attrs: &[spec::text("name"), spec::optional(spec::named("params")), spec::types("types")],
    effects: Effects::Pure,
    infer: |cx| {
        let name = cx.attrs.str("name");
        if nnc_routines::feature_of(name).is_none() {
            refuse!("unknown routine \"{name}\"");
        }
        Ok(cx.attrs.types("types").to_vec())
    },
    content: None,
    eval,
    scalar: None,
    decompose: None,
};

/// Routines that draw numbers: without a seed, two runs differ.
const RANDOM: &[&str] = &["bernoulli", "dropout_mask", "multinomial", "random_normal", "random_uniform"];

/// What a routine node does besides computing its results.
pub(crate) fn effects(attrs: &Attrs) -> Effects {
    if RANDOM.contains(&attrs.str("name")) { Effects::Random } else { Effects::Pure }
}

fn eval(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let name = cx.attrs.str("name");
    let Some(routine) = nnc_routines::lookup(name) else {
        match nnc_routines::feature_of(name).flatten() {
            Some(feature) => refuse!("routine \"{name}\" needs the feature \"{feature}\" of this build"),
            None => refuse!("unknown routine \"{name}\""),
        }
    };
    let params = match cx.attrs.get("params") {
        Some(Attr::Named(params)) => params.as_slice(),
        _ => &[],
    };
    let mut results =
        (routine.run)(&nnc_routines::Attrs(params), cx.inputs).map_err(|e| OpError(e.to_string()))?;
    // A routine answers everything it has; trailing results that a node does not list go unread.
    results.truncate(cx.outputs.len());
    Ok(results)
}
