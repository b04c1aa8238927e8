//! The state of one kernel's translation: arguments, the loop over grid points, sizes, scratch.
//!
//! A kernel with lanes loops or microkernel calls has a thread block for each grid point (*wide*):
//! what stands outside lanes loops is computed by every thread alike and stored by the first one, the
//! turns of a lanes loop are dealt out to the threads. Any other kernel has a thread for each point.
//! Both loop over the points, so that any launch covers the grid.

use super::gemm::alignment;
use super::lanes::{Kept, folds};
use super::order::{Accesses, Pending};
use super::ptx::{Kind, Reg, Text};
use super::{Function, Sm};
use crate::Precision;
use nnc_ir::tile::{Axis, Kernel, Local, Mem, Stmt, Turns};
use nnc_ir::{DType, Dim};
use nnc_tensor::Range;
use std::collections::HashMap;
use std::fmt::Write;

/// What the backend cannot do, in words.
pub(super) type Result<T> = std::result::Result<T, String>;

/// Threads of a block that serves one grid point.
pub(super) const MOST_THREADS: i64 = 256;
/// Threads of a block of which each serves a grid point.
const POINT_THREADS: u32 = 128;
/// Threads of a warp.
pub(super) const WARP: u32 = 32;
/// Shared memory of a block.
const SHARED: i64 = 48 * 1024;
/// What scratch objects may take of it, if microkernels leave so much.
const SHARED_SCRATCH: i64 = 30 * 1024;

/// A state space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Space {
    Global,
    Shared,
}

impl Space {
    /// Its name in instructions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Space::Global => "global",
            Space::Shared => "shared",
        }
    }
}

/// Where a memory object starts.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) base: Reg,
}

/// A kernel being translated.
pub(super) struct Emitter<'a> {
    pub(super) t: Text,
    pub(super) kernel: &'a Kernel,
    /// The generation of devices that it is for.
    pub(super) sm: Sm,
    /// How exact its products are.
    pub(super) precision: Precision,
    /// Threads of a block.
    pub(super) threads: u32,
    /// The code runs in every thread for itself: inside a lanes loop, or one point a thread.
    pub(super) alone: bool,
    /// The code runs in the threads of a warp: inside a rows loop.
    pub(super) in_row: bool,
    /// Some lanes loop of the kernel folds.
    pub(super) folds: bool,
    pub(super) kept: Kept,
    /// Number of the thread in its block.
    pub(super) thread: Reg,
    /// The thread is the first of its block.
    pub(super) first: Reg,
    pub(super) pending: Pending,
    dims: Vec<Dim>,
    sizes: HashMap<Dim, Reg>,
    params: HashMap<u32, Reg>,
    scratch: Vec<Option<Place>>,
    scratch_bytes: Dim,
    shared_bytes: i64,
    tiles: Option<(i64, i64)>,
    values: Vec<Option<Reg>>,
    types: Vec<DType>,
    /// What is known of integer locals.
    pub(super) ranges: HashMap<u32, Range>,
}

/// Extents of the lanes loops; `None` where a call or an unknown extent wants all threads.
fn lane_extents(body: &[Stmt], found: &mut Vec<Option<i64>>) {
    for s in body {
        match s {
            Stmt::For(l) if l.turns == Turns::Lanes => found.push(l.axis.extent.as_const()),
            Stmt::For(l) if l.turns == Turns::Rows => {
                found.push(l.axis.extent.as_const().map(|rows| rows * i64::from(WARP)));
            }
            Stmt::For(l) => lane_extents(&l.body, found),
            Stmt::If { then, otherwise, .. } => {
                lane_extents(then, found);
                lane_extents(otherwise, found);
            }
            Stmt::Call { .. } => found.push(None),
            Stmt::Let { .. } | Stmt::Store { .. } | Stmt::StorePtr { .. } => {}
        }
    }
}

