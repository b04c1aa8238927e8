//! Operands to registers, constants, predicates, addresses; widths are checked here.

use super::Decoder;
use super::names::Name;
use super::opcode::{Decoded, Opcode};
use crate::exec::convert::nearest_single;
use crate::exec::int::cut;
use crate::parse::ast::{Instruction, Operand};
use crate::program::{Address, Constant, NONE, Predicate, Reg};
use crate::types::{Space, Type};

impl Decoder<'_> {
    /// An operand of an instruction by its place.
    pub(super) fn operand<'i>(&self, i: &'i Instruction, at: usize) -> Decoded<&'i Operand> {
        match i.operands.get(at) {
            Some(operand) => Ok(operand),
            None => super::names::refuse(i.line, &format!("\"{}\" lacks operands", i.opcode)),
        }
    }

    /// As many operands as the instruction takes.
    pub(super) fn count(&self, o: &Opcode, i: &Instruction, from: usize, to: usize) -> Decoded<()> {
        let n = i.operands.len();
        if (from..=to).contains(&n) { Ok(()) } else { o.error(format!("\"{}\" with {n} operands", i.opcode)) }
    }

    /// A source as wide as its type.
    pub(super) fn source(&mut self, o: &Opcode, i: &Instruction, at: usize, ty: Type) -> Decoded<Reg> {
        let operand = self.operand(i, at)?;
        self.value(o, i, operand, ty, false)
    }

    /// A source that may be wider than its type.
    pub(super) fn wide_source(&mut self, o: &Opcode, i: &Instruction, at: usize, ty: Type) -> Decoded<Reg> {
        let operand = self.operand(i, at)?;
        self.value(o, i, operand, ty, true)
    }

    pub(super) fn value(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        operand: &Operand,
        ty: Type,
        wide: bool,
    ) -> Decoded<Reg> {
        let bits = ty.bits();
        let value = match operand {
            Operand::Name(name) => return self.named_value(o, i, name, 0, ty, wide),
            Operand::Offset(name, offset) => return self.named_value(o, i, name, *offset, ty, wide),
            Operand::Int(v) if ty == Type::F32 || ty == Type::F64 => {
                return o.error(format!("{v} is no floating-point constant"));
            }
            Operand::Int(v) => cut(bits, *v),
            Operand::F32(v) if bits == 32 => u64::from(*v),
            Operand::F64(v) if bits == 64 => *v,
            Operand::F64(v) if ty == Type::F32 => nearest_single(f64::from_bits(*v)),
            other => return o.error(format!("{other:?} cannot stand here")),
        };
        Ok(self.constant(Constant::Value(value)))
    }

    fn named_value(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        name: &str,
        offset: i64,
        ty: Type,
        wide: bool,
    ) -> Decoded<Reg> {
        match self.resolve(name, i) {
            Some(Name::Register { reg, ty: held }) if offset == 0 => {
                if held.bits() == ty.bits() || wide && held.bits() > ty.bits() {
                    return Ok(reg);
                }
                o.error(format!("\"{name}\" has {} bits, expected {}", held.bits(), ty.bits()))
            }
            Some(Name::Variable { address, .. }) if ty.bits() >= 32 => {
                let address = moved(address, offset);
                Ok(self.constant(address))
            }
            Some(_) => o.error(format!("\"{name}\" cannot stand here")),
            None => match self.special(name) {
                Some(reg) => Ok(reg),
                None => o.error(format!("unknown name \"{name}\"")),
            },
        }
    }

    /// A destination as wide as its type, or a sink.
    pub(super) fn destination(&mut self, o: &Opcode, i: &Instruction, at: usize, ty: Type) -> Decoded<Reg> {
        let operand = self.operand(i, at)?;
        let (reg, held) = self.target(o, i, operand)?;
        if reg != NONE && held != ty.bits() {
            return o.error(format!("the destination has {held} bits, expected {}", ty.bits()));
        }
        Ok(reg)
    }

    /// A destination of any width, and that width.
    pub(super) fn target(&mut self, o: &Opcode, i: &Instruction, operand: &Operand) -> Decoded<(Reg, u32)> {
        match operand {
            Operand::Sink => Ok((NONE, 0)),
            Operand::Name(name) => match self.resolve(name, i) {
                Some(Name::Register { reg, ty }) => Ok((reg, ty.bits())),
                _ => o.error(format!("\"{name}\" is no register")),
            },
            other => o.error(format!("{other:?} cannot be written")),
        }
    }

    pub(super) fn predicate_named(&self, name: &str, i: &Instruction) -> Decoded<Predicate> {
        match self.resolve(name, i) {
            Some(Name::Predicate(index)) => Ok(Predicate { index, negated: false }),
            _ => super::names::refuse(i.line, &format!("\"{name}\" is no predicate")),
        }
    }

    /// A predicate as a source, perhaps negated.
    pub(super) fn predicate(&self, o: &Opcode, i: &Instruction, at: usize) -> Decoded<Predicate> {
        match self.operand(i, at)? {
            Operand::Name(name) => self.predicate_named(name, i),
            Operand::Not(name) => Ok(Predicate { negated: true, ..self.predicate_named(name, i)? }),
            other => o.error(format!("expected a predicate, found {other:?}")),
        }
    }

    /// A predicate that is written, or a sink.
    pub(super) fn predicate_target(&self, o: &Opcode, i: &Instruction, operand: &Operand) -> Decoded<u32> {
        match operand {
            Operand::Sink => Ok(NONE),
            Operand::Name(name) => Ok(self.predicate_named(name, i)?.index),
            other => o.error(format!("expected a predicate, found {other:?}")),
        }
    }

    /// An operand that may be `d|p`: its first part and the predicate, `NONE` without one.
    pub(super) fn pair<'i>(&self, o: &Opcode, i: &'i Instruction, at: usize) -> Decoded<(&'i Operand, u32)> {
        match self.operand(i, at)? {
            Operand::Pair(first, second) => Ok((first, self.predicate_target(o, i, second)?)),
            other => Ok((other, NONE)),
        }
    }

    /// The parts of a vector, or the operand itself.
    pub(super) fn parts<'i>(&self, i: &'i Instruction, at: usize) -> Decoded<&'i [Operand]> {
        Ok(match self.operand(i, at)? {
            Operand::Vector(all) => all,
            other => std::slice::from_ref(other),
        })
    }

    /// An integer that is written out.
    pub(super) fn literal(&self, o: &Opcode, i: &Instruction, at: usize) -> Decoded<u64> {
        match self.operand(i, at)? {
            Operand::Int(v) => Ok(*v),
            other => o.error(format!("expected a constant, found {other:?}")),
        }
    }

    /// An address in brackets. A variable decides the space of its own address.
    pub(super) fn address(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        at: usize,
        space: Space,
    ) -> Decoded<Address> {
        let Operand::Address { base, offset, .. } = self.operand(i, at)? else {
            return o.error("expected an address");
        };
        self.address_of(o, i, base, *offset, space)
    }

    pub(super) fn address_of(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        base: &Operand,
        offset: i64,
        space: Space,
    ) -> Decoded<Address> {
        match base {
            Operand::Name(name) => match self.resolve(name, i) {
                Some(Name::Variable { space: own, address, .. }) => {
                    let base = self.constant(address);
                    Ok(Address { space: own, base, offset })
                }
                Some(Name::Register { reg, ty }) if ty.bits() >= 32 => {
                    Ok(Address { space, base: reg, offset })
                }
                _ => o.error(format!("\"{name}\" is no address")),
            },
            Operand::Int(v) => {
                let base = self.constant(Constant::Value(*v));
                Ok(Address { space, base, offset })
            }
            other => o.error(format!("{other:?} is no address")),
        }
    }

    /// The kernel touches memory so many bytes at a time.
    pub(super) fn touches(&mut self, space: Space, bytes: u32) {
        if matches!(space, Space::Global | Space::Generic) {
            self.kernel.global_granule = self.kernel.global_granule.min(bytes);
        }
        if matches!(space, Space::Shared | Space::Generic) {
            self.kernel.granule = self.kernel.granule.min(bytes);
        }
    }
}

fn moved(address: Constant, offset: i64) -> Constant {
    match address {
        Constant::Value(v) => Constant::Value(v.wrapping_add(offset as u64)),
        Constant::Variable(number, at) => Constant::Variable(number, at.wrapping_add(offset as u64)),
    }
}
