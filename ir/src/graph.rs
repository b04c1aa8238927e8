//! The graph: values, nodes and blocks by typed index, in static single assignment.
//!
//! Invariants (checked by the verifier): every value has one definition; a block lists its nodes in an
//! order in which definitions come before uses; a nested block may use values of the blocks around it;
//! each node's outputs have the types its row infers.

use crate::{Attrs, OpRow, Type};
use nnc_tensor::{Dim, Sym};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub(crate) u32);
        impl $name {
            /// The index as a `usize`, for side tables.
            pub fn index(self) -> usize { self.0 as usize }
            pub(crate) fn new(i: usize) -> Self { Self(u32::try_from(i).expect("fewer than 2^32 entities")) }
        }
    )* };
}

ids! {
    /// A value.
    ValueId,
    /// A node.
    NodeId,
    /// A block.
    BlockId,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Def {
    /// Parameter number of a block.
    Param(BlockId, u32),
    /// Output number of a node.
    Node(NodeId, u32),
}

/// A value.
#[derive(Clone, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Where it comes from.
    pub def: Def,
    /// The elements as expressions, for integer tensors of rank 0 or 1 with at most 64 elements, where known.
    pub content: Option<Vec<Dim>>,
    /// The model's name for it.
    pub name: Option<String>,
}

/// A node: one application of an operator.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator.
    pub op: &'static OpRow,
    /// Its attributes.
    pub attrs: Attrs,
    /// Operands.
    pub inputs: Vec<ValueId>,
    /// Results.
    pub outputs: Vec<ValueId>,
    /// Bodies, for control operators.
    pub blocks: Vec<BlockId>,
    /// Name of the model's node that it came from.
    pub origin: std::sync::Arc<str>,
}

impl Node {
    /// What it does besides computing its results: what its operator does, or the routine it names.
    pub fn effects(&self) -> crate::ops::Effects {
        if self.is("routine") { crate::ops::routine_effects(&self.attrs) } else { self.op.effects }
    }

    /// True for this operator.
    pub fn is(&self, name: &str) -> bool {
        self.op.name == name
    }
}

/// A list of nodes with parameters and results.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Parameters.
    pub params: Vec<ValueId>,
    /// Nodes in order.
    pub nodes: Vec<NodeId>,
    /// Results.
    pub results: Vec<ValueId>,
}