/// Threads of a block, and whether a thread serves a point alone.
fn shape(kernel: &Kernel) -> (u32, bool) {
    let mut extents = Vec::new();
    lane_extents(&kernel.body, &mut extents);
    if extents.is_empty() {
        return (POINT_THREADS, true);
    }
    let most = extents.into_iter().map(|n| n.unwrap_or(MOST_THREADS)).max().unwrap_or(1);
    ((most.clamp(1, MOST_THREADS) as u32).next_multiple_of(WARP), false)
}

impl<'a> Emitter<'a> {
    /// Translates a kernel under an entry's name.
    pub(super) fn kernel(
        kernel: &'a Kernel,
        name: &str,
        (sm, precision): (Sm, Precision),
    ) -> Result<(String, Function)> {
        let (threads, alone) = shape(kernel);
        let mut t = Text::default();
        let thread = t.at_start(Kind::Word, "mov.u32", &[&"%tid.x"]);
        let first = t.at_start(Kind::Pred, "setp.eq.s32", &[&thread, &0]);
        let mut e = Emitter {
            t,
            kernel,
            sm,
            precision,
            threads,
            alone,
            in_row: false,
            folds: folds(&kernel.body),
            kept: Kept::default(),
            thread,
            first,
            pending: Pending::of(kernel),
            dims: Vec::new(),
            sizes: HashMap::new(),
            params: HashMap::new(),
            scratch: vec![None; kernel.scratch.len()],
            scratch_bytes: Dim::ZERO,
            shared_bytes: 0,
            tiles: None,
            values: vec![None; kernel.n_locals as usize],
            types: vec![DType::I64; kernel.n_locals as usize],
            ranges: HashMap::new(),
        };
        e.lay_out_scratch();
        e.grid()?;
        Ok(e.finish(name))
    }

    /// Small objects of fixed size go to the shared memory that microkernels leave, the others to the launch's
    /// workspace.
    fn lay_out_scratch(&mut self) {
        let line = Dim::int(64);
        let tiles = self.most_tiles(&self.kernel.body);
        let room = SHARED_SCRATCH.min(SHARED - tiles);
        let mut in_workspace = Vec::new();
        for (i, object) in self.kernel.scratch.iter().enumerate() {
            let bytes = object.elems.clone() * Dim::len(object.dtype.size());
            let bytes = bytes.ceil_div(&line) * line.clone();
            let shared = bytes.as_const().filter(|n| !self.alone && self.shared_bytes + n <= room);
            if let Some(n) = shared {
                let at = self.shared_bytes;
                let base = self.t.at_start(Kind::Long, "mov.u64", &[&format!("shared+{at}")]);
                self.scratch[i] = Some(Place { space: Space::Shared, base });
                self.shared_bytes += n;
            } else {
                in_workspace.push((i, self.scratch_bytes.clone()));
                self.scratch_bytes = self.scratch_bytes.clone() + bytes;
            }
        }
        if tiles > 0 {
            let alignment = alignment(self.sm);
            self.shared_bytes = (self.shared_bytes + alignment - 1) / alignment * alignment;
        }
        if in_workspace.is_empty() {
            return;
        }
        let per_owner = self.size(&self.scratch_bytes.clone());
        let space = self.t.at_start(Kind::Long, "ld.param.u64", &[&"[workspace]"]);
        let space = self.t.at_start(Kind::Long, "cvta.to.global.u64", &[&space]);
        let owner = self.t.at_start(Kind::Word, "mov.u32", &[&"%ctaid.x"]);
        let owner = match self.alone {
            true => self.t.at_start(Kind::Word, "mad.lo.u32", &[&owner, &self.threads, &self.thread]),
            false => owner,
        };
        let owner = self.t.at_start(Kind::Long, "cvt.u64.u32", &[&owner]);
        let own = self.t.at_start(Kind::Long, "mad.lo.s64", &[&owner, &per_owner, &space]);
        for (i, offset) in in_workspace {
            let offset = self.size(&offset);
            let base = self.t.at_start(Kind::Long, "add.s64", &[&own, &offset]);
            self.scratch[i] = Some(Place { space: Space::Global, base });
        }
    }

