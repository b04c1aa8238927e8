//! Fusion: decides which values live in memory and which are computed inside the kernel that reads them.
//!
//! A block is walked from its end. Every reader of a value has then been placed, so the value's fate
//! is known when its node is reached: it joins the one group that reads it, or it becomes the root of
//! a group of its own. A group holds at most one *anchor*, an operator that loops (a reduction) or is a
//! template (a microkernel's nest); everything else in it is a function of an index.

pub(crate) mod operands;
mod role;

pub(crate) use role::{Role, role};

use nnc_ir::{BlockId, Dim, Graph, Node, NodeId, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Values computed by one kernel.
#[derive(Debug)]
pub(crate) struct Group {
    /// What it computes.
    pub(crate) root: ValueId,
    /// Where the result goes.
    pub(crate) dest: Dest,
    /// Everything computed inside, the root included.
    pub(crate) inside: BTreeSet<ValueId>,
    /// The node that loops or is a template.
    pub(crate) anchor: Option<NodeId>,
    /// The node after whose operands the kernel can run.
    pub(crate) at: NodeId,
}

/// A rectangle of a value's buffer.
#[derive(Clone, Debug)]
pub(crate) struct Dest {
    /// Whose buffer.
    pub(crate) value: ValueId,
    /// First element along each axis.
    pub(crate) offset: Vec<Dim>,
}

/// What stands in a block, in order of execution.
#[derive(Debug)]
pub(crate) enum Item {
    /// A kernel.
    Group(Group),
    /// A node that is a step of the plan: control, routine, symbols, or a template of its own.
    Node(NodeId),
    /// A value that is another value's bytes.
    Alias(ValueId),
}

/// Who reads a value so far.
#[derive(Default, Clone)]
struct Readers {
    /// Somebody needs it in memory.
    memory: bool,
    /// Groups that would compute it inside.
    groups: BTreeSet<usize>,
    /// Every reader takes the element at its own index.
    same_index: bool,
    /// Some reader takes elements more than once.
    repeats: bool,
    any: bool,
}

struct Fusion<'g> {
    graph: &'g Graph,
    readers: BTreeMap<ValueId, Readers>,
    groups: Vec<Group>,
    items: Vec<(NodeId, Item)>,
    order: BTreeMap<NodeId, usize>,
    outer: &'g BTreeSet<ValueId>,
    join: bool,
}

/// Groups the nodes of a block. `captured` are values that nested blocks read; without `join` every node
/// is a group of its own.
pub(crate) fn fuse(graph: &Graph, block: BlockId, captured: &BTreeSet<ValueId>, join: bool) -> Vec<Item> {
    let nodes = &graph.block(block).nodes;
    let order = nodes.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let mut f = Fusion {
        graph,
        readers: BTreeMap::new(),
        groups: Vec::new(),
        items: Vec::new(),
        order,
        outer: captured,
        join,
    };
    for v in &graph.block(block).results {
        f.need_in_memory(*v);
    }
    for n in nodes.iter().rev() {
        f.place(*n);
    }
    f.finish()
}

