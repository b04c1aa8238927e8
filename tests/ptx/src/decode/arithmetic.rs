//! Integer, bit and floating-point arithmetic.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::exec::float::PLAIN;
use crate::exec::{float, int};
use crate::parse::ast::Instruction;
use crate::program::{Bound, Mode, Op, Round};
use crate::types::Type;

/// Names that this family knows, so that the modifiers of others are not taken from them.
const NAMES: &[&str] = &[
    "add", "sub", "mul", "mad", "div", "rem", "min", "max", "abs", "neg", "popc", "clz", "brev", "bfind",
    "bfe", "bfi", "and", "or", "xor", "not", "cnot", "shl", "shr", "shf", "lop3", "prmt", "sad", "mul24",
    "mad24", "dp4a", "fma", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh", "copysign", "bmsk",
];

const PRMT: &[(&str, u32)] = &[("f4e", 1), ("b4e", 2), ("rc8", 3), ("ecl", 4), ("ecr", 5), ("rc16", 6)];

/// How far the manual lets approximations be off, on f32.
fn bound(name: &str) -> Bound {
    match name {
        "ex2" => Bound::Relative(1.0 / 5_931_642.0),
        "lg2" => Bound::Absolute(1.0 / 4_194_304.0),
        "rsqrt" => Bound::Relative(1.0 / 7_827_118.0),
        "sin" | "cos" => Bound::Absolute(1.0 / 1_482_910.0),
        "tanh" => Bound::Relative(1.0 / 2048.0),
        _ => Bound::Relative(1.0 / 8_388_608.0),
    }
}

/// The rounding of floating-point results.
pub(super) const ROUNDS: &[(&str, Round)] =
    &[("rn", Round::Nearest), ("rz", Round::Zero), ("rm", Round::Down), ("rp", Round::Up)];

impl Decoder<'_> {
    pub(super) fn arithmetic(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        if !NAMES.contains(&o.name) {
            return Ok(None);
        }
        let approximate = o.has("approx");
        let full = o.has("full");
        let form = o.take(|part| {
            let forms = ["lo", "hi", "wide", "l", "r", "clamp", "wrap", "shiftamt"];
            forms.contains(&part).then_some(part)
        });
        let second = o.take(|part| ["clamp", "wrap"].contains(&part).then_some(part));
        let mut mode = Mode { round: o.choose(ROUNDS).unwrap_or(Round::Nearest), ..PLAIN };
        let rounded = mode.round != Round::Nearest;
        mode.ftz = o.has("ftz");
        mode.sat = o.has("sat");
        mode.relu = o.has("relu");
        mode.nan = o.has("NaN");
        if o.name == "prmt" {
            mode.extra = o.choose(PRMT).unwrap_or(0);
        }
        let ty = o.ty()?;
        if ty == Type::Pred {
            return self.predicates(o, i).map(Some);
        }
        (mode.bits, mode.signed) = (ty.bits(), ty.is_signed());
        if ty.is_float() {
            let plain = !rounded && !mode.ftz && !mode.sat && !mode.relu;
            return self.float(o, i, mode, ty, plain, approximate && !full).map(Some);
        }
        let name = [Some(o.name), form, second].into_iter().flatten().collect::<Vec<_>>().join(".");
        let name = if mode.sat { format!("{name}.sat") } else { name };
        self.integer(o, i, &name, mode, ty).map(Some)
    }

    fn integer(
        &mut self,
        o: &mut Opcode,
        i: &Instruction,
        name: &str,
        mut mode: Mode,
        ty: Type,
    ) -> Decoded<Op> {
        let result = result_of(name, ty);
        let d = self.destination(o, i, 0, result)?;
        let a = self.source(o, i, 1, ty)?;
        if name == "bfind.shiftamt" {
            mode.extra = 1;
        }
        if let Some(f) = int::unary(name.trim_end_matches(".shiftamt")) {
            self.count(o, i, 2, 2)?;
            return Ok(Op::Map1 { f, mode, d, a });
        }
        let second = match o.name {
            "shl" | "shr" | "bfe" => Type::U32,
            "dp4a" => {
                let second = o.ty()?;
                mode.extra = u32::from(second.is_signed());
                Type::U32
            }
            _ => ty,
        };
        let b = self.source(o, i, 2, second)?;
        if let Some(f) = int::division(name) {
            self.count(o, i, 3, 3)?;
            return Ok(Op::Divide { f, mode, d, a, b });
        }
        if let Some(f) = int::binary(name) {
            self.count(o, i, 3, 3)?;
            return Ok(Op::Map2 { f, mode, d, a, b });
        }
        let third = match o.name {
            "bfe" | "shf" | "bfi" => Type::U32,
            _ => result,
        };
        let c = self.source(o, i, 3, third)?;
        if let Some(f) = int::quaternary(name) {
            self.count(o, i, 5, 5)?;
            let e = self.source(o, i, 4, Type::U32)?;
            return Ok(Op::Map4 { f, mode: Box::new(mode), d, operands: [a, b, c, e] });
        }
        let Some(f) = int::ternary(name) else {
            return o.error(format!("\"{}\" is not supported", i.opcode));
        };
        if name == "lop3" {
            self.count(o, i, 5, 5)?;
            mode.extra = self.literal(o, i, 4)? as u32;
        } else {
            self.count(o, i, 4, 4)?;
        }
        Ok(Op::Map3 { f, mode, d, a, b, c })
    }

    fn float(
        &mut self,
        o: &mut Opcode,
        i: &Instruction,
        mode: Mode,
        ty: Type,
        plain: bool,
        approximate: bool,
    ) -> Decoded<Op> {
        let name = if o.name == "mad" { "fma" } else { o.name };
        if ty == Type::F64 && !plain {
            return o.error("modes on f64 are not supported");
        }
        let d = self.destination(o, i, 0, ty)?;
        let a = self.source(o, i, 1, ty)?;
        if let Some(f) = float::unary(name, ty, plain && !approximate) {
            self.count(o, i, 2, 2)?;
            let inexact = ty == Type::F32 && !matches!(name, "abs" | "neg");
            if approximate && inexact {
                return Ok(Op::Approximate { f, mode, bound: bound(name), d, a });
            }
            return Ok(Op::Map1 { f, mode, d, a });
        }
        let b = self.source(o, i, 2, ty)?;
        if let Some(f) = float::binary(name, ty, plain) {
            self.count(o, i, 3, 3)?;
            return Ok(Op::Map2 { f, mode, d, a, b });
        }
        let Some(f) = float::ternary(name, ty, plain) else {
            return o.error(format!("\"{}\" is not supported", i.opcode));
        };
        self.count(o, i, 4, 4)?;
        let c = self.source(o, i, 3, ty)?;
        Ok(Op::Map3 { f, mode, d, a, b, c })
    }
}

/// The type of an integer instruction's result.
fn result_of(name: &str, ty: Type) -> Type {
    match name {
        "popc" | "clz" | "bfind" | "bfind.shiftamt" => Type::U32,
        _ if name.contains("wide") && ty.bits() == 32 => Type::B64,
        _ if name.contains("wide") => Type::B32,
        _ => ty,
    }
}
