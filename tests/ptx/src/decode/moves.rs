//! Moves, conversions, comparisons, selections.

use super::Decoder;
use super::arithmetic::ROUNDS;
use super::names::{Name, name_of};
use super::opcode::{Decoded, Opcode};
use crate::exec::float::PLAIN;
use crate::exec::{compare, convert};
use crate::parse::ast::{Instruction, Operand};
use crate::program::{Compare, Constant, Logic, Mode, NONE, Op, Predicate, Reg, Round};
use crate::types::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Space, Type};

const LOGIC: &[(&str, Logic)] = &[("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)];

const WHOLE_ROUNDS: &[(&str, Round)] =
    &[("rni", Round::Nearest), ("rzi", Round::Zero), ("rmi", Round::Down), ("rpi", Round::Up)];

/// A relation with its mode, its operands, and what its result is combined with.
struct Relation {
    f: Compare,
    mode: Mode,
    a: Reg,
    b: Reg,
    with: Option<(Logic, Predicate)>,
}

impl Decoder<'_> {
    pub(super) fn moves(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        Ok(Some(match o.name {
            "mov" => self.mov(o, i)?,
            "cvt" => self.cvt(o, i)?,
            "cvta" => self.cvta(o, i)?,
            "setp" => self.setp(o, i)?,
            "set" => self.set(o, i)?,
            "selp" => self.selp(o, i)?,
            "testp" => self.testp(o, i)?,
            _ => return Ok(None),
        }))
    }

    /// A function that hands its operand on.
    fn copy(d: Reg, a: Reg) -> Op {
        Op::Map1 { f: |_, d, a| *d = *a, mode: PLAIN, d, a }
    }

    fn mov(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let ty = o.ty()?;
        self.count(o, i, 2, 2)?;
        let (to, from) = (self.operand(i, 0)?, self.operand(i, 1)?);
        if ty == Type::Pred {
            let p = self.predicate_target(o, i, to)?;
            return Ok(match from {
                Operand::Int(v) => Op::ConstantPredicate { p, value: *v != 0 },
                _ => Op::SetPredicate { p, a: self.predicate(o, i, 1)? },
            });
        }
        if let Operand::Vector(parts) = from {
            let d = self.destination(o, i, 0, ty)?;
            let part = part_type(o, ty, parts.len())?;
            let mut s = [NONE; 4];
            for (s, operand) in s.iter_mut().zip(parts) {
                *s = self.value(o, i, operand, part, false)?;
            }
            return Ok(Op::Pack { d, n: parts.len(), bits: part.bits(), s });
        }
        if let Operand::Vector(parts) = to {
            let s = self.source(o, i, 1, ty)?;
            let part = part_type(o, ty, parts.len())?;
            let mut d = [NONE; 4];
            for (d, operand) in d.iter_mut().zip(parts) {
                *d = self.target(o, i, operand)?.0;
            }
            return Ok(Op::Unpack { d, n: parts.len(), bits: part.bits(), s });
        }
        let d = self.destination(o, i, 0, ty)?;
        if let Operand::Name(name) = from {
            match name.as_str() {
                "%clock" | "%clock_hi" | "%globaltimer_lo" => return Ok(Op::Clock { d, bits: 32 }),
                "%clock64" | "%globaltimer" => return Ok(Op::Clock { d, bits: 64 }),
                _ => {}
            }
        }
        let a = self.source(o, i, 1, ty)?;
        Ok(Self::copy(d, a))
    }

    fn cvta(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let to = o.has("to");
        let space = o.space();
        let ty = o.ty()?;
        let d = self.destination(o, i, 0, ty)?;
        let window = match space {
            Space::Shared => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            Space::Param => PARAM_WINDOW,
            _ => 0,
        };
        // A parameter's own address is an offset whatever width it is asked for in.
        let a = match self.operand(i, 1)? {
            Operand::Name(name) => match self.resolve(name, i) {
                Some(Name::Variable { address, .. }) => self.constant(address),
                _ => self.source(o, i, 1, ty)?,
            },
            _ => self.source(o, i, 1, ty)?,
        };
        let b = self.constant(Constant::Value(if to { window.wrapping_neg() } else { window }));
        Ok(Op::Map2 {
            f: |_, d, a, b| d.iter_mut().zip(a.iter().zip(b)).for_each(|(d, (a, b))| *d = a.wrapping_add(*b)),
            mode: PLAIN,
            d,
            a,
            b,
        })
    }

    fn cvt(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let whole = o.choose(WHOLE_ROUNDS);
        let away = o.has("rna");
        let round = o.choose(ROUNDS).or(whole).or(away.then_some(Round::Away)).unwrap_or(Round::Nearest);
        let (ftz, sat, relu) = (o.has("ftz"), o.has("sat") || o.has("satfinite"), o.has("relu"));
        let (to, from) = (o.ty()?, o.ty()?);
        let mut mode = Mode { round, ftz, sat, relu, bits: from.bits(), signed: from.is_signed(), ..PLAIN };
        let packed = matches!(to, Type::F16x2 | Type::Bf16x2);
        self.count(o, i, 2 + usize::from(packed), 2 + usize::from(packed))?;
        if packed {
            let d = self.destination(o, i, 0, Type::B32)?;
            let (a, b) = (self.source(o, i, 1, from)?, self.source(o, i, 2, from)?);
            return match convert::pair(to).filter(|_| from == Type::F32) {
                Some(f) => Ok(Op::Map2 { f, mode, d, a, b }),
                None => o.error("this conversion is not supported"),
            };
        }
        let target = self.operand(i, 0)?;
        let (d, width) = self.target(o, i, target)?;
        if width < to.bits() && d != NONE {
            return o.error("the destination is too narrow");
        }
        if from.is_float() && !to.is_float() && whole.is_none() {
            return o.error("a conversion to an integer needs .rni, .rzi, .rmi or .rpi");
        }
        let a = self.wide_source(o, i, 1, from)?;
        mode.extra = convert::extra(to, width.max(to.bits()));
        if whole.is_some() {
            mode.extra |= convert::WHOLE;
        }
        match convert::single(to, from) {
            Some(f) => Ok(Op::Map1 { f, mode, d, a }),
            None => o.error("this conversion is not supported"),
        }
    }

    /// The relation, its mode and its operands, of `setp` and `set`; the predicate to combine with is the
    /// operand after them.
    fn relation(&mut self, o: &mut Opcode, i: &Instruction, set: Option<Type>) -> Decoded<Relation> {
        let relations = [
            "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
            "geu", "num", "nan",
        ];
        let Some(name) = o.take(|part| relations.contains(&part).then_some(part)) else {
            return o.error("no relation");
        };
        let logic = o.choose(LOGIC);
        let ftz = o.has("ftz");
        if set.is_some() {
            o.ty()?;
        }
        let ty = o.ty()?;
        let mode = Mode { ftz, bits: ty.bits(), signed: ty.is_signed(), ..PLAIN };
        let (a, b) = (self.source(o, i, 1, ty)?, self.source(o, i, 2, ty)?);
        let with = match logic {
            Some(logic) => Some((logic, self.predicate(o, i, 3)?)),
            None => None,
        };
        self.count(o, i, 3 + usize::from(logic.is_some()), 3 + usize::from(logic.is_some()))?;
        match compare::relation(name, ty) {
            Some(f) => Ok(Relation { f, mode, a, b, with }),
            None => o.error(format!("relation \"{name}\" does not go with its type")),
        }
    }

    fn setp(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let Relation { f, mode, a, b, with } = self.relation(o, i, None)?;
        let (first, q) = self.pair(o, i, 0)?;
        let p = self.predicate_target(o, i, first)?;
        Ok(Op::Compare { f, mode, p, q, a, b, with })
    }

    fn set(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let mut copy = Opcode::new(&i.opcode, i.line);
        copy.has("ftz");
        let to = copy.ty()?;
        let Relation { f, mode, a, b, with } = self.relation(o, i, Some(to))?;
        let d = self.destination(o, i, 0, to)?;
        let one = match to {
            Type::F32 => u64::from(1f32.to_bits()),
            Type::U32 | Type::S32 => u64::from(u32::MAX),
            _ => return o.error("\"set\" gives f32, u32 or s32 here"),
        };
        Ok(Op::Set { f, mode, d, one, a, b, with })
    }

    fn selp(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let ty = o.ty()?;
        self.count(o, i, 4, 4)?;
        let d = self.destination(o, i, 0, ty)?;
        let (a, b) = (self.source(o, i, 1, ty)?, self.source(o, i, 2, ty)?);
        Ok(Op::Select { d, a, b, p: self.predicate(o, i, 3)? })
    }

    fn testp(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let classes = ["finite", "infinite", "number", "notanumber", "normal", "subnormal"];
        let name = o.take(|part| classes.contains(&part).then_some(part)).unwrap_or("");
        let ty = o.ty()?;
        let p = self.predicate_target(o, i, self.operand(i, 0)?)?;
        let a = self.source(o, i, 1, ty)?;
        match compare::class(name, ty) {
            Some(f) => Ok(Op::Compare { f, mode: PLAIN, p, q: NONE, a, b: a, with: None }),
            None => o.error("this test is not supported"),
        }
    }

    /// `and`, `or`, `xor`, `not` on predicates.
    pub(super) fn predicates(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let p = self.predicate_named(name_of(self.operand(i, 0)?, o)?, i)?.index;
        let a = self.predicate(o, i, 1)?;
        if o.name == "not" {
            return Ok(Op::SetPredicate { p, a: Predicate { negated: !a.negated, ..a } });
        }
        let Some((_, op)) = LOGIC.iter().find(|(name, _)| *name == o.name) else {
            return o.error(format!("\"{}\" does not take predicates", o.name));
        };
        Ok(Op::Predicates { op: *op, p, a, b: self.predicate(o, i, 2)? })
    }
}

/// What the parts of a packed register are.
fn part_type(o: &Opcode, ty: Type, n: usize) -> Decoded<Type> {
    match (ty.bits(), n) {
        (16, 2) => Ok(Type::B8),
        (32, 2) | (64, 4) => Ok(Type::B16),
        (64, 2) => Ok(Type::B32),
        (32, 4) => Ok(Type::B8),
        _ => o.error(format!("a vector of {n} does not fit {ty:?}")),
    }
}