    /// Runs the body for the points of this block or thread.
    fn grid(&mut self) -> Result<()> {
        let points = self.t.at_start(Kind::Long, "ld.param.u64", &[&"[points]"]);
        let (block, blocks) = (
            self.t.at_start(Kind::Word, "mov.u32", &[&"%ctaid.x"]),
            self.t.at_start(Kind::Word, "mov.u32", &[&"%nctaid.x"]),
        );
        let (from, step) = if self.alone {
            (
                self.t.at_start(Kind::Word, "mad.lo.u32", &[&block, &self.threads, &self.thread]),
                self.t.at_start(Kind::Word, "mul.lo.u32", &[&blocks, &self.threads]),
            )
        } else {
            (block, blocks)
        };
        let from = self.t.op(Kind::Long, "cvt.u64.u32", &[&from]);
        let step = self.t.op(Kind::Long, "cvt.u64.u32", &[&step]);
        let (turn, done) = (self.t.label(), self.t.label());
        self.t.place(turn);
        let point = from;
        let over = self.t.compare("ge.s64", point, &points);
        self.t.jump_if(over, true, done);
        self.coordinates(point)?;
        let kernel = self.kernel;
        self.body(&kernel.body)?;
        if self.pending.settle_point() {
            self.barrier();
        }
        self.t.put("add.s64", &[&point, &point, &step]);
        self.t.jump(turn);
        self.t.place(done);
        self.t.put("ret", &[]);
        Ok(())
    }

    /// Splits a linear point into the grid's axes.
    fn coordinates(&mut self, point: Reg) -> Result<()> {
        let kernel = self.kernel;
        let total = Dim::product(kernel.grid.iter().map(|a| &a.extent));
        let small = total.as_const().is_some_and(|n| n <= i64::from(i32::MAX));
        let mut rest = point;
        for (i, axis) in kernel.grid.iter().enumerate().rev() {
            if axis.extent.is(1) {
                let zero = self.t.int(Kind::Long, 0);
                self.define_axis(axis, zero);
                continue;
            }
            let outermost = kernel.grid[..i].iter().all(|a| a.extent.is(1));
            if outermost {
                let own = self.t.copy(rest);
                self.define_axis(axis, own);
                continue;
            }
            let extent = self.size(&axis.extent);
            let (index, quotient) = if small {
                let (x, n) = (self.resize(rest, false, Kind::Word), self.resize(extent, false, Kind::Word));
                let (r, q) = (
                    self.t.op(Kind::Word, "rem.u32", &[&x, &n]),
                    self.t.op(Kind::Word, "div.u32", &[&x, &n]),
                );
                (self.resize(r, false, Kind::Long), self.resize(q, false, Kind::Long))
            } else {
                let r = self.t.op(Kind::Long, "rem.u64", &[&rest, &extent]);
                (r, self.t.op(Kind::Long, "div.u64", &[&rest, &extent]))
            };
            self.define_axis(axis, index);
            rest = quotient;
        }
        Ok(())
    }

    fn finish(self, name: &str) -> (String, Function) {
        let mut out = String::new();
        let mut line = |text: &str| writeln!(out, "{text}").expect("a string takes everything");
        line(&format!("// {}", self.kernel.name.escape_default()));
        line(&format!(".visible .entry {name}("));
        let buffers = (0..self.kernel.params.len()).map(|i| format!("p{i}"));
        let sizes = (0..self.dims.len()).map(|i| format!("d{i}"));
        let tail = ["points", "workspace"].map(str::to_owned);
        let all: Vec<String> =
            buffers.chain(sizes).chain(tail).map(|n| format!("\t.param .u64 {n}")).collect();
        line(&all.join(",\n"));
        // As many registers as the code asks for: fewer would spill for the sake of more blocks.
        line(&format!(") .maxntid {}, 1, 1 .minnctapersm 1\n{{", self.threads));
        let shared = self.shared_bytes + self.tiles.map_or(0, |(_, n)| n);
        let declared = match shared {
            0 => String::new(),
            n => format!("\t.shared .align {} .b8 shared[{n}];\n", alignment(self.sm)),
        };
        out.push_str(&self.t.finish(&declared));
        out.push_str("}\n");
        let function = Function {
            name: name.to_owned(),
            threads: self.threads,
            thread_per_point: self.alone,
            shared: shared as u32,
            workspace: self.scratch_bytes,
            dims: self.dims,
        };
        (out, function)
    }

