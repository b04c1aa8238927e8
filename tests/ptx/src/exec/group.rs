//! `wgmma`: products of a warpgroup, by operands in shared memory that descriptors describe.
//!
//! Each warp of the group computes its own sixteen rows when it issues the instruction. Until it has waited
//! for the group that the product was committed to, its registers may not be touched, and its reads of shared
//! memory come before nobody's writes.

use super::block::Cta;
use super::launch::Cx;
use super::mma::{accumulator, decode, encode, spread};
use super::warp::Warp;
use crate::check::fault::{FaultKind, Trap};
use crate::program::{CONST, Element, GroupLeft, GroupOp, GroupProduct, Reg};
use crate::tensor_map::Swizzle;
use std::collections::VecDeque;

const MODIFIED: u8 = 1;
const IN_FLIGHT: u8 = 2;

/// Products that a warp has issued, and what that means for its registers.
#[derive(Default)]
pub(crate) struct Products {
    /// For each register; none in kernels without products.
    marks: Vec<u8>,
    open: Vec<Issued>,
    /// Committed ones, each with the time up to which it read shared memory.
    groups: VecDeque<(u32, Vec<Issued>)>,
}

/// Registers of a product.
struct Issued {
    d: Vec<Reg>,
    a: Vec<Reg>,
}

impl Products {
    pub(crate) fn new(registers: usize) -> Products {
        Products { marks: vec![MODIFIED; registers], ..Products::default() }
    }

    /// The result of a product that was not waited for.
    #[inline]
    pub(crate) fn holds(&self, reg: Reg) -> bool {
        !self.marks.is_empty() && self.marks[reg as usize] & IN_FLIGHT != 0
    }

    #[inline]
    pub(crate) fn wrote(&mut self, reg: Reg) {
        if !self.marks.is_empty() {
            self.marks[reg as usize] |= MODIFIED;
        }
    }

    pub(crate) fn pending(&self) -> bool {
        !self.open.is_empty() || self.groups.iter().any(|(_, g)| !g.is_empty())
    }

    fn modified(&self, regs: &[Reg]) -> Option<Reg> {
        regs.iter().copied().find(|r| r & CONST == 0 && self.marks[*r as usize] & MODIFIED != 0)
    }

    /// Takes the products out of flight that no later one holds; a register that was written meanwhile.
    fn finish(&mut self, done: &[Issued]) -> Option<Reg> {
        let spoiled = done.iter().find_map(|i| self.modified(&i.d).or(self.modified(&i.a)));
        for reg in done.iter().flat_map(|i| &i.d) {
            self.marks[*reg as usize] &= !IN_FLIGHT;
        }
        for issued in self.open.iter().chain(self.groups.iter().flat_map(|(_, g)| g)) {
            for reg in &issued.d {
                self.marks[*reg as usize] |= IN_FLIGHT;
            }
        }
        spoiled
    }
}

/// How an operand lies in shared memory.
struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    swizzle: Swizzle,
}

impl Descriptor {
    fn new(bits: u64) -> Result<Descriptor, FaultKind> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        let swizzle = match bits >> 62 {
            0 => Swizzle::None,
            1 => Swizzle::Bytes128,
            2 => Swizzle::Bytes64,
            _ => Swizzle::Bytes32,
        };
        if bits >> 49 & 7 != 0 {
            let why = "a descriptor with a base offset is not supported".to_owned();
            return Err(FaultKind::Operand { why });
        }
        Ok(Descriptor { start: field(0), leading: field(16), stride: field(32), swizzle })
    }

    /// Where an element lies: `row` along m or n, `depth` along k; `size` bytes each. The manual's canonical
    /// layouts: rows of eight lines, or of eight steps of k where the operand is transposed.
    fn address(&self, row: u64, depth: u64, size: u64, transposed: bool) -> u64 {
        let (line, along) = if transposed { (depth, row * size) } else { (row, depth * size) };
        let width = self.swizzle.span().unwrap_or(16);
        // Without a swizzle the two offsets of a transposed operand change places.
        let (next_line, next_chunk) = match (transposed, self.swizzle) {
            (true, Swizzle::None) => (self.leading, self.stride),
            _ => (self.stride, self.leading),
        };
        let within = match transposed || self.swizzle == Swizzle::None {
            true => along / width * next_chunk + along % width,
            // The chunks of a line lie side by side; the leading offset is not used.
            false => along,
        };
        self.swizzle.apply(self.start + line / 8 * next_line + line % 8 * width + within)
    }
}

