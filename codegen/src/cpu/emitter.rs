//! The state of one kernel's translation: entry, grid loop, loops, sizes, scratch, contracts.

use super::CpuTarget;
use super::module::Draft;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{
    self, AbiParam, Block, BlockArg, InstBuilder, MemFlagsData, SigRef, Signature, StackSlot, StackSlotData,
    StackSlotKind, Type, UserFuncName, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use nnc_ir::tile::{Axis, Kernel, Local};
use nnc_ir::{DType, Dim};
use nnc_tensor::Range;
use nnc_tensor::plan::Contract;
use std::collections::HashMap;

/// What the backend cannot do, in words.
pub(super) type Result<T> = std::result::Result<T, String>;

/// Microkernels that code refers to, numbered by first use.
#[derive(Default)]
pub(super) struct Contracts {
    list: Vec<Contract>,
}

impl Contracts {
    fn number(&mut self, name: &str, version: u32) -> usize {
        let known = self.list.iter().position(|c| c.name == name && c.version == version);
        known.unwrap_or_else(|| {
            self.list.push(Contract { name: name.to_owned(), version });
            self.list.len() - 1
        })
    }

    pub(super) fn into_list(self) -> Vec<Contract> {
        self.list
    }
}

/// The function's arguments.
struct Entry {
    table: Value,
    buffers: Value,
    dims: Value,
    scratch: Value,
}

/// A kernel being translated.
pub(super) struct Emitter<'a, 'f> {
    pub(super) b: FunctionBuilder<'f>,
    pub(super) kernel: &'a Kernel,
    pub(super) target: CpuTarget,
    /// Signature of microkernels.
    pub(super) microkernel: SigRef,
    entry: Entry,
    contracts: &'a mut Contracts,
    dims: Vec<Dim>,
    slots_of_dims: HashMap<Dim, usize>,
    /// Where each scratch object starts, in bytes.
    pub(super) scratch_offsets: Vec<Dim>,
    scratch_bytes: Dim,
    stack: HashMap<(&'static str, u32), StackSlot>,
    values: Vec<Option<Value>>,
    types: Vec<DType>,
    /// What is known of integer locals.
    pub(super) ranges: HashMap<u32, Range>,
    /// Float locals that are constants.
    pub(super) constants: HashMap<Local, f64>,
}

/// A loop whose body is being emitted.
pub(super) struct OpenLoop {
    header: Block,
    exit: Block,
    /// The counter.
    pub(super) index: Value,
    limit: Value,
    step: i64,
}

/// Memory that cannot trap; alignment is not promised, as vectors have none.
pub(super) fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Memory that never changes while the function runs: such loads may move out of loops.
pub(super) fn fixed() -> MemFlagsData {
    plain().with_readonly().with_can_move()
}

/// The register type of a scalar.
pub(super) fn clif_type(dtype: DType) -> Result<Type> {
    Ok(match dtype {
        DType::Bool | DType::I8 | DType::U8 => I8,
        DType::I16 | DType::U16 => I16,
        DType::I32 | DType::U32 => I32,
        DType::I64 | DType::U64 => I64,
        DType::F32 => F32,
        DType::F64 => F64,
        other => return Err(format!("arithmetic on {other}")),
    })
}

impl<'a, 'f> Emitter<'a, 'f> {
    /// Translates a kernel.
    pub(super) fn kernel(
        kernel: &'a Kernel,
        target: CpuTarget,
        isa: &dyn TargetIsa,
        contracts: &'a mut Contracts,
        cx: &'f mut FunctionBuilderContext,
    ) -> Result<Draft> {
        let mut signature = Signature::new(isa.default_call_conv());
        signature.params = vec![AbiParam::new(I64); 6];
        let mut clif = ir::Function::with_name_signature(UserFuncName::user(0, 0), signature);
        // The context and the function live as long as each other here.
        let mut b = FunctionBuilder::new(&mut clif, cx);
        let block = b.create_block();
        b.append_block_params_for_function_params(block);
        b.switch_to_block(block);
        let args = b.block_params(block).to_vec();
        let mut microkernel = Signature::new(isa.default_call_conv());
        microkernel.params = vec![AbiParam::new(I64)];
        let mut emitter = Emitter {
            microkernel: b.import_signature(microkernel),
            b,
            kernel,
            target,
            entry: Entry { table: args[0], buffers: args[1], dims: args[2], scratch: args[3] },
            contracts,
            dims: Vec::new(),
            slots_of_dims: HashMap::new(),
            scratch_offsets: Vec::new(),
            scratch_bytes: Dim::ZERO,
            stack: HashMap::new(),
            values: vec![None; kernel.n_locals as usize],
            types: vec![DType::I64; kernel.n_locals as usize],
            ranges: HashMap::new(),
            constants: HashMap::new(),
        };
        emitter.lay_out_scratch();
        emitter.grid(args[4], args[5])?;
        let Emitter { mut b, dims, scratch_bytes, .. } = emitter;
        b.seal_all_blocks();
        b.finalize(isa.frontend_config());
        Ok(Draft { clif, scratch: scratch_bytes, dims })
    }

    fn lay_out_scratch(&mut self) {
        let line = Dim::int(64);
        for object in &self.kernel.scratch {
            self.scratch_offsets.push(self.scratch_bytes.clone());
            let bytes = object.elems.clone() * Dim::len(object.dtype.size());
            self.scratch_bytes = self.scratch_bytes.clone() + bytes.ceil_div(&line) * line.clone();
        }
    }

    /// Runs the body for the points `begin..end` of the grid.
    fn grid(&mut self, begin: Value, end: Value) -> Result<()> {
        let (run, done) = (self.b.create_block(), self.b.create_block());
        let any = self.b.ins().icmp(IntCC::SignedLessThan, begin, end);
        self.b.ins().brif(any, run, &[], done, &[]);
        self.b.switch_to_block(run);
        let kernel = self.kernel;
        let axes: Vec<&Axis> = kernel.grid.iter().filter(|a| !a.extent.is(1)).collect();
        for axis in &kernel.grid {
            let zero = self.b.ins().iconst(I64, 0);
            self.define_axis(axis, zero);
        }
        let extents: Vec<Value> = axes.iter().map(|a| self.size(&a.extent)).collect();
        let start = self.coordinates(begin, &extents);
        let (open, coordinates) = self.open_loop(begin, end, 1, &start);
        if let [axis] = axes.as_slice() {
            self.define_axis(axis, open.index);
        }
        for (axis, value) in axes.iter().zip(&coordinates) {
            self.define_axis(axis, *value);
        }
        self.body(&kernel.body)?;
        let next = self.next_coordinates(&coordinates, &extents);
        self.close_loop(open, &next);
        self.b.ins().jump(done, &[]);
        self.b.switch_to_block(done);
        self.b.ins().return_(&[]);
        Ok(())
    }

    /// Splits a linear index; none for fewer than two axes, where the index itself serves.
    fn coordinates(&mut self, linear: Value, extents: &[Value]) -> Vec<Value> {
        if extents.len() < 2 {
            return Vec::new();
        }
        let (mut rest, mut out) = (linear, Vec::new());
        for extent in extents[1..].iter().rev() {
            out.push(self.b.ins().urem(rest, *extent));
            rest = self.b.ins().udiv(rest, *extent);
        }
        out.push(rest);
        out.reverse();
        out
    }

    /// Counts up by one with carries.
    fn next_coordinates(&mut self, coordinates: &[Value], extents: &[Value]) -> Vec<Value> {
        let mut out = Vec::new();
        let mut carry = self.b.ins().iconst(I64, 1);
        let zero = self.b.ins().iconst(I64, 0);
        for (c, extent) in coordinates.iter().zip(extents).rev() {
            let up = self.b.ins().iadd(*c, carry);
            let full = self.b.ins().icmp(IntCC::Equal, up, *extent);
            out.push(self.b.ins().select(full, zero, up));
            carry = self.b.ins().uextend(I64, full);
        }
        // The outermost axis never wraps before the range ends.
        out.reverse();
        out
    }

    /// Opens `for index in from..to` in steps; the first turn runs unconditionally, so the caller
    /// makes sure that there is one. Gives the carried values as the body sees them.
    pub(super) fn open_loop(
        &mut self,
        from: Value,
        to: Value,
        step: i64,
        init: &[Value],
    ) -> (OpenLoop, Vec<Value>) {
        let (header, exit) = (self.b.create_block(), self.b.create_block());
        let args: Vec<BlockArg> =
            std::iter::once(from).chain(init.iter().copied()).map(BlockArg::from).collect();
        let index = self.b.append_block_param(header, I64);
        let mut carried = Vec::new();
        for value in init {
            let ty = self.b.func.dfg.value_type(*value);
            carried.push(self.b.append_block_param(header, ty));
        }
        self.b.ins().jump(header, &args);
        self.b.switch_to_block(header);
        (OpenLoop { header, exit, index, limit: to, step }, carried)
    }

    /// Closes a loop; goes on after it, where the carried values are `next`.
    pub(super) fn close_loop(&mut self, open: OpenLoop, next: &[Value]) {
        let up = self.b.ins().iadd_imm_s(open.index, open.step);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, up, open.limit);
        let args: Vec<BlockArg> =
            std::iter::once(up).chain(next.iter().copied()).map(BlockArg::from).collect();
        self.b.ins().brif(more, open.header, &args, open.exit, &[]);
        self.b.switch_to_block(open.exit);
    }

    /// Runs `inside` if the condition holds; the results are its values, else `otherwise`.
    pub(super) fn when(
        &mut self,
        condition: Value,
        otherwise: &[Value],
        inside: impl FnOnce(&mut Self) -> Result<Vec<Value>>,
    ) -> Result<Vec<Value>> {
        let (run, done) = (self.b.create_block(), self.b.create_block());
        let types: Vec<Type> = otherwise.iter().map(|v| self.b.func.dfg.value_type(*v)).collect();
        let results = types.iter().map(|t| self.b.append_block_param(done, *t)).collect();
        let skip: Vec<BlockArg> = otherwise.iter().copied().map(BlockArg::from).collect();
        self.b.ins().brif(condition, run, &[], done, &skip);
        self.b.switch_to_block(run);
        let values: Vec<BlockArg> = inside(self)?.into_iter().map(BlockArg::from).collect();
        self.b.ins().jump(done, &values);
        self.b.switch_to_block(done);
        Ok(results)
    }

    /// Defines a loop or grid axis.
    pub(super) fn define_axis(&mut self, axis: &Axis, value: Value) {
        let last = axis.extent.clone() - Dim::ONE;
        let range = Range { low: Some(0), high: last.as_const().map(|h| h.max(0)), top: Some(last) };
        self.ranges.insert(axis.local.0, range);
        self.define(axis.local, DType::I64, value);
    }

    /// Defines a local.
    pub(super) fn define(&mut self, local: Local, dtype: DType, value: Value) {
        self.values[local.0 as usize] = Some(value);
        self.types[local.0 as usize] = dtype;
    }

    /// Gives a local that lives in vectors its type.
    pub(super) fn set_dtype(&mut self, local: Local, dtype: DType) {
        self.types[local.0 as usize] = dtype;
    }

    /// The value of a local.
    pub(super) fn read(&self, local: Local) -> Result<Value> {
        self.values[local.0 as usize].ok_or_else(|| format!("{local} before its definition"))
    }

    /// The type of a local.
    pub(super) fn dtype(&self, local: Local) -> DType {
        self.types[local.0 as usize]
    }

    /// A size: an expression over named symbols alone.
    pub(super) fn size(&mut self, dim: &Dim) -> Value {
        if let Some(v) = dim.as_const() {
            return self.b.ins().iconst(I64, v);
        }
        let slot = match self.slots_of_dims.get(dim) {
            Some(slot) => *slot,
            None => {
                self.dims.push(dim.clone());
                self.slots_of_dims.insert(dim.clone(), self.dims.len() - 1);
                self.dims.len() - 1
            }
        };
        self.b.ins().load(I64, fixed(), self.entry.dims, 8 * slot as i32)
    }

    /// The pointer to a buffer argument.
    pub(super) fn buffer(&mut self, number: u32) -> Value {
        self.b.ins().load(I64, fixed(), self.entry.buffers, 8 * number as i32)
    }

    /// The pointer to the thread's scratch memory.
    pub(super) fn scratch(&self) -> Value {
        self.entry.scratch
    }

    /// The pointer to a microkernel.
    pub(super) fn microkernel_pointer(&mut self, contract: &str, version: u32) -> Value {
        let number = self.contracts.number(contract, version);
        self.b.ins().load(I64, fixed(), self.entry.table, 8 * number as i32)
    }

    /// A piece of stack with a purpose; the same piece for the same purpose and size.
    pub(super) fn stack(&mut self, purpose: &'static str, bytes: u32) -> StackSlot {
        let b = &mut self.b;
        *self.stack.entry((purpose, bytes)).or_insert_with(|| {
            b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4))
        })
    }
}
