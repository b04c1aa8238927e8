//! Builds kernels statement by statement, with a stack of open bodies.

use super::{Access, Arg, Axis, Carry, Expr, Kernel, Local, Loop, Mem, Param, Reduce, Scratch, Stmt, Turns};
use crate::{DType, Dim, ScalarOp};

/// A kernel under construction.
pub struct KernelBuilder {
    kernel: Kernel,
    types: Vec<DType>,
    open: Vec<Vec<Stmt>>,
}

/// A loop whose body is being built; see [`KernelBuilder::begin`].
pub struct OpenLoop {
    axis: Axis,
    turns: Turns,
    carries: Vec<(Local, Local)>,
}

impl OpenLoop {
    /// The axis as an index expression.
    pub fn index(&self) -> Dim {
        self.axis.local.dim()
    }

    /// Relation of the turns.
    pub fn turns(&self) -> Turns {
        self.turns
    }

    /// Carried values as the body sees them.
    pub fn carried(&self) -> Vec<Local> {
        self.carries.iter().map(|(_, inside)| *inside).collect()
    }
}

impl KernelBuilder {
    /// An empty kernel.
    pub fn new(name: &str) -> KernelBuilder {
        let kernel = Kernel {
            name: name.to_owned(),
            params: Vec::new(),
            scratch: Vec::new(),
            grid: Vec::new(),
            body: Vec::new(),
            n_locals: 0,
            cost_ns: Dim::ONE,
        };
        KernelBuilder { kernel, types: Vec::new(), open: vec![Vec::new()] }
    }

    fn local(&mut self, dtype: DType) -> Local {
        self.types.push(dtype);
        self.kernel.n_locals += 1;
        Local(self.kernel.n_locals - 1)
    }

    fn push(&mut self, stmt: Stmt) {
        self.open.last_mut().expect("the outermost body is always open").push(stmt);
    }

    /// The arithmetic type of a local.
    pub fn dtype(&self, local: Local) -> DType {
        self.types[local.0 as usize]
    }

    /// A new buffer argument.
    pub fn param(&mut self, dtype: DType, elems: Dim, access: Access) -> Mem {
        self.kernel.params.push(Param { dtype, elems, access });
        Mem::Param(self.kernel.params.len() as u32 - 1)
    }

    /// A new scratch object.
    pub fn scratch(&mut self, dtype: DType, elems: Dim) -> Mem {
        self.kernel.scratch.push(Scratch { dtype, elems });
        Mem::Scratch(self.kernel.scratch.len() as u32 - 1)
    }

    /// The element type of a memory object.
    pub fn mem_dtype(&self, mem: Mem) -> DType {
        match mem {
            Mem::Param(i) => self.kernel.params[i as usize].dtype,
            Mem::Scratch(i) => self.kernel.scratch[i as usize].dtype,
        }
    }

    /// A new grid axis, faster than those before it.
    pub fn grid(&mut self, extent: Dim) -> Dim {
        let local = self.local(DType::I64);
        self.kernel.grid.push(Axis { local, extent });
        local.dim()
    }

    /// Defines a local.
    pub fn def(&mut self, dtype: DType, expr: Expr) -> Local {
        let local = self.local(dtype);
        self.push(Stmt::Let { local, dtype, expr });
        local
    }

    /// A float constant.
    pub fn float(&mut self, dtype: DType, v: f64) -> Local {
        self.def(dtype, Expr::Float(v))
    }

    /// An integer constant.
    pub fn int(&mut self, dtype: DType, v: i64) -> Local {
        self.def(dtype, Expr::Int(v))
    }

    /// A constant of any arithmetic type.
    pub fn constant(&mut self, dtype: DType, v: f64) -> Local {
        if dtype.is_float() { self.float(dtype, v) } else { self.int(dtype, v as i64) }
    }

    /// An element, widened to its arithmetic type.
    pub fn load(&mut self, mem: Mem, index: Dim) -> Local {
        self.def(super::arithmetic_type(self.mem_dtype(mem)), Expr::Load(mem, index))
    }

