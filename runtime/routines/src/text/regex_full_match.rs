//! `regex_full_match`: whether all of a text matches a pattern.

use crate::inputs::Inputs;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};
use regex::bytes::Regex;

/// Input `X`; attribute `pattern` in the syntax of RE2, which is that of the regex crate but for
/// details; output booleans. Matching takes time linear in the text.
pub(crate) fn regex_full_match(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).strings(0, "X")?;
    let pattern = attrs.str("pattern")?.ok_or(RoutineError::MissingAttr("pattern"))?;
    let compile = |p: &str| {
        let message = |e: regex::Error| RoutineError::Mismatch(format!("pattern \"{pattern}\": {e}"));
        Regex::new(p).map_err(message)
    };
    // On its own first: "a)|(b" becomes valid only inside of the parentheses.
    compile(pattern)?;
    let whole = compile(&format!(r"\A(?:{pattern})\z"))?;
    let matches: Vec<bool> = x.strings().iter().map(|s| whole.is_match(s)).collect();
    Ok(vec![Tensor::from_bools(x.shape(), &matches)?.into()])
}
