//! Random kernels against the interpreter. `NNC_FUZZ=first..end` chooses the seeds.

use crate::harness::{Random, Sizes};
use crate::loops::{int, run};
use nnc_ir::tile::{Access, Expr, Kernel, KernelBuilder, Local, Mem, Turns, arithmetic_type};
use nnc_ir::{DType, Dim, ScalarOp};

/// Storage types of inputs and outputs.
const STORAGE: [DType; 12] = [
    DType::F32,
    DType::F32,
    DType::I32,
    DType::U8,
    DType::I8,
    DType::I64,
    DType::Bool,
    DType::F16,
    DType::BF16,
    DType::F64,
    DType::U16,
    DType::U32,
];
const VECTOR_FLOATS: [ScalarOp; 10] = [
    ScalarOp::Add,
    ScalarOp::Sub,
    ScalarOp::Mul,
    ScalarOp::Max,
    ScalarOp::Min,
    ScalarOp::Abs,
    ScalarOp::Neg,
    ScalarOp::Floor,
    ScalarOp::Round,
    ScalarOp::Sign,
];
const TILE_FLOATS: [ScalarOp; 5] =
    [ScalarOp::Exp, ScalarOp::Tanh, ScalarOp::Sigmoid, ScalarOp::Erf, ScalarOp::Mod];
const VECTOR_INTS: [ScalarOp; 9] = [
    ScalarOp::Add,
    ScalarOp::Sub,
    ScalarOp::Neg,
    ScalarOp::Abs,
    ScalarOp::Sign,
    ScalarOp::And,
    ScalarOp::Or,
    ScalarOp::Xor,
    ScalarOp::Not,
];
const SCALAR_INTS: [ScalarOp; 6] =
    [ScalarOp::Div, ScalarOp::Mod, ScalarOp::Shl, ScalarOp::Shr, ScalarOp::Mul, ScalarOp::Max];
const COMPARE: [ScalarOp; 6] =
    [ScalarOp::Eq, ScalarOp::Ne, ScalarOp::Lt, ScalarOp::Le, ScalarOp::Gt, ScalarOp::Ge];

struct Fuzz {
    random: Random,
    kb: KernelBuilder,
    /// Locals in sight.
    locals: Vec<Local>,
    inputs: Vec<Mem>,
    row: Dim,
    /// Inputs have this many elements a row.
    n: Dim,
    tiles: bool,
    scalars: bool,
}

