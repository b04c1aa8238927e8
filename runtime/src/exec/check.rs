//! Turns a stored plan into a [`Program`], or says what is wrong with it.

use super::expr::{Exprs, Symbols, UNKNOWN};
use super::program::*;
use super::routine::Routine;
use nnc_tensor::plan::{BufferId, Check, DimId, Loop, Place, Plan, Source, Step};
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
    count_uses(&plan.steps, &mut c.uses);
    let steps = c.steps(&plan.steps, &buffers, 0)?;
    let (late_checks, checks) = c.checks(&late_dims)?;
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
        late_dims,
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
        late_checks,
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
    /// Compiles all sizes and tells early from late ones.
    #[allow(clippy::type_complexity)] // three tables that the caller takes apart at once
    fn sizes(&mut self) -> Checked<(Exprs, Vec<bool>, Vec<Vec<DimId>>)> {
        let mut exprs = Exprs::default();
        for (i, dim) in self.plan.dims.iter().enumerate() {
            if exprs.push(dim, &mut self.symbols).is_none() {
                return wrong(format!("size {i} is too deep"));
            }
        }
        let mut bound = Vec::new();
        bound_symbols(&self.plan.steps, &mut bound, 0)?;
        let bound: Vec<u32> = bound.iter().map(|s| self.symbols.number(s)).collect();
        let mut early = vec![false; self.symbols.names.len()];
        for port in &self.plan.inputs {
            let Some(buffer) = self.plan.buffers.get(port.buffer.index()) else {
                return wrong(format!("input \"{}\" has no buffer", port.name));
            };
            for dim in &buffer.shape {
                self.dim(*dim)?;
                exprs.symbols_of(dim.index()).for_each(|s| early[s as usize] = true);
            }
        }
        self.late = vec![false; early.len()];
        for s in bound {
            if early[s as usize] {
                return wrong(format!("size \"{}\" is given twice", self.symbols.names[s as usize]));
            }
            self.late[s as usize] = true;
        }
        self.late_by_results(&exprs, &early);
        if let Some(s) = (0..early.len()).find(|s| !early[*s] && !self.late[*s]) {
            return wrong(format!("nothing gives size \"{}\" its value", self.symbols.names[s]));
        }
        let mut dims_of_symbol = vec![Vec::new(); early.len()];
        let mut late_dims = vec![false; self.plan.dims.len()];
        for (at, late) in late_dims.iter_mut().enumerate() {
            for s in exprs.symbols_of(at).filter(|s| self.late[*s as usize]) {
                *late = true;
                dims_of_symbol[s as usize].push(DimId(at as u32));
            }
        }
        Ok((exprs, late_dims, dims_of_symbol))
    }

    /// A size that is a symbol alone gets its value from the routine that makes a late buffer with it.
    fn late_by_results(&mut self, exprs: &Exprs, early: &[bool]) {
        for buffer in self.plan.buffers.iter().filter(|b| matches!(b.place, Place::Late | Place::Slot)) {
            for dim in buffer.shape.iter().filter(|d| d.index() < self.plan.dims.len()) {
                if let Some(s) = exprs.lone_symbol(dim.index()).filter(|s| !early[*s as usize]) {
                    self.late[s as usize] = true;
                }
            }
        }
    }

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

    fn buffer(&self, at: usize, late_dims: &[bool], n: &mut Counts) -> Checked<BufferInfo> {
        let b = &self.plan.buffers[at];
        if b.shape.len() > MAX_RANK {
            return wrong(format!("buffer {at} has {} dimensions", b.shape.len()));
        }
        b.shape.iter().try_for_each(|d| self.dim(*d))?;
        let late_shape = b.shape.iter().any(|d| late_dims[d.index()]);
        let container = self.plan.inputs.iter().any(|p| p.container.is_some() && p.buffer.index() == at);
        let slot = |n: &mut Counts| {
            n.slots += 1;
            Home::Slot(n.slots - 1)
        };
        let home = match &b.place {
            Place::Input(i) => {
                n.inputs.push(*i as usize);
                if b.dtype == DType::Str || container { slot(n) } else { Home::Input(*i as usize) }
            }
            Place::Constant { offset, len } => match self.constant(at, *offset, *len)? {
                Some(strings) => {
                    n.strings.push((n.slots, strings));
                    slot(n)
                }
                None => Home::Constant(*offset as usize),
            },
            Place::Slot => slot(n),
            Place::Arena { .. } | Place::Late if b.dtype == DType::Str => slot(n),
            Place::Arena { first, last } => {
                if late_shape {
                    return wrong(format!("buffer {at} of the arena has a size that is found too late"));
                }
                if first > last {
                    return wrong(format!("buffer {at} ends before it begins"));
                }
                n.arena.push(ArenaUse { buffer: BufferId(at as u32), first: *first, last: *last });
                Home::Arena(n.arena.len() - 1)
            }
            Place::Late => {
                n.late += 1;
                Home::Late(n.late - 1)
            }
            // Its chain is followed when all homes are known.
            Place::View { .. } => Home::Slot(usize::MAX),
        };
        let late = late_shape || matches!(home, Home::Late(_));
        Ok(BufferInfo { dtype: b.dtype, shape: b.shape.clone().into(), home, view: Box::new([]), late })
    }

    /// Checks a constant's range and size; decodes strings.
    fn constant(&self, at: usize, offset: u64, len: u64) -> Checked<Option<Tensor>> {
        let b = &self.plan.buffers[at];
        let range =
            usize::try_from(offset).ok().zip(offset.checked_add(len).and_then(|e| usize::try_from(e).ok()));
        let Some(bytes) = range.and_then(|(from, to)| self.around.weights.get(from..to)) else {
            return wrong(format!("constant {at} lies outside the weights"));
        };
        let sizes: Option<Vec<usize>> = b.shape.iter().map(|d| self.plan.dims[d.index()].as_len()).collect();
        let Some(shape) = sizes else { return wrong(format!("constant {at} has no fixed size")) };
        let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if b.dtype == DType::Str {
            let strings = count.and_then(|n| decode_strings(bytes, n));
            let tensor = strings.and_then(|s| Tensor::from_strings(&shape, s).ok());
            return match tensor {
                Some(t) => Ok(Some(t)),
                None => wrong(format!("string constant {at} cannot be decoded")),
            };
        }
        if count.and_then(|n| b.dtype.bytes_for(n)) != Some(bytes.len()) {
            return wrong(format!("constant {at} has {len} bytes, which is not its size"));
        }
        Ok(None)
    }

    fn view(&self, at: usize, buffers: &mut [BufferInfo], late_dims: &[bool]) -> Checked<()> {
        let (mut chain, mut root) = (Vec::new(), at);
        while let Place::View { of, offset } = &self.plan.buffers[root].place {
            self.exists(*of)?;
            self.dim(*offset)?;
            chain.push((*offset, self.plan.buffers[root].dtype.bits()));
            if chain.len() > self.plan.buffers.len() {
                return wrong(format!("buffer {at} is a view of itself"));
            }
            root = of.index();
        }
        if chain.is_empty() {
            return Ok(());
        }
        let home = buffers[root].home;
        if matches!(home, Home::Slot(_)) || buffers[at].dtype == DType::Str {
            return wrong(format!("buffer {at} is a view of something that is no bytes"));
        }
        let late = chain.iter().any(|(d, _)| late_dims[d.index()]) || buffers[root].late;
        let b = &mut buffers[at];
        b.home = home;
        b.view = chain.into();
        b.late |= late;
        Ok(())
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
        for Check { found, expected, node } in &self.plan.checks {
            self.dim(*found)?;
            self.dim(*expected)?;
            self.node(*node)?;
        }
        let info = |c: &Check| CheckInfo { found: c.found, expected: c.expected, node: c.node };
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

    fn steps(&self, steps: &[Step], buffers: &[BufferInfo], depth: usize) -> Checked<Vec<Action>> {
        if depth > MAX_DEPTH {
            return wrong(format!("steps are nested deeper than {MAX_DEPTH}"));
        }
        steps.iter().map(|s| self.step(s, buffers, depth)).collect()
    }

    fn step(&self, step: &Step, buffers: &[BufferInfo], depth: usize) -> Checked<Action> {
        Ok(match step {
            Step::Launch { .. } => Action::Launch(self.launch(step, buffers)?),
            Step::Routine { .. } => Action::Routine(self.routine(step, buffers)?),
            Step::Copy { from, to } => {
                self.exists(*from)?;
                self.writable(*to, buffers)?;
                self.same_type(*from, *to, buffers)?;
                Action::Copy { from: *from, to: *to }
            }
            Step::Bind { source, sym } => self.bind(source, sym, buffers)?,
            Step::If { cond, then, otherwise } => {
                self.scalar(*cond, buffers)?;
                let (then, otherwise) =
                    (self.steps(then, buffers, depth + 1)?, self.steps(otherwise, buffers, depth + 1)?);
                Action::If { cond: *cond, then, otherwise }
            }
            Step::Loop(l) => Action::Loop(Box::new(self.looping(l, buffers, depth)?)),
        })
    }

    fn launch(&self, step: &Step, all: &[BufferInfo]) -> Checked<LaunchInfo> {
        let Step::Launch { kernel, buffers, dims, grid, cost_ns, node } = step else {
            return wrong("a launch is expected");
        };
        if kernel.index() >= self.plan.kernels.len() {
            return wrong(format!("there is no kernel {}", kernel.0));
        }
        self.node(*node)?;
        dims.iter().chain([grid, cost_ns]).try_for_each(|d| self.dim(*d))?;
        for b in buffers {
            self.bytes(*b, all)?;
        }
        Ok(LaunchInfo {
            kernel: kernel.index(),
            late: buffers.iter().copied().filter(|b| all[b.index()].late).collect(),
            buffers: buffers.clone().into(),
            dims: dims.clone().into(),
            grid: *grid,
            cost_ns: *cost_ns,
            node: *node,
        })
    }

    fn routine(&self, step: &Step, all: &[BufferInfo]) -> Checked<RoutineInfo> {
        let Step::Routine { name, attrs, inputs, outputs, node } = step else {
            return wrong("a routine is expected");
        };
        self.node(*node)?;
        inputs.iter().try_for_each(|b| self.exists(*b))?;
        outputs.iter().try_for_each(|b| self.writable(*b, all))?;
        let Some(routine) = (self.around.routines)(name) else {
            return Err(PlanFault::Routine(name.clone()));
        };
        Ok(RoutineInfo {
            name: name.clone(),
            routine,
            attrs: attrs.clone().into(),
            inputs: inputs.clone().into(),
            outputs: outputs.clone().into(),
            node: *node,
        })
    }

    fn bind(&self, source: &Source, sym: &nnc_tensor::Sym, all: &[BufferInfo]) -> Checked<Action> {
        let at = self.symbols.names.iter().position(|s| s == sym);
        let Some(symbol) = at else { return wrong(format!("there is no size \"{sym}\"")) };
        let symbol = symbol as u32;
        match source {
            Source::Element(from, element) => {
                self.bytes(*from, all)?;
                if !is_integer(all[from.index()].dtype) {
                    return wrong(format!("size \"{sym}\" is taken from a {}", all[from.index()].dtype));
                }
                Ok(Action::BindElement { from: *from, element: *element as usize, symbol })
            }
            Source::Size(from, axis) => {
                self.exists(*from)?;
                if *axis as usize >= all[from.index()].shape.len() {
                    return wrong(format!("buffer {} has no dimension {axis}", from.0));
                }
                Ok(Action::BindSize { from: *from, axis: *axis as usize, symbol })
            }
        }
    }

    fn looping(&self, l: &Loop, all: &[BufferInfo], depth: usize) -> Checked<LoopInfo> {
        self.node(l.node)?;
        for b in l.trip.iter().chain(&l.cond).chain(&l.next_cond).chain([&l.counter]) {
            self.scalar(*b, all)?;
        }
        self.writable(l.counter, all)?;
        if all[l.counter.index()].dtype != DType::I64 {
            return wrong("a loop's counter is no i64");
        }
        let mut inside = HashMap::new();
        count_uses(&l.body, &mut inside);
        let mut carries = Vec::with_capacity(l.carries.len());
        for c in &l.carries {
            self.exists(c.init)?;
            self.exists(c.next)?;
            self.writable(c.current, all)?;
            self.same_type(c.init, c.current, all)?;
            self.same_type(c.next, c.current, all)?;
            let by = self.carry_move(c, l, &inside, all);
            carries.push(CarryInfo { init: c.init, current: c.current, next: c.next, by });
        }
        for s in &l.scans {
            self.bytes(s.element, all)?;
            self.same_type(s.element, s.output, all)?;
            let b = &all[s.output.index()];
            if !matches!(b.home, Home::Late(_)) || b.is_view() || b.shape.is_empty() || b.dtype.is_packed() {
                return wrong(format!("buffer {} cannot collect values of a loop", s.output.0));
            }
        }
        Ok(LoopInfo {
            trip: l.trip,
            cond: l.cond,
            counter: l.counter,
            next_cond: l.next_cond,
            crossed: crossed(&l.carries, all),
            carries,
            scans: l.scans.iter().map(|s| (s.element, s.output)).collect(),
            body: self.steps(&l.body, all, depth + 1)?,
            node: l.node,
        })
    }

    /// Swapping is allowed where only the body touches `next`, once as a carry.
    fn carry_move(
        &self,
        c: &nnc_tensor::plan::Carry,
        l: &Loop,
        inside: &HashMap<BufferId, usize>,
        all: &[BufferInfo],
    ) -> Move {
        if c.next == c.current {
            return Move::Stay;
        }
        let whole = |b: BufferId| matches!(all[b.index()].home, Home::Late(_)) && !all[b.index()].is_view();
        let mut own = inside.get(&c.next).copied().unwrap_or(0);
        own += l.carries.iter().filter(|o| o.next == c.next).count();
        own += l.scans.iter().filter(|s| s.element == c.next).count();
        let viewed = all.iter().any(|b| b.is_view() && b.home == all[c.next.index()].home);
        let once = l.carries.iter().filter(|o| o.next == c.next).count() == 1;
        let is_output = self.plan.outputs.iter().any(|p| p.buffer == c.next);
        let local = self.uses.get(&c.next).copied().unwrap_or(0) == own;
        if whole(c.next) && whole(c.current) && once && local && !viewed && !is_output {
            Move::Swap
        } else {
            Move::Copy
        }
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

/// True where a carry's `next` shares memory with another carry's `current`.
fn crossed(carries: &[nnc_tensor::plan::Carry], all: &[BufferInfo]) -> bool {
    let home = |b: BufferId| all[b.index()].home;
    carries
        .iter()
        .enumerate()
        .any(|(i, a)| carries.iter().enumerate().any(|(j, b)| i != j && home(a.next) == home(b.current)))
}

fn decode_strings(mut bytes: &[u8], count: usize) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        strings.push(text.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(strings)
}

/// The symbols that `Bind` steps give values to.
fn bound_symbols(steps: &[Step], found: &mut Vec<nnc_tensor::Sym>, depth: usize) -> Checked<()> {
    if depth > MAX_DEPTH {
        return wrong(format!("steps are nested deeper than {MAX_DEPTH}"));
    }
    for step in steps {
        match step {
            Step::Bind { sym, .. } => found.push(sym.clone()),
            Step::If { then, otherwise, .. } => {
                bound_symbols(then, found, depth + 1)?;
                bound_symbols(otherwise, found, depth + 1)?;
            }
            Step::Loop(l) => bound_symbols(&l.body, found, depth + 1)?,
            _ => {}
        }
    }
    Ok(())
}

/// Counts how often steps mention each buffer.
fn count_uses(steps: &[Step], uses: &mut HashMap<BufferId, usize>) {
    for step in steps {
        for b in mentioned(step) {
            *uses.entry(b).or_default() += 1;
        }
        match step {
            Step::If { then, otherwise, .. } => {
                count_uses(then, uses);
                count_uses(otherwise, uses);
            }
            Step::Loop(l) => count_uses(&l.body, uses),
            _ => {}
        }
    }
}

/// The buffers that a step mentions itself, not those of its bodies.
fn mentioned(step: &Step) -> Vec<BufferId> {
    match step {
        Step::Launch { buffers, .. } => buffers.clone(),
        Step::Routine { inputs, outputs, .. } => [inputs.as_slice(), outputs].concat(),
        Step::Copy { from, to } => vec![*from, *to],
        Step::Bind { source: Source::Element(b, _) | Source::Size(b, _), .. } => vec![*b],
        Step::If { cond, .. } => vec![*cond],
        Step::Loop(l) => {
            let mut all: Vec<BufferId> = [l.trip, l.cond, l.next_cond].into_iter().flatten().collect();
            all.push(l.counter);
            all.extend(l.carries.iter().flat_map(|c| [c.init, c.current, c.next]));
            all.extend(l.scans.iter().flat_map(|s| [s.element, s.output]));
            all
        }
    }
}
