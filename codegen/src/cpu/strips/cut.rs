//! Cuts the body of a lanes loop into phases and calls.
//!
//! A statement goes into the earliest phase in which its operands are there: the result of a
//! microkernel belongs to the phase after that of its operands. Loads and stores keep their order:
//! no load moves before a store, no store before a load or another store.

use super::{Mined, has_tile, tile_of};
use crate::cpu::vary::{accesses, defines, locals_of, reads};
use nnc_ir::ScalarOp;
use nnc_ir::tile::{Expr, Local, Loop, Stmt};
use std::collections::HashMap;

/// A unit of a phase.
pub(super) enum Unit<'l> {
    /// A statement.
    Stmt(&'l Stmt),
    /// Puts a value into the strip of another local, which a loop carries; with a function, puts in
    /// its result on what was there and the value.
    Carry { to: Local, from: Local, op: Option<ScalarOp> },
    /// A contribution to a reduction of the lanes loop, by number.
    Reduce(usize, Local),
}

/// A step of the work on one strip.
pub(super) enum Step<'l> {
    /// The same in all lanes.
    Uniform(&'l Stmt),
    /// A lanes loop over the strip.
    Phase(Vec<Unit<'l>>),
    /// A microkernel over the strip: contract, result, operands.
    Tile(&'static str, Local, &'l [Local]),
    /// A serial loop around phases.
    Around(&'l Loop, Vec<Step<'l>>),
}

/// Statements between two loops that go around phases, by phase.
#[derive(Default)]
struct Segment<'l> {
    uniform: Vec<Step<'l>>,
    phases: Vec<(Vec<Unit<'l>>, Vec<Step<'l>>)>,
    level: HashMap<Local, usize>,
    /// The last phase with a store and with any access so far.
    store: usize,
    access: usize,
}

impl<'l> Segment<'l> {
    fn at(&mut self, level: usize) -> &mut (Vec<Unit<'l>>, Vec<Step<'l>>) {
        while self.phases.len() <= level {
            self.phases.push(Default::default());
        }
        &mut self.phases[level]
    }

    fn level_of(&self, local: Local) -> usize {
        self.level.get(&local).copied().unwrap_or(0)
    }

    fn finish(self, out: &mut Vec<Step<'l>>) {
        out.extend(self.uniform);
        for (units, calls) in self.phases {
            if !units.is_empty() {
                out.push(Step::Phase(units));
            }
            out.extend(calls);
        }
    }
}

impl Mined<'_> {
    /// The steps of a lanes loop's body, its reductions included.
    pub(super) fn cut_lanes<'l>(&mut self, l: &'l Loop) -> Vec<Step<'l>> {
        let contributions = l.reduces.iter().enumerate().map(|(i, r)| Unit::Reduce(i, r.value)).collect();
        self.cut(&l.body, contributions)
    }

    /// The steps of a body, with units for its end.
    fn cut<'l>(&mut self, body: &'l [Stmt], last: Vec<Unit<'l>>) -> Vec<Step<'l>> {
        let mut steps = Vec::new();
        let mut segment = Segment::default();
        for s in body {
            match s {
                Stmt::For(l) if has_tile(&l.body, &self.varying) => {
                    self.place_last(&mut segment, self.carried(l, true));
                    std::mem::take(&mut segment).finish(&mut steps);
                    let inner = self.cut(&l.body, self.carried(l, false));
                    steps.push(Step::Around(l, inner));
                }
                _ => self.place(&mut segment, s),
            }
        }
        self.place_last(&mut segment, last);
        segment.finish(&mut steps);
        steps
    }

    /// The varying values that a loop carries, before it or after a turn.
    fn carried<'l>(&self, l: &Loop, before: bool) -> Vec<Unit<'l>> {
        let carries = l.carries.iter().map(|c| (c.result, if before { c.init } else { c.next }, None));
        let reduces = l.reduces.iter().map(|r| match before {
            true => (r.result, r.init, None),
            false => (r.result, r.value, Some(r.op)),
        });
        carries
            .chain(reduces)
            .filter(|(result, ..)| self.varying.contains(result))
            .map(|(to, from, op)| Unit::Carry { to, from, op })
            .collect()
    }

    fn place<'l>(&mut self, segment: &mut Segment<'l>, s: &'l Stmt) {
        if let Stmt::Let { local, expr: Expr::Index(d), .. } = s
            && self.varying.contains(local)
        {
            self.indices.insert(*local, d.clone());
            return;
        }
        if !self.differs(s) {
            segment.uniform.push(Step::Uniform(s));
            return;
        }
        let mut level = 0;
        self.operands(s, &mut |l| level = level.max(segment.level_of(l)));
        if let (Some(contract), Stmt::Let { local, expr: Expr::Op(_, args), .. }) =
            (tile_of(s, &self.varying), s)
        {
            segment.level.insert(*local, level + 1);
            segment.at(level).1.push(Step::Tile(contract, *local, args));
            segment.at(level + 1);
            return;
        }
        let (loads, stores) = accesses(s);
        if loads {
            level = level.max(segment.store);
        }
        if stores {
            level = level.max(segment.access);
            segment.store = level;
        }
        if loads || stores {
            segment.access = segment.access.max(level);
        }
        defines(s, &mut |l| {
            segment.level.insert(l, level);
        });
        segment.at(level).0.push(Unit::Stmt(s));
    }

    /// Places units for the end of a segment: copies all in the last phase, since one may overwrite
    /// what another reads.
    fn place_last<'l>(&self, segment: &mut Segment<'l>, units: Vec<Unit<'l>>) {
        let last = segment.phases.len().saturating_sub(1);
        for unit in units {
            let level = match &unit {
                Unit::Reduce(_, value) => segment.level_of(*value),
                _ => last,
            };
            segment.at(level).0.push(unit);
        }
    }

    /// True if a statement does something of its own in each lane.
    fn differs(&self, s: &Stmt) -> bool {
        let mut found = accesses(s).1;
        defines(s, &mut |l| found |= self.varying.contains(&l));
        found
    }

    /// Calls `f` for the varying locals that a statement reads, index expressions looked through.
    pub(super) fn operands(&self, s: &Stmt, f: &mut dyn FnMut(Local)) {
        reads(s, &mut |l| self.operand(l, f));
    }

    /// Calls `f` for the varying locals behind one.
    pub(super) fn operand(&self, local: Local, f: &mut dyn FnMut(Local)) {
        match self.indices.get(&local) {
            Some(d) => locals_of(d, &mut |l| self.operand(l, f)),
            None if self.varying.contains(&local) && local != self.axis => f(local),
            None => {}
        }
    }
}
