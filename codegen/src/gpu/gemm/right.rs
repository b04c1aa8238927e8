//! The right operand on its way to shared memory: panels of words, strided floats, numbers of four bits.

use super::super::call::{Pointer, dim_arg};
use super::super::kernel::{Emitter, Result, Space};
use super::super::ptx::{At, Kind, Reg};
use super::{DEPTH, Product, SIDE, Thread, inside, list, offset, registers, sum, times};
use nnc_ir::Dim;
use nnc_ir::tile::Arg;

/// Columns of a panel.
const PANEL: i64 = 16;

/// Along what neighboring threads read the right operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    Columns,
    Depth,
}

/// Where the right operand's elements are.
pub(super) enum Right {
    /// In panels of words: address, words from panel to panel.
    Panels(Reg, Reg),
    /// Address and strides along k and the columns.
    Strided(Reg, Reg, Reg, Walk),
    /// In panels of four bits.
    Nibbles(Nibbles),
}

/// Panels whose rows are eight bytes: byte i holds column i in its low half and column i + 8 in its high one.
pub(super) struct Nibbles {
    at: Reg,
    /// Bytes from panel to panel.
    panel: Reg,
    /// Rows that share a scale.
    block: Reg,
    scales: Reg,
    /// Zero points in the form of the scales, or one for all.
    zeros: std::result::Result<Reg, Reg>,
    /// Elements from the scales of a panel to those of the next.
    scale_panel: Reg,
}

fn global(e: &mut Emitter<'_>, arg: &Arg) -> Result<Reg> {
    match e.pointer_arg(arg)? {
        Some(Pointer { space: Space::Global, at }) => Ok(at),
        Some(_) => Err("the right operand of a product in shared memory".into()),
        None => Err("a product without right operand".into()),
    }
}

impl Right {
    /// Panels and the words from one to the next.
    pub(super) fn panels(e: &mut Emitter<'_>, at: &Arg, panel: &Dim) -> Result<Right> {
        Ok(Right::Panels(global(e, at)?, e.index(panel)?))
    }

