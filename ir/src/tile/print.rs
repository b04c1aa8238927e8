//! The text form of a kernel.

use super::{Arg, Axis, Expr, Kernel, Local, Loop, Mem, Stmt, Turns};
use std::fmt::{self, Display, Formatter};

impl Display for Local {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl Display for Mem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Mem::Param(i) => write!(f, "$p{i}"),
            Mem::Scratch(i) => write!(f, "$s{i}"),
        }
    }
}

impl Display for Axis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} in 0..{}", self.local, self.extent)
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Float(v) => write!(f, "float {v:?}"),
            Expr::Int(v) => write!(f, "int {v}"),
            Expr::Index(d) => write!(f, "index {d}"),
            Expr::Load(m, d) => write!(f, "load {m}[{d}]"),
            Expr::Op(op, args) => {
                f.write_str(op.name())?;
                args.iter()
                    .enumerate()
                    .try_for_each(|(i, a)| write!(f, "{} {a}", if i > 0 { "," } else { "" }))
            }
            Expr::Fma(a, b, c) => write!(f, "fma {a}, {b}, {c}"),
            Expr::Cast(x) => write!(f, "cast {x}"),
            Expr::RoundTo(d, x) => write!(f, "round_to {d} {x}"),
            Expr::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
            Expr::Bitcast(x) => write!(f, "bitcast {x}"),
        }
    }
}

impl Display for Arg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Ptr(m, d) => write!(f, "&{m}[{d}]"),
            Arg::Null => f.write_str("null"),
            Arg::Int(d) => d.fmt(f),
            Arg::F32(v) => write!(f, "{v:?}f"),
            Arg::Local(l) => l.fmt(f),
        }
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {:?} {{", self.name)?;
        for (i, p) in self.params.iter().enumerate() {
            writeln!(f, "  param $p{i}: {}[{}] {:?}", p.dtype, p.elems, p.access)?;
        }
        for (i, s) in self.scratch.iter().enumerate() {
            writeln!(f, "  scratch $s{i}: {}[{}]", s.dtype, s.elems)?;
        }
        for a in &self.grid {
            writeln!(f, "  grid {a}")?;
        }
        writeln!(f, "  cost {} ns", self.cost_ns)?;
        block(f, &self.body, 1)?;
        f.write_str("}\n")
    }
}

fn block(f: &mut Formatter<'_>, body: &[Stmt], depth: usize) -> fmt::Result {
    body.iter().try_for_each(|s| stmt(f, s, depth))
}

fn stmt(f: &mut Formatter<'_>, s: &Stmt, depth: usize) -> fmt::Result {
    let pad = "  ".repeat(depth);
    match s {
        Stmt::Let { local, dtype, expr } => writeln!(f, "{pad}{local}: {dtype} = {expr}"),
        Stmt::Store { mem, index, value } => writeln!(f, "{pad}store {mem}[{index}] = {value}"),
        Stmt::StorePtr { table, index, mem, element } => {
            writeln!(f, "{pad}store {table}[{index}] = &{mem}[{element}]")
        }
        Stmt::For(l) => counted(f, l, depth),
        Stmt::If { cond, then, otherwise } => {
            writeln!(f, "{pad}if {cond} {{")?;
            block(f, then, depth + 1)?;
            if !otherwise.is_empty() {
                writeln!(f, "{pad}}} else {{")?;
                block(f, otherwise, depth + 1)?;
            }
            writeln!(f, "{pad}}}")
        }
        Stmt::Call { contract, version, args } => {
            let args: Vec<String> = args.iter().map(Arg::to_string).collect();
            writeln!(f, "{pad}call {contract}@{version}({})", args.join(", "))
        }
    }
}

fn counted(f: &mut Formatter<'_>, l: &Loop, depth: usize) -> fmt::Result {
    let pad = "  ".repeat(depth);
    let kind = match l.turns {
        Turns::Serial => "for",
        Turns::Lanes => "lanes",
        Turns::Rows => "rows",
    };
    write!(f, "{pad}{kind} {}", l.axis)?;
    for c in &l.carries {
        write!(f, " carry {} = {} then {} gives {}", c.inside, c.init, c.next, c.result)?;
    }
    for r in &l.reduces {
        write!(f, " reduce {} {}, {} gives {}", r.op.name(), r.init, r.value, r.result)?;
    }
    writeln!(f, " {{")?;
    block(f, &l.body, depth + 1)?;
    writeln!(f, "{pad}}}")
}
