//! PTX text: registers by kind, instructions, labels.
//!
//! It knows the notation and nothing of kernels. Instructions go to the body; what is needed from the
//! first instruction on (parameters, sizes) goes to the head.

use std::fmt::{self, Display, Formatter, Write};

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A truth value.
    Pred,
    /// 16 bits.
    Short,
    /// 32 bits.
    Word,
    /// 64 bits.
    Long,
    /// An f32.
    Single,
    /// An f64.
    Double,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Pred, Kind::Short, Kind::Word, Kind::Long, Kind::Single, Kind::Double];

    fn prefix(self) -> &'static str {
        ["p", "h", "r", "rd", "f", "fd"][self as usize]
    }

    fn declared(self) -> &'static str {
        ["pred", "b16", "b32", "b64", "f32", "f64"][self as usize]
    }

    /// The type in a `mov`.
    pub(super) fn moved(self) -> &'static str {
        self.declared()
    }
}

/// A virtual register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reg {
    pub(super) kind: Kind,
    pub(super) number: u32,
}

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.kind.prefix(), self.number)
    }
}

/// A float as an immediate operand of the kind of a register.
pub(super) struct Float(pub(super) Kind, pub(super) f64);

impl Display for Float {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Double => write!(f, "0d{:016X}", self.1.to_bits()),
            _ => write!(f, "0f{:08X}", (self.1 as f32).to_bits()),
        }
    }
}

/// An address: a register and a displacement in bytes.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) Reg, pub(super) i32);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            0 => write!(f, "[{}]", self.0),
            d => write!(f, "[{}+{d}]", self.0),
        }
    }
}

/// A place in the code.
#[derive(Clone, Copy)]
pub(super) struct Label(u32);

impl Display for Label {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "$L{}", self.0)
    }
}

/// Operands of an instruction.
pub(super) type Operands<'o> = &'o [&'o dyn Display];

/// The code of one kernel under construction.
#[derive(Default)]
pub(super) struct Text {
    head: String,
    body: String,
    counts: [u32; Kind::ALL.len()],
    n_labels: u32,
}

fn instruction(to: &mut String, guard: Option<(Reg, bool)>, name: &str, operands: Operands<'_>) {
    to.push('\t');
    if let Some((p, holds)) = guard {
        let not = if holds { "" } else { "!" };
        write!(to, "@{not}{p} ").expect("a string takes everything");
    }
    to.push_str(name);
    for (i, operand) in operands.iter().enumerate() {
        write!(to, "{}{operand}", if i == 0 { " " } else { ", " }).expect("a string takes everything");
    }
    to.push_str(";\n");
}

impl Text {
    /// A new register.
    pub(super) fn reg(&mut self, kind: Kind) -> Reg {
        let number = self.counts[kind as usize];
        self.counts[kind as usize] += 1;
        Reg { kind, number }
    }

    /// An instruction without result in a new register.
    pub(super) fn put(&mut self, name: &str, operands: Operands<'_>) {
        instruction(&mut self.body, None, name, operands);
    }

    /// The same, only where a predicate holds.
    pub(super) fn put_if(&mut self, p: Reg, name: &str, operands: Operands<'_>) {
        instruction(&mut self.body, Some((p, true)), name, operands);
    }

    /// An instruction with its result in a new register.
    pub(super) fn op(&mut self, kind: Kind, name: &str, operands: Operands<'_>) -> Reg {
        let to = self.reg(kind);
        let all: Vec<&dyn Display> =
            std::iter::once(&to as &dyn Display).chain(operands.iter().copied()).collect();
        self.put(name, &all);
        to
    }

    /// An instruction at the start of the kernel.
    pub(super) fn at_start(&mut self, kind: Kind, name: &str, operands: Operands<'_>) -> Reg {
        let to = self.reg(kind);
        let all: Vec<&dyn Display> =
            std::iter::once(&to as &dyn Display).chain(operands.iter().copied()).collect();
        instruction(&mut self.head, None, name, &all);
        to
    }

    /// A copy into an existing register.
    pub(super) fn set(&mut self, to: Reg, value: &dyn Display) {
        self.put(&format!("mov.{}", to.kind.moved()), &[&to, value]);
    }

    /// A copy in a new register, which the caller may change.
    pub(super) fn copy(&mut self, value: Reg) -> Reg {
        let to = self.reg(value.kind);
        self.set(to, &value);
        to
    }

    /// An integer constant.
    pub(super) fn int(&mut self, kind: Kind, v: i64) -> Reg {
        self.op(kind, &format!("mov.{}", kind.moved()), &[&v])
    }

    /// A float constant.
    pub(super) fn float(&mut self, kind: Kind, v: f64) -> Reg {
        self.op(kind, &format!("mov.{}", kind.moved()), &[&Float(kind, v)])
    }

    /// A comparison.
    pub(super) fn compare(&mut self, name: &str, a: Reg, b: &dyn Display) -> Reg {
        self.op(Kind::Pred, &format!("setp.{name}"), &[&a, b])
    }

    /// `p ? a : b` for anything but predicates.
    pub(super) fn choose(&mut self, p: Reg, a: Reg, b: Reg) -> Reg {
        self.op(a.kind, &format!("selp.{}", a.kind.moved()), &[&a, &b, &p])
    }

    /// Two predicates at once.
    pub(super) fn both(&mut self, a: Reg, b: Reg) -> Reg {
        self.op(Kind::Pred, "and.pred", &[&a, &b])
    }

    /// A label that is placed later.
    pub(super) fn label(&mut self) -> Label {
        self.n_labels += 1;
        Label(self.n_labels - 1)
    }

    /// Puts a label here.
    pub(super) fn place(&mut self, label: Label) {
        writeln!(self.body, "{label}:").expect("a string takes everything");
    }

    /// A jump.
    pub(super) fn jump(&mut self, to: Label) {
        self.put("bra", &[&to]);
    }

    /// A jump where a predicate is as given.
    pub(super) fn jump_if(&mut self, p: Reg, holds: bool, to: Label) {
        instruction(&mut self.body, Some((p, holds)), "bra", &[&to]);
    }

    /// A barrier of all threads of the block.
    pub(super) fn barrier(&mut self) {
        self.put("bar.sync", &[&0]);
    }

    /// The whole: declarations, head, body.
    pub(super) fn finish(self, declarations: &str) -> String {
        let mut out = String::new();
        for (kind, n) in Kind::ALL.iter().zip(self.counts).filter(|(_, n)| *n > 0) {
            writeln!(out, "\t.reg .{} %{}<{n}>;", kind.declared(), kind.prefix())
                .expect("a string takes everything");
        }
        out + declarations + &self.head + &self.body
    }
}
