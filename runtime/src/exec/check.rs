//! Turns a stored plan into a [`Program`], or says what is wrong with it.

mod buffers;
mod steps;

use super::expr::{Symbols, UNKNOWN};
use super::program::*;
use super::routine::Routine;
use nnc_tensor::plan::{BufferId, Check, DimId, Place, Plan};
use nnc_tensor::{DType, Tensor};
use std::collections::HashMap;

/// Deepest nesting of branches and loops.
const MAX_DEPTH: usize = 64;
/// More dimensions than any operator has.
const MAX_RANK: usize = 64;

/// What is wrong with a plan.
pub(crate) enum PlanFault {
    /// An index, size or offset.
    Wrong(String),
    /// A routine that this build does not have.
    Routine(String),
}

type Checked<T> = Result<T, PlanFault>;

fn wrong<T>(message: impl Into<String>) -> Checked<T> {
    Err(PlanFault::Wrong(message.into()))
}

/// What the plan refers to.
pub(crate) struct Surroundings<'a> {
    pub(crate) code_len: usize,
    pub(crate) weights: &'a [u8],
    pub(crate) routines: &'a dyn Fn(&str) -> Option<Routine>,
}

/// Checks a plan.
pub(crate) fn check(plan: &Plan, around: &Surroundings<'_>) -> Checked<Program> {
    let mut c = Checker { plan, around, uses: HashMap::new(), symbols: Symbols::default(), late: Vec::new() };
    let (exprs, late_dims, dims_of_symbol) = c.sizes()?;
    let mut n = Counts::default();
    let mut buffers = Vec::with_capacity(plan.buffers.len());
    for at in 0..plan.buffers.len() {
        buffers.push(c.buffer(at, &late_dims, &mut n)?);
    }
    // Views need the homes of all others.
    for at in 0..buffers.len() {
        c.view(at, &mut buffers, &late_dims)?;
    }
    c.ports(&buffers, n.inputs)?;
    steps::count_uses(&plan.steps, &mut c.uses);
    let steps = c.steps(&plan.steps, &buffers, 0)?;
    let (late_checks, checks) = c.checks(&late_dims)?;
    let mut checks_of_symbol = vec![Vec::new(); c.symbols.names.len()];
    for check in late_checks {
        let mut symbols: Vec<u32> =
            [check.found, check.expected].iter().flat_map(|d| exprs.symbols_of(d.index())).collect();
        symbols.sort_unstable();
        symbols.dedup();
        symbols.into_iter().for_each(|s| checks_of_symbol[s as usize].push(check));
    }
    let kernels = c.kernels()?;
    let port = |p: &nnc_tensor::plan::Port| PortInfo {
        name: p.name.clone(),
        buffer: p.buffer,
        container: p.container.clone(),
    };
    let fixed = |d: &nnc_tensor::Dim| d.as_const().unwrap_or(UNKNOWN);
    let is_early = |at: &u32| {
        let at = *at as usize;
        !late_dims[at] && plan.dims[at].as_const().is_none()
    };
    Ok(Program {
        fixed_dims: plan.dims.iter().map(fixed).collect(),
        early_dims: (0..plan.dims.len() as u32).filter(is_early).collect(),
        late_symbols: c.late,
        symbols: c.symbols,
        exprs,
        dims: plan.dims.clone(),
        dims_of_symbol,
        buffers,
        arena: n.arena,
        n_late: n.late,
        n_slots: n.slots,
        strings: n.strings,
        inputs: plan.inputs.iter().map(port).collect(),
        outputs: plan.outputs.iter().map(port).collect(),
        kernels,
        checks,
        checks_of_symbol,
        nodes: plan.nodes.clone(),
        steps,
    })
}

#[derive(Default)]
struct Counts {
    arena: Vec<ArenaUse>,
    late: usize,
    slots: usize,
    inputs: Vec<usize>,
    strings: Vec<(usize, Tensor)>,
}

struct Checker<'a> {
    plan: &'a Plan,
    around: &'a Surroundings<'a>,
    symbols: Symbols,
    /// For each symbol, whether it is late.
    late: Vec<bool>,
    /// How often the steps mention a buffer.
    uses: HashMap<BufferId, usize>,
}

