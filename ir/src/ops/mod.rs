//! The operators of the graph: one row each, by family.
//!
//! A row answers everything there is to ask about an operator. Adding one touches one file.

mod attention;
mod check;
mod composite;
mod control;
mod conv;
mod elementwise;
mod indexed;
mod linalg;
mod matmul;
mod movement;
mod pool;
mod recurrent;
mod reduce;
mod routine;
mod source;
mod spec;
mod window;

pub(crate) use control::cover;
pub use elementwise::is_elementwise;
pub(crate) use routine::effects as routine_effects;
pub(crate) use source::symbol;

use crate::{AttrSpec, Attrs, Block, Builder, Graph, ScalarOp, TensorType, Type, ValueId};
use nnc_tensor::{Dim, Sym, Tensor, Value};
use std::cell::RefCell;

/// Why an operator refuses its operands or attributes; the caller adds which node.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct OpError(pub String);

impl From<nnc_tensor::TensorError> for OpError {
    fn from(e: nnc_tensor::TensorError) -> OpError {
        OpError(e.to_string())
    }
}

/// Returns an [`OpError`] with a formatted message.
#[macro_export]
macro_rules! refuse {
    ($($t:tt)*) => { return Err($crate::OpError(format!($($t)*))) };
}

/// What an operator does besides computing its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effects {
    /// Nothing: equal inputs give equal outputs, an unread result may go.
    Pure,
    /// Draws random numbers: two of them are never merged.
    Random,
    /// Gives symbols their values: stays while they are mentioned.
    Binds,
}

/// A graph operator.
pub struct OpRow {
    /// Name, as in the text form.
    pub name: &'static str,
    /// What it computes, with shapes.
    pub doc: &'static str,
    /// Its attributes, sorted by name.
    pub attrs: &'static [AttrSpec],
    /// Effects.
    pub effects: Effects,
    /// Types of the outputs; checks operands and attributes.
    pub infer: fn(&mut InferCx) -> Result<Vec<Type>, OpError>,
    /// Elements of the outputs as expressions, where those of the inputs are known.
    pub content: Option<Content>,
    /// The meaning: plain, slow, accumulating in f64 and rounding once to the output's type.
    pub eval: fn(&EvalCx) -> Result<Vec<Value>, OpError>,
    /// The scalar function of an elementwise operator.
    pub scalar: Option<ScalarOp>,
    /// A composite in terms of other operators; the values stand for the node's outputs.
    pub decompose: Option<Decompose>,
}

/// Elements of a small integer output as expressions.
pub type Content = fn(&InferCx) -> Option<Vec<Dim>>;

/// Runs a body of the node by number on its parameters.
pub type RunBlock<'a> = dyn Fn(usize, &[Value]) -> Result<Vec<Value>, OpError> + 'a;

/// Appends a composite's parts, given its attributes and operands.
pub type Decompose = fn(&mut Builder, &Attrs, &[ValueId]) -> Result<Vec<ValueId>, OpError>;

impl OpRow {
    /// Elements of the first output as expressions, where they are known and few.
    pub(crate) fn content_of(&self, cx: &InferCx, ty: &Type) -> Option<Vec<Dim>> {
        let small = |t: &TensorType| t.dtype.int_range().is_some() && t.rank() <= 1;
        ty.as_tensor().filter(|t| small(t))?;
        self.content?(cx).filter(|c| c.len() <= 64)
    }

    /// Its nodes have bodies.
    pub fn has_bodies(&self) -> bool {
        matches!(self.name, "if" | "loop")
    }

    /// Refuses attributes that are missing, unknown or of another kind.
    pub fn check_attrs(&self, attrs: &Attrs) -> Result<(), OpError> {
        for spec in self.attrs {
            match attrs.get(spec.name) {
                Some(a) if a.kind() == spec.kind => {}
                Some(a) => {
                    refuse!("attribute \"{}\" must be {}, found {}", spec.name, spec.kind, a.kind())
                }
                None if spec.required => refuse!("attribute \"{}\" is missing", spec.name),
                None => {}
            }
        }
        match attrs.iter().find(|(name, _)| self.attrs.iter().all(|s| s.name != *name)) {
            Some((name, _)) => refuse!("{} has no attribute \"{name}\"", self.name),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for OpRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What inference sees.
pub struct InferCx<'a> {
    /// The graph, for types and contents of inputs and for fresh symbols.
    pub graph: &'a mut Graph,
    /// Attributes.
    pub attrs: &'a Attrs,
    /// Operands.
    pub inputs: &'a [ValueId],
    /// Bodies.
    pub blocks: &'a [crate::BlockId],
    assumed: RefCell<Vec<Assumption>>,
}

/// Two sizes that inference took for equal and that may differ when they are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assumption {
    /// The size that an operand has.
    pub found: Dim,
    /// The size that it should have.
    pub expected: Dim,
    /// Size 1 will do too.
    pub or_one: bool,
}

/// What the inference of a node's types assumes of sizes.
///
/// `scratch` is a copy of the node's graph, which gets the fresh symbols.
pub fn assumptions(scratch: &mut Graph, node: &crate::Node) -> Vec<Assumption> {
    let mut cx = InferCx::new(scratch, &node.attrs, &node.inputs, &node.blocks);
    match (node.op.infer)(&mut cx) {
        Ok(_) => cx.assumed.into_inner(),
        // Such a node is refused elsewhere, with a message.
        Err(_) => Vec::new(),
    }
}

impl<'a> InferCx<'a> {
    /// Sees operands of one node.
    pub fn new(
        graph: &'a mut Graph,
        attrs: &'a Attrs,
        inputs: &'a [ValueId],
        blocks: &'a [crate::BlockId],
    ) -> InferCx<'a> {
        InferCx { graph, attrs, inputs, blocks, assumed: RefCell::default() }
    }
}

