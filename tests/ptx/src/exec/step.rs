//! One instruction by some lanes of a warp.

use super::block::Cta;
use super::launch::Cx;
use super::warp::{Flow, Warp};
use crate::check::fault::{FaultKind, Trap, first_lane};
use crate::program::{Bound, Call, Compare, Lanes, Logic, Mode, NONE, Op, Predicate, Reg, Slot};

type Stepped<T> = Result<T, Trap>;

impl Warp {
    /// Runs an instruction; `active` are the lanes of `mask` whose guard holds.
    pub(crate) fn step(
        &mut self,
        op: &Op,
        pc: u32,
        mask: u32,
        active: u32,
        cta: &mut Cta,
        cx: &mut Cx,
    ) -> Stepped<Flow> {
        match op {
            Op::Map1 { .. }
            | Op::Map2 { .. }
            | Op::Map3 { .. }
            | Op::Map4 { .. }
            | Op::Divide { .. }
            | Op::Approximate { .. } => self.map(op, active, cx)?,
            Op::Compare { .. }
            | Op::Set { .. }
            | Op::Select { .. }
            | Op::Predicates { .. }
            | Op::SetPredicate { .. }
            | Op::ConstantPredicate { .. } => self.decide(op, active, cx)?,
            Op::Pack { d, n, bits, s } => self.pack(cx, active, *d, *bits, &s[..*n])?,
            Op::Unpack { d, n, bits, s } => self.unpack(cx, active, &d[..*n], *bits, *s)?,
            Op::Clock { d, bits } => {
                self.put(*d, active, &[super::int::cut(*bits, cx.spent); 32]);
            }
            Op::ActiveMask { d } => self.put(*d, active, &[u64::from(active); 32]),
            Op::Load { .. } => self.load(op, active, cta, cx)?,
            Op::Store { .. } => self.store(op, active, cta, cx)?,
            Op::Atomic(atomic) => self.atomic(atomic, active, cta, cx)?,
            Op::Copy(copy) => self.copy(copy, active, cta, cx)?,
            Op::ProxyFence { all } => {
                for lane in lanes(active) {
                    let thread = self.thread(lane as u32);
                    cta.mbarriers.fence(thread);
                    if *all {
                        cta.clocks.fence(thread);
                    }
                }
            }
            Op::Mbarrier { address, op } => self.mbarrier(*address, op, active, cta, cx)?,
            Op::Bulk(op) => self.bulk(op, active, cta, cx)?,
            Op::Group(op) => {
                if active != self.alive {
                    return Ok(Flow::Wait(active));
                }
                self.group(op, active, cta, cx)?;
            }
            Op::Nothing => {}
            Op::Trap => return Err(Trap::new(first_lane(active), FaultKind::Trap)),
            Op::Barrier(barrier) => return self.barrier(barrier, active, cta, cx),
            Op::Collective { members, op } => return self.collective(op, *members, active, cta, cx),
            Op::Branch { .. } | Op::Table { .. } | Op::Call(_) | Op::Return => {
                return self.jump(op, pc, mask, active, cx);
            }
            Op::Exit => return self.exit(active, cta),
        }
        Ok(Flow::Next)
    }

    fn map(&mut self, op: &Op, active: u32, cx: &Cx) -> Stepped<()> {
        let mut out = [0; 32];
        let d = match op {
            Op::Map1 { f, mode, d, a } => {
                f(mode, &mut out, self.get(cx, active, *a)?);
                *d
            }
            Op::Map2 { f, mode, d, a, b } => {
                f(mode, &mut out, self.get(cx, active, *a)?, self.get(cx, active, *b)?);
                *d
            }
            Op::Map3 { f, mode, d, a, b, c } => {
                let (a, b) = (self.get(cx, active, *a)?, self.get(cx, active, *b)?);
                f(mode, &mut out, a, b, self.get(cx, active, *c)?);
                *d
            }
            Op::Map4 { f, mode, d, operands: [a, b, c, e] } => {
                let (a, b) = (self.get(cx, active, *a)?, self.get(cx, active, *b)?);
                f(mode, &mut out, a, b, self.get(cx, active, *c)?, self.get(cx, active, *e)?);
                *d
            }
            Op::Divide { f, mode, d, a, b } => {
                let by = self.get(cx, active, *b)?;
                if let Some(lane) = lanes(active).find(|l| by[*l] == 0) {
                    return Err(Trap::new(lane as u32, FaultKind::DivisionByZero));
                }
                f(mode, &mut out, self.get(cx, active, *a)?, by);
                *d
            }
            Op::Approximate { f, mode, bound, d, a } => {
                let a = self.get(cx, active, *a)?;
                f(mode, &mut out, a);
                if let Some(seed) = cx.options.perturb {
                    out.iter_mut().zip(a).for_each(|(out, a)| *out = perturb(*out, *a, seed, *bound));
                }
                *d
            }
            _ => return Ok(()),
        };
        self.put(d, active, &out);
        Ok(())
    }

