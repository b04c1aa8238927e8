//! The verifier. What holds of every graph between passes:
//!
//! 1. a value is defined once, by the parameter or the node that it names as its definition;
//! 2. a node stands in one block, a block belongs to one node (the body to none);
//! 3. an operand or result is defined before it is read, in the same block or in one around it;
//! 4. attributes are those of the operator's row; only control operators have bodies;
//! 5. types of results are those that the row infers, where any symbol stands for a fresh one;
//! 6. sizes in attributes mention symbols of the inputs or of nodes before;
//! 7. known elements are as many as the type says.

use crate::ops::{OpError, symbol};
use crate::{Attr, BlockId, Def, Dim, Graph, InferCx, Node, NodeId, Sym, Type, ValueId};
use std::collections::BTreeSet;

/// One broken invariant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// Of a node.
    #[error("node \"{origin}\" ({op}): {message}")]
    Node {
        /// Name of the model's node.
        origin: String,
        /// Name of the operator.
        op: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Of a block's parameters or results, or of the graph as a whole.
    #[error("block {block}: {message}")]
    Block {
        /// Index of the block.
        block: usize,
        /// What is wrong.
        message: String,
    },
}

/// Checks all invariants, and answers every one that is broken.
pub fn verify(graph: &Graph) -> Result<(), Vec<VerifyError>> {
    let mut check = Check {
        graph,
        scratch: graph.clone(),
        visible: vec![false; graph.n_values()],
        defined: vec![false; graph.n_values()],
        seen_nodes: BTreeSet::new(),
        seen_blocks: BTreeSet::new(),
        syms: BTreeSet::new(),
        errors: Vec::new(),
    };
    check.block(graph.body());
    if check.errors.is_empty() { Ok(()) } else { Err(check.errors) }
}

struct Check<'a> {
    graph: &'a Graph,
    /// A copy in which inference may make fresh symbols.
    scratch: Graph,
    visible: Vec<bool>,
    defined: Vec<bool>,
    seen_nodes: BTreeSet<NodeId>,
    seen_blocks: BTreeSet<BlockId>,
    syms: BTreeSet<Sym>,
    errors: Vec<VerifyError>,
}

