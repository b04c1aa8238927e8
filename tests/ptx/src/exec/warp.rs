//! A warp: registers of its lanes, where each lane is, and which lanes run next.
//!
//! Each lane has its own program counter. Those at the lowest one run until they branch apart or meet
//! others, which brings diverged lanes of structured code together again. Now and then others have their
//! turn, so that lanes that spin do not keep away the ones that they wait for.

use super::barrier::Released;
use super::block::{Cta, thread_index};
use super::bulk::Stores;
use super::copy::Copies;
use super::group::Products;
use super::launch::Cx;
use crate::check::fault::{FaultKind, Trap, first_lane};
use crate::program::{CONST, Lanes, NONE, Predicate, Reg, Special};

pub(crate) struct Warp {
    pub(crate) number: u32,
    pub(crate) registers: Vec<Lanes>,
    /// For each register the lanes that have written it.
    pub(crate) defined: Vec<u32>,
    pub(crate) predicates: Vec<u32>,
    pub(crate) predicates_defined: Vec<u32>,
    pub(crate) pc: [u32; 32],
    pub(crate) alive: u32,
    /// Lanes at a barrier of the block; their counter is already behind it.
    pub(crate) at_barrier: u32,
    /// Lanes at an instruction that waits for others of the warp.
    pub(crate) at_sync: u32,
    pub(crate) local: Vec<u8>,
    pub(crate) local_written: Vec<bool>,
    /// For each lane the calls that it is in.
    pub(crate) calls: Vec<Vec<u32>>,
    pub(crate) copies: Vec<Copies>,
    pub(crate) stores: Vec<Stores>,
    pub(crate) products: Products,
    picks: u32,
    rng: u64,
}

/// What an instruction did to the flow of those who ran it.
pub(crate) enum Flow {
    Next,
    /// Counters are set.
    Jumped,
    /// These lanes run the instruction again later; the others go on.
    Wait(u32),
    /// All go on, but some have ended or wait at a barrier behind the instruction.
    Left,
}

/// How often lanes that are not at the lowest counter are picked: once in so many times.
const FAIR: u32 = 16;

impl Warp {
    pub(crate) fn new(cx: &Cx, index: [u32; 3], number: u32, threads: u32) -> Warp {
        let lanes = (threads - number * 32).min(32);
        let alive = if lanes == 32 { u32::MAX } else { (1 << lanes) - 1 };
        let n = cx.kernel.registers.len();
        let local = cx.kernel.local_bytes as usize * 32;
        let mut warp = Warp {
            number,
            registers: vec![[0; 32]; n],
            defined: vec![0; n],
            predicates: vec![0; cx.kernel.predicates.len()],
            predicates_defined: vec![0; cx.kernel.predicates.len()],
            pc: [0; 32],
            alive,
            at_barrier: 0,
            at_sync: 0,
            local: vec![0; local],
            local_written: vec![false; local],
            calls: vec![Vec::new(); 32],
            copies: (0..32).map(|_| Copies::default()).collect(),
            stores: (0..32).map(|_| Stores::default()).collect(),
            products: Products::new(if cx.kernel.has_groups { n } else { 0 }),
            picks: 0,
            rng: cx.options.seed ^ (u64::from(number) << 32),
        };
        for &(special, reg) in &cx.kernel.specials {
            warp.registers[reg as usize] = std::array::from_fn(|lane| {
                u64::from(special_value(cx, index, special, number, lane as u32, threads))
            });
            warp.defined[reg as usize] = u32::MAX;
        }
        warp
    }

    /// The number in the block of a lane's thread.
    pub(crate) fn thread(&self, lane: u32) -> u32 {
        self.number * 32 + lane
    }

    pub(crate) fn runnable(&self) -> u32 {
        self.alive & !self.at_barrier & !self.at_sync
    }

    /// The lanes that run next, where they are, and where they would meet others.
    fn pick(&mut self, seed: u64) -> Option<(u32, u32, u32)> {
        let runnable = self.runnable();
        if runnable == 0 {
            return None;
        }
        let lanes = |mask: u32| (0..32).filter(move |l| mask >> l & 1 == 1);
        let mut pc = lanes(runnable).map(|l| self.pc[l]).min()?;
        self.picks += 1;
        if self.picks.is_multiple_of(FAIR) || seed != 0 && self.random().is_multiple_of(4) {
            let nth = self.random() % runnable.count_ones();
            pc = lanes(runnable).nth(nth as usize).map_or(pc, |l| self.pc[l]);
        }
        // Lanes that wait for others at the same instruction try again with them.
        let here = lanes(self.alive & !self.at_barrier).filter(|l| self.pc[*l] == pc);
        let mask = here.fold(0, |mask, l| mask | 1 << l);
        self.at_sync &= !mask;
        let others = lanes(self.alive & !self.at_barrier & !mask).map(|l| self.pc[l]);
        let joint = others.filter(|other| *other > pc).min().unwrap_or(u32::MAX);
        Some((pc, mask, joint))
    }

