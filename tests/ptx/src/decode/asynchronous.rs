//! `cp.async` and its groups.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::{Instruction, Operand};
use crate::program::{Constant, CopyOp, Op};
use crate::types::{Space, Type};

impl Decoder<'_> {
    pub(super) fn asynchronous(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        if o.name != "cp" || i.opcode.starts_with("cp.async.bulk") || !o.has("async") {
            return Ok(None);
        }
        let op = if o.has("commit_group") {
            CopyOp::Commit
        } else if o.has("wait_group") {
            CopyOp::Wait(self.literal(o, i, 0)? as u32)
        } else if o.has("wait_all") {
            CopyOp::WaitAll
        } else {
            self.begin_copy(o, i)?
        };
        Ok(Some(Op::Copy(Box::new(op))))
    }

    /// `cp.async.ca.shared.global [to], [from], 16, source-bytes;` or with a predicate that ignores the
    /// source.
    fn begin_copy(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<CopyOp> {
        let all = o.has("cg");
        if !all && !o.has("ca") {
            return o.error("this asynchronous copy is not supported");
        }
        if (o.space(), o.space()) != (Space::Shared, Space::Global) {
            return o.error("an asynchronous copy goes from global to shared memory");
        }
        while o.take(|part| part.starts_with("L2::").then_some(())).is_some() {}
        let to = self.address(o, i, 0, Space::Shared)?;
        let from = self.address(o, i, 1, Space::Global)?;
        let bytes = self.literal(o, i, 2)? as u32;
        if !(bytes == 16 || !all && matches!(bytes, 4 | 8)) {
            return o.error(format!("{bytes} bytes cannot be copied at once"));
        }
        let (mut source, mut ignore) = (self.constant(Constant::Value(u64::from(bytes))), None);
        if let Some(operand) = i.operands.get(3) {
            match operand {
                Operand::Not(_) => ignore = Some(self.predicate(o, i, 3)?),
                Operand::Name(name) if self.predicate_named(name, i).is_ok() => {
                    ignore = Some(self.predicate(o, i, 3)?);
                }
                _ => source = self.source(o, i, 3, Type::U32)?,
            }
        }
        self.touches(Space::Shared, bytes);
        Ok(CopyOp::Begin { to, from, bytes, source, ignore })
    }
}
