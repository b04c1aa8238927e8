//! Rewriting: a walk that copies a graph node by node and lets a rule replace some of them.
//!
//! A rule sees the node with its operands already in the new graph and may look at what defines them.
//! A replacement must have the type of what it replaces. Nodes that nobody reads afterwards are not
//! removed here; dead-code elimination does that.

use crate::{Attrs, BlockId, Builder, Def, Graph, Node, OpError, Type, ValueId};

/// What a rule says of a node.
pub enum Outcome {
    /// These values stand for the node's outputs.
    Applied(Vec<ValueId>),
    /// The rule has copied the node itself ([`Rewriter::copy`]); these are its outputs.
    Kept(Vec<ValueId>),
    /// The rule is not about such a node.
    NoMatch,
    /// The rule is about such a node, but something stands in the way.
    Blocked(&'static str),
}

/// The new graph under construction, as a rule sees it.
pub struct Rewriter<'a> {
    /// Appends to the new graph.
    pub b: Builder<'a>,
    uses: &'a [u32],
    old_of: &'a [Option<ValueId>],
}

impl Rewriter<'_> {
    /// How often the old graph reads the value that this one stands for; many, if it stands for none.
    pub fn n_uses(&self, new: ValueId) -> u32 {
        match self.old_of.get(new.index()) {
            Some(Some(old)) => self.uses[old.index()],
            _ => u32::MAX,
        }
    }

    /// A copy of the node in the new graph; a rule that calls it answers [`Outcome::Kept`].
    pub fn copy(&mut self, node: &NodeView) -> Result<Vec<ValueId>, OpError> {
        let contents = node.contents.clone();
        let copy = Node { inputs: node.inputs.clone(), outputs: Vec::new(), ..node.old.clone() };
        let id = self.b.graph.push_node(self.b.block, copy, node.types.clone(), contents);
        Ok(self.b.graph.node(id).outputs.clone())
    }

    /// The node defining a value, if the named operator and if nothing else reads that value.
    pub fn sole(&self, v: ValueId, op: &str) -> Option<&Node> {
        self.b.graph.def_if(v, op).filter(|_| self.n_uses(v) == 1)
    }

    /// The node defining a value, if the named operator.
    pub fn def(&self, v: ValueId, op: &str) -> Option<&Node> {
        self.b.graph.def_if(v, op)
    }
}

/// A node about to be copied: operands are values of the new graph.
pub struct NodeView<'a> {
    /// The node in the old graph.
    pub old: &'a Node,
    /// Attributes.
    pub attrs: &'a Attrs,
    /// Operands in the new graph.
    pub inputs: Vec<ValueId>,
    /// Types of its outputs.
    pub types: Vec<Type>,
    contents: Vec<Option<Vec<nnc_tensor::Dim>>>,
}

impl NodeView<'_> {
    /// True for this operator.
    pub fn is(&self, name: &str) -> bool {
        self.old.is(name)
    }
}

struct Walk<'a, F> {
    old: &'a Graph,
    new: Graph,
    uses: Vec<u32>,
    new_of: Vec<Option<ValueId>>,
    old_of: Vec<Option<ValueId>>,
    rule: F,
}

/// Copies `graph`, asking `rule` about every node. A rule that answers anything but `Applied` keeps the node.
pub fn rewrite(
    graph: &Graph,
    rule: impl FnMut(&mut Rewriter, &NodeView) -> Result<Outcome, OpError>,
) -> Result<Graph, OpError> {
    let mut new = Graph::new(&graph.name);
    new.bounds = graph.bounds.clone();
    new.output_names = graph.output_names.clone();
    new.skip_syms(graph.last_sym());
    let mut walk = Walk {
        old: graph,
        new,
        uses: graph.use_counts(),
        new_of: vec![None; graph.n_values()],
        old_of: Vec::new(),
        rule,
    };
    let body = walk.new.body();
    walk.block(graph.body(), body)?;
    Ok(walk.new)
}