    /// Stores an element.
    pub fn store(&mut self, mem: Mem, index: Dim, value: Local) {
        self.push(Stmt::Store { mem, index, value });
    }

    /// Stores an address into a pointer table.
    pub fn store_ptr(&mut self, table: Mem, index: Dim, mem: Mem, element: Dim) {
        self.push(Stmt::StorePtr { table, index, mem, element });
    }

    /// A scalar function.
    pub fn op(&mut self, op: ScalarOp, args: &[Local]) -> Local {
        let dtype = if op.is_predicate() { DType::Bool } else { self.dtype(args[0]) };
        self.def(dtype, Expr::Op(op, args.to_vec()))
    }

    /// `c ? a : b`.
    pub fn select(&mut self, c: Local, a: Local, b: Local) -> Local {
        self.def(self.dtype(a), Expr::Select(c, a, b))
    }

    /// A conversion; nothing if the type is right already.
    pub fn cast(&mut self, x: Local, to: DType) -> Local {
        if self.dtype(x) == to { x } else { self.def(to, Expr::Cast(x)) }
    }

    /// A boolean: `0 ≤ index < extent`, or `None` where that is certain to be decided by the caller.
    pub fn in_range(&mut self, index: Dim, extent: Dim) -> Local {
        let (i, n, zero) = (
            self.def(DType::I64, Expr::Index(index)),
            self.def(DType::I64, Expr::Index(extent)),
            self.int(DType::I64, 0),
        );
        let (low, high) = (self.op(ScalarOp::Ge, &[i, zero]), self.op(ScalarOp::Lt, &[i, n]));
        self.op(ScalarOp::And, &[low, high])
    }

    /// A microkernel call.
    pub fn call(&mut self, contract: &'static str, version: u32, args: Vec<Arg>) {
        self.push(Stmt::Call { contract, version, args });
    }

    /// Opens a loop; statements go into its body until [`KernelBuilder::end`].
    pub fn begin(&mut self, turns: Turns, extent: Dim, carried: &[Local]) -> OpenLoop {
        let axis = Axis { local: self.local(DType::I64), extent };
        let carries = carried.iter().map(|init| (*init, self.local(self.types[init.0 as usize]))).collect();
        self.open.push(Vec::new());
        OpenLoop { axis, turns, carries }
    }

    /// Closes a loop: `next` are the carried values after a turn, `reduces` the reductions as
    /// (function, start, contribution). Gives the results of both.
    pub fn end(
        &mut self,
        open: OpenLoop,
        next: &[Local],
        reduces: &[(ScalarOp, Local, Local)],
    ) -> (Vec<Local>, Vec<Local>) {
        let body = self.open.pop().expect("end follows begin");
        let carries: Vec<Carry> = open
            .carries
            .iter()
            .zip(next)
            .map(|((init, inside), next)| Carry {
                inside: *inside,
                init: *init,
                next: *next,
                result: self.local(self.types[init.0 as usize]),
            })
            .collect();
        let reduces: Vec<Reduce> = reduces
            .iter()
            .map(|(op, init, value)| Reduce {
                op: *op,
                init: *init,
                value: *value,
                result: self.local(self.types[init.0 as usize]),
            })
            .collect();
        let results =
            (carries.iter().map(|c| c.result).collect(), reduces.iter().map(|r| r.result).collect());
        self.push(Stmt::For(Loop { axis: open.axis, turns: open.turns, carries, reduces, body }));
        results
    }

    /// Opens the body of a condition.
    pub fn begin_if(&mut self) {
        self.open.push(Vec::new());
    }

    /// Closes the body of a condition without alternative.
    pub fn end_if(&mut self, cond: Local) {
        let then = self.open.pop().expect("end_if follows begin_if");
        self.push(Stmt::If { cond, then, otherwise: Vec::new() });
    }

    /// The finished kernel.
    pub fn finish(mut self, cost_ns: Dim) -> Kernel {
        assert_eq!(self.open.len(), 1, "every loop is closed");
        self.kernel.body = self.open.pop().expect("the outermost body");
        self.kernel.cost_ns = cost_ns;
        self.kernel
    }
}
