//! What lanes of a warp do together. The lanes that an instruction names must all be at it; who comes first
//! waits for the others.

use super::access::{combine, little, resolve};
use super::block::Cta;
use super::launch::Cx;
use super::step::{given, lanes};
use super::warp::{Flow, Warp};
use crate::check::clocks::Token;
use crate::check::fault::{FaultKind, Trap, first_lane};
use crate::program::{AtomicOp, Collective, NONE, Reg, Shuffle, ShuffleMode, VoteMode};
use crate::types::{Space, Type};

type Done = Result<(), Trap>;

impl Warp {
    pub(super) fn collective(
        &mut self,
        op: &Collective,
        members: Reg,
        active: u32,
        cta: &mut Cta,
        cx: &mut Cx,
    ) -> Result<Flow, Trap> {
        let masks = *self.get(cx, active, members)?;
        let whole = matches!(
            op,
            Collective::LoadMatrix { .. } | Collective::StoreMatrix { .. } | Collective::MultiplyAdd(_)
        );
        let (mut left, mut waiting) = (active, 0);
        while left != 0 {
            let lane = first_lane(left);
            let mask = masks[lane as usize] as u32;
            let group = lanes(left).filter(|l| masks[*l] as u32 == mask).fold(0, |all, l| all | 1 << l);
            left &= !group;
            let stranger = group & !mask;
            if stranger != 0 {
                return Err(Trap::new(first_lane(stranger), FaultKind::NotMember { mask }));
            }
            if whole && mask & !self.alive != 0 {
                let missing = mask & !self.alive;
                return Err(Trap::new(lane, FaultKind::Divergence { what: "a matrix instruction", missing }));
            }
            if mask & self.alive & !group != 0 {
                waiting |= group;
            } else {
                self.together(op, group, cta, cx)?;
            }
        }
        Ok(if waiting == 0 { Flow::Next } else { Flow::Wait(waiting) })
    }

    fn together(&mut self, op: &Collective, group: u32, cta: &mut Cta, cx: &mut Cx) -> Done {
        match op {
            Collective::Barrier => {
                if group.count_ones() == cta.live {
                    cta.clocks.meet_all();
                } else {
                    let threads: Vec<u32> = lanes(group).map(|l| self.thread(l as u32)).collect();
                    cta.clocks.meet(&threads, &mut Token::default());
                }
                Ok(())
            }
            Collective::Shuffle(shuffle) => self.shuffle(shuffle, group, cx),
            Collective::Vote { mode, d, p, a } => {
                let votes = self.holds(cx, group, *a)? & group;
                let holds = match mode {
                    VoteMode::All => votes == group,
                    VoteMode::Any | VoteMode::Ballot => votes != 0,
                    VoteMode::Uniform => votes == group || votes == 0,
                };
                self.put(*d, group, &[u64::from(votes); 32]);
                self.put_predicate(*p, group, if holds { u32::MAX } else { 0 });
                Ok(())
            }
            Collective::MatchAny { d, a } => {
                let a = *self.get(cx, group, *a)?;
                let same = |lane: usize| {
                    u64::from(lanes(group).filter(|l| a[*l] == a[lane]).fold(0u32, |all, l| all | 1 << l))
                };
                self.put(*d, group, &std::array::from_fn(same));
                Ok(())
            }
            Collective::MatchAll { d, p, a } => {
                let a = self.get(cx, group, *a)?;
                let all = lanes(group).all(|l| a[l] == a[first_lane(group) as usize]);
                self.put(*d, group, &[if all { u64::from(group) } else { 0 }; 32]);
                self.put_predicate(*p, group, if all { u32::MAX } else { 0 });
                Ok(())
            }
            Collective::Reduce { op, signed, d, a } => self.reduce(*op, *signed, *d, *a, group, cx),
            Collective::Elect { d, p } => {
                let leader = first_lane(group);
                self.put(*d, group, &[u64::from(leader); 32]);
                self.put_predicate(*p, group, 1 << leader);
                Ok(())
            }
            Collective::LoadMatrix { count, transposed, d, address } => {
                let at = self.addresses(cx, low_lanes(8 * count), *address)?;
                cx.count_conflicts(16, address.space, (0..8 * count).map(|l| (l, at[l])));
                let at = at.map(|a| resolve(address.space, a));
                self.load_matrix(&at, *transposed, &d[..*count], cta)
            }
            Collective::StoreMatrix { count, transposed, s, address } => {
                let at = self.addresses(cx, low_lanes(8 * count), *address)?;
                cx.count_conflicts(16, address.space, (0..8 * count).map(|l| (l, at[l])));
                let at = at.map(|a| resolve(address.space, a));
                self.store_matrix(&at, *transposed, &s[..*count], cta, cx)
            }
            Collective::MultiplyAdd(op) => self.multiply_add(op, cx),
        }
    }

