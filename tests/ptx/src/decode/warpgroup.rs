//! Products of a warpgroup: `wgmma`.

use super::Decoder;
use super::matrix::element;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::{Instruction, Operand};
use crate::program::{Element, GroupLeft, GroupOp, GroupProduct, Op};
use crate::types::{Space, Type};

impl Decoder<'_> {
    pub(super) fn warpgroup(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        if o.name != "wgmma" {
            return Ok(None);
        }
        let op = if o.has("fence") {
            GroupOp::Fence
        } else if o.has("commit_group") {
            GroupOp::Commit
        } else if o.has("wait_group") {
            GroupOp::Wait(self.literal(o, i, 0)? as u32)
        } else if o.has("mma_async") {
            GroupOp::Multiply(self.group_product(o, i)?)
        } else {
            return o.error("this operation of a warpgroup is not supported");
        };
        if !(o.has("sync") & o.has("aligned")) {
            return o.error("\"wgmma\" lacks .sync.aligned");
        }
        self.kernel.has_agents = true;
        self.kernel.has_groups = true;
        Ok(Some(Op::Group(Box::new(op))))
    }

    /// `wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 d, a, b, adds, sign, sign, trans, trans;`
    fn group_product(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<GroupProduct> {
        let Some((n, k)) = o.take(shape) else { return o.error("no shape of a warpgroup's product") };
        let saturate = o.has("satfinite");
        let (c, a, b) = (o.ty()?, o.ty()?, o.ty()?);
        let depth = match a {
            Type::F16 | Type::Bf16 => 16,
            Type::Tf32 => 8,
            Type::S8 | Type::U8 => 32,
            _ => 0,
        };
        let integers = |ty| matches!(ty, Type::S8 | Type::U8);
        let accumulates = match c {
            Type::F32 => a == b && !integers(a),
            Type::F16 => a == b && a == Type::F16,
            Type::S32 => integers(a) && integers(b),
            _ => false,
        };
        let (Some(ea), Some(eb), Some(ec)) = (element(a), element(b), element(c)) else {
            return o.error("these types are not supported in wgmma");
        };
        if k != depth || !accumulates || !n.is_multiple_of(8) || !(8..=256).contains(&n) {
            return o.error("this shape or these types of wgmma are not supported");
        }
        let held = match ec {
            Element::F32 => Type::F32,
            Element::S32 => Type::S32,
            _ => Type::B32,
        };
        let d_regs = self.fragment(o, i, 0, held, n / 2 * ec.bits() / 32, true)?;
        let left = match self.operand(i, 1)? {
            Operand::Vector(_) => GroupLeft::Registers(self.fragment(o, i, 1, Type::B32, 4, false)?),
            _ => GroupLeft::Descriptor(self.source(o, i, 1, Type::B64)?),
        };
        let right = self.source(o, i, 2, Type::B64)?;
        let adds = self.predicate(o, i, 3)?;
        let (signs, transposed) = self.modifiers(o, i, a, matches!(left, GroupLeft::Registers(_)))?;
        self.touches(Space::Shared, 4);
        if transposed.contains(&true) {
            self.touches(Space::Shared, 2);
        }
        Ok(GroupProduct { n, k, a: ea, b: eb, c: ec, left, right, d_regs, adds, signs, transposed, saturate })
    }

    /// Signs of both operands, and whether they are transposed, which the types decide upon.
    fn modifiers(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        a: Type,
        registers: bool,
    ) -> Decoded<([f64; 2], [bool; 2])> {
        let (mut signs, mut transposed) = ([1.0; 2], [false; 2]);
        if matches!(a, Type::S8 | Type::U8) {
            self.count(o, i, 4, 4)?;
            return Ok((signs, transposed));
        }
        for (n, sign) in signs.iter_mut().enumerate() {
            *sign = match self.literal(o, i, 4 + n)? {
                1 => 1.0,
                u64::MAX => -1.0,
                other => return o.error(format!("a sign is 1 or -1, found {other}")),
            };
        }
        let places: &[usize] = match a {
            Type::Tf32 => &[],
            _ if registers => &[1],
            _ => &[0, 1],
        };
        self.count(o, i, 6 + places.len(), 6 + places.len())?;
        for (n, place) in places.iter().enumerate() {
            transposed[*place] = self.literal(o, i, 6 + n)? != 0;
        }
        Ok((signs, transposed))
    }
}

/// n and k of `m64n32k16`.
fn shape(part: &str) -> Option<(usize, usize)> {
    let (n, k) = part.strip_prefix("m64n")?.split_once('k')?;
    Some((n.parse().ok()?, k.parse().ok()?))
}
