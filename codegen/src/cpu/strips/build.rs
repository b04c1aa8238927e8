//! Builds the strip loop from the steps of a body.

use super::cut::{Step, Unit};
use super::rename::Names;
use super::{Mined, STRIP};
use crate::cpu::vary::{defines, reads};
use nnc_ir::tile::{Arg, Axis, Carry, Expr, Local, Loop, Mem, Reduce, Stmt, Turns};
use nnc_ir::{DType, Dim, Sym};
use std::collections::{BTreeSet, HashMap};

/// In which phase, counted through all steps, a local is defined.
type Homes = HashMap<Local, usize>;

impl Mined<'_> {
    /// The loop over strips that does what a lanes loop does.
    pub(super) fn rewrite(&mut self, l: &Loop) -> Loop {
        let mut steps = self.cut_lanes(l);
        self.connect(l, &mut steps);
        let mut homes = Homes::new();
        find_homes(&steps, &mut 0, &mut homes);
        self.find_strips(&steps, &mut 0, &homes);
        let inside = self.sums.clone();
        let mut body = Vec::new();
        self.steps(l, &steps, &mut 0, &homes, &mut body);
        let carries = l.reduces.iter().zip(inside).zip(&self.sums);
        Loop {
            axis: Axis { local: self.strip, extent: l.axis.extent.ceil_div(&Dim::int(STRIP)) },
            turns: Turns::Serial,
            carries: carries
                .map(|((r, inside), next)| Carry { inside, init: r.init, next: *next, result: r.result })
                .collect(),
            reduces: Vec::new(),
            body,
        }
    }

    fn strip_for(&mut self, local: Local) -> Mem {
        if let Some(mem) = self.strips.get(&local) {
            return *mem;
        }
        let mem = self.new_strip(self.miner.types[&local]);
        self.strips.insert(local, mem);
        mem
    }

    fn new_strip(&mut self, dtype: DType) -> Mem {
        let mem = self.miner.buffer(dtype);
        self.used.push((dtype, mem));
        mem
    }

    /// Gives a strip to every local that is used outside its phase.
    fn find_strips(&mut self, steps: &[Step<'_>], number: &mut usize, homes: &Homes) {
        for step in steps {
            match step {
                Step::Uniform(_) => {}
                Step::Phase(units) => {
                    for local in self.foreign(units, *number, homes) {
                        self.strip_for(local);
                    }
                    *number += 1;
                }
                Step::Tile(_, result, args) => {
                    let operands = args.iter().filter(|a| self.varying.contains(*a)).copied();
                    let all: Vec<Local> = operands.chain([*result]).collect();
                    for local in all.into_iter().filter(|l| !self.direct.contains_key(l)).collect::<Vec<_>>()
                    {
                        self.strip_for(local);
                    }
                }
                Step::Around(l, inner) => {
                    for c in l
                        .carries
                        .iter()
                        .filter(|c| self.varying.contains(&c.result))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        let mem = self.strip_for(c.result);
                        self.strips.insert(c.inside, mem);
                    }
                    for r in l.reduces.iter().map(|r| r.result).collect::<Vec<_>>() {
                        if self.varying.contains(&r) {
                            self.strip_for(r);
                        }
                    }
                    self.find_strips(inner, number, homes);
                }
            }
        }
    }

    /// The varying locals that units read and that are not defined in the same phase.
    fn foreign(&self, units: &[Unit<'_>], phase: usize, homes: &Homes) -> BTreeSet<Local> {
        let mut found = BTreeSet::new();
        let mut add = |l: Local| {
            if homes.get(&l) != Some(&phase) {
                found.insert(l);
            }
        };
        for unit in units {
            match unit {
                Unit::Stmt(s) => self.operands(s, &mut add),
                Unit::Carry { from, .. } => self.operand(*from, &mut add),
                Unit::Reduce(_, value) => self.operand(*value, &mut add),
            }
        }
        found
    }

    fn steps(
        &mut self,
        l: &Loop,
        steps: &[Step<'_>],
        number: &mut usize,
        homes: &Homes,
        out: &mut Vec<Stmt>,
    ) {
        for step in steps {
            match step {
                Step::Uniform(s) => out.push((*s).clone()),
                Step::Phase(units) => {
                    let phase = self.phase(l, units, *number, homes);
                    out.push(Stmt::For(phase));
                    *number += 1;
                }
                Step::Tile(contract, result, args) => self.tile(contract, *result, args, out),
                Step::Around(around, inner) => {
                    let mut body = Vec::new();
                    self.steps(l, inner, number, homes, &mut body);
                    let uniform = |l: &Local| !self.varying.contains(l);
                    out.push(Stmt::For(Loop {
                        axis: around.axis.clone(),
                        turns: Turns::Serial,
                        carries: around.carries.iter().filter(|c| uniform(&c.result)).cloned().collect(),
                        reduces: around.reduces.iter().filter(|r| uniform(&r.result)).cloned().collect(),
                        body,
                    }));
                }
            }
        }
    }

    /// A call over the strip; an operand that is the same in all lanes is spread out first.
    fn tile(&mut self, contract: &'static str, result: Local, args: &[Local], out: &mut Vec<Stmt>) {
        let mut words = vec![match self.direct.get(&result) {
            Some((mem, start)) => Arg::Ptr(*mem, start.clone()),
            None => Arg::Ptr(self.strips[&result], Dim::ZERO),
        }];
        for arg in args {
            if let Some((mem, start)) = self.direct.get(arg) {
                words.push(Arg::Ptr(*mem, start.clone()));
                continue;
            }
            let mem = match self.strips.get(arg) {
                Some(mem) => *mem,
                None => {
                    let mem = self.new_strip(self.miner.types[arg]);
                    let lane = self.miner.local(DType::I64);
                    let store = Stmt::Store { mem, index: lane.dim(), value: *arg };
                    out.push(Stmt::For(self.lanes_loop(lane, vec![store], Vec::new())));
                    mem
                }
            };
            words.push(Arg::Ptr(mem, Dim::ZERO));
        }
        words.push(Arg::Int(self.len.clone()));
        out.push(Stmt::Call { contract, version: 1, args: words });
    }

    fn lanes_loop(&self, lane: Local, body: Vec<Stmt>, reduces: Vec<Reduce>) -> Loop {
        let axis = Axis { local: lane, extent: self.len.clone() };
        Loop { axis, turns: Turns::Lanes, carries: Vec::new(), reduces, body }
    }

    /// A lanes loop over the strip.
    fn phase(&mut self, l: &Loop, units: &[Unit<'_>], number: usize, homes: &Homes) -> Loop {
        let lane = self.miner.local(DType::I64);
        let mut names = Names::default();
        names.dims.insert(self.axis, self.strip.dim() * Dim::int(STRIP) + lane.dim());
        let mut body = Vec::new();
        for local in self.foreign(units, number, homes) {
            let (mem, dtype) = (self.strips[&local], self.miner.types[&local]);
            let fresh = self.define(dtype, Expr::Load(mem, lane.dim()), &mut body);
            names.operands.insert(local, fresh);
        }
        self.name_indices(units, &mut names, &mut body);
        let mut reduces = Vec::new();
        for unit in units {
            match unit {
                Unit::Stmt(s) => body.push(names.stmt(s)),
                Unit::Carry { to, from, op } => {
                    let (mem, mut value) = (self.strips[to], names.local(*from));
                    if let Some(op) = op {
                        let dtype = self.miner.types[to];
                        let old = self.define(dtype, Expr::Load(mem, lane.dim()), &mut body);
                        value = self.define(dtype, Expr::Op(*op, vec![old, value]), &mut body);
                    }
                    body.push(Stmt::Store { mem, index: lane.dim(), value });
                }
                Unit::Reduce(i, value) => {
                    let r = &l.reduces[*i];
                    let result = self.miner.local(self.miner.types[&r.init]);
                    let init = std::mem::replace(&mut self.sums[*i], result);
                    reduces.push(Reduce { op: r.op, init, value: names.local(*value), result });
                }
            }
        }
        self.keep(units, lane, &mut body);
        self.lanes_loop(lane, body, reduces)
    }

    fn define(&mut self, dtype: DType, expr: Expr, body: &mut Vec<Stmt>) -> Local {
        let local = self.miner.local(dtype);
        body.push(Stmt::Let { local, dtype, expr });
        local
    }

    /// Defines the index expressions that units read anew, in terms of this phase's axis.
    fn name_indices(&mut self, units: &[Unit<'_>], names: &mut Names, body: &mut Vec<Stmt>) {
        let mut read = BTreeSet::new();
        let mut note = |l: Local| {
            if self.indices.contains_key(&l) || l == self.axis {
                read.insert(l);
            }
        };
        for unit in units {
            match unit {
                Unit::Stmt(s) => reads(s, &mut note),
                Unit::Carry { from: l, .. } | Unit::Reduce(_, l) => note(*l),
            }
        }
        for local in read {
            let d = names.dim(&self.in_axes(&local.dim()));
            names.dims.insert(local, d.clone());
            let fresh = self.define(DType::I64, Expr::Index(d), body);
            names.operands.insert(local, fresh);
        }
    }

    /// An index expression with those locals replaced that are expressions themselves.
    pub(super) fn in_axes(&self, d: &Dim) -> Dim {
        d.substitute(&|s| match s {
            Sym::Local(n) => self.indices.get(&Local(*n)).map(|d| self.in_axes(d)),
            Sym::Name(_) => None,
        })
    }

    /// Stores what other phases read.
    fn keep(&self, units: &[Unit<'_>], lane: Local, body: &mut Vec<Stmt>) {
        for unit in units {
            if let Unit::Stmt(s) = unit {
                defines(s, &mut |local| {
                    if let Some(mem) = self.strips.get(&local) {
                        body.push(Stmt::Store { mem: *mem, index: lane.dim(), value: local });
                    }
                });
            }
        }
    }
}

fn find_homes(steps: &[Step<'_>], number: &mut usize, homes: &mut Homes) {
    for step in steps {
        match step {
            Step::Phase(units) => {
                for unit in units {
                    if let Unit::Stmt(s) = unit {
                        defines(s, &mut |l| {
                            homes.insert(l, *number);
                        });
                    }
                }
                *number += 1;
            }
            Step::Around(_, inner) => find_homes(inner, number, homes),
            Step::Uniform(_) | Step::Tile(..) => {}
        }
    }
}
