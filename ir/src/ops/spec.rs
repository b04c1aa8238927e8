//! Attributes of rows by kind, as `spec::int("axis")`.

use crate::{AttrKind, AttrSpec};

macro_rules! kinds {
    ($($name:ident $kind:ident),* $(,)?) => {
        $(pub(super) const fn $name(name: &'static str) -> AttrSpec {
            AttrSpec { name, kind: AttrKind::$kind, required: true }
        })*
    };
}

kinds! {
    int Int, float Float, text Str, ints Ints, floats Floats, texts Strs, dims Dims, dtype DType, tensor Tensor,
    types Types, named Named,
}

/// The same attribute, which may be absent.
pub(super) const fn optional(spec: AttrSpec) -> AttrSpec {
    AttrSpec { required: false, ..spec }
}
