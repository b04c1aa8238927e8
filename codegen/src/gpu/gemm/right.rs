//! The right operand: panels of words, strided floats, numbers of four bits.

use super::super::call::{Pointer, dim_arg};
use super::super::index::divides;
use super::super::kernel::{Emitter, Result, Space};
use super::super::ptx::{At, Kind, Reg};
use super::cursor::{Group, Step, neighbors};
use super::form::{Order, SIDE};
use super::{Product, list, offset, registers, sum, times};
use nnc_ir::Dim;
use nnc_ir::tile::Arg;

/// Columns of a panel.
const PANEL: i64 = 16;

/// Where the right operand's elements are.
pub(super) enum Right {
    /// In panels of words: address, words from panel to panel.
    Panels(Reg, Reg),
    /// Anywhere with two strides.
    Strided(Strided),
    /// In panels of four bits.
    Nibbles(Nibbles),
}

/// Floats with strides along k and along the columns.
pub(super) struct Strided {
    at: Reg,
    pub(super) along_k: Reg,
    pub(super) along_n: Reg,
    /// The way along which neighboring threads read.
    order: Order,
    /// Elements that way are neighbors in memory.
    unit: bool,
    /// Groups of four of them may be read at once where their addresses are multiples of that.
    together: bool,
}

/// Panels whose rows are eight bytes: byte i holds column i in its low half and column i + 8 in its high one.
pub(super) struct Nibbles {
    at: Reg,
    /// Bytes from panel to panel.
    panel: Reg,
    /// Rows that share a scale.
    block: (Dim, Reg),
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
        let is_one = |arg: &Arg| matches!(arg, Arg::Int(d) if d.is(1));
        let by_fours = |arg: &Arg| matches!(arg, Arg::Int(d) if divides(4, d));
        let (order, unit, other) = match is_one(&args[1]) {
            true => (Order::Depth, true, &args[2]),
            false => (Order::Across, is_one(&args[2]), &args[1]),
        };
        Ok(Right::Strided(Strided {
            at: global(e, &args[0])?,
            along_k: e.int_arg(&args[1])?,
            along_n: e.int_arg(&args[2])?,
            order,
            unit,
            together: unit && by_fours(other),
        }))
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
            block: (dim_arg(&args[2])?.clone(), e.int_arg(&args[2])?),
            scales: global(e, &args[3])?,
            zeros,
            scale_panel: e.int_arg(&args[6])?,
        }))
    }

    /// Along what a group's elements follow each other.
    pub(super) fn order(&self) -> Order {
        match self {
            Right::Strided(s) => s.order,
            Right::Panels(..) | Right::Nibbles(_) => Order::Across,
        }
    }

    /// Groups of four neighbors may be read at once, if their addresses are multiples of that.
    pub(super) fn together(&self) -> bool {
        matches!(self, Right::Strided(Strided { together: true, .. }))
    }

    /// Bytes from one tile to the next along k.
    pub(super) fn advance(&self, e: &mut Emitter<'_>, depth: i32) -> Reg {
        let depth = i64::from(depth);
        match self {
            Right::Panels(..) => e.t.int(Kind::Long, 4 * PANEL * depth),
            Right::Strided(s) => e.t.op(Kind::Long, "mul.lo.s64", &[&s.along_k, &(4 * depth)]),
            Right::Nibbles(_) => e.t.int(Kind::Long, PANEL / 2 * depth),
        }
    }

    /// Puts the address of a group at the first step of a tap.
    pub(super) fn start(&self, e: &mut Emitter<'_>, p: &Product, g: &Group, tap: Reg) {
        let line = times(e, tap, p.depth);
        let line = sum(e, line, g.depth);
        let at = self.at(e, line, g.own);
        g.start(e, at);
    }

    /// The address of the element at a step of k, all taps counted, and at a column.
    pub(super) fn at(&self, e: &mut Emitter<'_>, line: Reg, column: Reg) -> Reg {
        match self {
            Right::Panels(b, panel) => {
                let (which, within) = panel_of(e, column);
                let at = times(e, which, *panel);
                let at = offset(e, at, line, PANEL);
                let at = sum(e, at, within);
                offset(e, *b, at, 4)
            }
            Right::Strided(s) => {
                let (x, y) = (times(e, line, s.along_k), times(e, column, s.along_n));
                let at = sum(e, x, y);
                offset(e, s.at, at, 4)
            }
            Right::Nibbles(b) => {
                let (which, within) = panel_of(e, column);
                let at = times(e, which, b.panel);
                let at = offset(e, at, line, PANEL / 2);
                // The second half of the columns lies in the same bytes.
                let within = e.t.op(Kind::Long, "and.b64", &[&within, &(PANEL / 2 - 1)]);
                let at = sum(e, at, within);
                sum(e, b.at, at)
            }
        }
    }

    /// Reads a group; what does not exist becomes zero.
    pub(super) fn fetch(&self, e: &mut Emitter<'_>, p: &Product, g: &Group, step: &Step) {
        match self {
            Right::Panels(..) => {
                // The last panel is padded: four columns are there if the first is.
                let ok = step.inside(e, p, g, 0);
                g.held.iter().for_each(|x| e.t.set(*x, &0));
                e.t.put_if(ok, "ld.global.v4.b32", &[&list(&g.held), &At(g.at, 0)]);
            }
            Right::Nibbles(n) => {
                let ok = step.inside(e, p, g, 0);
                let k = sum(e, step.first, g.depth);
                let by_block = n.of_block(e, k, g.own, Some(ok));
                let x = n.numbers(e, At(g.at, 0), g.own, Some(ok), &by_block);
                g.held.iter().zip(x).for_each(|(to, x)| e.t.set(*to, &x));
            }
            Right::Strided(s) => {
                let exist = match s.order {
                    Order::Depth => step.each(e, p, g),
                    Order::Across => columns(e, p, g, step),
                };
                match s.unit {
                    true => neighbors(e, Space::Global, g, exist),
                    false => s.apart(e, g, exist),
                }
            }
        }
    }

    /// Begins to copy a group of words as they are to shared memory; what does not exist becomes zero there.
    pub(super) fn copy(
        &self,
        e: &mut Emitter<'_>,
        p: &Product,
        g: &Group,
        step: &Step,
        (to, stage): (Reg, Reg),
    ) {
        let ok = step.inside(e, p, g, 0);
        let bytes = e.t.op(Kind::Word, "selp.b32", &[&16, &0, &ok]);
        let to = e.t.op(Kind::Word, "add.u32", &[&to, &stage]);
        e.t.put_if(step.more, "cp.async.cg.shared.global", &[&At(to, 0), &At(g.at, 0), &16, &bytes]);
    }
}

