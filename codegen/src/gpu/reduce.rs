//! Reductions across the threads of a block: by shuffles within a warp, through shared memory between
//! warps. Every thread gets the same result; the order of the operations is fixed.

use super::kernel::{Emitter, Result, WARP};
use super::ptx::{At, Kind, Reg};
use nnc_ir::{DType, ScalarOp};

impl Emitter<'_> {
    /// The value of another lane whose number differs in the bits of `distance`.
    pub(super) fn shuffled(&mut self, x: Reg, distance: u32) -> Reg {
        let mask = "0xffffffff";
        let shuffle = "shfl.sync.bfly.b32";
        match x.kind {
            Kind::Word => self.t.op(Kind::Word, shuffle, &[&x, &distance, &31, &mask]),
            Kind::Single => {
                let bits = self.t.bits(x);
                let other = self.shuffled(bits, distance);
                self.t.as_float(other)
            }
            Kind::Double => {
                let bits = self.t.bits(x);
                let other = self.shuffled(bits, distance);
                self.t.as_float(other)
            }
            Kind::Long => {
                let low = self.t.op(Kind::Word, "cvt.u32.u64", &[&x]);
                let high = self.t.op(Kind::Long, "shr.u64", &[&x, &32]);
                let high = self.t.op(Kind::Word, "cvt.u32.u64", &[&high]);
                let (low, high) = (self.shuffled(low, distance), self.shuffled(high, distance));
                let low = self.t.op(Kind::Long, "cvt.u64.u32", &[&low]);
                let high = self.t.op(Kind::Long, "cvt.u64.u32", &[&high]);
                let high = self.t.op(Kind::Long, "shl.b64", &[&high, &32]);
                self.t.op(Kind::Long, "or.b64", &[&high, &low])
            }
            Kind::Short => {
                let word = self.t.op(Kind::Word, "cvt.u32.u16", &[&x]);
                let other = self.shuffled(word, distance);
                self.t.op(Kind::Short, "cvt.u16.u32", &[&other])
            }
            Kind::Pred => {
                let word = self.number(x);
                let other = self.shuffled(word, distance);
                self.t.compare("ne.s32", other, &0)
            }
        }
    }

    /// The reduction of one value of each thread, known to all of them.
    pub(super) fn across(&mut self, op: ScalarOp, dtype: DType, part: Reg) -> Result<Reg> {
        let mut sum = part;
        let mut distance = WARP / 2;
        while distance > 0 {
            let other = self.shuffled(sum, distance);
            // Reductions commute: both lanes of a pair get the same.
            sum = self.apply(op, dtype, &[sum, other])?;
            distance /= 2;
        }
        let warps = self.threads / WARP;
        if warps == 1 {
            return Ok(sum);
        }
        let at = self.tiles(8 * i64::from(warps));
        let base = self.t.op(Kind::Long, "mov.u64", &[&format!("shared+{at}")]);
        let warp = self.t.op(Kind::Word, "shr.u32", &[&self.thread, &5]);
        let own = self.t.op(Kind::Long, "mul.wide.u32", &[&warp, &8]);
        let own = self.t.op(Kind::Long, "add.s64", &[&base, &own]);
        let lane = self.t.op(Kind::Word, "and.b32", &[&self.thread, &31]);
        let leads = self.t.compare("eq.s32", lane, &0);
        let stored = if sum.kind == Kind::Pred { self.number(sum) } else { sum };
        let ty = stored.kind.moved();
        self.free_tiles();
        self.t.put_if(leads, &format!("st.shared.{ty}"), &[&At(own, 0), &stored]);
        self.t.barrier();
        self.pending.clear();
        let mut total = None;
        for w in 0..warps {
            let value = self.t.op(stored.kind, &format!("ld.shared.{ty}"), &[&At(base, 8 * w as i32)]);
            let value = if sum.kind == Kind::Pred { self.t.compare("ne.s32", value, &0) } else { value };
            total = Some(match total {
                None => value,
                Some(before) => self.apply(op, dtype, &[before, value])?,
            });
        }
        self.pending.tiles = true;
        Ok(total.unwrap_or(sum))
    }
}
