//! What lanes of a warp do together: shuffles, votes, matches, reductions.

use super::Decoder;
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::Instruction;
use crate::program::{AtomicOp, Collective, NONE, Op, Shuffle, ShuffleMode, VoteMode};
use crate::types::Type;

const SHUFFLES: &[(&str, ShuffleMode)] = &[
    ("up", ShuffleMode::Up),
    ("down", ShuffleMode::Down),
    ("bfly", ShuffleMode::Butterfly),
    ("idx", ShuffleMode::Index),
];

const VOTES: &[(&str, VoteMode)] = &[
    ("all", VoteMode::All),
    ("any", VoteMode::Any),
    ("uni", VoteMode::Uniform),
    ("ballot", VoteMode::Ballot),
];

const REDUCTIONS: &[(&str, AtomicOp)] = &[
    ("add", AtomicOp::Add),
    ("min", AtomicOp::Min),
    ("max", AtomicOp::Max),
    ("and", AtomicOp::And),
    ("or", AtomicOp::Or),
    ("xor", AtomicOp::Xor),
];

impl Decoder<'_> {
    pub(super) fn warp(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        let (at, op) = match o.name {
            "bar" | "barrier" => {
                o.has("sync");
                (0, Collective::Barrier)
            }
            "shfl" => self.shuffle(o, i)?,
            "vote" => self.vote(o, i)?,
            "match" => self.matches(o, i)?,
            "redux" => self.reduce(o, i)?,
            "elect" => {
                o.has("sync");
                let (first, p) = self.pair(o, i, 0)?;
                (1, Collective::Elect { d: self.target(o, i, first)?.0, p })
            }
            "activemask" => {
                o.ty()?;
                return Ok(Some(Op::ActiveMask { d: self.destination(o, i, 0, Type::B32)? }));
            }
            _ => return Ok(None),
        };
        self.count(o, i, at + 1, at + 1)?;
        let members = self.source(o, i, at, Type::B32)?;
        Ok(Some(Op::Collective { members, op: Box::new(op) }))
    }

    fn sync(o: &mut Opcode) -> Decoded<()> {
        if o.has("sync") { Ok(()) } else { o.error(format!("\"{}\" without .sync is gone", o.name)) }
    }

    fn shuffle(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<(usize, Collective)> {
        Self::sync(o)?;
        let Some(mode) = o.choose(SHUFFLES) else { return o.error("no mode of shuffling") };
        o.ty()?;
        let (first, p) = self.pair(o, i, 0)?;
        let d = self.target(o, i, first)?.0;
        let a = self.source(o, i, 1, Type::B32)?;
        let (b, c) = (self.source(o, i, 2, Type::B32)?, self.source(o, i, 3, Type::B32)?);
        Ok((4, Collective::Shuffle(Shuffle { mode, d, p, a, b, c })))
    }

    fn vote(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<(usize, Collective)> {
        Self::sync(o)?;
        let Some(mode) = o.choose(VOTES) else { return o.error("no mode of voting") };
        o.ty()?;
        let (mut d, mut p) = (NONE, NONE);
        if mode == VoteMode::Ballot {
            d = self.destination(o, i, 0, Type::B32)?;
        } else {
            p = self.predicate_target(o, i, self.operand(i, 0)?)?;
        }
        Ok((2, Collective::Vote { mode, d, p, a: self.predicate(o, i, 1)? }))
    }

    fn matches(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<(usize, Collective)> {
        let all = o.has("all");
        let any = o.has("any");
        Self::sync(o)?;
        let ty = o.ty()?;
        let (first, p) = self.pair(o, i, 0)?;
        let d = self.target(o, i, first)?.0;
        let a = self.source(o, i, 1, ty)?;
        match (all, any) {
            (true, false) => Ok((2, Collective::MatchAll { d, p, a })),
            (false, true) => Ok((2, Collective::MatchAny { d, a })),
            _ => o.error("\"match\" is one of all and any"),
        }
    }

    fn reduce(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<(usize, Collective)> {
        Self::sync(o)?;
        let Some(op) = o.choose(REDUCTIONS) else { return o.error("no operation to reduce by") };
        let ty = o.ty()?;
        if ty.is_float() {
            return o.error("reductions of floating-point numbers are not supported");
        }
        let d = self.destination(o, i, 0, ty)?;
        let a = self.source(o, i, 1, ty)?;
        Ok((2, Collective::Reduce { op, signed: ty.is_signed(), d, a }))
    }
}