impl Checker<'_> {
    fn dim(&self, id: DimId) -> Checked<()> {
        if id.index() < self.plan.dims.len() { Ok(()) } else { wrong(format!("there is no size {}", id.0)) }
    }

    fn exists(&self, id: BufferId) -> Checked<()> {
        if id.index() < self.plan.buffers.len() {
            Ok(())
        } else {
            wrong(format!("there is no buffer {}", id.0))
        }
    }

    fn node(&self, node: u32) -> Checked<()> {
        if (node as usize) < self.plan.nodes.len() {
            Ok(())
        } else {
            wrong(format!("there is no node {node}"))
        }
    }

    fn ports(&self, buffers: &[BufferInfo], mut inputs: Vec<usize>) -> Checked<()> {
        inputs.sort_unstable();
        if !inputs.into_iter().eq(0..self.plan.inputs.len()) {
            return wrong("inputs and their buffers do not match");
        }
        for (i, port) in self.plan.inputs.iter().enumerate() {
            if self.plan.buffers[port.buffer.index()].place != Place::Input(i as u32) {
                return wrong(format!("input \"{}\" is not in its buffer", port.name));
            }
            if self.plan.inputs[..i].iter().any(|p| p.name == port.name) {
                return wrong(format!("two inputs are named \"{}\"", port.name));
            }
        }
        for port in &self.plan.outputs {
            self.exists(port.buffer)?;
            if port.container.is_some() && !matches!(buffers[port.buffer.index()].home, Home::Slot(_)) {
                return wrong(format!("output \"{}\" is not in a slot", port.name));
            }
        }
        Ok(())
    }

    fn checks(&self, late_dims: &[bool]) -> Checked<(Vec<CheckInfo>, Vec<CheckInfo>)> {
        for Check { found, expected, node, .. } in &self.plan.checks {
            self.dim(*found)?;
            self.dim(*expected)?;
            self.node(*node)?;
        }
        let info =
            |c: &Check| CheckInfo { found: c.found, expected: c.expected, or_one: c.or_one, node: c.node };
        let is_late = |c: &CheckInfo| late_dims[c.found.index()] || late_dims[c.expected.index()];
        Ok(self.plan.checks.iter().map(info).partition(is_late))
    }

    fn kernels(&self) -> Checked<Vec<KernelInfo>> {
        let kernel = |k: &nnc_tensor::plan::Kernel| {
            self.dim(k.scratch)?;
            match usize::try_from(k.offset).ok().filter(|o| *o < self.around.code_len) {
                Some(offset) => Ok(KernelInfo { name: k.name.clone(), offset, scratch: k.scratch }),
                None => wrong(format!("kernel \"{}\" lies outside the code", k.name)),
            }
        };
        self.plan.kernels.iter().map(kernel).collect()
    }

    fn bytes(&self, id: BufferId, all: &[BufferInfo]) -> Checked<()> {
        self.exists(id)?;
        match all[id.index()].home {
            Home::Slot(_) => wrong(format!("buffer {} is no bytes", id.0)),
            _ => Ok(()),
        }
    }

    /// A buffer that conditions and counts are read from.
    fn scalar(&self, id: BufferId, all: &[BufferInfo]) -> Checked<()> {
        self.bytes(id, all)?;
        if is_integer(all[id.index()].dtype) {
            Ok(())
        } else {
            wrong(format!("buffer {} is no condition or count", id.0))
        }
    }

    fn writable(&self, id: BufferId, all: &[BufferInfo]) -> Checked<()> {
        self.exists(id)?;
        let b = &all[id.index()];
        let fixed = match self.plan.buffers[id.index()].place {
            Place::Input(_) | Place::Constant { .. } => true,
            _ => matches!(b.home, Home::Input(_) | Home::Constant(_)),
        };
        if fixed { wrong(format!("buffer {} cannot be written", id.0)) } else { Ok(()) }
    }

    fn same_type(&self, a: BufferId, b: BufferId, all: &[BufferInfo]) -> Checked<()> {
        self.exists(a)?;
        self.exists(b)?;
        if all[a.index()].dtype == all[b.index()].dtype {
            Ok(())
        } else {
            wrong(format!("buffers {} and {} differ in type", a.0, b.0))
        }
    }
}

/// Whole bytes that hold an integer or a truth value.
fn is_integer(dtype: DType) -> bool {
    dtype == DType::Bool || (dtype.is_int() && !dtype.is_packed())
}
