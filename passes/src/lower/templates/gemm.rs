//! Contractions by the packed matrix kernels `f32_gemm` and `i8_gemm`.
//!
//! Letters of the contraction fall into four kinds: batch (both operands and the result), m (left and
//! result), n (right and result), k (summed). The k letters must be one contiguous run in the left
//! operand, the n letters one contiguous run in the result; m letters that do not join into one run
//! become batch letters.

use super::blocks::{self, Extents, block_axis, blocking};
use super::epilogue::{self, Block};
use super::int8::{self, Factor, Operands, Weights};
use super::{FMA_PER_NS, PANEL, halves, nibbles, requantize, widening};
use crate::fuse::Group;
use crate::lower::emit::Constant;
use crate::lower::emit::Emitter;
use crate::lower::index::{View, unravel, views};
use nnc_ir::plan::{BytePanels, Packing, PanelAxis};
use nnc_ir::tile::{Access, Arg, Mem};
use nnc_ir::{DType, Dim, Graph, Node, Sym};
use nnc_tensor::Range;

/// Version of the kernel's arguments that is written here.
pub(crate) const GEMM: (&str, u32) = ("f32_gemm", 2);
/// The same with a right operand that lies anywhere: strides along k and along the columns take the place
/// of the distance of panels.
pub(crate) const STRIDED: (&str, u32) = ("f32_gemm_strided", 1);
/// The same with a right operand of four-bit numbers: the words of `nibbles::Weights` take the place of the
/// right operand's.
pub(crate) const NIBBLES: (&str, u32) = ("f32_gemm_nibbles", 1);
/// Version of the packing kernel's arguments that is written here.
pub(crate) const PACK: (&str, u32) = ("f32_pack_b", 1);

/// A letter with its size.
#[derive(Clone, Debug)]
struct Letter {
    name: char,
    extent: Dim,
}

impl Letter {
    /// The placeholder of its index.
    fn sym(&self) -> Sym {
        Sym::Local(u32::MAX - self.name as u32)
    }
}

/// How a contraction maps onto the matrix kernel.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    out: Vec<char>,
    batch: Vec<Letter>,
    m: Vec<Letter>,
    n: Vec<Letter>,
    k: Vec<Letter>,
    /// Left operand in memory, indexed by placeholders.
    pub(crate) a: View,
    /// Right operand in memory, indexed by placeholders.
    pub(crate) b: View,
    /// Operands of 8 bits with their zero points; without, both are f32.
    pub(crate) bytes: Option<(Factor, Weights)>,
    /// The right operand as it is stored, if its numbers have four bits.
    pub(crate) nibbles: Option<nibbles::Weights>,
}

/// The operands of a contraction of bytes, whose sums are i32.
fn byte_operands(graph: &Graph, node: &Node, rhs: &[char], n: &[Letter]) -> Option<(Factor, Weights)> {
    let axis = match n {
        [only] => rhs.iter().position(|c| *c == only.name),
        _ => None,
    };
    let a = int8::activations(graph, node.inputs[0])?;
    Some((a, int8::weights(graph, node.inputs[1], axis)?))
}

