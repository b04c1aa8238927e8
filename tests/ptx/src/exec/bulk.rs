//! Bulk copies: of bytes, and of boxes of tensors by maps.

use super::access::resolve;
use super::block::Cta;
use super::launch::Cx;
use super::step::lanes;
use super::warp::Warp;
use crate::check::fault::{FaultKind, Trap};
use crate::program::{Address, BulkOp, BulkSource};
use crate::tensor_map::{BYTES, TensorMap};
use crate::types::Space;
use std::collections::VecDeque;

/// Stores of a thread that may still read shared memory: whether there are some in no group yet, and up to
/// which time the groups have read.
#[derive(Default)]
pub(crate) struct Stores {
    open: bool,
    groups: VecDeque<Option<u32>>,
}

impl Stores {
    pub(crate) fn pending(&self) -> bool {
        self.open || self.groups.iter().any(Option::is_some)
    }
}

type Checked<T> = Result<T, FaultKind>;

fn wrong<T>(why: &str) -> Checked<T> {
    Err(FaultKind::Operand { why: why.to_owned() })
}

/// The pieces of a copy in the order of shared memory: an address, or nothing outside of a tensor, and
/// bytes; and where a byte of shared memory goes.
struct Plan {
    pieces: Vec<(Option<u64>, u64)>,
    bytes: u64,
    map: Option<TensorMap>,
}

impl Plan {
    /// Where in the copy the byte lies that the plan has at `at`; the copy begins at `base`.
    fn place(&self, base: u64, at: u64) -> usize {
        let moved = self.map.as_ref().map_or(base + at, |m| m.swizzle.apply(base + at));
        (moved - base) as usize
    }
}

impl Warp {
    pub(super) fn bulk(&mut self, op: &BulkOp, active: u32, cta: &mut Cta, cx: &mut Cx) -> Result<(), Trap> {
        for lane in lanes(active) {
            let trap = |kind| Trap::new(lane as u32, kind);
            match op {
                BulkOp::Load { to, from, barrier } => {
                    let plan = self.plan(from, lane, cta, cx)?.map_err(trap)?;
                    let places = [*to, *barrier].map(|a| self.shared_place(cx, lane, a));
                    let [to, barrier] = places;
                    self.bulk_load(&plan, lane, (to?, barrier?), cta, cx).map_err(trap)?;
                }
                BulkOp::Store { from, to } => {
                    let plan = self.plan(to, lane, cta, cx)?.map_err(trap)?;
                    let from = self.shared_place(cx, lane, *from)?;
                    self.bulk_store(&plan, lane, from, cta, cx).map_err(trap)?;
                }
                BulkOp::Commit => {
                    let stamp = std::mem::take(&mut self.stores[lane].open).then(|| cta.clocks.now());
                    cta.clocks.tick();
                    self.stores[lane].groups.push_back(stamp);
                }
                BulkOp::Wait(n) => {
                    let agent = cta.warp_agent(self.number);
                    while self.stores[lane].groups.len() > *n as usize {
                        if let Some(Some(stamp)) = self.stores[lane].groups.pop_front() {
                            cta.clocks.learn(self.thread(lane as u32), agent, stamp);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn of_lane(&self, cx: &Cx, lane: usize, address: Address) -> Result<(Space, u64), Trap> {
        let at = self.addresses(cx, 1 << lane, address)?[lane];
        Ok(resolve(address.space, at))
    }

    fn shared_place(&self, cx: &Cx, lane: usize, address: Address) -> Result<u64, Trap> {
        match self.of_lane(cx, lane, address)? {
            (Space::Shared, at) => Ok(at),
            _ => {
                let why = "an address of shared memory is needed".to_owned();
                Err(Trap::new(lane as u32, FaultKind::Operand { why }))
            }
        }
    }

    fn plan(
        &self,
        source: &BulkSource,
        lane: usize,
        cta: &mut Cta,
        cx: &mut Cx,
    ) -> Result<Checked<Plan>, Trap> {
        match source {
            BulkSource::Bytes { address, len } => {
                let (_, at) = self.of_lane(cx, lane, *address)?;
                let bytes = self.get(cx, 1 << lane, *len)?[lane];
                if !at.is_multiple_of(16) || !bytes.is_multiple_of(16) {
                    return Ok(Err(FaultKind::Misaligned { space: "global", address: at, align: 16 }));
                }
                Ok(Ok(Plan { pieces: vec![(Some(at), bytes)], bytes, map: None }))
            }
            BulkSource::Box { map, coordinates } => {
                let mut object = [0; BYTES];
                let (space, at) = self.of_lane(cx, lane, *map)?;
                let mut at_lane = Vec::new();
                for reg in coordinates {
                    at_lane.push(i64::from(self.get(cx, 1 << lane, *reg)?[lane] as u32 as i32));
                }
                if !at.is_multiple_of(64) {
                    return Ok(Err(FaultKind::Misaligned { space: "global", address: at, align: 64 }));
                }
                for (i, part) in object.chunks_exact_mut(16).enumerate() {
                    let place = (space, at + 16 * i as u64);
                    if let Err(kind) = self.fetch(cta, cx, lane as u32, place, part) {
                        return Ok(Err(kind));
                    }
                }
                let Some(map) = TensorMap::decode(&object).filter(|m| m.sizes.len() == at_lane.len()) else {
                    return Ok(wrong("this is no tensor map of that rank"));
                };
                let size = u64::from(map.element_bytes);
                let pieces = map.elements(&at_lane).map(|address| (address, size)).collect();
                Ok(Ok(Plan { pieces, bytes: map.box_bytes(), map: Some(map) }))
            }
        }
    }

    fn bulk_load(
        &mut self,
        plan: &Plan,
        lane: usize,
        (to, barrier): (u64, u64),
        cta: &mut Cta,
        cx: &mut Cx,
    ) -> Checked<()> {
        let align = if plan.map.is_some() { 128 } else { 16 };
        if !to.is_multiple_of(align) {
            return Err(FaultKind::Misaligned { space: "shared", address: to, align });
        }
        let thread = self.thread(lane as u32);
        let (mut image, mut at) = (vec![0; plan.bytes as usize], 0);
        for (address, len) in &plan.pieces {
            if let Some(address) = address {
                let bytes = cx.memory.load(&cta.who(thread), *address, *len)?;
                let place = plan.place(to, at);
                image[place..place + bytes.len()].copy_from_slice(bytes);
            }
            at += len;
        }
        cta.shared.begin_bulk(&cta.clocks, thread, to, plan.bytes)?;
        cta.mbarriers.expect_landing(&cta.clocks, thread, barrier, (to, image))
    }

    fn bulk_store(&mut self, plan: &Plan, lane: usize, from: u64, cta: &mut Cta, cx: &mut Cx) -> Checked<()> {
        let align = if plan.map.is_some() { 128 } else { 16 };
        if !from.is_multiple_of(align) {
            return Err(FaultKind::Misaligned { space: "shared", address: from, align });
        }
        let (thread, agent) = (self.thread(lane as u32), cta.warp_agent(self.number));
        let held = cta.shared.read_by_agent(&cta.clocks, (thread, agent), from, plan.bytes)?.to_vec();
        let mut at = 0;
        for (address, len) in &plan.pieces {
            if let Some(address) = address {
                let place = plan.place(from, at);
                let bytes = &held[place..place + *len as usize];
                cx.memory.store(&cta.who(thread), *address, bytes)?;
            }
            at += len;
        }
        self.stores[lane].open = true;
        Ok(())
    }
}
