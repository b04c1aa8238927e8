//! Loads, stores and atomic operations of lanes, in whichever space an address lies.

use super::block::Cta;
use super::int::{cut, sign_extend};
use super::launch::Cx;
use super::step::lanes;
use super::warp::Warp;
use crate::check::banks::conflicts;
use crate::check::fault::{FaultKind, Trap, space_name};
use crate::program::{Address, Atomic, AtomicOp, NONE, Op};
use crate::types::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, Space, Type};
use half::{bf16, f16};

/// Most bytes of one access.
const MOST: usize = 16;

/// The space of an address and the address in it.
pub(crate) fn resolve(space: Space, address: u64) -> (Space, u64) {
    match space {
        Space::Generic if address >= PARAM_WINDOW => (Space::Param, address - PARAM_WINDOW),
        Space::Generic if address >= LOCAL_WINDOW => (Space::Local, address - LOCAL_WINDOW),
        Space::Generic if address >= SHARED_WINDOW => (Space::Shared, address - SHARED_WINDOW),
        Space::Generic | Space::Const => (Space::Global, address),
        _ => (space, address),
    }
}

fn aligned(space: Space, address: u64, align: u64) -> Result<(), FaultKind> {
    if address.is_multiple_of(align) {
        return Ok(());
    }
    Err(FaultKind::Misaligned { space: space_name(space), address, align })
}

impl Warp {
    /// The addresses of lanes, each in the space that the instruction names.
    pub(crate) fn addresses(&self, cx: &Cx, active: u32, address: Address) -> Result<[u64; 32], Trap> {
        let base = self.get(cx, active, address.base)?;
        Ok(base.map(|b| b.wrapping_add(address.offset as u64)))
    }

    /// Bytes of a lane's read after its check.
    pub(super) fn fetch(
        &self,
        cta: &mut Cta,
        cx: &mut Cx,
        lane: u32,
        (space, at): (Space, u64),
        into: &mut [u8],
    ) -> Result<(), FaultKind> {
        let len = into.len() as u64;
        aligned(space, at, len)?;
        into.copy_from_slice(match space {
            Space::Shared => cta.shared.read(&cta.clocks, self.thread(lane), at, len)?,
            Space::Local => {
                let from = self.local_range(cx, lane, at, len)?;
                if let Some(i) = self.local_written[from.clone()].iter().position(|w| !w) {
                    let address = at + i as u64;
                    return Err(FaultKind::UninitializedMemory { space: "local", address });
                }
                &self.local[from]
            }
            Space::Param => {
                let range = at as usize..at.saturating_add(len) as usize;
                cx.params.get(range).ok_or(out_of_bounds(space, at, len))?
            }
            _ => cx.memory.load(&cta.who(self.thread(lane)), at, len)?,
        });
        Ok(())
    }

    fn local_range(
        &self,
        cx: &Cx,
        lane: u32,
        at: u64,
        len: u64,
    ) -> Result<std::ops::Range<usize>, FaultKind> {
        let size = cx.kernel.local_bytes;
        if at.checked_add(len).is_none_or(|end| end > size) {
            return Err(out_of_bounds(Space::Local, at, len));
        }
        let start = (u64::from(lane) * size + at) as usize;
        Ok(start..start + len as usize)
    }

    pub(super) fn load(&mut self, op: &Op, active: u32, cta: &mut Cta, cx: &mut Cx) -> Result<(), Trap> {
        let Op::Load { address, n, bytes, signed, bits, d } = op else { return Ok(()) };
        let at = self.addresses(cx, active, *address)?;
        let (size, total) = (*bytes as usize, *bytes as usize * n);
        cx.count_conflicts(total as u64, address.space, lanes(active).map(|l| (l, at[l])));
        for lane in lanes(active) {
            let mut buffer = [0; MOST];
            let place = resolve(address.space, at[lane]);
            self.fetch(cta, cx, lane as u32, place, &mut buffer[..total])
                .map_err(|kind| Trap::new(lane as u32, kind))?;
            for (part, d) in buffer.chunks_exact(size).zip(&d[..*n]).filter(|(_, d)| **d != NONE) {
                let value = little(part);
                let wide = if *signed { cut(*bits, sign_extend(bytes * 8, value) as u64) } else { value };
                self.registers[*d as usize][lane] = wide;
            }
        }
        for d in d[..*n].iter().filter(|d| **d != NONE) {
            self.defined[*d as usize] |= active;
            self.products.wrote(*d);
        }
        Ok(())
    }

    pub(super) fn store(&mut self, op: &Op, active: u32, cta: &mut Cta, cx: &mut Cx) -> Result<(), Trap> {
        let Op::Store { address, n, bytes, s } = op else { return Ok(()) };
        let at = self.addresses(cx, active, *address)?;
        let size = *bytes as usize;
        for s in &s[..*n] {
            self.get(cx, active, *s)?;
        }
        cx.count_conflicts((size * n) as u64, address.space, lanes(active).map(|l| (l, at[l])));
        for lane in lanes(active) {
            let mut buffer = [0; MOST];
            for (part, s) in buffer.chunks_exact_mut(size).zip(&s[..*n]) {
                let value = self.get(cx, 0, *s)?[lane];
                part.copy_from_slice(&value.to_le_bytes()[..size]);
            }
            let place = resolve(address.space, at[lane]);
            self.put_bytes(cta, cx, lane as u32, place, &buffer[..size * n])
                .map_err(|kind| Trap::new(lane as u32, kind))?;
        }
        Ok(())
    }