    fn decide(&mut self, op: &Op, active: u32, cx: &Cx) -> Stepped<()> {
        match op {
            Op::Compare { f, mode, p, q, a, b, with } => {
                let (yes, no) = self.compare(cx, active, (*f, mode), (*a, *b), *with)?;
                self.put_predicate(*p, active, yes);
                self.put_predicate(*q, active, no);
            }
            Op::Set { f, mode, d, one, a, b, with } => {
                let (yes, _) = self.compare(cx, active, (*f, mode), (*a, *b), *with)?;
                let out = std::array::from_fn(|lane| if yes >> lane & 1 == 1 { *one } else { 0 });
                self.put(*d, active, &out);
            }
            Op::Select { d, a, b, p } => {
                let first = self.holds(cx, active, *p)?;
                let (a, b) = (self.get(cx, active & first, *a)?, self.get(cx, active & !first, *b)?);
                let out = std::array::from_fn(|l| if first >> l & 1 == 1 { a[l] } else { b[l] });
                self.put(*d, active, &out);
            }
            Op::Predicates { op, p, a, b } => {
                let (a, b) = (self.holds(cx, active, *a)?, self.holds(cx, active, *b)?);
                self.put_predicate(*p, active, logic(*op, a, b));
            }
            Op::SetPredicate { p, a } => {
                let a = self.holds(cx, active, *a)?;
                self.put_predicate(*p, active, a);
            }
            Op::ConstantPredicate { p, value } => {
                self.put_predicate(*p, active, if *value { u32::MAX } else { 0 });
            }
            _ => {}
        }
        Ok(())
    }

    /// A relation and its opposite, each combined with another predicate where there is one.
    fn compare(
        &self,
        cx: &Cx,
        active: u32,
        (f, mode): (Compare, &Mode),
        (a, b): (Reg, Reg),
        with: Option<(Logic, Predicate)>,
    ) -> Stepped<(u32, u32)> {
        let yes = f(mode, self.get(cx, active, a)?, self.get(cx, active, b)?);
        match with {
            None => Ok((yes, !yes)),
            Some((op, p)) => {
                let other = self.holds(cx, active, p)?;
                Ok((logic(op, yes, other), logic(op, !yes, other)))
            }
        }
    }

    fn pack(&mut self, cx: &Cx, active: u32, d: Reg, bits: u32, s: &[Reg]) -> Stepped<()> {
        let mut out: Lanes = [0; 32];
        for (i, s) in s.iter().enumerate() {
            let part = self.get(cx, active, *s)?;
            out.iter_mut().zip(part).for_each(|(out, part)| *out |= part << (bits * i as u32));
        }
        self.put(d, active, &out);
        Ok(())
    }

    fn unpack(&mut self, cx: &Cx, active: u32, d: &[Reg], bits: u32, s: Reg) -> Stepped<()> {
        let whole = *self.get(cx, active, s)?;
        for (i, d) in d.iter().enumerate() {
            let part = whole.map(|x| super::int::cut(bits, x >> (bits * i as u32)));
            self.put(*d, active, &part);
        }
        Ok(())
    }

    fn jump(&mut self, op: &Op, pc: u32, mask: u32, active: u32, cx: &Cx) -> Stepped<Flow> {
        match op {
            Op::Branch { target, uniform } => {
                if *uniform && active != mask {
                    let kind = FaultKind::NotUniform { what: "the guard of a uniform branch" };
                    return Err(Trap::new(first_lane(mask & !active), kind));
                }
                self.set_pc(active, *target);
            }
            Op::Table { index, targets } => {
                let index = *self.get(cx, active, *index)?;
                for lane in lanes(active) {
                    let Some(target) = targets.get(index[lane] as usize) else {
                        let why = format!("index {} into {} targets", index[lane], targets.len());
                        return Err(Trap::new(lane as u32, FaultKind::Operand { why }));
                    };
                    self.pc[lane] = *target;
                }
            }
            Op::Call(call) => {
                self.pass(cx, active, &call.inputs)?;
                lanes(active).for_each(|l| self.calls[l].push(pc));
                self.set_pc(active, call.target);
            }
            _ => self.give_back(cx, active)?,
        }
        self.set_pc(mask & !active, pc + 1);
        Ok(Flow::Jumped)
    }

