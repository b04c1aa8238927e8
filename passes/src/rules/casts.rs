//! Chains of conversions that lose nothing on the way.

use super::{Rule, below};
use nnc_ir::{DType, Kind};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "cast-same",
        doc: "a cast to the type that x has is x",
        ops: &["cast", "bitcast"],
        apply: |rw, s| Ok((rw.b.graph.tensor_ty(s.x()).dtype == s.ty.dtype).then(|| s.x())),
    },
    Rule {
        name: "cast-twice",
        doc: "a cast of a cast that loses nothing is one cast, or none",
        ops: &["cast"],
        apply: |rw, s| {
            let Some(x) = below(rw, s.x(), "cast") else { return Ok(None) };
            let (from, over, to) =
                (rw.b.graph.tensor_ty(x).dtype, rw.b.graph.tensor_ty(s.x()).dtype, s.ty.dtype);
            if !passes_through(from, over, to) {
                return Ok(None);
            }
            if from == to {
                return Ok(Some(x));
            }
            rw.b.one("cast", s.attrs.clone(), &[x]).map(Some)
        },
    },
    Rule {
        name: "bitcast-twice",
        doc: "a bitcast of a bitcast is one bitcast",
        ops: &["bitcast"],
        apply: |rw, s| {
            let Some(x) = below(rw, s.x(), "bitcast") else { return Ok(None) };
            rw.b.one("bitcast", s.attrs.clone(), &[x]).map(Some)
        },
    },
];

/// A number of type `from` becomes the same in `to` whether it takes the way over `over` or not.
fn passes_through(from: DType, over: DType, to: DType) -> bool {
    if matches!(to.kind(), Kind::Str | Kind::Complex) {
        return false;
    }
    let inside = |a: DType, b: DType| match (a.int_range(), b.int_range()) {
        (Some(a), Some(b)) => b.0 <= a.0 && a.1 <= b.1,
        _ => false,
    };
    let plain = |d: DType| matches!(d, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
    match (from.kind(), over.kind()) {
        (Kind::Bool, Kind::Int | Kind::Uint) => !over.is_packed() && (to.is_int() || plain(to) || to == from),
        (Kind::Bool, Kind::Float) => plain(over) && (to.is_int() || plain(to) || to == from),
        (Kind::Int | Kind::Uint, Kind::Int | Kind::Uint) => inside(from, over),
        // Integers cut off by wrapping, floats by saturation: the result must have room.
        (Kind::Int | Kind::Uint, Kind::Float) => {
            let digits = if over == DType::F64 {
                53
            } else if over == DType::F32 {
                24
            } else {
                8
            };
            plain(over) && from.bits() <= digits && (plain(to) || inside(from, to))
        }
        (Kind::Float, Kind::Float) => widens(from, over),
        _ => false,
    }
}

/// Every number of a float type exists in another.
fn widens(from: DType, to: DType) -> bool {
    match to {
        DType::F64 => matches!(from, DType::F16 | DType::BF16 | DType::F32 | DType::F64),
        DType::F32 => matches!(from, DType::F16 | DType::BF16 | DType::F32),
        _ => from == to,
    }
}
