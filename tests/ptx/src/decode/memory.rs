//! Loads, stores, atomic operations.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::Instruction;
use crate::program::{Atomic, AtomicOp, NONE, Op};
use crate::types::Type;

/// What says how something is cached, ordered or scoped: nothing that changes a result here.
const HINTS: &[&str] = &[
    "nc",
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "relaxed",
    "weak",
    "acquire",
    "release",
    "acq_rel",
    "volatile",
    "gpu",
    "cta",
    "sys",
    "cluster",
    "noftz",
    "L1::evict_last",
    "L1::evict_normal",
    "L1::evict_first",
    "L1::no_allocate",
    "L1::evict_unchanged",
    "L2::128B",
    "L2::256B",
    "L2::64B",
];

const ATOMICS: &[(&str, AtomicOp)] = &[
    ("add", AtomicOp::Add),
    ("min", AtomicOp::Min),
    ("max", AtomicOp::Max),
    ("exch", AtomicOp::Exchange),
    ("cas", AtomicOp::CompareSwap),
    ("and", AtomicOp::And),
    ("or", AtomicOp::Or),
    ("xor", AtomicOp::Xor),
    ("inc", AtomicOp::Increment),
    ("dec", AtomicOp::Decrement),
];

impl Decoder<'_> {
    pub(super) fn memory(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        Ok(Some(match o.name {
            "ld" | "ldu" => self.load(o, i)?,
            "st" => self.store(o, i)?,
            "atom" | "red" => self.atomic(o, i)?,
            "prefetch" | "prefetchu" | "discard" | "applypriority" => {
                while o.take(Some).is_some() {}
                Op::Nothing
            }
            _ => return Ok(None),
        }))
    }

    fn hints(o: &mut Opcode) {
        while o.take(|part| HINTS.contains(&part).then_some(())).is_some() {}
    }

    fn load(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let (space, n) = (o.space(), o.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1));
        Self::hints(o);
        let ty = o.ty()?;
        self.count(o, i, 2, 2)?;
        let address = self.address(o, i, 1, space)?;
        self.touches(address.space, ty.bytes());
        let parts = self.parts(i, 0)?;
        if parts.len() != n {
            return o.error(format!("expected {n} registers, found {}", parts.len()));
        }
        let (mut d, mut bits) = ([NONE; 4], ty.bits());
        for (d, operand) in d.iter_mut().zip(parts) {
            let (reg, width) = self.target(o, i, operand)?;
            if reg != NONE && width < ty.bits() {
                return o.error("a destination is too narrow");
            }
            (*d, bits) = (reg, bits.max(width));
        }
        Ok(Op::Load { address, n, bytes: ty.bytes(), signed: ty.is_signed(), bits, d })
    }

    fn store(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let (space, n) = (o.space(), o.choose(&[("v2", 2), ("v4", 4)]).unwrap_or(1));
        Self::hints(o);
        let ty = o.ty()?;
        self.count(o, i, 2, 2)?;
        let address = self.address(o, i, 0, space)?;
        self.touches(address.space, ty.bytes());
        let parts = self.parts(i, 1)?;
        if parts.len() != n {
            return o.error(format!("expected {n} registers, found {}", parts.len()));
        }
        let mut s = [NONE; 4];
        for (s, operand) in s.iter_mut().zip(parts) {
            *s = self.value(o, i, operand, ty, true)?;
        }
        Ok(Op::Store { address, n, bytes: ty.bytes(), s })
    }

    fn atomic(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let space = o.space();
        Self::hints(o);
        let Some(op) = o.choose(ATOMICS) else { return o.error("no atomic operation") };
        Self::hints(o);
        let ty = o.ty()?;
        let result = usize::from(o.name == "atom");
        let last = result + 1 + usize::from(op == AtomicOp::CompareSwap);
        self.count(o, i, last + 1, last + 1)?;
        let d = if result == 1 { self.destination(o, i, 0, ty)? } else { NONE };
        let address = self.address(o, i, result, space)?;
        self.touches(address.space, ty.bytes());
        let b = self.source(o, i, result + 1, ty)?;
        let c = if op == AtomicOp::CompareSwap { self.source(o, i, last, ty)? } else { b };
        let float = ty.is_float() && op != AtomicOp::Add && op != AtomicOp::Exchange;
        if float || (ty == Type::B8) {
            return o.error("this atomic operation is not supported");
        }
        Ok(Op::Atomic(Box::new(Atomic { op, ty, d, address, b, c })))
    }
}
