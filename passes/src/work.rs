//! How much arithmetic a kernel does, counted in its tile program.
//!
//! Sums, differences, products, quotients, functions and the choice of a greater or lesser number count one
//! each, of floats and of integers alike, so a multiply-add counts two. Comparisons, conversions, selection and
//! the addresses of elements do not count. Products with padding do, as is usual for convolutions.

use nnc_ir::tile::{Arg, Axis, Expr, Kernel, Local, Loop, Stmt};
use nnc_ir::{DType, Dim, ScalarOp, Sym};

/// Bits of the flags of the matrix kernels and of the depthwise one.
const BIAS: i64 = 1 << 1;
const RESIDUAL: i64 = 1 << 2;
const CLAMP: i64 = 1 << 3;
const SCALE: i64 = 1 << 4;
const FLOAT_BIAS: i64 = 1 << 6;
/// The store of `i8_gemm` that keeps the integer sums.
const STORE_I32: i64 = 0;
/// Columns of a panel.
const PANEL: i64 = 16;

/// A microkernel: its contract, the words that its arithmetic depends on, and that arithmetic.
type Row = (&'static str, &'static [usize], fn(&Words<'_, '_>) -> Option<i64>);

const CALLS: &[Row] = &[
    ("f32_gemm", &[2, 3, 8, 9], |w| product(w, epilogue(w, 12, 17)?)),
    ("f32_gemm_strided", &[2, 3, 8, 9], |w| product(w, epilogue(w, 13, 18)?)),
    ("i8_gemm", &[2, 3, 8, 9], |w| product(w, epilogue(w, 12, 22)? + i64::from(w.int(13)? != STORE_I32))),
    ("f32_dwconv", &[7, 8, 10, 11], |w| {
        let added = i64::from(w.given(18));
        let each = w.int(10)?.checked_mul(w.int(11)?)?.checked_mul(2)? + added + w.clamp(19, 20)?;
        w.int(7)?.checked_mul(w.int(8)?)?.checked_mul(each)
    }),
    ("f32_softmax", &[2, 3, 10, 11], softmax),
    ("f32_norm", &[2, 3], |w| {
        // The mean and the distance from it; squares and their sum; the factor.
        let each = if w.int(9)? == 0 { 5 } else { 3 } + i64::from(w.given(6)) + i64::from(w.given(7));
        w.int(2)?.checked_mul(w.int(3)?)?.checked_mul(each)
    }),
    ("f32_pack_b", &[], |_| Some(0)),
    ("f16_to_f32", &[], |_| Some(0)),
    ("bf16_to_f32", &[], |_| Some(0)),
    // The zero point and the scale.
    ("f32_unpack4", &[2, 3], |w| w.int(2)?.checked_mul(w.int(3)?)?.checked_mul(2 * PANEL)),
];

/// Arithmetic operations of all grid points of a kernel at these sizes; where the data decide between two
/// ways, those of the longer one. `None` where they depend on the data in another way.
pub fn operations(kernel: &Kernel, sizes: &dyn Fn(&Sym) -> Option<i64>) -> Option<u64> {
    let mut count = Count { sizes, known: vec![None; kernel.n_locals as usize] };
    count.grid(&kernel.grid, &kernel.body).and_then(|n| u64::try_from(n).ok())
}

/// A walk over a kernel.
struct Count<'s> {
    sizes: &'s dyn Fn(&Sym) -> Option<i64>,
    /// Values of the locals that depend on sizes and axes alone.
    known: Vec<Option<i64>>,
}