/// The mapping, if there is one.
pub(crate) fn plan(graph: &Graph, node: &Node) -> Option<Plan> {
    let [lhs, rhs, out] = ["lhs", "rhs", "out"].map(|n| node.attrs.str(n).chars().collect::<Vec<char>>());
    let types = [node.inputs[0], node.inputs[1], node.outputs[0]].map(|v| graph.tensor_ty(v));
    let dtype = types[2].dtype;
    if !matches!(dtype, DType::F32 | DType::I32) || types.iter().any(|t| t.dtype != dtype) {
        return None;
    }
    if [&lhs, &rhs, &out].into_iter().any(|letters| has_repeats(letters)) {
        return None;
    }
    let extent = |c: char| {
        let find = |letters: &[char], t: &nnc_ir::TensorType| {
            letters.iter().position(|l| *l == c).map(|i| t.shape[i].clone())
        };
        find(&lhs, types[0]).or_else(|| find(&rhs, types[1]))
    };
    let letters = |keep: &dyn Fn(char) -> bool, order: &[char]| -> Option<Vec<Letter>> {
        order.iter().filter(|c| keep(**c)).map(|c| Some(Letter { name: *c, extent: extent(*c)? })).collect()
    };
    let (in_a, in_b, in_c) = (|c| lhs.contains(&c), |c| rhs.contains(&c), |c| out.contains(&c));
    let batch = letters(&|c| in_a(c) && in_b(c) && in_c(c), &out)?;
    let m = letters(&|c| in_a(c) && !in_b(c) && in_c(c), &out)?;
    let n = letters(&|c| !in_a(c) && in_b(c) && in_c(c), &out)?;
    let k = letters(&|c| in_a(c) && in_b(c) && !in_c(c), &lhs)?;
    if lhs.iter().any(|c| !in_b(*c) && !in_c(*c)) || rhs.iter().any(|c| !in_a(*c) && !in_c(*c)) {
        return None;
    }
    let all: Vec<&Letter> = [&batch, &m, &n, &k].into_iter().flatten().collect();
    let range = |s: &Sym| {
        all.iter().find(|l| l.sym() == *s).map_or_else(Range::length, |l| Range {
            low: Some(0),
            high: l.extent.as_const().map(|e| e - 1),
            top: Some(l.extent.clone() - Dim::ONE),
        })
    };
    let simplify = |d: &Dim| d.simplify(&range);
    let placeholder = |cs: &[char]| -> Vec<Dim> {
        cs.iter()
            .map(|c| Dim::sym(all.iter().find(|l| l.name == *c).expect("every letter has a kind").sym()))
            .collect()
    };
    let bytes = if dtype == DType::I32 { Some(byte_operands(graph, node, &rhs, &n)?) } else { None };
    let sources = bytes.as_ref().map_or([node.inputs[0], node.inputs[1]], |(a, b)| [a.value, b.value]);
    let a = views(graph, sources[0], &placeholder(&lhs), &simplify);
    let b = views(graph, sources[1], &placeholder(&rhs), &simplify);
    let even = |v: &View| batch.iter().all(|l| v.at.linear_in(&l.sym()).is_some());
    // The result's last axis must be n, and the runs must be straight lines in memory. Of the movements
    // before an operand, as many are absorbed as leave it so.
    if n.last().map(|l| l.name) != out.last().copied() {
        return None;
    }
    let unit = |v: &View| {
        let stride = joined_stride(&v.at, &k);
        k.iter().all(|l| l.extent.is(1)) || stride.is_some_and(|s| s.is(1))
    };
    let rows =
        |v: &View| joined_stride(&v.at, &m).is_some() || m.iter().all(|l| v.at.linear_in(&l.sym()).is_some());
    let a = a.into_iter().rfind(|v| unit(v) && rows(v) && even(v))?;
    let straight = |v: &View, letters: &[Letter]| joined_stride(&v.at, letters).is_some();
    let constant = |v: &View| bytes.is_none() || graph.constant(v.base).is_some();
    let b = b.into_iter().rfind(|v| straight(v, &k) && straight(v, &n) && even(v) && constant(v))?;
    let mut plan = Plan { out, batch, m, n, k, a, b, bytes, nibbles: None };
    if plan.bytes.is_none() {
        let fits =
            |w: &nibbles::Weights| plan.is_columns(w.depth) && Plan::size(&plan.k).as_const().is_some();
        plan.nibbles = nibbles::weights(graph, plan.b.base).filter(fits);
    }
    if plan.stride_of(&plan.a, &plan.m).is_none() {
        plan.split_m();
    }
    Some(plan)
}

fn has_repeats(letters: &[char]) -> bool {
    letters.iter().enumerate().any(|(i, c)| letters[..i].contains(c))
}

impl Plan {
    /// Joins letters to one run: the stride of the run in a view, if it is a straight line.
    fn stride_of(&self, v: &View, letters: &[Letter]) -> Option<Dim> {
        joined_stride(&v.at, letters)
    }

    /// True if the right operand is rows of `depth` elements, of which the first are summed.
    fn is_columns(&self, depth: i64) -> bool {
        let [n, k] = [&self.n, &self.k].map(|letters| joined_stride(&self.b.at, letters));
        let first = self.b.at.substitute(&|s| matches!(s, Sym::Local(_)).then_some(Dim::ZERO));
        let moves = self.batch.iter().any(|l| self.b.at.linear_in(&l.sym()).is_none_or(|(c, _)| !c.is(0)));
        n == Some(Dim::int(depth)) && k == Some(Dim::ONE) && first.is(0) && !moves
    }