    /// The manual's pseudocode: segments by the upper bits of `c`, bounds by the lower ones.
    fn shuffle(&mut self, s: &Shuffle, group: u32, cx: &Cx) -> Done {
        let (b, c) = (*self.get(cx, group, s.b)?, *self.get(cx, group, s.c)?);
        let a = *self.get(cx, 0, s.a)?;
        let (mut out, mut within) = ([0; 32], 0);
        for lane in lanes(group) {
            let (l, b, bound) = (lane as i64, (b[lane] & 31) as i64, (c[lane] & 31) as i64);
            let segment = (c[lane] >> 8 & 31) as i64;
            let most = l & segment | bound & !segment;
            let (from, inside) = match s.mode {
                ShuffleMode::Up => (l - b, l - b >= most),
                ShuffleMode::Down => (l + b, l + b <= most),
                ShuffleMode::Butterfly => (l ^ b, l ^ b <= most),
                ShuffleMode::Index => {
                    let from = l & segment | b & !segment;
                    (from, from <= most)
                }
            };
            let from = if inside { from } else { l } as u32;
            if group >> from & 1 == 0 {
                let kind = FaultKind::InactiveLane { what: "a shuffle", lane: from };
                return Err(Trap::new(lane as u32, kind));
            }
            self.get(cx, 1 << from, s.a)?;
            out[lane] = a[from as usize];
            within |= u32::from(inside) << lane;
        }
        self.put(s.d, group, &out);
        self.put_predicate(s.p, group, within);
        Ok(())
    }

    fn reduce(&mut self, op: AtomicOp, signed: bool, d: Reg, a: Reg, group: u32, cx: &Cx) -> Done {
        let a = *self.get(cx, group, a)?;
        let ty = if signed { Type::S32 } else { Type::U32 };
        let all = lanes(group).map(|l| a[l]).reduce(|x, y| combine(op, ty, x, y, 0));
        self.put(d, group, &[all.unwrap_or(0); 32]);
        Ok(())
    }

    /// Each row of eight halves is at the address that one lane gives; a lane receives two neighbors of a
    /// row, or of a column, and it is the one that reads them.
    fn load_matrix(&mut self, at: &[(Space, u64); 32], transposed: bool, d: &[Reg], cta: &mut Cta) -> Done {
        for (matrix, d) in d.iter().enumerate() {
            let mut rows = [0; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let lane = (matrix * 8 + r) as u32;
                *row = row_address(at[lane as usize], lane)?;
            }
            let mut out = [0; 32];
            for (lane, out) in out.iter_mut().enumerate() {
                let (i, j) = (lane / 4, lane % 4 * 2);
                let pieces = match transposed {
                    true => [(rows[j] + 2 * i as u64, 2), (rows[j + 1] + 2 * i as u64, 2)],
                    false => [(rows[i] + 2 * j as u64, 4), (rows[i], 0)],
                };
                let mut shift = 0;
                for (address, len) in pieces.into_iter().filter(|(_, len)| *len > 0) {
                    let bytes = cta.shared.read(&cta.clocks, self.thread(lane as u32), address, len);
                    *out |= little(bytes.map_err(|kind| Trap::new(lane as u32, kind))?) << shift;
                    shift += 8 * len;
                }
            }
            self.put(*d, u32::MAX, &out);
        }
        Ok(())
    }

    fn store_matrix(
        &mut self,
        at: &[(Space, u64); 32],
        transposed: bool,
        s: &[Reg],
        cta: &mut Cta,
        cx: &Cx,
    ) -> Done {
        for (matrix, s) in s.iter().enumerate() {
            let held = *self.get(cx, u32::MAX, *s)?;
            let element = |i: usize, j: usize| {
                let (i, j) = if transposed { (j, i) } else { (i, j) };
                (held[i * 4 + j / 2] >> (j % 2 * 16)) as u16
            };
            for r in 0..8 {
                let lane = (matrix * 8 + r) as u32;
                let address = row_address(at[lane as usize], lane)?;
                let mut bytes = [0; 16];
                for (j, to) in bytes.chunks_exact_mut(2).enumerate() {
                    to.copy_from_slice(&element(r, j).to_le_bytes());
                }
                let stored = cta.shared.write(&cta.clocks, self.thread(lane), address, &bytes);
                stored.map_err(|kind| Trap::new(lane, kind))?;
            }
        }
        Ok(())
    }

    /// The values of several registers, for all lanes.
    pub(super) fn gather(&self, cx: &Cx, regs: &[Reg]) -> Result<Vec<crate::program::Lanes>, Trap> {
        regs.iter().filter_map(|r| given(*r)).map(|r| Ok(*self.get(cx, u32::MAX, r)?)).collect()
    }
}

fn low_lanes(n: usize) -> u32 {
    if n >= 32 { NONE } else { (1 << n) - 1 }
}

fn row_address((space, at): (Space, u64), lane: u32) -> Result<u64, Trap> {
    if space != Space::Shared {
        let kind = FaultKind::OutOfBounds { space: "shared", address: at, bytes: 16 };
        return Err(Trap::new(lane, kind));
    }
    if !at.is_multiple_of(16) {
        return Err(Trap::new(lane, FaultKind::Misaligned { space: "shared", address: at, align: 16 }));
    }
    Ok(at)
}
