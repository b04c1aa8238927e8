//! Mutations: the module without one of its barriers, waits, fences or bounds. A kernel that is as correct
//! as before without one did not need it, or the checks do not see what it is for.

use crate::module::Module;
use crate::parse::ast::{Function, Instruction, Operand};
use std::ops::Range;

/// What is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// A barrier of a block or a warp, or an arrival at one.
    Barrier,
    /// A wait for asynchronous operations, or the commit of a group of them.
    Wait,
    /// A fence.
    Fence,
    /// The guard of an access of memory, or a branch around it.
    Bound,
}

/// A module's text with one site gone; lines keep their numbers.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What was taken out.
    pub site: Site,
    /// The kernel or function that it stood in.
    pub function: String,
    /// Its line.
    pub line: u32,
    /// The instruction as it was.
    pub was: String,
    /// The text without it.
    pub text: String,
}

/// All mutants of a module.
pub fn mutants(module: &Module) -> Vec<Mutant> {
    let text = module.text();
    let mut all = Vec::new();
    for function in &module.syntax.functions {
        for (i, instruction) in function.body.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &function.body[i]);
            let Some((site, gone)) = site(function, before, instruction) else { continue };
            let blank: String =
                text[gone.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            all.push(Mutant {
                site,
                function: function.name.clone(),
                line: instruction.line,
                was: text[instruction.span.clone()].to_owned(),
                text: [&text[..gone.start], &blank, &text[gone.end..]].concat(),
            });
        }
    }
    all
}

fn forward(function: &Function, i: &Instruction) -> bool {
    let Some(Operand::Name(target)) = i.operands.first() else { return false };
    function.labels.iter().any(|l| l.name == *target && l.line > i.line)
}

fn asks(i: &Instruction) -> bool {
    i.opcode.starts_with("mbarrier.try_wait") || i.opcode.starts_with("mbarrier.test_wait")
}

const ACCESSES: &[&str] = &["ld", "st", "atom", "red", "cp", "bra"];

/// What an instruction is a site of, and the bytes that go.
fn site(function: &Function, before: Option<&Instruction>, i: &Instruction) -> Option<(Site, Range<usize>)> {
    let name = i.opcode.split('.').next().unwrap_or("");
    let has = |part: &str| i.opcode.split('.').any(|p| p == part);
    let whole = i.span.clone();
    match name {
        "bar" | "barrier" => Some((Site::Barrier, whole)),
        "membar" | "fence" => Some((Site::Fence, whole)),
        "wgmma" if has("fence") => Some((Site::Fence, whole)),
        "wgmma" | "cp" if has("wait_group") || has("wait_all") || has("commit_group") => {
            Some((Site::Wait, whole))
        }
        "mbarrier" if has("try_wait") || has("test_wait") => None,
        "mbarrier" => Some((Site::Barrier, whole)),
        // The loop around a question whether a phase is over is the wait.
        "bra" if before.is_some_and(asks) => Some((Site::Wait, whole)),
        // A branch backward ends a loop; it is no bound.
        "bra" if !forward(function, i) => None,
        _ => {
            let guard = i.guard.as_ref().filter(|_| ACCESSES.contains(&name))?;
            Some((Site::Bound, if name == "bra" { whole } else { guard.span.clone() }))
        }
    }
}
