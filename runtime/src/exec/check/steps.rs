//! Checks steps.

use super::super::program::*;
use super::{Checked, Checker, MAX_DEPTH, PlanFault, is_integer, wrong};
use nnc_tensor::DType;
use nnc_tensor::plan::{BufferId, Carry, Loop, Source, Step};
use std::collections::HashMap;

impl Checker<'_> {
    pub(super) fn steps(&self, steps: &[Step], buffers: &[BufferInfo], depth: usize) -> Checked<Vec<Action>> {
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
        let plan = &self.plan.kernels[kernel.index()];
        for at in &plan.writes {
            match buffers.get(*at as usize) {
                Some(b) => self.writable(*b, all)?,
                None => return wrong(format!("kernel \"{}\" has no buffer {at}", plan.name)),
            }
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
    fn carry_move(&self, c: &Carry, l: &Loop, inside: &HashMap<BufferId, usize>, all: &[BufferInfo]) -> Move {
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
}

/// True where a carry's `next` shares memory with another carry's `current`.
fn crossed(carries: &[Carry], all: &[BufferInfo]) -> bool {
    let home = |b: BufferId| all[b.index()].home;
    carries
        .iter()
        .enumerate()
        .any(|(i, a)| carries.iter().enumerate().any(|(j, b)| i != j && home(a.next) == home(b.current)))
}

/// Counts how often steps mention each buffer.
pub(super) fn count_uses(steps: &[Step], uses: &mut HashMap<BufferId, usize>) {
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