impl Fuzz {
    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.random.below(list.len() as u64) as usize]
    }

    fn of(&mut self, dtype: DType) -> Local {
        let found: Vec<Local> = self.locals.iter().copied().filter(|l| self.kb.dtype(*l) == dtype).collect();
        if found.is_empty() || self.random.below(8) == 0 {
            let v = self.random.float().round();
            return self.kb.constant(dtype, if dtype == DType::Bool { 1.0 } else { v });
        }
        self.pick(&found)
    }

    fn any(&mut self) -> Local {
        let list = self.locals.clone();
        self.pick(&list)
    }

    fn statement(&mut self, at: &Dim, depth: u64) {
        let new = match self.random.below(10 + u64::from(depth < 2)) {
            0 | 1 => self.load(at),
            2 => {
                let (x, to) = (self.any(), self.pick(&STORAGE));
                self.kb.cast(x, arithmetic_type(to))
            }
            3 => {
                let a = self.any();
                let (c, b) = (self.of(DType::Bool), self.of(self.kb.dtype(a)));
                self.kb.select(c, a, b)
            }
            4 => {
                let op = self.pick(&COMPARE);
                let a = self.any();
                let b = self.of(self.kb.dtype(a));
                let op = if self.kb.dtype(a) == DType::Bool { ScalarOp::Ne } else { op };
                self.kb.op(op, &[a, b])
            }
            5 => self.kb.def(DType::I64, Expr::Index(at.clone() * int(3) - int(20))),
            10 => return self.serial(at, depth),
            _ => {
                let a = self.any();
                let b = self.of(self.kb.dtype(a));
                let op = self.function(self.kb.dtype(a));
                self.kb.op(op, &[a, b][..op.n_operands()])
            }
        };
        self.locals.push(new);
    }

    fn function(&mut self, dtype: DType) -> ScalarOp {
        match dtype {
            DType::Bool => self.pick(&[ScalarOp::And, ScalarOp::Or, ScalarOp::Xor, ScalarOp::Not]),
            d if d.is_float() && self.tiles && self.random.below(3) == 0 => self.pick(&TILE_FLOATS),
            d if d.is_float() => self.pick(&VECTOR_FLOATS),
            _ if self.scalars && self.random.below(3) == 0 => self.pick(&SCALAR_INTS),
            _ => self.pick(&VECTOR_INTS),
        }
    }

    fn load(&mut self, at: &Dim) -> Local {
        let (list, n) = (self.inputs.clone(), self.n.clone());
        let mem = self.pick(&list);
        let row = self.row.clone() * n.clone();
        let column = match self.random.below(6) {
            0 => at.floor_div(&int(3)),
            1 => (at.clone() * int(5) + int(1)).modulo(&n),
            2 => n - int(1) - at.clone(),
            3 => self.row.modulo(&n),
            4 => match self.of(DType::I64) {
                l if l.0 > 0 => l.dim().modulo(&n),
                _ => at.clone(),
            },
            _ => at.clone(),
        };
        self.kb.load(mem, row + column)
    }

    fn serial(&mut self, at: &Dim, depth: u64) {
        let extent = if self.random.below(2) == 0 { int(3) } else { Dim::named("k") };
        let (a, b) = (self.any(), self.any());
        let open = self.kb.begin(Turns::Serial, extent, &[a, b]);
        let outside = self.locals.len();
        self.locals.extend(open.carried());
        for _ in 0..2 + self.random.below(4) {
            self.statement(at, depth + 1);
        }
        let (x, y) = (self.of(self.kb.dtype(a)), self.of(self.kb.dtype(b)));
        let value = self.any();
        let dtype = self.kb.dtype(value);
        let sum = match dtype {
            DType::Bool => ScalarOp::And,
            _ if self.random.below(2) == 0 => ScalarOp::Add,
            DType::U64 => ScalarOp::Add,
            _ => ScalarOp::Min,
        };
        // Starts lie outside the loop.
        let inner = self.locals.split_off(outside);
        drop(inner);
        let start = self.locals.iter().copied().find(|l| self.kb.dtype(*l) == dtype);
        let reduces: Vec<_> = start.map(|s| (sum, s, value)).into_iter().collect();
        let (carried, reduced) = self.kb.end(open, &[x, y], &reduces);
        self.locals.extend(carried);
        self.locals.extend(reduced);
    }
}

fn kernel(seed: u64) -> Kernel {
    let mut random = Random::new(seed + 1);
    let (tiles, scalars) = (random.below(2) == 0, random.below(4) == 0);
    let n = Dim::named("n");
    let mut kb = KernelBuilder::new(&format!("fuzz {seed}"));
    let inputs: Vec<Mem> = (0..4)
        .map(|_| {
            let dtype = STORAGE[random.below(STORAGE.len() as u64) as usize];
            kb.param(dtype, n.clone() * int(2), Access::Read)
        })
        .collect();
    let row = kb.grid(int(2));
    let open = kb.begin(Turns::Lanes, n.clone(), &[]);
    let at = open.index();
    let locals = inputs.iter().map(|m| kb.load(*m, row.clone() * n.clone() + at.clone())).collect();
    let mut fuzz = Fuzz { random, kb, locals, inputs, row: row.clone(), n: n.clone(), tiles, scalars };
    for _ in 0..4 + fuzz.random.below(16) {
        fuzz.statement(&at, 0);
    }
    let results: Vec<Local> = fuzz.locals.iter().rev().take(4).copied().collect();
    for value in results {
        let dtype = fuzz.kb.dtype(value);
        let storage =
            if dtype == DType::F32 { fuzz.pick(&[DType::F32, DType::F16, DType::BF16]) } else { dtype };
        let out = fuzz.kb.param(storage, n.clone() * int(4), Access::Write);
        let column = if fuzz.random.below(4) == 0 { at.clone() * int(2) } else { at.clone() };
        fuzz.kb.store(out, row.clone() * n.clone() * int(2) + column, value);
    }
    fuzz.kb.end(open, &[], &[]);
    fuzz.kb.finish(Dim::ONE)
}

#[test]
fn random_kernels() {
    let seeds = std::env::var("NNC_FUZZ").unwrap_or_else(|_| "0..40".into());
    let (first, end) = seeds.split_once("..").expect("first..end");
    for seed in first.parse::<u64>().expect("a number")..end.parse().expect("a number") {
        let sizes = [1, 5, 16, 37, 260].map(|n| -> Sizes { vec![("n", n), ("k", (n - 1) % 3)] });
        run(&kernel(seed), &sizes, 1e-5);
    }
}
