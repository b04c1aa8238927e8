//! What names stand for: registers, predicates, variables; where variables lie in their state spaces.

use super::opcode::Decoded;
use super::{Decoder, Opcode};
use crate::parse::ParseError;
use crate::parse::ast::{Function, Instruction, Operand, Parameter, Variable};
use crate::program::{Constant, Reg, Special};
use crate::types::{Space, Type};
use std::collections::HashMap;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Register {
        reg: Reg,
        ty: Type,
    },
    Predicate(u32),
    /// A variable, its address and its bytes; an array without a size has none.
    Variable {
        space: Space,
        address: Constant,
        bytes: u64,
    },
}

/// Most registers that one declaration may ask for.
const MANY: u64 = 1 << 16;

impl<'a> Decoder<'a> {
    /// The module's variables; shared ones only where the kernel or a function names them.
    pub(super) fn declare_globals(&mut self, kernel: &Function) -> Decoded<()> {
        let mut named = Vec::new();
        let functions = self.module.functions.iter().filter(|f| !f.is_kernel || f.name == kernel.name);
        for instruction in functions.flat_map(|f| &f.body) {
            instruction.operands.iter().for_each(|o| collect(o, &mut named));
        }
        for (number, variable) in self.module.variables.iter().enumerate() {
            if variable.space == Space::Shared {
                if variable.bytes.is_some() && named.contains(&variable.name.as_str()) {
                    let name = self.place(variable)?;
                    self.globals.insert(variable.name.clone(), name);
                }
                continue;
            }
            let Some(bytes) = variable.bytes else {
                return refuse(variable.line, "only shared arrays may lack a size");
            };
            let address = Constant::Variable(number, 0);
            let name = Name::Variable { space: variable.space, address, bytes };
            self.globals.insert(variable.name.clone(), name);
        }
        // What the kernel and its functions declare themselves comes before what the launch sizes.
        let mut own = 0u64;
        for function in self.module.functions.iter().filter(|f| !f.is_kernel || f.name == kernel.name) {
            for (_, v) in function.variables.iter().filter(|(_, v)| v.space == Space::Shared) {
                own = v.bytes.map_or(own, |b| own.next_multiple_of(v.align.max(1)) + b + v.align);
            }
        }
        let dynamic = (self.kernel.shared_bytes + own).next_multiple_of(128);
        let unsized_arrays = |v: &&Variable| v.space == Space::Shared && v.bytes.is_none();
        for variable in self.module.variables.iter().filter(unsized_arrays) {
            if own > 0 || self.kernel.shared_bytes > 0 {
                self.kernel.dynamic_at = dynamic;
            }
            let address = Constant::Value(self.kernel.dynamic_at);
            let name = Name::Variable { space: Space::Shared, address, bytes: 0 };
            self.globals.insert(variable.name.clone(), name);
        }
        Ok(())
    }

    /// The names of a function: registers and variables of their own for each.
    pub(super) fn declare(&mut self, function: &'a Function) -> Decoded<HashMap<(usize, String), Name>> {
        let mut names = HashMap::new();
        for parameter in function.params.iter().chain(&function.returns) {
            let (key, name) = match parameter {
                Parameter::Memory(v) if function.is_kernel => (v.name.clone(), self.kernel_parameter(v)?),
                Parameter::Memory(v) => (v.name.clone(), self.place(v)?),
                Parameter::Register { name, ty } => (name.clone(), self.register(name, *ty)),
            };
            names.insert((0, key), name);
        }
        for r in &function.registers {
            let Some(count) = r.count else {
                let register = self.register(&r.name, r.ty);
                names.insert((r.scope, r.name.clone()), register);
                continue;
            };
            if count > MANY {
                return refuse(r.line, "too many registers");
            }
            for i in 0..count {
                let name = format!("{}{i}", r.name);
                let register = self.register(&name, r.ty);
                names.insert((r.scope, name), register);
            }
        }
        for (scope, variable) in &function.variables {
            let name = self.place(variable)?;
            names.insert((*scope, variable.name.clone()), name);
        }
        Ok(names)
    }

    fn register(&mut self, name: &str, ty: Type) -> Name {
        if ty == Type::Pred {
            self.kernel.predicates.push(name.to_owned());
            return Name::Predicate(self.kernel.predicates.len() as u32 - 1);
        }
        self.kernel.registers.push(name.to_owned());
        Name::Register { reg: self.kernel.registers.len() as Reg - 1, ty }
    }

    fn kernel_parameter(&mut self, variable: &Variable) -> Decoded<Name> {
        let Some(bytes) = variable.bytes else { return refuse(variable.line, "a parameter lacks a size") };
        let at = self.kernel.param_bytes.next_multiple_of(variable.align.max(1));
        self.kernel.param_bytes = at + bytes;
        Ok(Name::Variable { space: Space::Param, address: Constant::Value(at), bytes })
    }

