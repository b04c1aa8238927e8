//! Syntax to a program: names become numbers, opcodes become operations. Each kernel is decoded with the
//! functions that it calls; instruction `i` of a function is at its first address plus `i`, so that labels
//! need no second pass. Whatever cannot be run is refused here, with its line.

mod arithmetic;
mod asynchronous;
mod bulk;
mod control;
mod matrix;
mod memory;
mod moves;
mod names;
mod opcode;
mod operands;
mod warp;
mod warpgroup;

use crate::parse::ParseError;
use crate::parse::ast::{Function, Instruction, Syntax};
use crate::program::{Constant, Inst, Kernel, Op, Reg, Special};
use names::Name;
use opcode::{Decoded, Opcode};
use std::collections::HashMap;

/// All kernels of a module.
pub(crate) fn decode(module: &Syntax) -> Decoded<Vec<Kernel>> {
    module.functions.iter().filter(|f| f.is_kernel).map(|f| Decoder::new(module, f).kernel(f)).collect()
}

/// A function that is called: its number, its names, and where its code begins once that is known.
struct Called<'a> {
    function: &'a Function,
    names: HashMap<(usize, String), Name>,
    start: u32,
    calls: Vec<usize>,
}

struct Decoder<'a> {
    module: &'a Syntax,
    kernel: Kernel,
    constants: HashMap<Constant, Reg>,
    specials: HashMap<Special, Reg>,
    /// Variables of the module that this kernel can name.
    globals: HashMap<String, Name>,
    /// The kernel first, then the functions in the order in which they are met.
    functions: Vec<Called<'a>>,
    current: usize,
}

impl<'a> Decoder<'a> {
    fn new(module: &'a Syntax, function: &Function) -> Decoder<'a> {
        let kernel = Kernel {
            name: function.name.clone(),
            code: Vec::new(),
            registers: Vec::new(),
            predicates: Vec::new(),
            specials: Vec::new(),
            constants: Vec::new(),
            param_bytes: 0,
            shared_bytes: 0,
            dynamic_at: 0,
            granule: 4,
            global_granule: 4,
            local_bytes: 0,
            max_threads: function.max_threads,
            has_agents: false,
            has_groups: false,
        };
        Decoder {
            module,
            kernel,
            constants: HashMap::new(),
            specials: HashMap::new(),
            globals: HashMap::new(),
            functions: Vec::new(),
            current: 0,
        }
    }

    fn kernel(mut self, function: &'a Function) -> Decoded<Kernel> {
        self.declare_globals(function)?;
        self.enter(function)?;
        let mut next = 0;
        while next < self.functions.len() {
            self.current = next;
            self.code(self.functions[next].function)?;
            next += 1;
        }
        self.refuse_recursion()?;
        self.link();
        Ok(self.kernel)
    }

    /// The number of a function whose names are declared, whether it was met before or not.
    fn enter(&mut self, function: &'a Function) -> Decoded<usize> {
        if let Some(known) = self.functions.iter().position(|f| f.function.name == function.name) {
            return Ok(known);
        }
        let names = self.declare(function)?;
        self.functions.push(Called { function, names, start: 0, calls: Vec::new() });
        Ok(self.functions.len() - 1)
    }

    fn code(&mut self, function: &'a Function) -> Decoded<()> {
        self.functions[self.current].start = self.kernel.code.len() as u32;
        for instruction in &function.body {
            let guard = match &instruction.guard {
                Some(guard) => {
                    let mut predicate = self.predicate_named(&guard.name, instruction)?;
                    predicate.negated = guard.negated;
                    Some(predicate)
                }
                None => None,
            };
            let op = self.instruction(instruction)?;
            self.kernel.code.push(Inst { op, guard, line: instruction.line });
        }
        let op = if function.is_kernel { Op::Exit } else { Op::Return };
        let line = function.body.last().map_or(function.line, |i| i.line);
        self.kernel.code.push(Inst { op, guard: None, line });
        Ok(())
    }

    fn instruction(&mut self, i: &Instruction) -> Decoded<Op> {
        let mut opcode = Opcode::new(&i.opcode, i.line);
        let families = [
            Decoder::arithmetic,
            Decoder::moves,
            Decoder::memory,
            Decoder::control,
            Decoder::warp,
            Decoder::matrix,
            Decoder::asynchronous,
            Decoder::bulk,
            Decoder::warpgroup,
        ];
        for family in families {
            if let Some(op) = family(self, &mut opcode, i)? {
                opcode.finish()?;
                return Ok(op);
            }
        }
        opcode.error(format!("instruction \"{}\" is not supported", i.opcode))
    }

    fn refuse_recursion(&self) -> Decoded<()> {
        let n = self.functions.len();
        let mut depth = vec![0; n];
        for _ in 0..=n {
            for (i, f) in self.functions.iter().enumerate() {
                for &callee in &f.calls {
                    depth[callee] = depth[callee].max(depth[i] + 1);
                }
            }
        }
        match self.functions.iter().zip(&depth).find(|(_, d)| **d > n) {
            Some((f, _)) => Err(ParseError {
                line: f.function.line,
                message: format!("function \"{}\" is recursive", f.function.name),
            }),
            None => Ok(()),
        }
    }

    /// Numbers of functions become addresses.
    fn link(&mut self) {
        for inst in &mut self.kernel.code {
            if let Op::Call(call) = &mut inst.op {
                call.target = self.functions[call.target as usize].start;
            }
        }
    }

    /// The register of a constant.
    fn constant(&mut self, constant: Constant) -> Reg {
        let all = &mut self.kernel.constants;
        *self.constants.entry(constant).or_insert_with(|| {
            all.push(constant);
            (all.len() - 1) as Reg | crate::program::CONST
        })
    }
}