impl Warp {
    pub(super) fn group(&mut self, op: &GroupOp, active: u32, cta: &mut Cta, cx: &Cx) -> Result<(), Trap> {
        if active != u32::MAX || (self.number / 4 + 1) * 128 > cta.threads {
            let kind = FaultKind::Divergence { what: "an instruction of a warpgroup", missing: !active };
            return Err(Trap::new(0, kind));
        }
        match op {
            GroupOp::Fence => self.products.marks.iter_mut().for_each(|m| *m &= !MODIFIED),
            GroupOp::Commit => {
                let open = std::mem::take(&mut self.products.open);
                self.products.groups.push_back((cta.clocks.now(), open));
                cta.clocks.tick();
            }
            GroupOp::Wait(n) => {
                let agent = cta.warp_agent(self.number);
                while self.products.groups.len() > *n as usize {
                    let Some((stamp, done)) = self.products.groups.pop_front() else { break };
                    if let Some(reg) = self.products.finish(&done) {
                        let name = cx.kernel.registers[reg as usize].clone();
                        return Err(Trap::new(0, FaultKind::RegisterInFlight { name }));
                    }
                    for lane in 0..32 {
                        cta.clocks.learn(self.thread(lane), agent, stamp);
                    }
                }
            }
            GroupOp::Multiply(product) => self.issue(product, cta, cx)?,
        }
        Ok(())
    }

    fn issue(&mut self, p: &GroupProduct, cta: &mut Cta, cx: &Cx) -> Result<(), Trap> {
        let left: &[Reg] = match &p.left {
            GroupLeft::Registers(regs) => regs,
            GroupLeft::Descriptor(_) => &[],
        };
        if let Some(reg) = self.products.modified(&p.d_regs).or(self.products.modified(left)) {
            let name = cx.kernel.registers[reg as usize].clone();
            return Err(Trap::new(0, FaultKind::RegisterUnfenced { name }));
        }
        let trap = |kind| Trap::new(0, kind);
        let a = match &p.left {
            GroupLeft::Registers(regs) => spread(16, p.k, p.a, &self.gather(cx, regs)?),
            GroupLeft::Descriptor(reg) => {
                let descriptor = self.descriptor(*reg, cx)?;
                let first = u64::from(self.number % 4 * 16);
                self.operand(&descriptor, (first, 16), (p.k, p.a), p.transposed[0], cta).map_err(trap)?
            }
        };
        let descriptor = self.descriptor(p.right, cx)?;
        let rows = (0, p.n as u64);
        let b = self.operand(&descriptor, rows, (p.k, p.b), p.transposed[1], cta).map_err(trap)?;
        self.accumulate(p, &a, &b, cx)?;
        for reg in &p.d_regs {
            self.products.marks[*reg as usize] = IN_FLIGHT;
        }
        self.products.open.push(Issued { d: p.d_regs.clone(), a: left.to_vec() });
        Ok(())
    }

    fn descriptor(&self, reg: Reg, cx: &Cx) -> Result<Descriptor, Trap> {
        let bits = self.same(cx, u32::MAX, reg, "a descriptor of shared memory")?;
        Descriptor::new(bits).map_err(|kind| Trap::new(0, kind))
    }

