//! One run: executes the steps of a program over a session's memory.
//!
//! Bytes are reached through slices of their home (arena, late block, constant, input), never
//! through pointers; only launches hand out addresses.

use super::bind::{Binding, Span, byte_len, bytes_for, check_sizes, known, place, size};
use super::device::Resident;
use super::expr::UNKNOWN;
use super::limits::Limits;
use super::memory::Memory;
use super::program::{Action, Home, Program, RoutineInfo};
use super::{Profile, RunError, TensorView};
use crate::artifact::Artifact;
use crate::pool::Executor;
use nnc_tensor::plan::{BufferId, DimId};
use nnc_tensor::{Recycled, Tensor, Value};
use std::time::Instant;

/// The state of a run.
pub(crate) struct Run<'a> {
    pub(crate) artifact: &'a Artifact,
    pub(crate) program: &'a Program,
    pub(crate) binding: &'a Binding,
    pub(crate) memory: &'a mut Memory,
    pub(crate) inputs: &'a [TensorView<'a>],
    /// Inputs and outputs on the device, whose views are empty.
    pub(crate) resident: Resident<'a>,
    pub(crate) limits: Limits,
    pub(crate) executor: &'a dyn Executor,
    pub(crate) profile: Option<&'a mut Profile>,
    /// The step under way at the plan's top level.
    pub(crate) step: usize,
}