    fn random(&mut self) -> u32 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.rng >> 33) as u32
    }

    /// Runs some instructions; a fault comes with the address of its instruction.
    pub(crate) fn run(&mut self, cta: &mut Cta, cx: &mut Cx, slice: u32) -> Result<(), (u32, Trap)> {
        let mut left = slice;
        while left > 0 {
            let Some((from, mask, joint)) = self.pick(cx.options.seed) else { return Ok(()) };
            let mut pc = from;
            loop {
                left = left.saturating_sub(1);
                match self.one(pc, mask, cta, cx).map_err(|trap| (pc, trap))? {
                    Flow::Next => {
                        pc += 1;
                        if pc == joint || left == 0 {
                            self.set_pc(mask, pc);
                            break;
                        }
                    }
                    Flow::Jumped => break,
                    Flow::Wait(waiting) => {
                        self.at_sync |= waiting;
                        self.set_pc(waiting, pc);
                        self.set_pc(mask & !waiting, pc + 1);
                        break;
                    }
                    Flow::Left => {
                        self.set_pc(mask, pc + 1);
                        break;
                    }
                }
            }
            if cx.spent > cx.options.limit {
                let limit = cx.options.limit;
                return Err((pc, Trap::new(first_lane(mask), FaultKind::Limit { limit })));
            }
        }
        Ok(())
    }

    fn one(&mut self, pc: u32, mask: u32, cta: &mut Cta, cx: &mut Cx) -> Result<Flow, Trap> {
        let kernel = cx.kernel;
        let inst = &kernel.code[pc as usize];
        let active = match inst.guard {
            Some(guard) => mask & self.holds(cx, mask, guard)?,
            None => mask,
        };
        cx.spent += u64::from(mask.count_ones());
        if active == 0 { Ok(Flow::Next) } else { self.step(&inst.op, pc, mask, active, cta, cx) }
    }

    pub(crate) fn set_pc(&mut self, mask: u32, pc: u32) {
        for (lane, at) in self.pc.iter_mut().enumerate() {
            if mask >> lane & 1 == 1 {
                *at = pc;
            }
        }
    }

    /// A barrier lets lanes go.
    pub(crate) fn release(&mut self, released: &Released) {
        self.at_barrier &= !released.lanes;
        if let Some((reduction, value)) = released.result {
            match reduction.op {
                None => self.put(reduction.d, released.lanes, &[u64::from(value); 32]),
                Some(_) => {
                    let mask = if value != 0 { released.lanes } else { 0 };
                    self.put_predicate(reduction.d, released.lanes, mask);
                }
            }
        }
    }

    /// The values of an operand, which must be there for these lanes.
    #[inline]
    pub(crate) fn get<'v>(&'v self, cx: &'v Cx, active: u32, reg: Reg) -> Result<&'v Lanes, Trap> {
        if reg & CONST != 0 {
            return Ok(&cx.constants[(reg & !CONST) as usize]);
        }
        let missing = active & !self.defined[reg as usize];
        if missing != 0 {
            let name = cx.kernel.registers[reg as usize].clone();
            return Err(Trap::new(first_lane(missing), FaultKind::UninitializedRegister { name }));
        }
        if self.products.holds(reg) {
            let name = cx.kernel.registers[reg as usize].clone();
            return Err(Trap::new(first_lane(active), FaultKind::RegisterInFlight { name }));
        }
        Ok(&self.registers[reg as usize])
    }

    #[inline]
    pub(crate) fn put(&mut self, reg: Reg, active: u32, values: &Lanes) {
        if reg == NONE {
            return;
        }
        let to = &mut self.registers[reg as usize];
        if active == u32::MAX {
            *to = *values;
        } else {
            for lane in 0..32 {
                if active >> lane & 1 == 1 {
                    to[lane] = values[lane];
                }
            }
        }
        self.defined[reg as usize] |= active;
        self.products.wrote(reg);
    }

    /// The lanes for which a predicate holds, which must be there for these lanes.
    pub(crate) fn holds(&self, cx: &Cx, active: u32, p: Predicate) -> Result<u32, Trap> {
        let missing = active & !self.predicates_defined[p.index as usize];
        if missing != 0 {
            let name = cx.kernel.predicates[p.index as usize].clone();
            return Err(Trap::new(first_lane(missing), FaultKind::UninitializedRegister { name }));
        }
        let mask = self.predicates[p.index as usize];
        Ok(if p.negated { !mask } else { mask })
    }

    pub(crate) fn put_predicate(&mut self, p: u32, active: u32, mask: u32) {
        if p == NONE {
            return;
        }
        let to = &mut self.predicates[p as usize];
        *to = *to & !active | mask & active;
        self.predicates_defined[p as usize] |= active;
    }
}

fn special_value(cx: &Cx, index: [u32; 3], s: Special, warp: u32, lane: u32, threads: u32) -> u32 {
    let bit = 1u32 << lane;
    let fixed = cx.kernel.shared_bytes.max(cx.kernel.dynamic_at) as u32;
    match s {
        Special::Tid(axis) => thread_index(cx.block, warp * 32 + lane)[axis],
        Special::Ntid(axis) => cx.block[axis],
        Special::Ctaid(axis) => index[axis],
        Special::Nctaid(axis) => cx.grid[axis],
        Special::Lane => lane,
        Special::Warp => warp,
        Special::Warps => threads.div_ceil(32),
        Special::LanesEqual => bit,
        Special::LanesLess => bit - 1,
        Special::LanesLessEqual => bit | (bit - 1),
        Special::LanesGreater => !(bit | (bit - 1)),
        Special::LanesGreaterEqual => !(bit - 1),
        Special::DynamicShared => cx.dynamic_shared,
        Special::TotalShared => fixed + cx.dynamic_shared,
        Special::Zero => 0,
        Special::One => 1,
    }
}