    /// Some rows of an operand in shared memory, as numbers.
    fn operand(
        &self,
        d: &Descriptor,
        (first, rows): (u64, u64),
        (k, e): (usize, Element),
        transposed: bool,
        cta: &mut Cta,
    ) -> Result<Vec<f64>, FaultKind> {
        let size = e.bits() as u64 / 8;
        let who = (self.thread(0), cta.warp_agent(self.number));
        let mut out = Vec::with_capacity((rows as usize) * k);
        for row in first..first + rows {
            for depth in 0..k as u64 {
                let at = d.address(row, depth, size, transposed);
                let bytes = cta.shared.read_by_agent(&cta.clocks, who, at, size)?;
                out.push(decode(e, super::access::little(bytes)));
            }
        }
        Ok(out)
    }

    fn accumulate(&mut self, p: &GroupProduct, a: &[f64], b: &[f64], cx: &Cx) -> Result<(), Trap> {
        let adds = self.holds(cx, u32::MAX, p.adds)?;
        if adds != 0 && adds != u32::MAX {
            return Err(Trap::new(0, FaultKind::NotUniform { what: "whether a product is added" }));
        }
        let per = 32 / p.c.bits();
        let sign = p.signs[0] * p.signs[1];
        for (r, reg) in p.d_regs.iter().enumerate() {
            let missing = !self.defined[*reg as usize];
            if adds != 0 && missing != 0 {
                let name = cx.kernel.registers[*reg as usize].clone();
                let lane = missing.trailing_zeros();
                return Err(Trap::new(lane, FaultKind::UninitializedRegister { name }));
            }
            for lane in 0..32 {
                let (held, mut new) = (self.registers[*reg as usize][lane], 0);
                for part in 0..per {
                    let (row, column) = accumulator(lane, r * per + part);
                    let shift = part * p.c.bits();
                    let start = if adds != 0 { decode(p.c, held >> shift) } else { 0.0 };
                    let (x, y) = (&a[row * p.k..][..p.k], &b[column * p.k..][..p.k]);
                    let sum: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    new |= encode(p.c, start + sign * sum, p.saturate) << shift;
                }
                self.registers[*reg as usize][lane] = new;
            }
            self.defined[*reg as usize] = u32::MAX;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(leading: u64, stride: u64, mode: u64) -> Descriptor {
        Descriptor::new(64 | (leading >> 4) << 16 | (stride >> 4) << 32 | mode << 62)
            .expect("it is supported")
    }

    #[test]
    fn core_matrices_lie_where_the_manual_s_layouts_have_them() {
        // Start at 1024. Without a swizzle: core matrices of eight rows of sixteen bytes.
        let plain = descriptor(128, 256, 0);
        assert_eq!(plain.address(0, 0, 2, false), 1024);
        assert_eq!(plain.address(3, 5, 2, false), 1024 + 3 * 16 + 10);
        assert_eq!(plain.address(8, 8, 2, false), 1024 + 256 + 128);
        // Transposed: eight steps of k, each of eight neighbors along m.
        assert_eq!(plain.address(9, 10, 2, true), 1024 + 256 + 128 + 2 * 16 + 2);
        // 128 bytes: lines of 64 halves, the chunk's number changed by the line's.
        let swizzled = descriptor(16, 1024, 1);
        assert_eq!(swizzled.address(0, 9, 2, false), 1024 + 16 + 2);
        assert_eq!(swizzled.address(3, 0, 2, false), 1024 + 3 * 128 + 3 * 16);
        assert_eq!(swizzled.address(13, 8, 2, false), 2048 + 5 * 128 + 4 * 16);
        let transposed = descriptor(8192, 1024, 1);
        assert_eq!(transposed.address(70, 9, 2, true), 1024 + 8192 + 1024 + 128 + 16 + 12);
        let narrow = descriptor(16, 256, 3);
        assert_eq!(narrow.address(5, 0, 2, false), 1024 + 5 * 32 + 16);
        assert!(Descriptor::new(1 << 49).is_err());
    }
}
