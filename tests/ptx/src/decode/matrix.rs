//! Matrix fragments: `ldmatrix`, `stmatrix`, `mma.sync`.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::Instruction;
use crate::program::{Collective, Constant, Element, MatrixOp, NONE, Op, Reg};
use crate::types::Type;

/// Shapes and element types of `mma.sync`: m, n, k, a and b alike but for sign, c and d.
const SHAPES: &[(&str, [usize; 3], &[Type])] = &[
    ("m16n8k4", [16, 8, 4], &[Type::Tf32]),
    ("m16n8k8", [16, 8, 8], &[Type::F16, Type::Bf16, Type::Tf32]),
    ("m16n8k16", [16, 8, 16], &[Type::F16, Type::Bf16, Type::S8, Type::U8]),
    ("m16n8k32", [16, 8, 32], &[Type::S8, Type::U8]),
    ("m8n8k16", [8, 8, 16], &[Type::S8, Type::U8]),
    ("m8n8k4", [8, 8, 4], &[Type::F64]),
];

/// The fragment element of a type.
pub(super) fn element(ty: Type) -> Option<Element> {
    Some(match ty {
        Type::F16 => Element::F16,
        Type::Bf16 => Element::Bf16,
        Type::Tf32 => Element::Tf32,
        Type::F32 => Element::F32,
        Type::F64 => Element::F64,
        Type::S8 => Element::S8,
        Type::U8 => Element::U8,
        Type::S32 => Element::S32,
        _ => return None,
    })
}

impl Element {
    /// Its width in a fragment.
    pub(crate) fn bits(self) -> usize {
        match self {
            Element::S8 | Element::U8 => 8,
            Element::F16 | Element::Bf16 => 16,
            Element::Tf32 | Element::F32 | Element::S32 => 32,
            Element::F64 => 64,
        }
    }
}

impl Decoder<'_> {
    pub(super) fn matrix(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        let op = match o.name {
            "ldmatrix" => self.move_matrix(o, i, true)?,
            "stmatrix" => self.move_matrix(o, i, false)?,
            "mma" => self.mma(o, i)?,
            _ => return Ok(None),
        };
        let members = self.constant(Constant::Value(u64::from(u32::MAX)));
        Ok(Some(Op::Collective { members, op: Box::new(op) }))
    }

    fn move_matrix(&mut self, o: &mut Opcode, i: &Instruction, loads: bool) -> Decoded<Collective> {
        let known = o.has("sync") & o.has("aligned") & o.has("m8n8");
        let count = o.choose(&[("x1", 1), ("x2", 2), ("x4", 4)]);
        let transposed = o.has("trans");
        let space = o.space();
        let (Some(count), Type::B16, true) = (count, o.ty()?, known) else {
            return o.error("only .sync.aligned.m8n8.x1/.x2/.x4 of .b16 is supported");
        };
        self.count(o, i, 2, 2)?;
        let (regs, place) = if loads { (0, 1) } else { (1, 0) };
        let address = self.address(o, i, place, space)?;
        self.touches(address.space, if loads && transposed { 2 } else { 4 });
        let all = self.fragment(o, i, regs, Type::B32, count, loads)?;
        let mut regs = [NONE; 4];
        regs[..count].copy_from_slice(&all);
        Ok(match loads {
            true => Collective::LoadMatrix { count, transposed, d: regs, address },
            false => Collective::StoreMatrix { count, transposed, s: regs, address },
        })
    }

    /// The registers of a fragment.
    pub(super) fn fragment(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        at: usize,
        ty: Type,
        n: usize,
        written: bool,
    ) -> Decoded<Vec<Reg>> {
        let parts = self.parts(i, at)?;
        if parts.len() != n {
            return o.error(format!("expected {n} registers, found {}", parts.len()));
        }
        let mut regs = Vec::new();
        for part in parts {
            regs.push(self.value(o, i, part, ty, false)?);
        }
        if written && regs.iter().any(|r| r & crate::program::CONST != 0) {
            return o.error("a constant cannot be written");
        }
        Ok(regs)
    }

    fn mma(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Collective> {
        let known = o.has("sync") & o.has("aligned");
        let shape = o.take(|part| SHAPES.iter().find(|(name, ..)| *name == part));
        let layouts = o.has("row") & o.has("col");
        let saturate = o.has("satfinite");
        let (Some((_, [m, n, k], types)), true, true) = (shape, known, layouts) else {
            return o.error("this shape or layout of mma is not supported");
        };
        let (d, a, b, c) = (o.ty()?, o.ty()?, o.ty()?, o.ty()?);
        let integers = |ty| matches!(ty, Type::S8 | Type::U8);
        let accumulates = match c {
            Type::F16 => a == Type::F16,
            Type::S32 => integers(a),
            Type::F32 => !integers(a) && a != Type::F64,
            Type::F64 => a == Type::F64,
            _ => false,
        };
        let alike = a == b || integers(a) && integers(b);
        if d != c || !types.contains(&a) || !alike || !accumulates {
            return o.error("these types do not go together in mma");
        }
        self.count(o, i, 4, 4)?;
        let (Some(ea), Some(eb), Some(ec)) = (element(a), element(b), element(c)) else {
            return o.error("these types are not supported in mma");
        };
        let per_lane = |elements: usize, e: Element| (elements / 32 * e.bits()).div_ceil(32.max(e.bits()));
        let held = |e: Element, ty: Type| match e {
            Element::F64 => Type::F64,
            Element::F32 => Type::F32,
            _ if ty == Type::S32 => Type::S32,
            _ => Type::B32,
        };
        let (ct, at) = (held(ec, c), held(ea, a));
        Ok(Collective::MultiplyAdd(Box::new(MatrixOp {
            m: *m,
            n: *n,
            k: *k,
            a: ea,
            b: eb,
            c: ec,
            saturate,
            d_regs: self.fragment(o, i, 0, ct, per_lane(m * n, ec), true)?,
            a_regs: self.fragment(o, i, 1, at, per_lane(m * k, ea), false)?,
            b_regs: self.fragment(o, i, 2, at, per_lane(k * n, eb), false)?,
            c_regs: self.fragment(o, i, 3, ct, per_lane(m * n, ec), false)?,
        })))
    }
}