impl Check<'_> {
    fn fail_block(&mut self, b: BlockId, message: String) {
        self.errors.push(VerifyError::Block { block: b.index(), message });
    }

    fn fail_node(&mut self, node: &Node, message: String) {
        self.errors.push(VerifyError::Node { origin: node.origin.to_string(), op: node.op.name, message });
    }

    fn block(&mut self, b: BlockId) {
        if !self.seen_blocks.insert(b) {
            return self.fail_block(b, "belongs to more than one node".into());
        }
        let block = self.graph.block(b);
        let mut own = Vec::new();
        for (i, v) in block.params.iter().enumerate() {
            if self.graph.value(*v).def != Def::Param(b, i as u32) {
                self.fail_block(b, format!("parameter {i} names another definition"));
            }
            self.define(*v, &mut own, |c, m| c.fail_block(b, m));
            self.learn(*v);
        }
        for n in &block.nodes {
            let node = self.graph.node(*n);
            if !self.seen_nodes.insert(*n) {
                self.fail_node(node, "stands in more than one place".into());
                continue;
            }
            self.node(*n, node);
            for (i, v) in node.outputs.iter().enumerate() {
                if self.graph.value(*v).def != Def::Node(*n, i as u32) {
                    self.fail_node(node, format!("result {i} names another definition"));
                }
                self.define(*v, &mut own, |c, m| c.fail_node(node, m));
            }
        }
        for (i, v) in block.results.iter().enumerate() {
            if !self.visible[v.index()] {
                self.fail_block(b, format!("result {i} is not defined where the block ends"));
            }
        }
        own.iter().for_each(|v| self.visible[v.index()] = false);
    }

    fn define(&mut self, v: ValueId, own: &mut Vec<ValueId>, fail: impl FnOnce(&mut Self, String)) {
        if std::mem::replace(&mut self.defined[v.index()], true) {
            fail(self, format!("value {} is defined more than once", v.index()));
        }
        self.visible[v.index()] = true;
        own.push(v);
    }

    /// Symbols of a value's type have a value from here on.
    fn learn(&mut self, v: ValueId) {
        let syms = &mut self.syms;
        self.graph.ty(v).visit_dims(&mut |d| {
            d.visit_syms(&mut |s| {
                syms.insert(s.clone());
            });
        });
    }

    fn node(&mut self, n: NodeId, node: &Node) {
        for (i, v) in node.inputs.iter().enumerate() {
            if !self.visible[v.index()] {
                self.fail_node(node, format!("operand {i} is not defined before"));
            }
        }
        for (name, attr) in node.attrs.iter() {
            if let Attr::Dims(dims) = attr {
                self.known(node, name, dims);
            }
        }
        if !node.blocks.is_empty() {
            let outer = self.syms.clone();
            node.blocks.iter().for_each(|b| self.block(*b));
            self.syms = outer;
        }
        if let Err(OpError(message)) = self.types(n, node) {
            self.fail_node(node, message);
        }
        self.contents(node);
        match node.op.name {
            "symbols" => self.syms.extend(node.attrs.strs("names").iter().map(|s| symbol(s))),
            "routine" | "if" | "loop" => node.outputs.iter().for_each(|v| self.learn(*v)),
            _ => {}
        }
    }

    fn known(&mut self, node: &Node, name: &str, dims: &[Dim]) {
        let mut unknown = BTreeSet::new();
        for d in dims {
            d.visit_syms(&mut |s| {
                if !self.syms.contains(s) {
                    unknown.insert(s.clone());
                }
            });
        }
        for s in unknown {
            self.fail_node(node, format!("attribute \"{name}\" mentions the size {s} before it has a value"));
        }
    }

    fn types(&mut self, n: NodeId, node: &Node) -> Result<(), OpError> {
        node.op.check_attrs(&node.attrs)?;
        if !node.blocks.is_empty() && !node.op.has_bodies() {
            return Err(OpError(format!("{} takes no bodies", node.op.name)));
        }
        let last = self.scratch.last_sym();
        let node = self.graph.node(n);
        let mut cx = InferCx::new(&mut self.scratch, &node.attrs, &node.inputs, &node.blocks);
        let inferred = (node.op.infer)(&mut cx)?;
        if inferred.len() != node.outputs.len() {
            return Err(OpError(format!(
                "expected {} results, found {}",
                inferred.len(),
                node.outputs.len()
            )));
        }
        for (i, (expected, v)) in inferred.iter().zip(&node.outputs).enumerate() {
            let found = self.graph.ty(*v);
            if !is_instance(found, expected, last) {
                return Err(OpError(format!("result {i} must have type {expected}, found {found}")));
            }
        }
        Ok(())
    }

    fn contents(&mut self, node: &Node) {
        for v in &node.outputs {
            let data = self.graph.value(*v);
            let Some(content) = &data.content else { continue };
            let len = data.ty.as_tensor().map(|t| (t.rank(), t.elems().as_const()));
            let fits = matches!(len, Some((0 | 1, n)) if n.is_none_or(|n| n == content.len() as i64));
            if !fits {
                self.fail_node(node, format!("{} has the known elements {content:?}", data.ty));
            }
        }
    }
}

/// `found` is the inferred type, where symbols that inference made after number `last` may stand for any size.
pub(crate) fn is_instance(found: &Type, inferred: &Type, last: u32) -> bool {
    match (found, inferred) {
        (Type::Tensor(f), Type::Tensor(i)) => {
            let fits = |(f, i): (&Dim, &Dim)| {
                f == i || i.as_sym().is_some_and(|s| Graph::fresh_number(s) > Some(last))
            };
            f.dtype == i.dtype && f.rank() == i.rank() && f.shape.iter().zip(&i.shape).all(fits)
        }
        (Type::Sequence(f), Type::Sequence(i)) | (Type::Optional(f), Type::Optional(i)) => {
            is_instance(f, i, last)
        }
        (Type::Map(k, f), Type::Map(l, i)) => k == l && is_instance(f, i, last),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