impl Count<'_> {
    fn eval(&self, dim: &Dim) -> Option<i64> {
        let symbol = |s: &Sym| match s {
            Sym::Local(n) => self.known.get(*n as usize).copied().flatten(),
            name => (self.sizes)(name),
        };
        dim.eval(&symbol).ok()
    }

    fn grid(&mut self, axes: &[Axis], body: &[Stmt]) -> Option<i64> {
        match axes.split_first() {
            None => self.body(body),
            Some((axis, rest)) => {
                let all_alike = !depends(body, axis.local);
                self.turns(axis, all_alike, &mut |count| count.grid(rest, body))
            }
        }
    }

    /// The operations of all turns of an axis.
    fn turns(
        &mut self,
        axis: &Axis,
        all_alike: bool,
        one: &mut dyn FnMut(&mut Self) -> Option<i64>,
    ) -> Option<i64> {
        let turns = self.eval(&axis.extent)?.max(0);
        let walked = if all_alike { turns.min(1) } else { turns };
        let mut sum = 0i64;
        for turn in 0..walked {
            self.known[axis.local.0 as usize] = Some(turn);
            sum = sum.checked_add(one(self)?)?;
        }
        if all_alike { sum.checked_mul(turns) } else { Some(sum) }
    }

    fn body(&mut self, body: &[Stmt]) -> Option<i64> {
        let mut sum = 0i64;
        for s in body {
            sum = sum.checked_add(self.stmt(s)?)?;
        }
        Some(sum)
    }

    fn stmt(&mut self, s: &Stmt) -> Option<i64> {
        match s {
            Stmt::Let { local, expr, .. } => {
                self.known[local.0 as usize] = self.value(expr);
                Some(cost(expr))
            }
            Stmt::Store { .. } | Stmt::StorePtr { .. } => Some(0),
            Stmt::For(l) => self.counted(l),
            Stmt::If { cond, then, otherwise } => match self.known[cond.0 as usize] {
                Some(0) => self.body(otherwise),
                Some(_) => self.body(then),
                None => Some(self.body(then)?.max(self.body(otherwise)?)),
            },
            Stmt::Call { contract, args, .. } => {
                let (.., operations) = CALLS.iter().find(|(name, ..)| name == contract)?;
                operations(&Words { count: self, args })
            }
        }
    }

    fn counted(&mut self, l: &Loop) -> Option<i64> {
        let folded: i64 = l.reduces.iter().map(|r| op_cost(r.op)).sum();
        let all_alike = !depends(&l.body, l.axis.local);
        self.turns(&l.axis, all_alike, &mut |count| count.body(&l.body)?.checked_add(folded))
    }

    /// An integer that sizes and axes decide.
    fn value(&self, expr: &Expr) -> Option<i64> {
        match expr {
            Expr::Int(v) => Some(*v),
            Expr::Index(d) => self.eval(d),
            Expr::Op(op, args) => {
                let of = |at: usize| self.known[args[at.min(args.len() - 1)].0 as usize].map(i128::from);
                let value = op.on_ints()?(of(0)?, of(1)?, DType::I64.bits() as u32);
                i64::try_from(value).ok()
            }
            _ => None,
        }
    }
}

/// The argument words of a call.
struct Words<'w, 's> {
    count: &'w Count<'s>,
    args: &'w [Arg],
}

impl Words<'_, '_> {
    fn int(&self, slot: usize) -> Option<i64> {
        match self.args.get(slot)? {
            Arg::Int(d) => self.count.eval(d),
            Arg::Local(l) => self.count.known[l.0 as usize],
            _ => None,
        }
    }

    fn given(&self, slot: usize) -> bool {
        self.args.get(slot).is_some_and(|a| !matches!(a, Arg::Null))
    }

    /// How many bounds a result is held to: those that are finite.
    fn clamp(&self, flags: usize, lo: usize) -> Option<i64> {
        let bounds = self.args.get(lo..lo + 2)?;
        let real = bounds.iter().filter(|a| !matches!(a, Arg::F32(v) if v.is_infinite())).count();
        Some(if self.int(flags)? & CLAMP != 0 { real as i64 } else { 0 })
    }
}

/// Operations on each result of a product beside the sum.
fn epilogue(w: &Words<'_, '_>, flags: usize, lo: usize) -> Option<i64> {
    let set = w.int(flags)?;
    let added = [BIAS, RESIDUAL, SCALE, FLOAT_BIAS].iter().filter(|f| set & **f != 0).count();
    Some(added as i64 + w.clamp(flags, lo)?)
}

/// `m · n` results, each a sum of `taps · kc` products.
fn product(w: &Words<'_, '_>, more: i64) -> Option<i64> {
    let each = w.int(8)?.checked_mul(w.int(9)?)?.checked_mul(2)?.checked_add(more)?;
    w.int(2)?.checked_mul(w.int(3)?)?.checked_mul(each)
}

/// Greatest element, difference, power, sum, quotient, and where they are there factor and mask.
fn softmax(w: &Words<'_, '_>) -> Option<i64> {
    let (rows, n, first, step) = (w.int(2)?, w.int(3)?, w.int(10)?, w.int(11)?);
    let elements = (0..rows.max(0)).map(|r| first.saturating_add(r.saturating_mul(step)).clamp(0, n.max(0)));
    let scaled = !matches!(w.args.get(7), Some(Arg::F32(1.0)));
    let each = 5 + i64::from(scaled) + i64::from(w.given(8));
    elements.sum::<i64>().checked_mul(each)
}

fn cost(expr: &Expr) -> i64 {
    match expr {
        Expr::Op(op, _) => op_cost(*op),
        Expr::Fma(..) => 2,
        _ => 0,
    }
}

fn op_cost(op: ScalarOp) -> i64 {
    use ScalarOp::{And, IsInf, IsNan, Not, Or, Shl, Shr, Xor};
    let free = op.is_predicate() || matches!(op, And | IsInf | IsNan | Not | Or | Shl | Shr | Xor);
    i64::from(!free)
}

/// True if a body's count of operations is another one in different turns of the axis `local`.
fn depends(body: &[Stmt], local: Local) -> bool {
    let mut moving = Moving(vec![local]);
    moving.decides(body)
}

/// Locals whose values follow an axis.
struct Moving(Vec<Local>);