    /// A variable of shared or local memory; parameters of functions are local too.
    fn place(&mut self, variable: &Variable) -> Decoded<Name> {
        let Some(bytes) = variable.bytes else { return refuse(variable.line, "an array lacks a size") };
        if !variable.init.is_empty() {
            return refuse(variable.line, "only global and constant variables have values");
        }
        let (space, top) = match variable.space {
            Space::Shared => (Space::Shared, &mut self.kernel.shared_bytes),
            Space::Local | Space::Param => (Space::Local, &mut self.kernel.local_bytes),
            _ => return refuse(variable.line, "this state space has no variables in functions"),
        };
        let at = top.next_multiple_of(variable.align.max(1));
        *top = at + bytes;
        Ok(Name::Variable { space, address: Constant::Value(at), bytes })
    }

    /// What a name stands for where an instruction stands.
    pub(super) fn resolve(&self, name: &str, i: &Instruction) -> Option<Name> {
        let called = &self.functions[self.current];
        let mut scope = i.scope;
        loop {
            if let Some(found) = called.names.get(&(scope, name.to_owned())) {
                return Some(*found);
            }
            if scope == 0 {
                return self.globals.get(name).copied();
            }
            scope = called.function.scopes[scope];
        }
    }

    /// The address of a label as it is seen from an instruction.
    pub(super) fn label(&self, name: &str, i: &Instruction) -> Decoded<u32> {
        let called = &self.functions[self.current];
        let mut scope = i.scope;
        loop {
            let found = called.function.labels.iter().find(|l| l.scope == scope && l.name == name);
            if let Some(label) = found {
                return Ok(called.start + label.at as u32);
            }
            if scope == 0 {
                return refuse(i.line, &format!("no label \"{name}\""));
            }
            scope = called.function.scopes[scope];
        }
    }

    /// The register that holds what a special register's name says.
    pub(super) fn special(&mut self, name: &str) -> Option<Reg> {
        let special = special_named(name)?;
        if let Some(reg) = self.specials.get(&special) {
            return Some(*reg);
        }
        self.kernel.registers.push(name.to_owned());
        let reg = self.kernel.registers.len() as Reg - 1;
        self.specials.insert(special, reg);
        self.kernel.specials.push((special, reg));
        Some(reg)
    }
}

pub(super) fn refuse<T>(line: u32, message: &str) -> Decoded<T> {
    Err(ParseError { line, message: message.to_owned() })
}

fn collect<'o>(operand: &'o Operand, names: &mut Vec<&'o str>) {
    match operand {
        Operand::Name(name) | Operand::Offset(name, _) => names.push(name),
        Operand::Address { base, coordinates, .. } => {
            collect(base, names);
            coordinates.iter().for_each(|o| collect(o, names));
        }
        Operand::Vector(all) | Operand::List(all) => all.iter().for_each(|o| collect(o, names)),
        _ => {}
    }
}

fn special_named(name: &str) -> Option<Special> {
    let (base, axis) = match name.rsplit_once('.') {
        Some((base, "x")) => (base, 0),
        Some((base, "y")) => (base, 1),
        Some((base, "z")) => (base, 2),
        _ => (name, 3),
    };
    let by_axis: fn(usize) -> Special = match base {
        "%tid" => Special::Tid,
        "%ntid" => Special::Ntid,
        "%ctaid" => Special::Ctaid,
        "%nctaid" => Special::Nctaid,
        "%cluster_ctaid" => |_| Special::Zero,
        "%cluster_nctaid" => |_| Special::One,
        "%clusterid" => Special::Ctaid,
        "%nclusterid" => Special::Nctaid,
        _ => return plain_special(name),
    };
    (axis < 3).then(|| by_axis(axis))
}

fn plain_special(name: &str) -> Option<Special> {
    Some(match name {
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%nwarpid" => Special::Warps,
        "%lanemask_eq" => Special::LanesEqual,
        "%lanemask_lt" => Special::LanesLess,
        "%lanemask_le" => Special::LanesLessEqual,
        "%lanemask_gt" => Special::LanesGreater,
        "%lanemask_ge" => Special::LanesGreaterEqual,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        "%smid" | "%gridid" | "%cluster_ctarank" => Special::Zero,
        "%nsmid" | "%cluster_nctarank" => Special::One,
        _ => return None,
    })
}

/// An operand that is a plain name.
pub(super) fn name_of<'o>(operand: &'o Operand, opcode: &Opcode) -> Decoded<&'o str> {
    match operand {
        Operand::Name(name) => Ok(name),
        other => opcode.error(format!("expected a name, found {other:?}")),
    }
}