/// True for each column of a group that exists, where its step of k does.
fn columns(e: &mut Emitter<'_>, p: &Product, g: &Group, step: &Step) -> [Reg; SIDE as usize] {
    let row = step.inside(e, p, g, 0);
    if p.columns_by_fours {
        return [row; SIDE as usize];
    }
    [0, 1, 2, 3].map(|i| {
        let column = e.t.op(Kind::Long, "add.s64", &[&g.own, &i]);
        let some = e.t.compare("lt.s64", column, &p.n);
        e.t.both(row, some)
    })
}

impl Strided {
    /// Reads columns that are no neighbors.
    fn apart(&self, e: &mut Emitter<'_>, g: &Group, exist: [Reg; SIDE as usize]) {
        let mut at = g.at;
        for (x, ok) in g.held.iter().zip(exist) {
            e.t.set(*x, &0);
            e.t.put_if(ok, "ld.global.b32", &[x, &At(at, 0)]);
            at = offset(e, at, self.along_n, 4);
        }
    }
}

/// Scales and zero points of four neighboring columns in a block of rows.
pub(super) struct OfBlock {
    scales: Vec<Reg>,
    zeros: Vec<Reg>,
}

impl Nibbles {
    /// The rows that share a scale.
    pub(super) fn rows_of_block(&self) -> &Dim {
        &self.block.0
    }

    /// Scales and zero points at a step of k for four neighboring columns, if these exist.
    pub(super) fn of_block(&self, e: &mut Emitter<'_>, k: Reg, column: Reg, ok: Option<Reg>) -> OfBlock {
        let (which, within) = panel_of(e, column);
        let block = {
            let (k, rows) = (e.resize(k, false, Kind::Word), e.resize(self.block.1, false, Kind::Word));
            let block = e.t.op(Kind::Word, "div.u32", &[&k, &rows]);
            e.resize(block, false, Kind::Long)
        };
        let at = times(e, which, self.scale_panel);
        let at = offset(e, at, block, PANEL);
        let at = sum(e, at, within);
        let by_block = |e: &mut Emitter<'_>, from: Reg| {
            let at = offset(e, from, at, 4);
            four(e, ok, At(at, 0))
        };
        let scales = by_block(e, self.scales);
        let zeros = match self.zeros {
            Ok(zeros) => by_block(e, zeros),
            Err(zero) => vec![zero; SIDE as usize],
        };
        OfBlock { scales, zeros }
    }

    /// Four numbers of neighboring columns, unpacked; zero where they do not exist.
    pub(super) fn numbers(
        &self,
        e: &mut Emitter<'_>,
        at: At,
        column: Reg,
        ok: Option<Reg>,
        by: &OfBlock,
    ) -> Vec<Reg> {
        let packed = match ok {
            None => e.t.op(Kind::Word, "ld.global.b32", &[&at]),
            Some(ok) => {
                let packed = e.t.int(Kind::Word, 0);
                e.t.put_if(ok, "ld.global.b32", &[&packed, &at]);
                packed
            }
        };
        let (_, within) = panel_of(e, column);
        let high = e.t.compare("ge.s64", within, &(PANEL / 2));
        let shifted = e.t.op(Kind::Word, "shr.u32", &[&packed, &4]);
        let packed = e.t.choose(high, shifted, packed);
        (0..SIDE as usize)
            .map(|i| {
                let code = e.t.op(Kind::Word, "bfe.u32", &[&packed, &(8 * i), &4]);
                let x = e.t.op(Kind::Single, "cvt.rn.f32.u32", &[&code]);
                let x = e.t.sub(x, by.zeros[i]);
                e.t.mul(x, by.scales[i])
            })
            .collect()
    }
}

/// Four neighboring floats at an address that is a multiple of 16; zeros where the condition does not hold.
pub(super) fn four(e: &mut Emitter<'_>, ok: Option<Reg>, at: At) -> Vec<Reg> {
    let x = registers(e, Kind::Single, SIDE);
    match ok {
        None => e.t.put("ld.global.v4.f32", &[&list(&x), &at]),
        Some(ok) => {
            x.iter().for_each(|x| e.t.set(*x, &"0f00000000"));
            e.t.put_if(ok, "ld.global.v4.f32", &[&list(&x), &at]);
        }
    }
    x
}

/// The panel of a column, and its place within.
fn panel_of(e: &mut Emitter<'_>, column: Reg) -> (Reg, Reg) {
    let which = e.t.op(Kind::Long, "shr.s64", &[&column, &PANEL.trailing_zeros()]);
    (which, e.t.op(Kind::Long, "and.b64", &[&column, &(PANEL - 1)]))
}