impl InferCx<'_> {
    /// Notes that `found` has to be `expected`, for what runs the node to compare them.
    pub(crate) fn assume(&self, found: &Dim, expected: &Dim, or_one: bool) {
        if found != expected {
            let (found, expected) = (found.clone(), expected.clone());
            self.assumed.borrow_mut().push(Assumption { found, expected, or_one });
        }
    }

    /// Type of operand `i`.
    pub fn ty(&self, i: usize) -> &Type {
        self.graph.ty(self.inputs[i])
    }

    /// Tensor type of operand `i`.
    pub fn tensor(&self, i: usize) -> Result<&TensorType, OpError> {
        match self.inputs.get(i).map(|v| self.graph.ty(*v)) {
            Some(Type::Tensor(t)) => Ok(t),
            Some(t) => Err(OpError(format!("operand {i} must be a tensor, found {t}"))),
            None => Err(OpError(format!("operand {i} is missing"))),
        }
    }

    /// Refuses any other number of operands.
    pub fn n_inputs(&self, n: usize) -> Result<(), OpError> {
        if self.inputs.len() != n {
            refuse!("expected {n} operands, found {}", self.inputs.len());
        }
        Ok(())
    }

    /// Elements of operand `i` as expressions, where known.
    pub fn content(&self, i: usize) -> Option<&[Dim]> {
        self.graph.value(*self.inputs.get(i)?).content.as_deref()
    }

    /// A body.
    pub fn block(&self, i: usize) -> &Block {
        self.graph.block(self.blocks[i])
    }
}

/// What evaluation sees.
pub struct EvalCx<'a> {
    /// Attributes.
    pub attrs: &'a Attrs,
    /// Operands.
    pub inputs: &'a [Value],
    /// Types of the outputs as inferred (sizes may be symbols).
    pub outputs: &'a [Type],
    /// Values of symbols.
    pub syms: &'a dyn Fn(&Sym) -> Option<i64>,
    /// Runs body number `.0` on parameters `.1`; control operators only.
    pub run_block: &'a RunBlock<'a>,
}

impl EvalCx<'_> {
    /// Operand `i` as a tensor.
    pub fn tensor(&self, i: usize) -> Result<&Tensor, OpError> {
        self.inputs
            .get(i)
            .and_then(Value::tensor)
            .ok_or_else(|| OpError(format!("operand {i} must be a tensor")))
    }

    /// The value of a size.
    pub fn dim(&self, d: &Dim) -> Result<i64, OpError> {
        d.eval(self.syms).map_err(|e| OpError(e.to_string()))
    }

    /// Values of sizes.
    pub fn dims(&self, dims: &[Dim]) -> Result<Vec<i64>, OpError> {
        dims.iter().map(|d| self.dim(d)).collect()
    }

    /// Values of sizes that are lengths.
    pub fn lens(&self, dims: &[Dim]) -> Result<Vec<usize>, OpError> {
        dims.iter()
            .map(|d| {
                let v = self.dim(d)?;
                usize::try_from(v).map_err(|_| OpError(format!("size {d} is negative ({v})")))
            })
            .collect()
    }

    /// Tensor type of output `i`.
    pub fn out(&self, i: usize) -> &TensorType {
        self.outputs[i].as_tensor().expect("inference gave a tensor type")
    }
}

/// Every family.
static FAMILIES: &[&[OpRow]] = &[
    source::ROWS,
    elementwise::ROWS,
    movement::ROWS,
    indexed::ROWS,
    linalg::ROWS,
    conv::ROWS,
    pool::ROWS,
    reduce::ROWS,
    composite::ROWS,
    attention::ROWS,
    recurrent::ROWS,
    control::ROWS,
    routine::ROWS,
];

/// Every row.
pub fn all() -> impl Iterator<Item = &'static OpRow> {
    FAMILIES.iter().flat_map(|f| f.iter())
}

/// The row with this name.
pub fn find(name: &str) -> Option<&'static OpRow> {
    all().find(|r| r.name == name)
}

/// The row with this name, which the program itself wrote.
///
/// # Panics
/// If there is none: a misspelt name in the compiler.
pub fn row(name: &str) -> &'static OpRow {
    find(name).unwrap_or_else(|| panic!("no operator is called {name}"))
}

#[cfg(test)]
mod tests;
