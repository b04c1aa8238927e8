//! Launches that follow each other and whose sizes follow from the inputs' shapes: a group, which is
//! recorded once for a binding and then started as a whole. Steps of the host stand between groups.

use super::tapes::{Surroundings, Take};
use super::{DeviceMemory, DeviceProgram, Side};
use crate::artifact::DeviceEntry;
use crate::exec::RunError;
use crate::exec::expr::UNKNOWN;
use crate::exec::program::{Action, LaunchInfo, Program};
use crate::exec::run::Run;
use nnc_tensor::plan::{BufferId, DimId, Plan};

/// Launches that are recorded together.
pub(crate) struct Group {
    number: usize,
    /// Each is a step of the plan's top level.
    is_top: bool,
    launches: Vec<LaunchInfo>,
    /// Their buffers, each once.
    buffers: Vec<BufferId>,
    /// Those that they write.
    written: Vec<BufferId>,
}

impl Group {
    /// Steps of the plan that it stands for.
    pub(crate) fn n_steps(&self) -> usize {
        self.launches.len()
    }

    /// The node of its first launch.
    pub(crate) fn node(&self) -> u32 {
        self.launches.first().map_or(0, |l| l.node)
    }
}

/// Makes groups of a program's launches; gives their number.
pub(super) fn group(program: &mut Program, plan: &Plan, entries: &[DeviceEntry]) -> usize {
    let steps = std::mem::take(&mut program.steps);
    let mut grouping = Grouping { program, plan, entries, groups: 0 };
    let (steps, groups) = (grouping.steps(steps, true), grouping.groups);
    program.steps = steps;
    groups
}

struct Grouping<'a> {
    program: &'a Program,
    plan: &'a Plan,
    entries: &'a [DeviceEntry],
    groups: usize,
}

impl Grouping<'_> {
    fn steps(&mut self, steps: Vec<Action>, is_top: bool) -> Vec<Action> {
        let (mut out, mut fixed) = (Vec::with_capacity(steps.len()), Vec::new());
        for step in steps {
            match step {
                Action::Launch(l) if self.is_fixed(&l) => {
                    fixed.push(l);
                    continue;
                }
                Action::If { cond, then, otherwise } => {
                    self.close(&mut fixed, is_top, &mut out);
                    let (then, otherwise) = (self.steps(then, false), self.steps(otherwise, false));
                    out.push(Action::If { cond, then, otherwise });
                }
                Action::Loop(mut l) => {
                    self.close(&mut fixed, is_top, &mut out);
                    l.body = self.steps(std::mem::take(&mut l.body), false);
                    out.push(Action::Loop(l));
                }
                other => {
                    self.close(&mut fixed, is_top, &mut out);
                    out.push(other);
                }
            }
        }
        self.close(&mut fixed, is_top, &mut out);
        out
    }

    /// Nothing about a launch is found during the run.
    fn is_fixed(&self, l: &LaunchInfo) -> bool {
        let p = self.program;
        let is_early =
            |d: &DimId| p.fixed_dims[d.index()] != UNKNOWN || p.early_dims.binary_search(&d.0).is_ok();
        let workspace = self.entries[l.kernel].workspace;
        l.late.is_empty() && l.dims.iter().chain([&l.grid, &workspace]).all(is_early)
    }

    /// Ends a group; one launch alone is as quick without a recording.
    fn close(&mut self, launches: &mut Vec<LaunchInfo>, is_top: bool, out: &mut Vec<Action>) {
        if launches.len() < 2 {
            out.extend(launches.drain(..).map(Action::Launch));
            return;
        }
        let launches = std::mem::take(launches);
        let mut buffers: Vec<BufferId> = launches.iter().flat_map(|l| l.buffers.iter().copied()).collect();
        let writes = |l: &LaunchInfo| {
            let positions = &self.plan.kernels[l.kernel].writes;
            positions.iter().map(|i| l.buffers[*i as usize]).collect::<Vec<_>>()
        };
        let mut written: Vec<BufferId> = launches.iter().flat_map(writes).collect();
        for list in [&mut buffers, &mut written] {
            list.sort_unstable();
            list.dedup();
        }
        out.push(Action::Group(Group { number: self.groups, is_top, launches, buffers, written }));
        self.groups += 1;
    }
}

impl Run<'_> {
    /// Starts the launches of a group: one by one the first time, from a recording later on.
    pub(crate) fn group(&mut self, on: &DeviceProgram, g: &Group) -> Result<(), RunError> {
        if self.profile.is_some() {
            return self.one_by_one(on, g);
        }
        for id in &g.buffers {
            self.bring(on, *id)?;
        }
        match *self.take(on, g)? {
            Take::Never => {
                self.one_by_one(on, g)?;
                // Memory may have moved, and what was known with it.
                *self.take(on, g)? = Take::Seen;
            }
            Take::Seen => {
                self.memory.device.queue()?.record()?;
                self.one_by_one(on, g)?;
                let queue = self.memory.device.queue()?;
                let recording = queue.recorded()?;
                queue.replay(recording)?;
                *self.take(on, g)? = Take::Recorded(recording);
            }
            Take::Recorded(recording) => {
                self.memory.device.queue()?.replay(recording)?;
                for id in &g.written {
                    self.now_on(*id, Side::Device);
                }
            }
        }
        Ok(())
    }

    fn one_by_one(&mut self, on: &DeviceProgram, g: &Group) -> Result<(), RunError> {
        let first = self.step;
        for (i, l) in g.launches.iter().enumerate() {
            self.step = if g.is_top { first + i } else { first };
            self.launch_on(on, l).map_err(|e| e.at(self.step, self.program.node(l.node)))?;
        }
        self.step = first;
        Ok(())
    }

    /// How far this group has come where its memory is now.
    fn take(&mut self, on: &DeviceProgram, g: &Group) -> Result<&mut Take, RunError> {
        let DeviceMemory { tapes, queue, moved, given, .. } = &mut self.memory.device;
        let queue = queue.as_deref_mut().ok_or(RunError::NotComputed)?;
        if std::mem::take(moved) {
            tapes.clear();
        }
        tapes.turn_to(&Surroundings { binding: self.binding, given }, on.groups);
        tapes.stale().for_each(|recording| queue.forget(recording));
        Ok(tapes.take(g.number))
    }
}