/// A model as a graph of typed tensor operators.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The model's name.
    pub name: String,
    values: Vec<ValueData>,
    nodes: Vec<Node>,
    blocks: Vec<Block>,
    body: BlockId,
    next_sym: u32,
    /// Names of the outputs, one for each result of the body.
    pub output_names: Vec<String>,
    /// Inclusive bounds of symbols, where given.
    pub bounds: std::collections::BTreeMap<Sym, (i64, i64)>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph {
            name: name.to_owned(),
            values: Vec::new(),
            nodes: Vec::new(),
            blocks: vec![Block::default()],
            body: BlockId(0),
            next_sym: 0,
            output_names: Vec::new(),
            bounds: Default::default(),
        }
    }

    /// The outermost block: its parameters are the model's inputs, its results the outputs.
    pub fn body(&self) -> BlockId {
        self.body
    }

    /// A value.
    pub fn value(&self, v: ValueId) -> &ValueData {
        &self.values[v.index()]
    }

    /// A value, to be changed.
    pub fn value_mut(&mut self, v: ValueId) -> &mut ValueData {
        &mut self.values[v.index()]
    }

    /// Number of values ever made.
    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Number of blocks ever made.
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Number of nodes ever made.
    pub fn n_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    pub fn node(&self, n: NodeId) -> &Node {
        &self.nodes[n.index()]
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, n: NodeId) -> &mut Node {
        &mut self.nodes[n.index()]
    }

    /// A block.
    pub fn block(&self, b: BlockId) -> &Block {
        &self.blocks[b.index()]
    }

    /// A block, to be changed.
    pub fn block_mut(&mut self, b: BlockId) -> &mut Block {
        &mut self.blocks[b.index()]
    }

    /// A value's type.
    pub fn ty(&self, v: ValueId) -> &Type {
        &self.values[v.index()].ty
    }

    /// A value's tensor type.
    ///
    /// # Panics
    /// If the value is no tensor; callers have checked, by the row of the operator they look at.
    pub fn tensor_ty(&self, v: ValueId) -> &crate::TensorType {
        self.ty(v).as_tensor().expect("the operator's row takes tensors here")
    }

    /// The node that defines a value, unless it is a parameter.
    pub fn def_node(&self, v: ValueId) -> Option<&Node> {
        match self.value(v).def {
            Def::Node(n, _) => Some(self.node(n)),
            Def::Param(..) => None,
        }
    }

    /// The defining node if it is this operator.
    pub fn def_if(&self, v: ValueId, op: &str) -> Option<&Node> {
        self.def_node(v).filter(|n| n.is(op))
    }

    /// The constant behind a value, if it is one.
    pub fn constant(&self, v: ValueId) -> Option<&nnc_tensor::Tensor> {
        self.def_if(v, "constant").map(|n| n.attrs.tensor("value"))
    }

    /// A new empty block.
    pub fn add_block(&mut self) -> BlockId {
        self.blocks.push(Block::default());
        BlockId::new(self.blocks.len() - 1)
    }

    /// A new parameter of a block.
    pub fn add_param(&mut self, block: BlockId, ty: Type, name: Option<String>) -> ValueId {
        let at = u32::try_from(self.block(block).params.len()).expect("fewer than 2^32 parameters");
        let v = self.add_value(ValueData { ty, def: Def::Param(block, at), content: None, name });
        self.block_mut(block).params.push(v);
        v
    }

    fn add_value(&mut self, data: ValueData) -> ValueId {
        // A model may call a size what a fresh symbol would be called.
        let mut last = self.next_sym;
        data.ty
            .visit_dims(&mut |d| d.visit_syms(&mut |s| last = last.max(Graph::fresh_number(s).unwrap_or(0))));
        self.next_sym = last;
        self.values.push(data);
        ValueId::new(self.values.len() - 1)
    }

    /// A new node at the end of a block, its outputs typed as given.
    pub(crate) fn push_node(
        &mut self,
        block: BlockId,
        mut node: Node,
        types: Vec<Type>,
        contents: Vec<Option<Vec<Dim>>>,
    ) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        node.outputs = (0..)
            .zip(types)
            .zip(contents)
            .map(|((i, ty), content)| {
                self.add_value(ValueData { ty, def: Def::Node(id, i), content, name: None })
            })
            .collect();
        self.nodes.push(node);
        self.block_mut(block).nodes.push(id);
        id
    }

    /// A symbol that the graph does not have yet.
    pub fn fresh_sym(&mut self) -> Sym {
        self.next_sym += 1;
        Sym::new(format!("u{}", self.next_sym))
    }

    /// The number in the name of a symbol as [`Graph::fresh_sym`] makes them.
    pub(crate) fn fresh_number(sym: &Sym) -> Option<u32> {
        match sym {
            // Numbers that only a model would choose are left alone: counting on from them would overflow.
            Sym::Name(name) => name.strip_prefix('u')?.parse().ok().filter(|n| *n < 1 << 31),
            Sym::Local(_) => None,
        }
    }

    /// The number of the last symbol made by [`Graph::fresh_sym`].
    pub(crate) fn last_sym(&self) -> u32 {
        self.next_sym
    }

    /// Continues the numbering of fresh symbols after another graph's.
    pub(crate) fn skip_syms(&mut self, last: u32) {
        self.next_sym = self.next_sym.max(last);
    }

    /// Calls `f` for every node of a block and of the blocks inside it, in order, outer before inner.
    pub fn visit_nodes(&self, block: BlockId, f: &mut dyn FnMut(NodeId)) {
        for n in &self.block(block).nodes {
            f(*n);
            for b in &self.node(*n).blocks {
                self.visit_nodes(*b, f);
            }
        }
    }

    /// How often each value is read, results of blocks included; indexed by [`ValueId::index`].
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        let mut count = |vs: &[ValueId]| vs.iter().for_each(|v| counts[v.index()] += 1);
        count(&self.block(self.body).results);
        self.visit_nodes(self.body, &mut |n| {
            count(&self.node(n).inputs);
            self.node(n).blocks.iter().for_each(|b| count(&self.block(*b).results));
        });
        counts
    }
}