impl Run<'_> {
    /// Executes all steps.
    pub(crate) fn run(&mut self) -> Result<(), RunError> {
        let program = self.program;
        match self.artifact.device() {
            Some(on) => self.begin_on(on)?,
            None => self.address_all(),
        }
        let mut at = 0;
        for action in &program.steps {
            self.step = at;
            self.action(action)?;
            at += action.n_steps();
        }
        self.artifact.device().map_or(Ok(()), |on| self.settle(on))
    }

    /// Executes a body of a branch or loop.
    pub(crate) fn body(&mut self, actions: &[Action]) -> Result<(), RunError> {
        actions.iter().try_for_each(|a| self.action(a))
    }

    fn action(&mut self, action: &Action) -> Result<(), RunError> {
        self.limits.poll()?;
        let start = self.profile.is_some().then(Instant::now);
        let program = self.program;
        let (result, node) = match action {
            Action::Launch(l) => (self.launch(l), program.node(l.node)),
            Action::Group(g) => {
                (self.artifact.device().map_or(Ok(()), |on| self.group(on, g)), program.node(g.node()))
            }
            Action::Routine(r) => (self.routine(r), program.node(r.node)),
            Action::Copy { from, to } => (self.copy(*from, *to), ""),
            Action::BindElement { from, element, symbol } => {
                (self.fetched(*from, *element).and_then(|v| self.bind(*symbol, v)), "")
            }
            Action::BindSize { from, axis, symbol } => (self.bind_size(*from, *axis, *symbol), ""),
            Action::If { cond, then, otherwise } => {
                let taken = match self.fetched(*cond, 0) {
                    Ok(0) => otherwise,
                    Ok(_) => then,
                    Err(e) => return Err(e.at(self.step, "")),
                };
                return self.body(taken);
            }
            Action::Loop(l) => (self.looping(l), program.node(l.node)),
        };
        if let Some(start) = start {
            self.record(action, node, start);
        }
        result.map_err(|e| e.at(self.step, node))
    }

    fn record(&mut self, action: &Action, node: &str, start: Instant) {
        let (name, buffers): (&str, Vec<BufferId>) = match action {
            // Recorded with the device's times.
            Action::Launch(_) if self.artifact.device().is_some() => return,
            Action::Launch(l) => (&self.program.kernels[l.kernel].name, l.buffers.to_vec()),
            Action::Routine(r) => (&r.name, [&r.inputs[..], &r.outputs].concat()),
            Action::Copy { from, to } => ("copy", vec![*from, *to]),
            // Their bodies' steps have rows of their own.
            _ => return,
        };
        let bytes = buffers.iter().filter_map(|b| self.span(*b).ok()).map(|s| s.len as u64).sum();
        if let Some(profile) = &mut self.profile {
            profile.record(self.step, node, name, start, bytes);
        }
    }

    /// A size that is known.
    pub(crate) fn dim(&self, id: DimId) -> Result<i64, RunError> {
        known(self.program, id, &self.memory.dims)
    }

    /// A size that is known and not negative.
    pub(crate) fn size(&self, id: DimId) -> Result<usize, RunError> {
        size(self.program, id, &self.memory.dims)
    }

    /// The range that a buffer's home has in its memory.
    pub(super) fn base(&self, home: Home) -> Result<Span, RunError> {
        Ok(match home {
            Home::Input(i) => self.binding.spans[self.program.inputs[i].buffer.index()],
            Home::Constant(offset) => Span { offset, len: self.artifact.weights().len() - offset },
            Home::Arena(i) => self.binding.arena[i],
            Home::Late(i) if self.memory.late[i].known => Span { offset: 0, len: self.memory.late[i].len },
            Home::Late(_) | Home::Slot(_) => return Err(RunError::NotComputed),
        })
    }

    /// The range of a buffer in its home's memory.
    pub(crate) fn span(&self, id: BufferId) -> Result<Span, RunError> {
        if self.program.has_early_span(id) {
            return Ok(self.binding.spans[id.index()]);
        }
        let b = self.program.buffer(id);
        let base = self.base(b.home)?;
        if b.is_view() || !matches!(b.home, Home::Late(_)) {
            let len = byte_len(self.program, id, &self.memory.dims)?;
            place(self.program, id, &self.memory.dims, base, len)
        } else {
            Ok(base)
        }
    }

    /// A buffer's bytes.
    pub(crate) fn bytes(&self, id: BufferId) -> Result<&[u8], RunError> {
        let span = self.span(id)?;
        let memory = match self.program.buffer(id).home {
            Home::Input(i) => self.memory.staged[i].of(self.inputs[i].data),
            Home::Constant(_) => self.artifact.weights(),
            Home::Arena(_) => &self.memory.arena,
            Home::Late(i) => &self.memory.late[i].block,
            Home::Slot(_) => return Err(RunError::NotComputed),
        };
        memory.get(span.offset..span.offset + span.len).ok_or(RunError::OutOfBounds)
    }

    /// The bytes of a buffer that may be written.
    pub(crate) fn bytes_mut(&mut self, id: BufferId) -> Result<&mut [u8], RunError> {
        let span = self.span(id)?;
        let memory: &mut [u8] = match self.program.buffer(id).home {
            Home::Arena(_) => &mut self.memory.arena,
            Home::Late(i) => &mut self.memory.late[i].block,
            Home::Input(_) | Home::Constant(_) | Home::Slot(_) => return Err(RunError::NotComputed),
        };
        memory.get_mut(span.offset..span.offset + span.len).ok_or(RunError::OutOfBounds)
    }

    /// The size that a buffer has now.
    pub(crate) fn size_of(&self, id: BufferId, axis: usize) -> Result<usize, RunError> {
        let b = self.program.buffer(id);
        match b.home {
            Home::Late(i) if !b.is_view() && self.memory.late[i].known => {
                self.memory.late[i].shape.get(axis).copied().ok_or(RunError::OutOfBounds)
            }
            Home::Slot(i) => match &self.memory.slots[i] {
                Some(Value::Tensor(t)) => t.shape().get(axis).copied().ok_or(RunError::OutOfBounds),
                _ => Err(RunError::NotComputed),
            },
            _ => self.size(b.shape[axis]),
        }
    }

    /// An integer element of a buffer.
    pub(crate) fn element(&self, id: BufferId, at: usize) -> Result<i64, RunError> {
        let (dtype, bytes) = (self.program.buffer(id).dtype, self.bytes(id)?);
        let width = dtype.size().max(1);
        let bytes = bytes.get(at.saturating_mul(width)..).and_then(|b| b.get(..width));
        let bytes = bytes.ok_or(RunError::OutOfBounds)?;
        let signed = dtype.kind() == nnc_tensor::Kind::Int;
        let fill = if signed && bytes[width - 1] >= 0x80 { 0xff } else { 0 };
        let mut word = [fill; 8];
        word[..width].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(word))
    }

    /// An integer element of a buffer, wherever its latest content is.
    pub(crate) fn fetched(&mut self, id: BufferId, at: usize) -> Result<i64, RunError> {
        self.fetch(id)?;
        self.element(id, at)
    }

    /// Gives a late symbol its value and computes what depends on it.
    pub(crate) fn bind(&mut self, symbol: u32, value: i64) -> Result<(), RunError> {
        let program = self.program;
        self.memory.values[symbol as usize] = value;
        for dim in &program.dims_of_symbol[symbol as usize] {
            let value = program.exprs.eval(dim.index(), &program.symbols, &self.memory.values);
            self.memory.dims[dim.index()] = match value {
                Ok(v) => v,
                Err(nnc_tensor::DimError::Unbound(_)) => UNKNOWN,
                Err(e) => return Err(e.into()),
            };
        }
        check_sizes(program, &program.checks_of_symbol[symbol as usize], &self.memory.dims)
    }

    fn bind_size(&mut self, from: BufferId, axis: usize, symbol: u32) -> Result<(), RunError> {
        let size = i64::try_from(self.size_of(from, axis)?).map_err(|_| nnc_tensor::DimError::Overflow)?;
        self.bind(symbol, size)
    }

    /// Gives a late block a shape and room for it.
    pub(crate) fn reshape_late(&mut self, at: usize, id: BufferId, sizes: &[usize]) -> Result<(), RunError> {
        let dtype = self.program.buffer(id).dtype;
        let count = sizes.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
        let len = bytes_for(dtype, count.ok_or(RunError::TooLarge { dtype })?)?;
        self.memory.size_late(at, len, &self.limits)?;
        let late = &mut self.memory.late[at];
        late.shape.clear();
        late.shape.extend_from_slice(sizes);
        late.known = true;
        Ok(())
    }

    /// Copies all elements; a late target takes the source's size.
    pub(crate) fn copy(&mut self, from: BufferId, to: BufferId) -> Result<(), RunError> {
        let (source, target) = (self.program.buffer(from), self.program.buffer(to));
        if matches!(source.home, Home::Slot(_)) || matches!(target.home, Home::Slot(_)) {
            let value = self.value(from)?;
            return self.store(to, value);
        }
        if source.home == target.home && self.span(from)? == self.span(to).unwrap_or_default() {
            return Ok(());
        }
        if let Home::Late(i) = target.home
            && !target.is_view()
            && source.home != target.home
        {
            self.take_shape(i, from, to)?;
        }
        let (a, b) = (self.span(from)?, self.span(to)?);
        if a.len != b.len {
            return Err(RunError::Result { expected: format!("{} bytes", b.len), found: a.len.to_string() });
        }
        if self.copy_there(from, to)? {
            return Ok(());
        }
        self.fetch(from)?;
        self.fetch(to)?;
        self.copy_bytes((source.home, a), (target.home, b))?;
        self.wrote(to);
        Ok(())
    }

    /// Gives the late block `at` of buffer `to` the shape that `from` has now.
    fn take_shape(&mut self, at: usize, from: BufferId, to: BufferId) -> Result<(), RunError> {
        let mut sizes = std::mem::take(&mut self.memory.sizes);
        sizes.clear();
        for axis in 0..self.rank(from) {
            sizes.push(self.size_of(from, axis)?);
        }
        let result = self.reshape_late(at, to, &sizes);
        self.memory.sizes = sizes;
        result
    }

    pub(super) fn rank(&self, id: BufferId) -> usize {
        let b = self.program.buffer(id);
        match b.home {
            Home::Late(i) if !b.is_view() && self.memory.late[i].known => self.memory.late[i].shape.len(),
            _ => b.shape.len(),
        }
    }

    fn copy_bytes(&mut self, from: (Home, Span), to: (Home, Span)) -> Result<(), RunError> {
        let range = |s: Span| s.offset..s.offset + s.len;
        let (source, target) = (range(from.1), range(to.1));
        let (artifact, inputs, memory) = (self.artifact, self.inputs, &mut *self.memory);
        match (from.0, to.0) {
            (Home::Arena(_), Home::Arena(_)) => memory.arena.copy_within(source, target.start),
            (Home::Late(i), Home::Late(j)) if i == j => {
                memory.late[i].block.copy_within(source, target.start);
            }
            (Home::Late(i), Home::Late(j)) => {
                let [a, b] = memory.late.get_disjoint_mut([i, j]).map_err(|_| RunError::OutOfBounds)?;
                b.block[target].copy_from_slice(&a.block[source]);
            }
            (Home::Arena(_), Home::Late(j)) => {
                memory.late[j].block[target].copy_from_slice(&memory.arena[source]);
            }
            (home, Home::Arena(_)) => {
                let bytes = match home {
                    Home::Late(i) => &memory.late[i].block[source],
                    Home::Input(i) => &memory.staged[i].of(inputs[i].data)[source],
                    _ => &artifact.weights()[source],
                };
                memory.arena[target].copy_from_slice(bytes);
            }
            (home, Home::Late(j)) => {
                let bytes = match home {
                    Home::Input(i) => &memory.staged[i].of(inputs[i].data)[source],
                    _ => &artifact.weights()[source],
                };
                memory.late[j].block[target].copy_from_slice(bytes);
            }
            _ => return Err(RunError::NotComputed),
        }
        Ok(())
    }

    /// A buffer's value as the application and routines see it; a slot that nothing was put into
    /// is none.
    pub(crate) fn value(&mut self, id: BufferId) -> Result<Value, RunError> {
        self.value_in(id, &mut Recycled::default())
    }

    /// The same, in memory of the caller's where it is computed.
    pub(crate) fn value_in(&mut self, id: BufferId, memory: &mut Recycled) -> Result<Value, RunError> {
        let b = self.program.buffer(id);
        if let Home::Slot(i) = b.home {
            return Ok(self.memory.slots[i].clone().unwrap_or(Value::Optional(None)));
        }
        self.fetch(id)?;
        let shape: Result<Vec<usize>, RunError> = (0..self.rank(id)).map(|a| self.size_of(id, a)).collect();
        if let Home::Constant(_) = b.home {
            let span = self.span(id)?;
            let bytes = self.artifact.shared_weights(span.offset..span.offset + span.len);
            return Ok(Tensor::new(b.dtype, shape?, bytes.ok_or(RunError::OutOfBounds)?)?.into());
        }
        Ok(Tensor::new(b.dtype, shape?, memory.copy_of(self.bytes(id)?))?.into())
    }

    /// Puts a value into a buffer.
    pub(crate) fn store(&mut self, id: BufferId, value: Value) -> Result<(), RunError> {
        let b = self.program.buffer(id);
        if let Home::Slot(i) = b.home {
            self.memory.slots[i] = Some(value);
            return Ok(());
        }
        let expected = || format!("{} with {} dimensions", b.dtype, b.shape.len());
        let Value::Tensor(t) = &value else {
            return Err(RunError::Result { expected: expected(), found: kind_of(&value).to_owned() });
        };
        if t.dtype() != b.dtype || t.rank() != b.shape.len() {
            return Err(RunError::Result { expected: expected(), found: format!("{t:?}") });
        }
        match b.home {
            Home::Late(i) if !b.is_view() => self.reshape_late(i, id, t.shape())?,
            _ => {
                for (axis, found) in t.shape().iter().enumerate() {
                    let expected = self.size_of(id, axis)?;
                    if expected != *found {
                        let (expected, found) = (format!("size {expected} at {axis}"), format!("{t:?}"));
                        return Err(RunError::Result { expected, found });
                    }
                }
            }
        }
        if b.is_view() {
            self.fetch(id)?;
        }
        self.bytes_mut(id)?.copy_from_slice(t.bytes());
        self.wrote(id);
        Ok(())
    }

    fn routine(&mut self, r: &RoutineInfo) -> Result<(), RunError> {
        let mut inputs = Vec::with_capacity(r.inputs.len());
        for b in &r.inputs {
            inputs.push(self.value(*b)?);
        }
        let failed = |source| RunError::Routine { name: r.name.clone(), source };
        let results = r.routine.run(&r.attrs, &inputs).map_err(failed)?;
        if results.len() != r.outputs.len() {
            let (expected, found) = (r.outputs.len(), results.len());
            return Err(RunError::Count { what: "results", expected, found });
        }
        for (id, value) in r.outputs.iter().zip(results) {
            self.store(*id, value)?;
        }
        self.bind_results(&r.outputs)
    }

    /// Symbols that stand alone in the shapes of results get the sizes found; then all known sizes
    /// of the results must be those found.
    fn bind_results(&mut self, outputs: &[BufferId]) -> Result<(), RunError> {
        let program = self.program;
        let mut bound: Vec<u32> = Vec::new();
        let is_tensor = |run: &Self, id: BufferId| match program.buffer(id).home {
            Home::Slot(i) => {
                matches!(&run.memory.slots[i], Some(Value::Tensor(t)) if t.rank() == program.buffer(id).shape.len())
            }
            _ => true,
        };
        for id in outputs.iter().copied().filter(|id| is_tensor(self, *id)).collect::<Vec<_>>() {
            for (axis, dim) in program.buffer(id).shape.iter().enumerate() {
                if let Some(s) = program.exprs.lone_symbol(dim.index())
                    && program.late_symbols[s as usize]
                    && !bound.contains(&s)
                {
                    bound.push(s);
                    self.bind_size(id, axis, s)?;
                }
            }
        }
        for id in outputs.iter().copied().filter(|id| is_tensor(self, *id)) {
            for (axis, dim) in program.buffer(id).shape.iter().enumerate() {
                let (found, expected) = (self.size_of(id, axis)?, self.memory.dims[dim.index()]);
                if expected != UNKNOWN && i64::try_from(found) != Ok(expected) {
                    let expected = format!("{} = {expected}", program.dims[dim.index()]);
                    return Err(RunError::Disagree {
                        expected,
                        found: found.to_string(),
                        given: String::new(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Bytes that a buffer has by its declared shape, where all its sizes are known.
    pub(crate) fn declared_len(&self, id: BufferId) -> Option<Result<usize, RunError>> {
        let shape = &self.program.buffer(id).shape;
        let known = shape.iter().all(|d| self.memory.dims[d.index()] != UNKNOWN);
        known.then(|| byte_len(self.program, id, &self.memory.dims))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Tensor(_) => "a tensor",
        Value::Sequence(_) => "a sequence",
        Value::Optional(_) => "an optional",
        Value::Map(_) => "a map",
    }
}
