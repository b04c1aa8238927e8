//! `cp.async`: copies to shared memory that are there only once their thread has waited for their group.

use super::access::resolve;
use super::block::Cta;
use super::launch::Cx;
use super::step::lanes;
use super::warp::Warp;
use crate::check::fault::{FaultKind, Trap, space_name};
use crate::program::{Address, CopyOp, Predicate, Reg};
use crate::types::Space;
use std::collections::VecDeque;

/// Copies of one thread that have not arrived: those not yet in a group, and groups in order.
#[derive(Default)]
pub(crate) struct Copies {
    open: Vec<Pending>,
    groups: VecDeque<Vec<Pending>>,
}

struct Pending {
    to: u64,
    bytes: [u8; 16],
    len: usize,
}

/// What a copy is made of, besides its lanes.
struct Begin {
    to: Address,
    from: Address,
    bytes: u32,
    source: Reg,
    ignore: Option<Predicate>,
}

impl Copies {
    pub(crate) fn pending(&self) -> bool {
        !self.open.is_empty() || self.groups.iter().any(|g| !g.is_empty())
    }
}

impl Warp {
    pub(super) fn copy(&mut self, op: &CopyOp, active: u32, cta: &mut Cta, cx: &mut Cx) -> Result<(), Trap> {
        match op {
            CopyOp::Begin { to, from, bytes, source, ignore } => {
                let begin = Begin { to: *to, from: *from, bytes: *bytes, source: *source, ignore: *ignore };
                return self.begin_copy(&begin, active, cta, cx);
            }
            CopyOp::Commit => {
                for lane in lanes(active) {
                    let group = std::mem::take(&mut self.copies[lane].open);
                    self.copies[lane].groups.push_back(group);
                }
            }
            CopyOp::Wait(n) => {
                for lane in lanes(active) {
                    self.finish_copies(lane, *n as usize, cta)?;
                }
            }
            CopyOp::WaitAll => {
                for lane in lanes(active) {
                    let group = std::mem::take(&mut self.copies[lane].open);
                    self.copies[lane].groups.push_back(group);
                    self.finish_copies(lane, 0, cta)?;
                }
            }
        }
        Ok(())
    }

    fn begin_copy(&mut self, begin: &Begin, active: u32, cta: &mut Cta, cx: &mut Cx) -> Result<(), Trap> {
        let to = self.addresses(cx, active, begin.to)?;
        let from = self.addresses(cx, active, begin.from)?;
        let source = *self.get(cx, active, begin.source)?;
        let ignored = match begin.ignore {
            Some(p) => self.holds(cx, active, p)?,
            None => 0,
        };
        let len = begin.bytes as usize;
        cx.count_conflicts(len as u64, begin.to.space, lanes(active).map(|l| (l, to[l])));
        for lane in lanes(active) {
            let trap = |kind| Trap::new(lane as u32, kind);
            let n = if ignored >> lane & 1 == 1 { 0 } else { source[lane] as usize };
            let (to, from) = (resolve(begin.to.space, to[lane]).1, from[lane]);
            for (space, address) in [(Space::Shared, to), (Space::Global, from)] {
                if address % len as u64 != 0 {
                    let space = space_name(space);
                    return Err(trap(FaultKind::Misaligned { space, address, align: len as u64 }));
                }
            }
            if n > len {
                let why = format!("{n} of {len} bytes to copy");
                return Err(trap(FaultKind::Operand { why }));
            }
            let mut bytes = [0; 16];
            if n > 0 {
                let who = cta.who(self.thread(lane as u32));
                bytes[..n].copy_from_slice(cx.memory.load(&who, from, n as u64).map_err(trap)?);
            }
            let thread = self.thread(lane as u32);
            cta.shared.begin_copy(&cta.clocks, thread, to, len as u64).map_err(trap)?;
            self.copies[lane].open.push(Pending { to, bytes, len });
        }
        Ok(())
    }

    fn finish_copies(&mut self, lane: usize, pending: usize, cta: &mut Cta) -> Result<(), Trap> {
        let thread = self.thread(lane as u32);
        while self.copies[lane].groups.len() > pending {
            for copy in self.copies[lane].groups.pop_front().into_iter().flatten() {
                let bytes = &copy.bytes[..copy.len];
                let ended = cta.shared.end_copy(&cta.clocks, thread, copy.to, bytes);
                ended.map_err(|kind| Trap::new(lane as u32, kind))?;
            }
        }
        Ok(())
    }
}