    /// Keeps the largest m letter; the others become batch letters. A size that is not known counts as
    /// a small number: it is a batch more often than not.
    fn split_m(&mut self) {
        let size = |l: &Letter| l.extent.as_const().unwrap_or(32);
        let keep = (0..self.m.len()).max_by_key(|i| size(&self.m[*i])).expect("there are m letters");
        let kept = self.m.remove(keep);
        self.batch.append(&mut self.m);
        self.m = vec![kept];
    }

    fn size(letters: &[Letter]) -> Dim {
        Dim::product(letters.iter().map(|l| &l.extent))
    }
}

/// The stride with which a run of letters (outermost first) walks through `at`, if it is uniform.
fn joined_stride(at: &Dim, letters: &[Letter]) -> Option<Dim> {
    let mut run = Dim::ONE;
    let mut stride: Option<Dim> = None;
    for l in letters.iter().rev() {
        let (coeff, _) = at.linear_in(&l.sym())?;
        if l.extent.is(1) {
            continue;
        }
        match &stride {
            None => stride = Some(coeff),
            Some(s) if coeff == s.clone() * run.clone() => {}
            Some(_) => return None,
        }
        run = run * l.extent.clone();
    }
    Some(stride.unwrap_or(Dim::ONE))
}

/// Emits the kernel of a group whose anchor is a contraction.
pub(crate) fn emit(e: &mut Emitter, group: &Group, node: &Node) {
    let mut plan = plan(e.graph, node).expect("fusion took this contraction for a template");
    let dest = epilogue::DestLayout::new(e.graph, &group.dest);
    let out_at = |p: &Plan| dest.at(&p.out.iter().map(|c| p.placeholder(*c)).collect::<Vec<_>>());
    if plan.m.len() > 1 && joined_stride(&out_at(&plan), &plan.m).is_none() {
        plan.split_m();
    }
    let (m, n, k) = (Plan::size(&plan.m), Plan::size(&plan.n), Plan::size(&plan.k));
    let constant = e.graph.constant(plan.b.base).is_some();
    // Four bytes take the room of one f32.
    let wide = if plan.bytes.is_some() { k.ceil_div(&Dim::int(4)) } else { k.clone() };
    let packed = constant || plan.nibbles.is_some();
    let results = Plan::size(&plan.batch);
    let floats = plan.bytes.is_none();
    let extents = Extents { m: &m, n: &n, k: &wide, results: &results, packed, floats };
    let mut blocks = blocking(e.schedule, &extents);
    let panels = if plan.bytes.is_none() { halves::panel_type(e, plan.b.base) } else { DType::F32 };
    if panels != DType::F32 || (plan.nibbles.is_some() && e.schedule.unpacks) {
        blocks = widening::blocks(blocks, k.as_const().unwrap_or(1));
    }
    let batch: Vec<(Letter, Dim)> =
        plan.batch.iter().map(|l| (l.clone(), e.grid(l.extent.clone()))).collect();
    let (m0, m_len) = block_axis(e, &m, blocks.0);
    let open = extents.open(e.schedule);
    let (n0, n_len) = blocks::columns_axis(e, &n, blocks.1, open.as_ref());
    let at_batch = |d: &Dim, rest: &dyn Fn(&Sym) -> Option<Dim>| {
        d.substitute(&|s| {
            batch.iter().find(|(l, _)| l.sym() == *s).map(|(_, i)| i.clone()).or_else(|| rest(s))
        })
    };
    let (m_idx, n_idx) = (plan.run_index(&plan.m, &m0), plan.run_index(&plan.n, &n0));
    let zero_or = |from: &[(Sym, Dim)], s: &Sym| {
        Some(from.iter().find(|(t, _)| t == s).map_or(Dim::ZERO, |(_, d)| d.clone()))
            .filter(|_| matches!(s, Sym::Local(n) if *n > u32::MAX - 0x11_0000))
    };
    let a_at = e.simplify(&at_batch(&plan.a.at, &|s| zero_or(&m_idx, s)));
    let lda = plan.stride_of(&plan.a, &plan.m).expect("checked by the plan");
    let a = e.buffer(plan.a.base, Access::Read);
    let a_words = [Arg::Null, Arg::Int(Dim::ZERO), Arg::Ptr(a, a_at), Arg::Int(lda)];
    let b_from = e.simplify(&at_batch(&plan.b.at, &|s| zero_or(&n_idx, s)));
    let column = (n0.clone(), n_len.clone());
    let out = plan.out.clone();
    let (p, bt) = (plan.clone(), batch.clone());
    let block = Block {
        m0,
        m_len,
        n0,
        n_len,
        rows: blocks.0.bound(&m),
        columns: blocks.1.bound(&n),
        open,
        index: Box::new(move |m: &Dim, n: &Dim| {
            let runs = [p.run_index(&p.m, m), p.run_index(&p.n, n)].concat();
            out.iter()
                .map(|c| {
                    let sym = Sym::Local(u32::MAX - *c as u32);
                    let in_run = runs.iter().find(|(s, _)| *s == sym).map(|(_, d)| d.clone());
                    in_run.unwrap_or_else(|| {
                        bt.iter().find(|(l, _)| l.name == *c).expect("every letter").1.clone()
                    })
                })
                .collect()
        }),
    };
    if let Some((factor, weights)) = &plan.bytes {
        let (panels, set) = byte_panels(&plan, &batch, weights.shift);
        let operands = Operands::new(e, (a_words, factor), (weights, panels), (set, column.0));
        return requantize::call_and_finish(e, group, node.outputs[0], None, block, operands);
    }
    let right = if let Some(weights) = &plan.nibbles {
        Right::Nibbles(weights.words(e, &column.0))
    } else if constant {
        packed_constant(e, &plan, &batch, &column.0, (&k, panels))
    } else if e.schedule.packs {
        pack_into_scratch(e, &plan, b_from, &column.1, &k)
    } else {
        strided(e, &plan, b_from)
    };
    let [table, stride, a, lda] = a_words;
    let left = [table, stride, a, lda, Arg::Int(Dim::ONE), Arg::Int(k)];
    let product = Product { left, right, zeros: Arg::Null };
    epilogue::call_and_finish(e, group, node.outputs[0], None, block, product);
}

