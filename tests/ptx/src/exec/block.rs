//! A block: its warps and what they share. Warps run in turns; when none can go on, it is a deadlock.

use super::barrier::{Meeting, Released};
use super::launch::Cx;
use super::mbarrier::{self, Mbarriers};
use super::warp::Warp;
use crate::check::clocks::Clocks;
use crate::check::fault::{Fault, FaultKind, Trap, first_lane};
use crate::check::global::Who;
use crate::check::shared::Shared;

/// What the threads of a block share.
pub(crate) struct Cta {
    pub(crate) number: u32,
    pub(crate) shared: Shared,
    pub(crate) clocks: Clocks,
    pub(crate) meetings: Vec<Meeting>,
    pub(crate) released: Vec<Released>,
    pub(crate) mbarriers: Mbarriers,
    /// Threads that have not ended.
    pub(crate) live: u32,
    pub(crate) threads: u32,
}

impl Cta {
    /// The agent of a warp: what it does asynchronously. Those of mbarriers come before.
    pub(crate) fn warp_agent(&self, warp: u32) -> u32 {
        self.threads.next_multiple_of(32) + mbarrier::MOST as u32 + warp
    }

    /// One of its threads, as global memory knows it.
    pub(crate) fn who(&self, thread: u32) -> Who<'_> {
        Who { block: self.number, thread, clocks: &self.clocks }
    }
}

pub(crate) struct Block {
    index: [u32; 3],
    warps: Vec<Warp>,
    cta: Cta,
    rng: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Finished,
    Unfinished,
}

/// Instructions of a warp before the next one has its turn.
const SLICE: u32 = 512;
/// Turns of all warps before another block may run.
const TURNS: u32 = 4096;

impl Block {
    pub(crate) fn new(cx: &Cx, number: u32) -> Block {
        let [x, y, _] = cx.grid;
        let index = [number % x, number / x % y, number / x / y];
        let threads: u32 = cx.block.iter().product();
        let fixed = cx.kernel.shared_bytes.max(cx.kernel.dynamic_at);
        let bytes = fixed as usize + cx.dynamic_shared as usize;
        // Agents, if there are some: of mbarriers, then of warps.
        let first_agent = threads.next_multiple_of(32);
        let agents = mbarrier::MOST + threads.div_ceil(32) as usize;
        let actors = if cx.kernel.has_agents { first_agent as usize + agents } else { threads as usize };
        let cta = Cta {
            number,
            shared: Shared::new(bytes, cx.kernel.granule, first_agent),
            clocks: Clocks::new(actors),
            mbarriers: Mbarriers::new(first_agent),
            meetings: (0..16).map(|_| Meeting::default()).collect(),
            released: Vec::new(),
            live: threads,
            threads,
        };
        let warps = (0..threads.div_ceil(32)).map(|w| Warp::new(cx, index, w, threads)).collect();
        let rng = cx.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number);
        Block { index, warps, cta, rng }
    }

    /// Runs until all threads have ended or others should have a turn.
    pub(crate) fn run(&mut self, cx: &mut Cx) -> Result<Progress, Fault> {
        for _ in 0..TURNS {
            let first = self.next_random(cx) % self.warps.len();
            let mut moved = false;
            for i in 0..self.warps.len() {
                let number = (first + i) % self.warps.len();
                moved |= self.turn(cx, number)?;
            }
            if self.warps.iter().all(|w| w.alive == 0) {
                return Ok(Progress::Finished);
            }
            if !moved {
                return Err(self.stuck(cx));
            }
        }
        Ok(Progress::Unfinished)
    }

    fn turn(&mut self, cx: &mut Cx, number: usize) -> Result<bool, Fault> {
        let warp = &mut self.warps[number];
        if warp.runnable() == 0 {
            return Ok(false);
        }
        let ran = warp.run(&mut self.cta, cx, SLICE);
        ran.map_err(|(pc, trap)| fault(cx, self.index, number as u32, pc, trap))?;
        for released in self.cta.released.drain(..) {
            self.warps[released.warp].release(&released);
        }
        Ok(true)
    }

    fn next_random(&mut self, cx: &Cx) -> usize {
        if cx.options.seed == 0 {
            return 0;
        }
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.rng >> 33) as usize
    }

    /// Why nothing goes on: a warp waits for lanes that wait elsewhere, or barriers wait for threads.
    fn stuck(&self, cx: &Cx) -> Fault {
        let waiting = self.warps.iter().enumerate();
        if let Some((number, warp)) = waiting.clone().find(|(_, w)| w.at_sync != 0) {
            let lane = first_lane(warp.at_sync);
            let pc = warp.pc[lane as usize];
            let missing = warp.alive & !warp.at_sync;
            let kind = FaultKind::Divergence { what: "an instruction of a whole warp", missing };
            return fault(cx, self.index, number as u32, pc, Trap::new(lane, kind));
        }
        let mut waiting = waiting;
        let found = waiting.find(|(_, w)| w.alive != 0);
        let (number, warp) = found.expect("a thread is alive, or the block would be finished");
        let lane = first_lane(warp.alive);
        let mut lines: Vec<u32> = Vec::new();
        for warp in &self.warps {
            let lanes = (0..32).filter(|l| warp.alive >> l & 1 == 1);
            lines.extend(lanes.map(|l| cx.kernel.code[warp.pc[l] as usize - 1].line));
        }
        lines.sort_unstable();
        lines.dedup();
        let kind = FaultKind::Deadlock { waiting: format!("threads wait at barriers in lines {lines:?}") };
        fault(cx, self.index, number as u32, warp.pc[lane as usize] - 1, Trap::new(lane, kind))
    }
}

fn fault(cx: &Cx, block: [u32; 3], warp: u32, pc: u32, trap: Trap) -> Fault {
    let thread = thread_index(cx.block, warp * 32 + trap.lane);
    let line = cx.kernel.code[pc as usize].line;
    Fault { kernel: cx.kernel.name.clone(), line, block, thread, kind: *trap.kind }
}

/// A thread's index in its block from its number.
pub(crate) fn thread_index(block: [u32; 3], number: u32) -> [u32; 3] {
    [number % block[0], number / block[0] % block[1], number / block[0] / block[1]]
}
