//! Branches, calls, barriers of the block, fences.

use super::Decoder;
use super::names::{Name, name_of};
use super::opcode::{Decoded, Opcode};
use crate::parse::ast::{Instruction, Operand, Parameter};
use crate::program::{BarrierReduction, BlockBarrier, Call, Constant, Logic, NONE, Op, Slot};
use crate::types::Type;

impl Decoder<'_> {
    pub(super) fn control(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        Ok(Some(match o.name {
            "bra" => {
                let uniform = o.has("uni");
                self.count(o, i, 1, 1)?;
                let target = self.label(name_of(self.operand(i, 0)?, o)?, i)?;
                Op::Branch { target, uniform }
            }
            "brx" => self.table(o, i)?,
            "call" => self.call(o, i)?,
            "ret" => {
                o.has("uni");
                let is_kernel = self.functions[self.current].function.is_kernel;
                if is_kernel { Op::Exit } else { Op::Return }
            }
            "exit" => Op::Exit,
            "trap" | "brkpt" => Op::Trap,
            "nanosleep" => {
                o.ty()?;
                Op::Nothing
            }
            "setmaxnreg" => {
                while o.take(Some).is_some() {}
                Op::Nothing
            }
            "griddepcontrol" => {
                let _ = o.has("wait") || o.has("launch_dependents");
                Op::Nothing
            }
            "bar" | "barrier" => return self.barrier(o, i),
            "membar" | "fence" => {
                let (proxy, init) = (o.has("proxy"), o.has("mbarrier_init"));
                let all = proxy && o.take(|part| part.starts_with("async").then_some(())).is_some();
                while o.take(Some).is_some() {}
                // Others order accesses between blocks, which are not followed.
                if all || init { Op::ProxyFence { all } } else { Op::Nothing }
            }
            _ => return Ok(None),
        }))
    }

    fn table(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        o.has("idx");
        o.has("uni");
        let index = self.source(o, i, 0, Type::U32)?;
        let name = name_of(self.operand(i, 1)?, o)?;
        let known = &self.functions[self.current].function.branch_targets;
        let Some((_, _, labels)) = known.iter().find(|(_, n, _)| n == name) else {
            return o.error(format!("no branch targets \"{name}\""));
        };
        let targets = labels.iter().map(|l| self.label(l, i)).collect::<Decoded<Vec<_>>>()?;
        Ok(Op::Table { index, targets: targets.into() })
    }

    /// `call (results), function, (arguments);`
    fn call(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Op> {
        o.has("uni");
        let list = |operand: Option<&Operand>| match operand {
            Some(Operand::List(all)) => Some(all.clone()),
            _ => None,
        };
        let results = list(i.operands.first());
        let at = usize::from(results.is_some());
        let name = name_of(self.operand(i, at)?, o)?.to_owned();
        let arguments = list(i.operands.get(at + 1)).unwrap_or_default();
        let Some(function) = self.module.functions.iter().find(|f| f.name == name && !f.is_kernel) else {
            return o.error(format!("no function \"{name}\""));
        };
        let number = self.enter(function)?;
        let current = self.current;
        self.functions[current].calls.push(number);
        let results = results.unwrap_or_default();
        if arguments.len() != function.params.len() || results.len() != function.returns.len() {
            return o.error(format!("wrong number of arguments for \"{name}\""));
        }
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (operand, formal) in arguments.iter().zip(&function.params) {
            let inside = self.formal(number, formal);
            inputs.push((self.actual(o, i, operand, inside.1)?, inside.0));
        }
        for (operand, formal) in results.iter().zip(&function.returns) {
            let inside = self.formal(number, formal);
            outputs.push((inside.0, self.actual(o, i, operand, inside.1)?));
        }
        Ok(Op::Call(Box::new(Call { target: number as u32, inputs, outputs })))
    }

    /// Where a function's own parameter lies, and its type.
    fn formal(&self, number: usize, formal: &Parameter) -> (Slot, Type) {
        let (name, ty) = match formal {
            Parameter::Memory(v) => (&v.name, v.ty),
            Parameter::Register { name, ty } => (name, *ty),
        };
        (slot(self.functions[number].names[&(0, name.clone())]), ty)
    }

    fn actual(&mut self, o: &Opcode, i: &Instruction, operand: &Operand, ty: Type) -> Decoded<Slot> {
        if let Operand::Name(name) = operand
            && let Some(name) = self.resolve(name, i)
        {
            return Ok(slot(name));
        }
        self.value(o, i, operand, ty, false).map(Slot::Register)
    }

    fn barrier(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<Option<Op>> {
        if o.has("warp") {
            return Ok(None);
        }
        if o.has("cluster") {
            return o.error("clusters of blocks are not supported");
        }
        o.has("cta");
        let aligned = o.has("aligned") || o.name == "bar";
        let (waits, arrives, reduces) = (o.has("sync"), o.has("arrive"), o.has("red"));
        if usize::from(waits) + usize::from(arrives) + usize::from(reduces) != 1 {
            return o.error("a barrier is one of sync, arrive and red");
        }
        let mut at = 0;
        let mut reduction = None;
        if reduces {
            reduction = Some(self.reduction(o, i)?);
            at = 1;
        }
        let id = match i.operands.get(at) {
            Some(_) => self.source(o, i, at, Type::U32)?,
            None => self.constant(Constant::Value(0)),
        };
        let end = i.operands.len() - usize::from(reduces);
        let count = if end > at + 1 { self.source(o, i, at + 1, Type::U32)? } else { NONE };
        if arrives && count == NONE {
            return o.error("\"bar.arrive\" needs a count of threads");
        }
        let waits = !arrives;
        Ok(Some(Op::Barrier(Box::new(BlockBarrier { id, count, waits, aligned, reduction }))))
    }

    fn reduction(&mut self, o: &mut Opcode, i: &Instruction) -> Decoded<BarrierReduction> {
        let op = o.choose(&[("popc", None), ("and", Some(Logic::And)), ("or", Some(Logic::Or))]);
        let Some(op) = op else { return o.error("this reduction is not supported") };
        o.ty()?;
        let a = self.predicate(o, i, i.operands.len() - 1)?;
        let d = match op {
            None => self.destination(o, i, 0, Type::U32)?,
            Some(_) => self.predicate_target(o, i, self.operand(i, 0)?)?,
        };
        Ok(BarrierReduction { op, d, a })
    }
}

fn slot(name: Name) -> Slot {
    match name {
        Name::Register { reg, .. } => Slot::Register(reg),
        Name::Predicate(p) => Slot::Predicate(p),
        Name::Variable { address, bytes, .. } => match address {
            Constant::Value(at) | Constant::Variable(_, at) => {
                Slot::Local { at: at as u32, bytes: bytes as u32 }
            }
        },
    }
}