    fn put_bytes(
        &mut self,
        cta: &mut Cta,
        cx: &mut Cx,
        lane: u32,
        (space, at): (Space, u64),
        from: &[u8],
    ) -> Result<(), FaultKind> {
        let len = from.len() as u64;
        aligned(space, at, len)?;
        match space {
            Space::Shared => cta.shared.write(&cta.clocks, self.thread(lane), at, from)?,
            Space::Local => {
                let to = self.local_range(cx, lane, at, len)?;
                self.local[to.clone()].copy_from_slice(from);
                self.local_written[to].fill(true);
            }
            Space::Param => return Err(out_of_bounds(space, at, len)),
            _ => cx.memory.store(&cta.who(self.thread(lane)), at, from)?,
        }
        Ok(())
    }

    pub(super) fn atomic(
        &mut self,
        op: &Atomic,
        active: u32,
        cta: &mut Cta,
        cx: &mut Cx,
    ) -> Result<(), Trap> {
        let at = self.addresses(cx, active, op.address)?;
        let (b, c) = (*self.get(cx, active, op.b)?, *self.get(cx, active, op.c)?);
        let len = u64::from(op.ty.bytes());
        let mut old = [0; 32];
        for lane in lanes(active) {
            let (space, at) = resolve(op.address.space, at[lane]);
            let trap = |kind| Trap::new(lane as u32, kind);
            aligned(space, at, len).map_err(trap)?;
            let bytes = match space {
                Space::Shared => cta.shared.atomic(&cta.clocks, self.thread(lane as u32), at, len),
                Space::Global => cx.memory.atomic(at, len),
                _ => Err(out_of_bounds(space, at, len)),
            };
            let bytes = bytes.map_err(trap)?;
            old[lane] = little(bytes);
            let new = combine(op.op, op.ty, old[lane], b[lane], c[lane]);
            bytes.copy_from_slice(&new.to_le_bytes()[..len as usize]);
        }
        self.put(op.d, active, &old);
        Ok(())
    }
}

impl Cx<'_> {
    /// Counts how often lanes wait for each other in an access of so many bytes each.
    pub(super) fn count_conflicts(
        &mut self,
        bytes: u64,
        space: Space,
        at: impl Iterator<Item = (usize, u64)>,
    ) {
        let mut addresses = [None; 32];
        for (lane, at) in at {
            addresses[lane] = Some(resolve(space, at)).filter(|p| p.0 == Space::Shared).map(|p| p.1);
        }
        self.conflicts += conflicts(bytes, &addresses);
    }
}

fn out_of_bounds(space: Space, address: u64, bytes: u64) -> FaultKind {
    FaultKind::OutOfBounds { space: space_name(space), address, bytes }
}

/// The number that bytes spell.
pub(crate) fn little(bytes: &[u8]) -> u64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

/// What an atomic operation leaves in memory.
pub(crate) fn combine(op: AtomicOp, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    let bits = ty.bits();
    let less = |x: u64, y: u64| match ty.is_signed() {
        true => sign_extend(bits, x) < sign_extend(bits, y),
        false => x < y,
    };
    match op {
        AtomicOp::Add => add(ty, old, b),
        AtomicOp::Min => {
            if less(b, old) {
                b
            } else {
                old
            }
        }
        AtomicOp::Max => {
            if less(old, b) {
                b
            } else {
                old
            }
        }
        AtomicOp::Exchange => b,
        AtomicOp::CompareSwap => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomicOp::And => old & b,
        AtomicOp::Or => old | b,
        AtomicOp::Xor => old ^ b,
        AtomicOp::Increment => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Decrement => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}

fn add(ty: Type, old: u64, b: u64) -> u64 {
    let half = |x: u64, y: u64| {
        u64::from(
            f16::from_f32(f16::from_bits(x as u16).to_f32() + f16::from_bits(y as u16).to_f32()).to_bits(),
        )
    };
    let brain = |x: u64, y: u64| {
        let sum = bf16::from_bits(x as u16).to_f32() + bf16::from_bits(y as u16).to_f32();
        u64::from(bf16::from_f32(sum).to_bits())
    };
    match ty {
        Type::F32 => u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits()),
        Type::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Type::F16 => half(old, b),
        Type::F16x2 => half(old, b) | half(old >> 16, b >> 16) << 16,
        Type::Bf16 => brain(old, b),
        Type::Bf16x2 => brain(old, b) | brain(old >> 16, b >> 16) << 16,
        _ => cut(ty.bits(), old.wrapping_add(b)),
    }
}
