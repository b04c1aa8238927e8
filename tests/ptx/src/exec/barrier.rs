//! Barriers of the block: sixteen places where threads meet, all or a given number.

use super::block::Cta;
use super::launch::Cx;
use super::step::lanes;
use super::warp::{Flow, Warp};
use crate::check::clocks::Token;
use crate::check::fault::{FaultKind, Trap, first_lane};
use crate::program::{BarrierReduction, BlockBarrier, Logic, NONE};

/// Who has come to a barrier so far.
#[derive(Default)]
pub(crate) struct Meeting {
    /// How many must come; none while nobody has, or where all must.
    count: Option<u32>,
    arrived: u32,
    /// Warps and lanes that wait.
    waiting: Vec<(usize, u32)>,
    /// What those bring who do not wait.
    token: Token,
    some_left: bool,
    reduction: Option<BarrierReduction>,
    holding: u32,
}

/// Lanes that a barrier lets go, with what it has for them.
pub(crate) struct Released {
    pub(crate) warp: usize,
    pub(crate) lanes: u32,
    pub(crate) result: Option<(BarrierReduction, u32)>,
}

fn misuse(lane: u32, why: &str) -> Trap {
    Trap::new(lane, FaultKind::Barrier { why: why.to_owned() })
}

impl Warp {
    pub(super) fn barrier(
        &mut self,
        barrier: &BlockBarrier,
        active: u32,
        cta: &mut Cta,
        cx: &Cx,
    ) -> Result<Flow, Trap> {
        if barrier.aligned && active != self.alive {
            return Ok(Flow::Wait(active));
        }
        let lane = first_lane(active);
        let id = self.same(cx, active, barrier.id, "the number of a barrier")?;
        if id > 15 {
            return Err(misuse(lane, &format!("there is no barrier {id}")));
        }
        let count = match barrier.count {
            NONE => None,
            reg => Some(self.same(cx, active, reg, "the count of a barrier")? as u32),
        };
        if count.is_some_and(|n| n == 0 || n % 32 != 0 || n > cta.threads.next_multiple_of(32)) {
            return Err(misuse(lane, "a count must be a multiple of 32 within the block"));
        }
        let meeting = &mut cta.meetings[id as usize];
        if meeting.arrived > 0 && meeting.count != count {
            return Err(misuse(lane, "threads come with different counts"));
        }
        meeting.count = count;
        meeting.arrived += if barrier.aligned && count.is_some() { 32 } else { active.count_ones() };
        if count.is_some_and(|n| meeting.arrived > n) {
            return Err(misuse(lane, "more threads come than were counted"));
        }
        if let Some(reduction) = barrier.reduction {
            meeting.holding += (self.holds(cx, active, reduction.a)? & active).count_ones();
            meeting.reduction = Some(reduction);
        }
        if barrier.waits {
            self.at_barrier |= active;
            meeting.waiting.push((self.number as usize, active));
        } else {
            meeting.some_left = true;
            for lane in lanes(active) {
                cta.clocks.release(self.number * 32 + lane as u32, &mut meeting.token);
            }
        }
        cta.settle();
        Ok(Flow::Left)
    }

    /// A value that must be the same for all lanes.
    pub(super) fn same(&self, cx: &Cx, active: u32, reg: u32, what: &'static str) -> Result<u64, Trap> {
        let values = self.get(cx, active, reg)?;
        let first = values[first_lane(active) as usize];
        match lanes(active).find(|l| values[*l] != first) {
            Some(lane) => Err(Trap::new(lane as u32, FaultKind::NotUniform { what })),
            None => Ok(first),
        }
    }
}

impl Cta {
    /// Opens the barriers that all have reached, after an arrival or the end of a thread.
    pub(crate) fn settle(&mut self) {
        for i in 0..self.meetings.len() {
            let meeting = &self.meetings[i];
            let wanted = meeting.count.unwrap_or(self.live);
            if meeting.arrived == 0 || meeting.arrived < wanted {
                continue;
            }
            let mut meeting = std::mem::take(&mut self.meetings[i]);
            let threads: Vec<u32> = meeting
                .waiting
                .iter()
                .flat_map(|(warp, mask)| lanes(*mask).map(|l| *warp as u32 * 32 + l as u32))
                .collect();
            if threads.len() as u32 == self.live && !meeting.some_left {
                self.clocks.meet_all();
            } else {
                self.clocks.meet(&threads, &mut meeting.token);
            }
            let value = |r: BarrierReduction| match r.op {
                None => meeting.holding,
                Some(Logic::And) => u32::from(meeting.holding == threads.len() as u32),
                Some(_) => u32::from(meeting.holding > 0),
            };
            let result = meeting.reduction.map(|r| (r, value(r)));
            for (warp, lanes) in meeting.waiting {
                self.released.push(Released { warp, lanes, result });
            }
        }
    }
}
