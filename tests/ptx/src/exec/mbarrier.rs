//! Mbarriers: phases that end when as many arrivals as were announced have come and all expected bytes are
//! there. Bytes land when a thread asks whether a phase is over, and not before: who reads them without
//! having asked finds them in flight.

use super::block::Cta;
use super::launch::Cx;
use super::step::lanes;
use super::warp::Warp;
use crate::check::clocks::{Clocks, Token};
use crate::check::fault::{Access, FaultKind, Trap};
use crate::check::shared::Shared;
use crate::program::{Address, MbarrierOp};
use crate::types::Space;

/// Most mbarriers of a block: each has an agent, which stands for the copies that it is told of.
pub(crate) const MOST: usize = 64;

type Checked<T> = Result<T, FaultKind>;

/// The mbarriers of a block.
#[derive(Default)]
pub(crate) struct Mbarriers {
    all: Vec<Mbarrier>,
    /// The agent of the first.
    first_agent: u32,
}

struct Mbarrier {
    address: u64,
    /// Arrivals of each phase, and those that are still to come in this one.
    count: u32,
    pending: u32,
    /// Bytes that are still to come.
    expected: i64,
    phase: u64,
    /// What those bring who have arrived in this phase, and in those before it.
    arrived: Token,
    done: Token,
    /// Who made it, and when.
    maker: (u32, u32),
    /// Asynchronous operations can see it.
    fenced: bool,
    landing: Vec<(u64, Vec<u8>)>,
}

fn misuse(why: &str) -> FaultKind {
    FaultKind::Barrier { why: why.to_owned() }
}

impl Mbarrier {
    fn settle(&mut self) {
        if self.pending == 0 && self.expected == 0 {
            self.phase += 1;
            self.pending = self.count;
            self.done.join(&self.arrived);
        }
    }

    fn arrive(&mut self, count: u32) -> Checked<u64> {
        if count == 0 || count > self.pending {
            return Err(misuse("more arrivals than the mbarrier counts"));
        }
        self.pending -= count;
        let phase = self.phase;
        self.settle();
        Ok(phase)
    }
}

impl Mbarriers {
    pub(crate) fn new(first_agent: u32) -> Mbarriers {
        Mbarriers { all: Vec::new(), first_agent }
    }

    /// Copies that nobody has waited for.
    pub(crate) fn landing(&self) -> bool {
        self.all.iter().any(|m| !m.landing.is_empty())
    }

    fn init(&mut self, address: u64, count: u32, maker: (u32, u32)) -> Checked<()> {
        if count == 0 || count >= 1 << 20 {
            return Err(misuse("an mbarrier's count is at least 1 and less than 2^20"));
        }
        let fresh = Mbarrier {
            address,
            count,
            pending: count,
            expected: 0,
            phase: 0,
            arrived: Token::default(),
            done: Token::default(),
            maker,
            fenced: false,
            landing: Vec::new(),
        };
        match self.all.iter().position(|m| m.address == address) {
            Some(known) => self.all[known] = fresh,
            None if self.all.len() == MOST => return Err(misuse("too many mbarriers")),
            None => self.all.push(fresh),
        }
        Ok(())
    }

    /// The mbarrier at an address, with its agent, for a thread that knows of it.
    fn find(&mut self, clocks: &Clocks, thread: u32, address: u64) -> Checked<(&mut Mbarrier, u32)> {
        let found = self.all.iter().position(|m| m.address == address);
        let index = found.ok_or_else(|| misuse("there is no mbarrier at this address"))?;
        let mbarrier = &mut self.all[index];
        let (maker, stamp) = mbarrier.maker;
        if !clocks.ordered(maker, stamp, thread) {
            return Err(FaultKind::Race {
                space: "shared",
                access: Access::Atomic,
                earlier: Access::Write,
                address,
                other: maker,
            });
        }
        Ok((mbarrier, self.first_agent + index as u32))
    }

    /// A fence by the thread that made them: asynchronous operations see its mbarriers.
    pub(crate) fn fence(&mut self, thread: u32) {
        self.all.iter_mut().filter(|m| m.maker.0 == thread).for_each(|m| m.fenced = true);
    }

    /// Bytes are on their way to shared memory; the mbarrier is told when they are there.
    pub(crate) fn expect_landing(
        &mut self,
        clocks: &Clocks,
        thread: u32,
        barrier: u64,
        landing: (u64, Vec<u8>),
    ) -> Checked<()> {
        let (mbarrier, _) = self.find(clocks, thread, barrier)?;
        let (maker, stamp) = mbarrier.maker;
        if !mbarrier.fenced && !clocks.is_fenced(maker, stamp, thread) {
            return Err(FaultKind::Unfenced { what: "the mbarrier of an asynchronous copy" });
        }
        mbarrier.landing.push(landing);
        Ok(())
    }