impl<F: FnMut(&mut Rewriter, &NodeView) -> Result<Outcome, OpError>> Walk<'_, F> {
    fn block(&mut self, from: BlockId, to: BlockId) -> Result<(), OpError> {
        let old = self.old;
        for p in &old.block(from).params {
            let data = old.value(*p);
            let v = self.new.add_param(to, data.ty.clone(), data.name.clone());
            self.new.value_mut(v).content = data.content.clone();
            self.map(*p, v);
        }
        for n in &old.block(from).nodes {
            self.node(old.node(*n), to)?;
        }
        let results = old.block(from).results.iter().map(|v| self.mapped(*v)).collect();
        self.new.block_mut(to).results = results;
        Ok(())
    }

    fn node(&mut self, node: &Node, to: BlockId) -> Result<(), OpError> {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|v| self.mapped(*v)).collect();
        let types = node.outputs.iter().map(|v| self.old.ty(*v).clone()).collect();
        let contents = node.outputs.iter().map(|v| self.old.value(*v).content.clone()).collect();
        let view = NodeView { old: node, attrs: &node.attrs, inputs, types, contents };
        let b = Builder { graph: &mut self.new, block: to, origin: node.origin.clone() };
        let mut rewriter = Rewriter { b, uses: &self.uses, old_of: &self.old_of };
        let outcome =
            if node.blocks.is_empty() { (self.rule)(&mut rewriter, &view)? } else { Outcome::NoMatch };
        if let Outcome::Applied(values) | Outcome::Kept(values) = outcome {
            for (old, new) in node.outputs.iter().zip(values) {
                let (was, is) = (self.old.ty(*old), self.new.ty(new));
                assert_eq!(was, is, "a replacement of {} must keep its type", node.op.name);
                self.map(*old, new);
            }
            return Ok(());
        }
        let blocks = node.blocks.iter().map(|b| {
            let copy = self.new.add_block();
            self.block(*b, copy).map(|()| copy)
        });
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let types = view.types.clone();
        let contents = view.contents.clone();
        let copy = Node { inputs: view.inputs, blocks, outputs: Vec::new(), ..node.clone() };
        let id = self.new.push_node(to, copy, types, contents);
        for (old, new) in node.outputs.iter().zip(self.new.node(id).outputs.clone()) {
            self.map(*old, new);
        }
        Ok(())
    }

    fn map(&mut self, old: ValueId, new: ValueId) {
        self.new_of[old.index()] = Some(new);
        if self.old_of.len() <= new.index() {
            self.old_of.resize(new.index() + 1, None);
        }
        // A value that already stands for another one has several readers' worth of uses.
        match self.old_of[new.index()] {
            None => self.old_of[new.index()] = Some(old),
            Some(other) => self.uses[other.index()] += self.uses[old.index()],
        }
        let data = self.old.value(old);
        let target = self.new.value_mut(new);
        if target.name.is_none() {
            target.name = data.name.clone();
        }
        if target.content.is_none() {
            target.content = data.content.clone();
        }
    }

    fn mapped(&self, old: ValueId) -> ValueId {
        self.new_of[old.index()].expect("definitions come before uses")
    }
}

impl Graph {
    /// A copy that has only the given nodes.
    pub fn retain(&self, keep: &std::collections::BTreeSet<crate::NodeId>) -> Result<Graph, OpError> {
        let mut pruned = self.clone();
        for b in 0..pruned.n_blocks() {
            pruned.block_mut(BlockId::new(b)).nodes.retain(|n| keep.contains(n));
        }
        rewrite(&pruned, |_, _| Ok(Outcome::NoMatch))
    }

    /// The node and output number that define a value, unless it is a parameter.
    pub fn def_output(&self, v: ValueId) -> Option<(&Node, usize)> {
        match self.value(v).def {
            Def::Node(n, i) => Some((self.node(n), i as usize)),
            Def::Param(..) => None,
        }
    }
}