impl Moving {
    fn is_in(&self, dim: &Dim) -> bool {
        self.0.iter().any(|l| dim.mentions(&Sym::Local(l.0)))
    }

    fn decides(&mut self, body: &[Stmt]) -> bool {
        body.iter().any(|s| match s {
            Stmt::Let { local, expr, .. } => {
                let follows = match expr {
                    Expr::Index(d) => self.is_in(d),
                    Expr::Op(_, args) => args.iter().any(|a| self.0.contains(a)),
                    _ => false,
                };
                if follows {
                    self.0.push(*local);
                }
                false
            }
            Stmt::Store { .. } | Stmt::StorePtr { .. } => false,
            Stmt::For(l) => {
                let counts = !l.reduces.is_empty() || counts(&l.body);
                (counts && self.is_in(&l.axis.extent)) || self.decides(&l.body)
            }
            Stmt::If { cond, then, otherwise } => {
                let counts = counts(then) || counts(otherwise);
                (counts && self.0.contains(cond)) || self.decides(then) || self.decides(otherwise)
            }
            Stmt::Call { contract, args, .. } => {
                let slots = CALLS.iter().find(|(name, ..)| name == contract).map_or(&[][..], |row| row.1);
                slots.iter().filter_map(|slot| args.get(*slot)).any(|a| match a {
                    Arg::Int(d) => self.is_in(d),
                    Arg::Local(l) => self.0.contains(l),
                    _ => false,
                })
            }
        })
    }
}

/// There is something to count.
fn counts(body: &[Stmt]) -> bool {
    body.iter().any(|s| match s {
        Stmt::Let { expr, .. } => cost(expr) > 0,
        Stmt::Store { .. } | Stmt::StorePtr { .. } => false,
        Stmt::For(l) => !l.reduces.is_empty() || counts(&l.body),
        Stmt::If { then, otherwise, .. } => counts(then) || counts(otherwise),
        Stmt::Call { contract, .. } => *contract != "f32_pack_b",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_ir::tile::{Access, KernelBuilder, Turns};

    /// `y = max(2 x, 1)` in blocks of 4 of `n` elements, or their sum.
    fn blocks(folds: bool) -> Kernel {
        let n = Dim::named("n");
        let mut kb = KernelBuilder::new("k");
        let x = kb.param(DType::F32, n.clone(), Access::Read);
        let y = kb.param(DType::F32, n.clone(), Access::Write);
        let block = kb.grid(n.ceil_div(&Dim::int(4)));
        let first = block * Dim::int(4);
        let extent = (n - first.clone()).min_with(&Dim::int(4));
        let zero = kb.float(DType::F32, 0.0);
        let l = kb.begin(Turns::Lanes, extent, &[]);
        let at = first.clone() + l.index();
        let v = kb.load(x, at.clone());
        let two = kb.float(DType::F32, 2.0);
        let doubled = kb.op(ScalarOp::Mul, &[two, v]);
        if folds {
            let (_, sums) = kb.end(l, &[], &[(ScalarOp::Add, zero, doubled)]);
            kb.store(y, first, sums[0]);
        } else {
            let most = kb.op(ScalarOp::Max, &[doubled, two]);
            kb.store(y, at, most);
            kb.end(l, &[], &[]);
        }
        kb.finish(Dim::ONE)
    }

    #[test]
    fn last_blocks_are_shorter() {
        let at = |n: i64| move |_: &Sym| Some(n);
        assert_eq!(operations(&blocks(false), &at(10)), Some(20));
        assert_eq!(operations(&blocks(false), &at(0)), Some(0));
        assert_eq!(operations(&blocks(true), &at(10)), Some(20));
        assert_eq!(operations(&blocks(false), &|_| None), None);
    }

    #[test]
    fn a_product_counts_twice_its_size() {
        let mut kb = KernelBuilder::new("gemm");
        let int = |v: i64| Arg::Int(Dim::int(v));
        let mem = [(8 * 6, Access::Read), (6 * 16, Access::Read), (8 * 5, Access::Write)]
            .map(|(n, access)| kb.param(DType::F32, Dim::int(n), access));
        let row = kb.grid(Dim::int(2));
        let at = |m, n: i64| Arg::Ptr(m, row.clone() * Dim::int(n));
        let mut args =
            vec![at(mem[2], 20), int(5), int(4), int(5), Arg::Null, int(0), at(mem[0], 24), int(6)];
        args.extend([int(1), int(6), Arg::Ptr(mem[1], Dim::ZERO), int(96), int(BIAS | CLAMP), Arg::Null]);
        args.extend([Arg::Null, Arg::Null, int(0), Arg::F32(0.0), Arg::F32(f32::INFINITY), Arg::Null]);
        kb.call("f32_gemm", 2, args);
        // 40 results of 6 products each, a bias and one bound.
        assert_eq!(operations(&kb.finish(Dim::ONE), &|_| None), Some(40 * (2 * 6 + 2)));
    }
}
