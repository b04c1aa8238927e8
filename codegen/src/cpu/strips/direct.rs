//! Microkernels that read and write the kernel's own buffers instead of strips.
//!
//! An operand that is just loaded from a dense row, and a result that is just stored to one, need no
//! copy through a strip, as long as no other access to memory comes between.

use super::Mined;
use super::cut::{Step, Unit};
use crate::cpu::vary::{accesses, locals_of, reads};
use nnc_ir::tile::{Expr, Local, Loop, Mem, Stmt};
use nnc_ir::{DType, Dim, Sym};
use std::collections::HashMap;

impl Mined<'_> {
    /// Notes direct operands and results in `self.direct` and takes their loads and stores away.
    pub(super) fn connect(&mut self, l: &Loop, steps: &mut Vec<Step<'_>>) {
        if steps.iter().any(|s| matches!(s, Step::Around(..))) {
            return;
        }
        let readers = self.readers(l, steps);
        for at in 0..steps.len() {
            let Step::Tile(_, _, args) = &steps[at] else { continue };
            let args = *args;
            if !steps[..at].iter().any(|s| touches(s, false)) {
                for arg in args {
                    self.connect_operand(*arg, &mut steps[..at], readers[arg]);
                }
            }
        }
        for at in 0..steps.len() {
            let Step::Tile(_, result, _) = &steps[at] else { continue };
            let result = *result;
            let later = &steps[at + 1..];
            let read_later = later.iter().any(|s| touches(s, true) || self.reads_directly(s));
            if readers.get(&result) == Some(&1) && !read_later {
                self.connect_result(result, steps);
            }
        }
        steps.retain(|s| !matches!(s, Step::Phase(units) if units.is_empty()));
    }

    /// How often each local is read in the loop: by statements, and `TILE` times that by microkernels.
    fn readers(&self, l: &Loop, steps: &[Step<'_>]) -> HashMap<Local, usize> {
        let mut readers = HashMap::new();
        let mut add = |l: Local, n: usize| *readers.entry(l).or_insert(0) += n;
        for r in &l.reduces {
            add(r.value, 1);
        }
        for step in steps {
            match step {
                Step::Uniform(s) => reads(s, &mut |l| add(l, 1)),
                Step::Phase(units) => units.iter().for_each(|u| match u {
                    Unit::Stmt(s) => reads(s, &mut |l| add(l, 1)),
                    Unit::Carry { from, .. } => add(*from, 1),
                    Unit::Reduce(..) => {}
                }),
                Step::Tile(_, _, args) => args.iter().for_each(|a| add(*a, TILE)),
                Step::Around(..) => {}
            }
        }
        self.indices.values().for_each(|d| locals_of(d, &mut |l| add(l, 1)));
        readers
    }

    fn reads_directly(&self, step: &Step<'_>) -> bool {
        matches!(step, Step::Tile(_, _, args) if args.iter().any(|a| self.direct.contains_key(a)))
    }

    fn connect_operand(&mut self, arg: Local, before: &mut [Step<'_>], readers: usize) {
        for step in before {
            let Step::Phase(units) = step else { continue };
            let found =
                units.iter().position(|u| matches!(u, Unit::Stmt(Stmt::Let { local, .. }) if *local == arg));
            let Some(found) = found else { continue };
            if let Unit::Stmt(Stmt::Let { dtype, expr: Expr::Load(mem, index), .. }) = &units[found]
                && let Some(row) = self.row(*mem, *dtype, index)
            {
                self.direct.insert(arg, row);
                if readers.is_multiple_of(TILE) {
                    units.remove(found);
                }
            }
        }
    }

    fn connect_result(&mut self, result: Local, steps: &mut [Step<'_>]) {
        let mut stores = 0;
        let mut place = None;
        for (i, step) in steps.iter().enumerate() {
            let Step::Phase(units) = step else { continue };
            for (k, unit) in units.iter().enumerate() {
                let Unit::Stmt(s) = unit else { continue };
                stores += usize::from(accesses(s).1);
                if let Stmt::Store { mem, index, value } = s
                    && *value == result
                {
                    place = self.row(*mem, self.miner.types[&result], index).map(|row| (i, k, row));
                }
            }
        }
        if let (1, Some((i, k, row))) = (stores, place)
            && let Step::Phase(units) = &mut steps[i]
        {
            units.remove(k);
            self.direct.insert(result, row);
        }
    }

    /// The address of lane 0, if the lanes follow each other in memory as elements of the type.
    fn row(&self, mem: Mem, dtype: DType, index: &Dim) -> Option<(Mem, Dim)> {
        let index = self.in_axes(index);
        let (by, rest) = index.linear_in(&Sym::Local(self.axis.0))?;
        let mut uniform = by.is(1) && self.miner.storage(mem) == dtype;
        locals_of(&rest, &mut |l| uniform &= !self.varying.contains(&l));
        let start = Dim::int(super::STRIP) * self.strip.dim();
        uniform.then(|| (mem, rest + start))
    }
}

/// More than a loop has statements that read a local.
const TILE: usize = 1 << 20;

/// Whether a step loads, or stores.
fn touches(step: &Step<'_>, loads: bool) -> bool {
    let Step::Phase(units) = step else { return false };
    units.iter().any(|u| match u {
        Unit::Stmt(s) => {
            let (load, store) = accesses(s);
            if loads { load } else { store }
        }
        _ => false,
    })
}