    /// Lanes go back to where they came from, which may be different places.
    fn give_back(&mut self, cx: &Cx, active: u32) -> Stepped<()> {
        for lane in lanes(active) {
            let Some(from) = self.calls[lane].pop() else { continue };
            if let Op::Call(call) = &cx.kernel.code[from as usize].op {
                let call: &Call = call;
                self.pass(cx, 1 << lane, &call.outputs)?;
            }
            self.pc[lane] = from + 1;
        }
        Ok(())
    }

    fn pass(&mut self, cx: &Cx, active: u32, moves: &[(Slot, Slot)]) -> Stepped<()> {
        let size = cx.kernel.local_bytes as usize;
        for (from, to) in moves {
            match (*from, *to) {
                (Slot::Register(from), Slot::Register(to)) => {
                    let values = *self.get(cx, active, from)?;
                    self.put(to, active, &values);
                }
                (Slot::Predicate(from), Slot::Predicate(to)) => {
                    let mask = self.holds(cx, active, Predicate { index: from, negated: false })?;
                    self.put_predicate(to, active, mask);
                }
                (Slot::Local { at: from, bytes }, Slot::Local { at: to, bytes: room }) => {
                    for base in lanes(active).map(|l| l * size) {
                        let n = bytes.min(room) as usize;
                        let (from, to) = (base + from as usize, base + to as usize);
                        self.local.copy_within(from..from + n, to);
                        self.local_written.copy_within(from..from + n, to);
                    }
                }
                (Slot::Register(from), Slot::Local { at, bytes }) => {
                    let values = *self.get(cx, active, from)?;
                    for lane in lanes(active) {
                        let (to, n) = (lane * size + at as usize, bytes.min(8) as usize);
                        self.local[to..to + n].copy_from_slice(&values[lane].to_le_bytes()[..n]);
                        self.local_written[to..to + n].fill(true);
                    }
                }
                _ => {
                    let why = "an argument does not fit its parameter".to_owned();
                    return Err(Trap::new(first_lane(active), FaultKind::Operand { why }));
                }
            }
        }
        Ok(())
    }

    fn exit(&mut self, active: u32, cta: &mut Cta) -> Stepped<Flow> {
        if let Some(lane) = lanes(active).find(|l| self.copies[*l].pending()) {
            let kind = FaultKind::Unfinished { what: "asynchronous copies" };
            return Err(Trap::new(lane as u32, kind));
        }
        if let Some(lane) = lanes(active).find(|l| self.stores[*l].pending()) {
            let kind = FaultKind::Unfinished { what: "bulk stores" };
            return Err(Trap::new(lane as u32, kind));
        }
        if self.products.pending() {
            let kind = FaultKind::Unfinished { what: "products of a warpgroup" };
            return Err(Trap::new(first_lane(active), kind));
        }
        self.alive &= !active;
        cta.live -= active.count_ones();
        if cta.live == 0 && cta.mbarriers.landing() {
            let kind = FaultKind::Unfinished { what: "bulk copies" };
            return Err(Trap::new(first_lane(active), kind));
        }
        cta.settle();
        Ok(Flow::Left)
    }
}

/// The numbers of the lanes in a mask.
pub(crate) fn lanes(mask: u32) -> impl Iterator<Item = usize> + Clone {
    (0..32).filter(move |l| mask >> l & 1 == 1)
}

fn logic(op: Logic, a: u32, b: u32) -> u32 {
    match op {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}

/// A result moved within its bound, by a hash of what it was made from.
fn perturb(out: u64, from: u64, seed: u64, bound: Bound) -> u64 {
    let value = f32::from_bits(out as u32);
    if !value.is_normal() {
        return out;
    }
    let mut hash = (from ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let part = (hash >> 40) as f64 / f64::from(1 << 23) - 1.0;
    let value = f64::from(value);
    let moved = match bound {
        Bound::Relative(r) => value * (1.0 + part * r),
        Bound::Absolute(a) => value + part * a,
    };
    u64::from((moved as f32).to_bits())
}

/// No register where one may be left out.
pub(crate) fn given(reg: Reg) -> Option<Reg> {
    (reg != NONE).then_some(reg)
}