/// The argument words of a product's left operand: table of rows, its stride, address, row stride, taps,
/// elements of a tap.
pub(crate) type Left = [Arg; 6];

/// The right operand of a product.
#[derive(Clone)]
pub(crate) enum Right {
    /// In panels, of f32 or a narrower float: where they begin, and the distance from one to the next.
    Panels(Mem, Dim, Dim),
    /// Where it lies, and its strides along k and the columns.
    Strided(Mem, Dim, Dim, Dim),
    /// In panels of four-bit numbers: its words.
    Nibbles([Arg; 7]),
}

/// The operands of a product.
#[derive(Clone)]
pub(crate) struct Product {
    pub(crate) left: Left,
    pub(crate) right: Right,
    /// Where pointers in the padding lead, if products there may be left out.
    pub(crate) zeros: Arg,
}

impl Product {
    /// The contract and the argument words from the table of rows to the right operand.
    pub(crate) fn operands(self) -> ((&'static str, u32), Vec<Arg>) {
        let mut words = self.left.to_vec();
        match self.right {
            Right::Panels(mem, at, panel) => {
                words.extend([Arg::Ptr(mem, at), Arg::Int(panel)]);
                (GEMM, words)
            }
            Right::Strided(mem, at, along_k, along_n) => {
                words.extend([Arg::Ptr(mem, at), Arg::Int(along_k), Arg::Int(along_n)]);
                (STRIDED, words)
            }
            Right::Nibbles(more) => {
                words.extend(more);
                (NIBBLES, words)
            }
        }
    }
}

impl Plan {
    fn placeholder(&self, c: char) -> Dim {
        Dim::sym(Sym::Local(u32::MAX - c as u32))
    }