    /// What is on its way arrives.
    fn land(&mut self, index: usize, clocks: &mut Clocks, shared: &mut Shared) -> Checked<()> {
        let agent = self.first_agent + index as u32;
        let mbarrier = &mut self.all[index];
        let landing = std::mem::take(&mut mbarrier.landing);
        for (to, bytes) in &landing {
            shared.end_copy(clocks, agent, *to, bytes)?;
            mbarrier.expected -= bytes.len() as i64;
        }
        if !landing.is_empty() {
            clocks.release(agent, &mut mbarrier.arrived);
            mbarrier.settle();
        }
        Ok(())
    }
}

impl Warp {
    pub(super) fn mbarrier(
        &mut self,
        address: Address,
        op: &MbarrierOp,
        active: u32,
        cta: &mut Cta,
        cx: &Cx,
    ) -> Result<(), Trap> {
        let at = self.addresses(cx, active, address)?;
        for lane in lanes(active) {
            let trap = |kind| Trap::new(lane as u32, kind);
            let (space, at) = super::access::resolve(address.space, at[lane]);
            if space != Space::Shared {
                return Err(trap(misuse("an mbarrier lies in shared memory")));
            }
            if !at.is_multiple_of(8) {
                return Err(trap(FaultKind::Misaligned { space: "shared", address: at, align: 8 }));
            }
            self.mbarrier_of_lane(op, lane as u32, at, cta, cx)?.map_err(trap)?;
        }
        Ok(())
    }

    fn mbarrier_of_lane(
        &mut self,
        op: &MbarrierOp,
        lane: u32,
        at: u64,
        cta: &mut Cta,
        cx: &Cx,
    ) -> Result<Checked<()>, Trap> {
        let (thread, bit) = (self.thread(lane), 1 << lane);
        let value = |warp: &Warp, reg| warp.get(cx, bit, reg).map(|v| v[lane as usize]);
        let Cta { mbarriers, clocks, shared, .. } = cta;
        match *op {
            MbarrierOp::Init { count } => {
                let count = value(self, count)? as u32;
                let made = shared.make_object(clocks, thread, at, 8);
                Ok(made.and_then(|()| mbarriers.init(at, count, (thread, clocks.now()))))
            }
            MbarrierOp::Invalidate => {
                let found = mbarriers.find(clocks, thread, at).map(|_| ());
                mbarriers.all.iter_mut().filter(|m| m.address == at).for_each(|m| m.address = u64::MAX);
                Ok(found.and_then(|()| shared.end_object(clocks, thread, at, 8)))
            }
            MbarrierOp::Arrive { count, expect, state } => {
                let count = value(self, count)? as u32;
                let bytes = expect.map(|reg| value(self, reg)).transpose()?.unwrap_or(0);
                let arrived = mbarriers.find(clocks, thread, at).and_then(|(m, _)| {
                    m.expected += bytes as i64;
                    let mut token = std::mem::take(&mut m.arrived);
                    // The last one's own accesses come before the end of the phase as well.
                    clocks.release(thread, &mut token);
                    m.arrived = token;
                    m.arrive(count)
                });
                Ok(arrived.map(|phase| self.put(state, bit, &[phase; 32])))
            }
            MbarrierOp::Expect { bytes } => {
                let bytes = value(self, bytes)? as i64;
                Ok(mbarriers.find(clocks, thread, at).map(|(m, _)| m.expected += bytes))
            }
            MbarrierOp::Test { p, phase, by_parity } => {
                let phase = value(self, phase)?;
                let tested = mbarriers.test(clocks, shared, (thread, at), phase, by_parity);
                Ok(tested.map(|over| self.put_predicate(p, bit, if over { u32::MAX } else { 0 })))
            }
        }
    }
}

impl Mbarriers {
    /// Whether a phase is over; then the thread comes after all who arrived in it.
    fn test(
        &mut self,
        clocks: &mut Clocks,
        shared: &mut Shared,
        (thread, at): (u32, u64),
        phase: u64,
        by_parity: bool,
    ) -> Checked<bool> {
        if by_parity && phase > 1 {
            return Err(misuse("a parity is 0 or 1"));
        }
        let agent = self.find(clocks, thread, at)?.1;
        self.land((agent - self.first_agent) as usize, clocks, shared)?;
        let (mbarrier, _) = self.find(clocks, thread, at)?;
        let over = if by_parity { mbarrier.phase & 1 != phase } else { mbarrier.phase > phase };
        if over {
            clocks.acquire(thread, &mbarrier.done);
        }
        Ok(over)
    }
}