    /// Shared memory for the tiles of microkernels, which take turns in it; its first byte.
    pub(super) fn tiles(&mut self, bytes: i64) -> i64 {
        let (at, len) = self.tiles.unwrap_or((self.shared_bytes, 0));
        self.tiles = Some((at, len.max(bytes)));
        at
    }

    /// Where a memory object starts.
    pub(super) fn place_of(&mut self, mem: Mem) -> Place {
        match mem {
            Mem::Scratch(i) => self.scratch[i as usize].expect("scratch is laid out at the start"),
            Mem::Param(i) => {
                if let Some(base) = self.params.get(&i) {
                    return Place { space: Space::Global, base: *base };
                }
                let base = self.t.at_start(Kind::Long, "ld.param.u64", &[&format!("[p{i}]")]);
                let base = self.t.at_start(Kind::Long, "cvta.to.global.u64", &[&base]);
                self.params.insert(i, base);
                Place { space: Space::Global, base }
            }
        }
    }

    /// A size: an expression over named symbols alone.
    pub(super) fn size(&mut self, dim: &Dim) -> Reg {
        if let Some(reg) = self.sizes.get(dim) {
            return *reg;
        }
        let reg = match dim.as_const() {
            Some(v) => self.t.at_start(Kind::Long, "mov.b64", &[&v]),
            None => {
                self.dims.push(dim.clone());
                let slot = format!("[d{}]", self.dims.len() - 1);
                self.t.at_start(Kind::Long, "ld.param.u64", &[&slot])
            }
        };
        self.sizes.insert(dim.clone(), reg);
        reg
    }

    /// Defines a loop or grid axis.
    pub(super) fn define_axis(&mut self, axis: &Axis, value: Reg) {
        let last = axis.extent.clone() - Dim::ONE;
        let known = |s: &nnc_ir::Sym| match s {
            nnc_ir::Sym::Local(n) => self.ranges.get(n).cloned().unwrap_or_default(),
            nnc_ir::Sym::Name(_) => Range::length(),
        };
        let high = last.bounds(&known).1.map(|h| h.max(0));
        self.ranges.insert(axis.local.0, Range { low: Some(0), high, top: Some(last) });
        self.define(axis.local, DType::I64, value);
    }

    /// Defines a local.
    pub(super) fn define(&mut self, local: Local, dtype: DType, value: Reg) {
        self.values[local.0 as usize] = Some(value);
        self.types[local.0 as usize] = dtype;
    }

    /// The value of a local.
    pub(super) fn read(&self, local: Local) -> Result<Reg> {
        self.values[local.0 as usize].ok_or_else(|| format!("{local} before its definition"))
    }

    /// The type of a local.
    pub(super) fn dtype(&self, local: Local) -> DType {
        self.types[local.0 as usize]
    }

    /// Waits for what other threads wrote or still read, if the statement needs it. A microkernel notes by
    /// itself what is pending behind it.
    pub(super) fn ordered(&mut self, s: &Stmt) {
        let Accesses { reads, writes, .. } = Accesses::of(s);
        if self.pending.conflict(&reads, &writes) {
            self.barrier();
        }
        if !matches!(s, Stmt::Call { .. }) {
            self.pending.note(&reads, &writes);
        }
    }

    /// Waits until the shared memory is free in which microkernels and reductions take turns.
    pub(super) fn free_tiles(&mut self) {
        if self.pending.tiles {
            self.barrier();
            self.pending.clear();
        }
    }
}