    /// An address and two strides.
    pub(super) fn strided(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Right> {
        let walk = if dim_arg(&args[1])?.is(1) { Walk::Depth } else { Walk::Columns };
        Ok(Right::Strided(global(e, &args[0])?, e.int_arg(&args[1])?, e.int_arg(&args[2])?, walk))
    }

    /// The words that `f32_gemm_nibbles` has for it.
    pub(super) fn nibbles(e: &mut Emitter<'_>, args: &[Arg]) -> Result<Right> {
        let zeros = match &args[4] {
            Arg::Null => Err(e.float_arg(&args[5])?),
            some => Ok(global(e, some)?),
        };
        Ok(Right::Nibbles(Nibbles {
            at: global(e, &args[0])?,
            panel: e.int_arg(&args[1])?,
            block: e.int_arg(&args[2])?,
            scales: global(e, &args[3])?,
            zeros,
            scale_panel: e.int_arg(&args[6])?,
        }))
    }

    /// A thread's four elements are steps of k, not columns.
    pub(super) fn walks_depth(&self) -> bool {
        matches!(self, Right::Strided(_, _, _, Walk::Depth))
    }

    /// Where the thread's elements of a tap begin, in a register of its own, and the bytes from one tile
    /// to the next along k.
    pub(super) fn start(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        t: &Thread,
        column: Reg,
        tap: Reg,
    ) -> (Reg, Reg) {
        let line = times(e, tap, p.depth);
        let line = sum(e, line, t.b_depth);
        let (at, step) = match self {
            Right::Panels(b, panel) => {
                let (which, within) = panel_of(e, column);
                let at = times(e, which, *panel);
                let at = offset(e, at, line, PANEL);
                let at = sum(e, at, within);
                (offset(e, *b, at, 4), e.t.int(Kind::Long, 4 * PANEL * DEPTH))
            }
            Right::Strided(b, along_k, along_n, _) => {
                let (x, y) = (times(e, line, *along_k), times(e, column, *along_n));
                let at = sum(e, x, y);
                let step = e.t.op(Kind::Long, "mul.lo.s64", &[along_k, &(4 * DEPTH)]);
                (offset(e, *b, at, 4), step)
            }
            Right::Nibbles(b) => {
                let (which, within) = panel_of(e, column);
                let at = times(e, which, b.panel);
                let at = offset(e, at, line, PANEL / 2);
                // The second half of the columns lies in the same bytes.
                let within = e.t.op(Kind::Long, "and.b64", &[&within, &(PANEL / 2 - 1)]);
                let at = sum(e, at, within);
                (sum(e, b.at, at), e.t.int(Kind::Long, PANEL / 2 * DEPTH))
            }
        };
        (e.t.copy(at), step)
    }

    /// Brings the thread's elements of the steps from `k0` on to shared memory.
    pub(super) fn load(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        t: &Thread,
        (b, column): (Reg, Reg),
        ok: Reg,
        k0: Reg,
    ) {
        match self {
            Right::Panels(..) => {
                // The last panel is padded: four columns are there if the first is.
                let ok = inside(e, p, ok, k0, t.b_depth, 0);
                let x = zeros(e);
                e.t.put_if(ok, "ld.global.v4.b32", &[&list(&x), &At(b, 0)]);
                e.t.put("st.shared.v4.b32", &[&At(t.b_to, 0), &list(&x)]);
            }
            Right::Nibbles(n) => {
                let ok = inside(e, p, ok, k0, t.b_depth, 0);
                let x = n.load(e, t, (b, column), ok, k0);
                e.t.put("st.shared.v4.f32", &[&At(t.b_to, 0), &list(&x)]);
            }
            Right::Strided(_, along_k, _, Walk::Depth) => {
                let mut at = b;
                for i in 0..SIDE {
                    let ok = inside(e, p, ok, k0, t.b_depth, i);
                    let x = element(e, ok, at);
                    e.t.put("st.shared.f32", &[&At(t.b_to, 4 * t.sums.pitch() * i), &x]);
                    at = offset(e, at, *along_k, 4);
                }
            }
            Right::Strided(_, _, along_n, Walk::Columns) => {
                let row_ok = inside(e, p, ok, k0, t.b_depth, 0);
                let mut at = b;
                for i in 0..SIDE {
                    let next = e.t.op(Kind::Long, "add.s64", &[&column, &i]);
                    let some = e.t.compare("lt.s64", next, &p.n);
                    let ok = e.t.both(row_ok, some);
                    let x = element(e, ok, at);
                    e.t.put("st.shared.f32", &[&At(t.b_to, 4 * i), &x]);
                    at = offset(e, at, *along_n, 4);
                }
            }
        }
    }
}

impl Nibbles {
    /// Four numbers of neighboring columns, unpacked; zero where they do not exist.
    fn load(&self, e: &mut Emitter<'_>, t: &Thread, (b, column): (Reg, Reg), ok: Reg, k0: Reg) -> Vec<Reg> {
        let packed = e.t.int(Kind::Word, 0);
        e.t.put_if(ok, "ld.global.b32", &[&packed, &At(b, 0)]);
        let (which, within) = panel_of(e, column);
        let high = e.t.compare("ge.s64", within, &(PANEL / 2));
        let shifted = e.t.op(Kind::Word, "shr.u32", &[&packed, &4]);
        let packed = e.t.choose(high, shifted, packed);
        let k = sum(e, k0, t.b_depth);
        let block = {
            let (k, rows) = (e.resize(k, false, Kind::Word), e.resize(self.block, false, Kind::Word));
            let block = e.t.op(Kind::Word, "div.u32", &[&k, &rows]);
            e.resize(block, false, Kind::Long)
        };
        let at = times(e, which, self.scale_panel);
        let at = offset(e, at, block, PANEL);
        let at = sum(e, at, within);
        let by_block = |e: &mut Emitter<'_>, from: Reg| {
            let at = offset(e, from, at, 4);
            let x: Vec<Reg> = (0..SIDE).map(|_| e.t.float(Kind::Single, 0.0)).collect();
            e.t.put_if(ok, "ld.global.v4.f32", &[&list(&x), &At(at, 0)]);
            x
        };
        let scales = by_block(e, self.scales);
        let zeros = match self.zeros {
            Ok(zeros) => by_block(e, zeros),
            Err(zero) => vec![zero; SIDE as usize],
        };
        (0..SIDE as usize)
            .map(|i| {
                let code = e.t.op(Kind::Word, "bfe.u32", &[&packed, &(8 * i), &4]);
                let x = e.t.op(Kind::Single, "cvt.rn.f32.u32", &[&code]);
                let x = e.t.sub(x, zeros[i]);
                e.t.mul(x, scales[i])
            })
            .collect()
    }
}

/// The panel of a column, and its place within.
fn panel_of(e: &mut Emitter<'_>, column: Reg) -> (Reg, Reg) {
    let which = e.t.op(Kind::Long, "shr.s64", &[&column, &PANEL.trailing_zeros()]);
    (which, e.t.op(Kind::Long, "and.b64", &[&column, &(PANEL - 1)]))
}

fn zeros(e: &mut Emitter<'_>) -> Vec<Reg> {
    let x = registers(e, Kind::Word, SIDE);
    x.iter().for_each(|w| e.t.set(*w, &0));
    x
}

/// An element, or zero where the condition does not hold.
fn element(e: &mut Emitter<'_>, ok: Reg, at: Reg) -> Reg {
    let x = e.t.float(Kind::Single, 0.0);
    e.t.put_if(ok, "ld.global.f32", &[&x, &At(at, 0)]);
    x
}