impl Fusion<'_> {
    fn need_in_memory(&mut self, v: ValueId) {
        let r = self.readers.entry(v).or_default();
        (r.memory, r.any) = (true, true);
    }

    fn read_by_group(&mut self, v: ValueId, group: usize, same_index: bool, repeats: bool) {
        let r = self.readers.entry(v).or_insert_with(|| Readers { same_index: true, ..Readers::default() });
        r.any = true;
        r.groups.insert(group);
        r.same_index &= same_index;
        r.repeats |= repeats;
    }

    fn place(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let read: Vec<Readers> = node.outputs.iter().map(|v| self.state(*v)).collect();
        if !read.iter().any(|r| r.any) && !role::has_effect(node) {
            return;
        }
        match role(self.graph, node) {
            Role::Step => {
                node.inputs.iter().for_each(|v| self.need_in_memory(*v));
                self.items.push((id, Item::Node(id)));
            }
            Role::Template => {
                for v in operands::in_memory(self.graph, node) {
                    self.need_in_memory(v);
                }
                self.items.push((id, Item::Node(id)));
            }
            Role::Source => self.items.push((id, Item::Node(id))),
            Role::Reinterpret => {
                self.need_in_memory(node.inputs[0]);
                self.items.push((id, Item::Alias(node.outputs[0])));
            }
            Role::Alias if read[0].memory => {
                self.need_in_memory(node.inputs[0]);
                self.items.push((id, Item::Alias(node.outputs[0])));
            }
            Role::Alias | Role::Inline | Role::Loop | Role::Matmul => self.place_fusible(id, node, &read[0]),
        }
    }

    fn state(&self, v: ValueId) -> Readers {
        let mut r = self.readers.get(&v).cloned().unwrap_or_default();
        r.any |= self.outer.contains(&v);
        r.memory |= self.outer.contains(&v) || (r.any && !self.join);
        r
    }

    fn place_fusible(&mut self, id: NodeId, node: &Node, read: &Readers) {
        let v = node.outputs[0];
        if node.is("concat") && read.memory && !self.graph.tensor_ty(v).dtype.is_packed() {
            return self.place_concat(id, node);
        }
        let role = role(self.graph, node);
        let joins = !read.memory
            && match role {
                Role::Inline | Role::Alias => {
                    let free = role::is_movement(node) || role::is_generated(node);
                    let alone = read.groups.len() == 1 && (!read.repeats || free || role::is_cheap(node));
                    (alone && !self.finishes_product(node, read))
                        || (free && (read.groups.len() <= 4 || role::expands(node)))
                }
                _ => {
                    read.groups.len() == 1
                        && read.same_index
                        && read.groups.iter().all(|g| self.takes_anchor(*g, v))
                }
            };
        let groups: Vec<usize> = if joins {
            read.groups.iter().copied().collect()
        } else {
            let offset = vec![Dim::ZERO; self.graph.tensor_ty(v).rank()];
            vec![self.new_group(v, Dest { value: v, offset }, id)]
        };
        let fresh = Readers { same_index: true, ..Readers::default() };
        let seen = if joins { read } else { &fresh };
        for g in groups {
            self.groups[g].inside.insert(v);
            if matches!(role, Role::Loop | Role::Matmul) {
                self.groups[g].anchor = Some(id);
            }
            self.ask_operands(g, node, role, seen);
        }
    }

    /// Bytes are stored by the product that they come from: its sums take four times as much.
    fn finishes_product(&self, node: &Node, read: &Readers) -> bool {
        role::narrows_to_bytes(self.graph, node)
            && read.groups.iter().any(|g| self.groups[*g].anchor.is_some())
            && role::ends_product(self.graph, node)
    }

    /// Every operand of a concat writes its part of the result.
    fn place_concat(&mut self, id: NodeId, node: &Node) {
        let axis = node.attrs.index("axis");
        let mut start = Dim::ZERO;
        for x in &node.inputs {
            let ty = self.graph.tensor_ty(*x);
            let mut offset = vec![Dim::ZERO; ty.rank()];
            offset[axis] = start.clone();
            start = start + ty.shape[axis].clone();
            let g = self.new_group(*x, Dest { value: node.outputs[0], offset }, id);
            self.read_by_group(*x, g, true, false);
        }
    }

    fn new_group(&mut self, root: ValueId, dest: Dest, at: NodeId) -> usize {
        self.groups.push(Group { root, dest, inside: BTreeSet::new(), anchor: None, at });
        self.groups.len() - 1
    }

    fn takes_anchor(&self, g: usize, v: ValueId) -> bool {
        let group = &self.groups[g];
        group.anchor.is_none() && self.graph.tensor_ty(group.root).shape == self.graph.tensor_ty(v).shape
    }

    fn ask_operands(&mut self, g: usize, node: &Node, role: Role, read: &Readers) {
        if role == Role::Matmul {
            for v in operands::in_memory(self.graph, node) {
                self.need_in_memory(v);
            }
            return;
        }
        let elementwise = nnc_ir::ops::is_elementwise(node.op);
        for (i, v) in node.inputs.iter().enumerate() {
            let same = elementwise && read.same_index;
            let repeats = read.repeats || role::repeats(self.graph, node, i);
            self.read_by_group(*v, g, same, repeats);
        }
    }

    fn finish(mut self) -> Vec<Item> {
        for group in std::mem::take(&mut self.groups) {
            self.items.push((group.at, Item::Group(group)));
        }
        let order = &self.order;
        // Stable: the parts of one concat stay in order of their making.
        self.items.sort_by_key(|(n, _)| order[n]);
        self.items.into_iter().map(|(_, i)| i).collect()
    }
}
