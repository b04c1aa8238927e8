//! `cast`: ONNX's `Cast` where text is involved; other types become tile programs.

use crate::inputs::Inputs;
use crate::{Attrs, RoutineError};
use nnc_tensor::formats::Round;
use nnc_tensor::{CastOptions, Value};

/// Input `input`; attributes `to` (an element type), `saturate` = 1, `round_mode` = `up`.
pub(crate) fn cast(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "input")?;
    let to = attrs.dtype("to")?.ok_or(RoutineError::MissingAttr("to"))?;
    let expected = "\"up\", \"down\" or \"nearest\"";
    let round = Round::from_name(attrs.str("round_mode")?.unwrap_or("up"))
        .ok_or(RoutineError::Attr { name: "round_mode", expected })?;
    let options = CastOptions { saturate: attrs.flag_or("saturate", true)?, round };
    Ok(vec![nnc_tensor::cast_with(x, to, options)?.into()])
}
