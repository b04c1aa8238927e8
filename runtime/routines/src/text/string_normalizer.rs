//! `string_normalizer`: texts in one case, without stop words.

use super::utf8;
use crate::inputs::{Inputs, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};

/// Input `X` of shape `[c]` or `[1, c]`; attributes `case_change_action` = `NONE` (`LOWER`,
/// `UPPER`), `is_case_sensitive` = 0, `stopwords`. Elements that are stop words are left out; one
/// empty text stands where none are left. Case is Unicode's; `locale` changes nothing.
pub(crate) fn string_normalizer(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).strings(0, "X")?;
    if !matches!(x.shape(), [_] | [1, _]) {
        return Err(wrong("X", "of shape [c] or [1, c]", x));
    }
    let change: fn(&str) -> String = match attrs.str("case_change_action")?.unwrap_or("NONE") {
        "NONE" => str::to_owned,
        "LOWER" => str::to_lowercase,
        "UPPER" => str::to_uppercase,
        _ => {
            let expected = "\"LOWER\", \"UPPER\" or \"NONE\"";
            return Err(RoutineError::Attr { name: "case_change_action", expected });
        }
    };
    let fold: fn(&str) -> String =
        if attrs.flag_or("is_case_sensitive", false)? { str::to_owned } else { str::to_lowercase };
    let stopwords = attrs.strs("stopwords")?.unwrap_or(&[]);
    let stopwords: Vec<String> =
        stopwords.iter().map(|w| Ok(fold(utf8(w)?))).collect::<Result<_, RoutineError>>()?;
    let mut kept = Vec::new();
    for s in x.strings() {
        let s = utf8(s)?;
        if stopwords.is_empty() || !stopwords.contains(&fold(s)) {
            kept.push(change(s).into_bytes());
        }
    }
    if kept.is_empty() {
        kept.push(Vec::new());
    }
    let mut shape = x.shape().to_vec();
    shape[x.rank() - 1] = kept.len();
    Ok(vec![Tensor::from_strings(&shape, kept)?.into()])
}
