//! Mbarriers and bulk copies: `mbarrier`, `cp.async.bulk`.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::{Instruction, Operand};
use crate::program::{BulkOp, BulkSource, Constant, MbarrierOp, NONE, Op};
use crate::types::{Space, Type};

/// Orders and scopes of the one order that is followed, and hints.
const QUALIFIERS: &[&str] = &[
    "release",
    "acquire",
    "relaxed",
    "cta",
    "cluster",
    "tile",
    "bulk_group",
    "mbarrier::complete_tx::bytes",
];

impl Decoder<'_> {
    pub(super) fn bulk(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        let name = o.name;
        let op = match name {
            "mbarrier" => self.mbarrier(o, i)?,
            "cp" if o.has("async") && o.has("bulk") => Op::Bulk(Box::new(self.bulk_copy(o, i)?)),
            _ => return Ok(None),
        };
        self.kernel.has_agents = true;
        Ok(Some(op))
    }

    fn qualifiers(o: &mut Opcode) {
        while o.take(|part| QUALIFIERS.contains(&part).then_some(())).is_some() {}
    }

    fn mbarrier(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        let (init, invalidate) = (o.has("init"), o.has("inval"));
        let (arrive, expect) = (o.has("arrive"), o.has("expect_tx"));
        let (test, by_parity) = (o.has("try_wait") || o.has("test_wait"), o.has("parity"));
        Self::qualifiers(o);
        let space = o.space();
        Self::qualifiers(o);
        if o.ty()? != Type::B64 {
            return o.error("an mbarrier is a .b64");
        }
        let one = self.constant(Constant::Value(1));
        let place = usize::from(arrive || test);
        let address = self.address(o, i, place, space)?;
        self.touches(Space::Shared, 8);
        let op = if init {
            MbarrierOp::Init { count: self.source(o, i, 1, Type::U32)? }
        } else if invalidate {
            MbarrierOp::Invalidate
        } else if arrive {
            let state = match self.operand(i, 0)? {
                Operand::Sink => NONE,
                _ => self.destination(o, i, 0, Type::B64)?,
            };
            let given = i.operands.get(2).map(|_| self.source(o, i, 2, Type::U32)).transpose()?;
            match expect {
                true => MbarrierOp::Arrive { count: one, expect: given, state },
                false => MbarrierOp::Arrive { count: given.unwrap_or(one), expect: None, state },
            }
        } else if expect {
            MbarrierOp::Expect { bytes: self.source(o, i, 1, Type::U32)? }
        } else if test {
            let p = self.predicate_target(o, i, self.operand(i, 0)?)?;
            let ty = if by_parity { Type::U32 } else { Type::B64 };
            MbarrierOp::Test { p, phase: self.source(o, i, 2, ty)?, by_parity }
        } else {
            return o.error("this operation on an mbarrier is not supported");
        };
        Ok(Op::Mbarrier { address, op })
    }

    fn bulk_copy(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<BulkOp> {
        if o.has("commit_group") {
            return Ok(BulkOp::Commit);
        }
        if o.has("wait_group") {
            // Whether the bytes have arrived makes no difference to who reads them later in the kernel.
            o.has("read");
            return Ok(BulkOp::Wait(self.literal(o, i, 0)? as u32));
        }
        let tensor = o.has("tensor");
        let rank = o.choose(&[("1d", 1), ("2d", 2), ("3d", 3), ("4d", 4), ("5d", 5)]);
        let spaces = (o.space(), o.space());
        Self::qualifiers(o);
        self.touches(Space::Shared, 4);
        self.touches(Space::Global, 1);
        match spaces {
            (Space::Shared, Space::Global) => {
                let to = self.address(o, i, 0, Space::Shared)?;
                let from = self.bulk_source(o, i, 1, rank.filter(|_| tensor))?;
                let barrier = self.address(o, i, if tensor { 2 } else { 3 }, Space::Shared)?;
                Ok(BulkOp::Load { to, from, barrier })
            }
            (Space::Global, Space::Shared) => {
                let to = self.bulk_source(o, i, 0, rank.filter(|_| tensor))?;
                Ok(BulkOp::Store { from: self.address(o, i, 1, Space::Shared)?, to })
            }
            _ => o.error("a bulk copy goes between global and shared memory"),
        }
    }

    /// An address with the length behind both addresses, or a tensor map with coordinates.
    fn bulk_source(
        &mut self,
        o: &Opcode,
        i: &Instruction,
        at: usize,
        rank: Option<usize>,
    ) -> Decoded<BulkSource> {
        let Some(rank) = rank else {
            let address = self.address(o, i, at, Space::Global)?;
            return Ok(BulkSource::Bytes { address, len: self.source(o, i, 2, Type::U32)? });
        };
        let Operand::Address { coordinates, .. } = self.operand(i, at)? else {
            return o.error("expected a tensor map with coordinates");
        };
        let parts = match coordinates.as_slice() {
            [Operand::Vector(parts)] => parts.clone(),
            parts => parts.to_vec(),
        };
        if parts.len() != rank {
            return o.error(format!("expected {rank} coordinates, found {}", parts.len()));
        }
        let coordinates = parts.iter().map(|p| self.value(o, i, p, Type::S32, false));
        let coordinates = coordinates.collect::<Decoded<Vec<_>>>()?;
        Ok(BulkSource::Box { map: self.address(o, i, at, Space::Generic)?, coordinates })
    }
}