    /// The indices of a run's letters at position `at` of the run.
    fn run_index(&self, letters: &[Letter], at: &Dim) -> Vec<(Sym, Dim)> {
        let shape: Vec<Dim> = letters.iter().map(|l| l.extent.clone()).collect();
        letters.iter().map(Letter::sym).zip(unravel(&shape, at)).collect()
    }
}

/// Where the panels of a constant come from.
struct Panels {
    offset: i64,
    batch: Vec<PanelAxis>,
    k: PanelAxis,
    n: PanelAxis,
    /// The point of the batch.
    which: Dim,
}

impl Panels {
    fn of(plan: &Plan, batch: &[(Letter, Dim)]) -> Panels {
        let known = |d: &Dim| d.as_const().expect("a constant has fixed sizes");
        let stride = |l: &Letter| known(&plan.b.at.linear_in(&l.sym()).expect("checked by the plan").0);
        let moving: Vec<&(Letter, Dim)> = batch.iter().filter(|(l, _)| stride(l) != 0).collect();
        let run = |letters: &[Letter]| PanelAxis {
            len: known(&Plan::size(letters)),
            stride: known(&joined_stride(&plan.b.at, letters).expect("checked by the plan")),
        };
        let axis = |(l, _): &&(Letter, Dim)| PanelAxis { len: known(&l.extent), stride: stride(l) };
        Panels {
            offset: known(&plan.b.at.substitute(&|s| matches!(s, Sym::Local(_)).then_some(Dim::ZERO))),
            batch: moving.iter().map(axis).collect(),
            k: run(&plan.k),
            n: run(&plan.n),
            which: moving.iter().fold(Dim::ZERO, |at, (l, i)| at * l.extent.clone() + i.clone()),
        }
    }
}

fn packed_constant(
    e: &mut Emitter,
    plan: &Plan,
    batch: &[(Letter, Dim)],
    n0: &Dim,
    (k, dtype): (&Dim, DType),
) -> Right {
    let Panels { offset, batch, k: rows, n, which } = Panels::of(plan, batch);
    let panel = k.clone() * Dim::int(PANEL);
    let per_batch = panel.clone() * Dim::int(n.len).ceil_div(&Dim::int(PANEL));
    let packing = Packing::Panels { offset, batch, k: vec![rows], n, dtype };
    let mem = e.constant(Constant::Packed { value: plan.b.base, packing });
    Right::Panels(mem, which * per_batch + n0.floor_div(&Dim::int(PANEL)) * panel.clone(), panel)
}

/// The panels of a constant of bytes, and the point of the batch.
fn byte_panels(plan: &Plan, batch: &[(Letter, Dim)], shift: i64) -> (BytePanels, Dim) {
    let Panels { offset, batch, k, n, which } = Panels::of(plan, batch);
    (BytePanels { offset, batch, taps: Vec::new(), k: vec![k], n, shift }, which)
}

/// Packs the columns of one block at the start of the grid point.
fn pack_into_scratch(e: &mut Emitter, plan: &Plan, from: Dim, n_len: &Dim, k: &Dim) -> Right {
    let panel = k.clone() * Dim::int(PANEL);
    let n = Plan::size(&plan.n);
    let scratch = e.kb.scratch(DType::F32, panel.clone() * n.ceil_div(&Dim::int(PANEL)));
    let b = e.buffer(plan.b.base, Access::Read);
    let (ks, ns) = (plan.stride_of(&plan.b, &plan.k), plan.stride_of(&plan.b, &plan.n));
    let (ks, ns) = (ks.expect("checked by the plan"), ns.expect("checked by the plan"));
    e.kb.call(
        PACK.0,
        PACK.1,
        vec![
            Arg::Ptr(scratch, Dim::ZERO),
            Arg::Ptr(b, from),
            Arg::Int(k.clone()),
            Arg::Int(n_len.clone()),
            Arg::Int(ks),
            Arg::Int(ns),
            Arg::Int(panel.clone()),
        ],
    );
    Right::Panels(scratch, Dim::ZERO, panel)
}

/// The right operand where it lies.
fn strided(e: &mut Emitter, plan: &Plan, from: Dim) -> Right {
    let b = e.buffer(plan.b.base, Access::Read);
    let stride = |letters| plan.stride_of(&plan.b, letters).expect("checked by the plan");
    Right::Strided(b, from, stride(&plan.k), stride(&plan.n))
}

/// Estimated nanoseconds of a block.
pub(crate) fn cost(m: &Dim, n: &Dim, k: &Dim) -> Dim {
    (m.clone() * n.clone() * k.clone()).floor_div(&Dim::int(FMA_PER_NS)) + Dim::int(50)
}
