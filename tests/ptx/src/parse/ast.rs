//! A module as written: declarations, functions, instructions with their operands, each with its line.
//! Names are not resolved here.

use crate::types::{Space, Type};
use std::ops::Range;

/// A whole text.
#[derive(Debug, Default)]
pub(crate) struct Syntax {
    pub(crate) target: String,
    pub(crate) variables: Vec<Variable>,
    pub(crate) functions: Vec<Function>,
}

/// A variable of some state space.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) space: Space,
    pub(crate) ty: Type,
    pub(crate) align: u64,
    /// Bytes that it takes; none for an array without a size, which the launch sizes.
    pub(crate) bytes: Option<u64>,
    pub(crate) init: Vec<u8>,
    pub(crate) line: u32,
}

/// A kernel or a device function.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) is_kernel: bool,
    pub(crate) returns: Vec<Parameter>,
    pub(crate) params: Vec<Parameter>,
    /// Most threads that a block may have, by `.maxntid` or `.reqntid`.
    pub(crate) max_threads: Option<u64>,
    /// Scope 0 is the body; each other has a parent before it.
    pub(crate) scopes: Vec<usize>,
    pub(crate) registers: Vec<Registers>,
    pub(crate) variables: Vec<(usize, Variable)>,
    pub(crate) labels: Vec<Label>,
    pub(crate) branch_targets: Vec<(usize, String, Vec<String>)>,
    pub(crate) body: Vec<Instruction>,
    pub(crate) line: u32,
}

/// A formal parameter.
#[derive(Clone, Debug)]
pub(crate) enum Parameter {
    Memory(Variable),
    Register { name: String, ty: Type },
}

/// `.reg .f32 %f<8>, %x;` as one of its items.
#[derive(Debug)]
pub(crate) struct Registers {
    pub(crate) scope: usize,
    pub(crate) name: String,
    /// How many, for a name with a count in angle brackets.
    pub(crate) count: Option<u64>,
    pub(crate) ty: Type,
    pub(crate) line: u32,
}

/// A label and the instruction that it stands before.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) scope: usize,
    pub(crate) name: String,
    pub(crate) at: usize,
    pub(crate) line: u32,
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) scope: usize,
    pub(crate) guard: Option<Guard>,
    pub(crate) opcode: String,
    pub(crate) operands: Vec<Operand>,
    pub(crate) line: u32,
    /// Its bytes in the text, from the guard to the semicolon.
    pub(crate) span: Range<usize>,
}

/// `@p` or `@!p`.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) negated: bool,
    /// Its bytes in the text.
    pub(crate) span: Range<usize>,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A register, a special register, a variable, a label or a function.
    Name(String),
    /// `!p`
    Not(String),
    Int(u64),
    F32(u32),
    F64(u64),
    /// `[base + offset]`, `[base, {coordinates}]` of a tensor.
    Address {
        base: Box<Operand>,
        offset: i64,
        coordinates: Vec<Operand>,
    },
    /// A variable with an offset, outside brackets.
    Offset(String, i64),
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `d|p`
    Pair(Box<Operand>, Box<Operand>),
    /// Arguments of a call in parentheses.
    List(Vec<Operand>),
    /// `_`
    Sink,
}
