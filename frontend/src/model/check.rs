//! The checks of a whole graph: every name defined once, every use defined, an order of nodes.
//!
//! Subgraphs may read names of the graphs around them and may hide them with their own. After
//! `check_graph` each graph's nodes stand in an order in which they can run; where the file's
//! order was one, it is kept.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

use super::types::{Graph, Node};
use crate::error::Error;

/// Sorts the nodes of `graph` and of its subgraphs by data flow, and checks their names.
///
/// # Errors
///
/// [`Error::Duplicate`] for names with two definitions, [`Error::Undefined`] with all names that
/// have none, [`Error::Cycle`] for nodes that wait for each other.
pub fn check_graph(graph: &mut Graph) -> Result<(), Error> {
    let mut undefined = Undefined::new();
    check(graph, None, &mut undefined)?;
    if undefined.is_empty() {
        return Ok(());
    }
    Err(Error::Undefined { graph: graph.name.clone(), names: undefined.into_iter().collect() })
}

/// Who makes a name: a node by its index, or the graph's inputs and initializers.
type Makers = HashMap<String, Option<usize>>;

/// Names that nobody makes, each with its first reader.
type Undefined = BTreeMap<String, String>;

struct Scope<'a> {
    makers: &'a Makers,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn holds(&self, name: &str) -> bool {
        self.makers.contains_key(name) || self.outer.is_some_and(|outer| outer.holds(name))
    }
}

/// Checks one graph and returns the names that it reads from the graphs around it.
fn check(
    graph: &mut Graph,
    outer: Option<&Scope<'_>>,
    undefined: &mut Undefined,
) -> Result<BTreeSet<String>, Error> {
    let makers = makers(graph)?;
    let scope = Scope { makers: &makers, outer };
    let mut captured = BTreeSet::new();
    let mut sources = vec![Vec::new(); graph.nodes.len()];
    let mut resolve =
        |name: String, reader: &dyn Fn() -> String, undefined: &mut Undefined| -> Option<usize> {
            if let Some(&maker) = makers.get(&name) {
                return maker;
            }
            if outer.is_some_and(|outer| outer.holds(&name)) {
                captured.insert(name);
            } else {
                undefined.entry(name).or_insert_with(reader);
            }
            None
        };
    for (node, sources) in graph.nodes.iter_mut().zip(&mut sources) {
        let mut reads: BTreeSet<String> =
            node.inputs.iter().filter(|name| !name.is_empty()).cloned().collect();
        for subgraph in node.attrs.iter_mut().flat_map(|attr| attr.value.graphs_mut()) {
            reads.extend(check(subgraph, Some(&scope), undefined)?);
        }
        let reader = || format!("node \"{}\"", node.label());
        sources.extend(reads.into_iter().filter_map(|name| resolve(name, &reader, undefined)));
    }
    for output in &graph.outputs {
        resolve(output.name.clone(), &|| "the graph's outputs".to_owned(), undefined);
    }
    sort(graph, &sources)?;
    Ok(captured)
}

/// Who makes each name of the graph; fails where two do.
fn makers(graph: &Graph) -> Result<Makers, Error> {
    let mut makers = Makers::new();
    let mut twice = Vec::new();
    for input in &graph.inputs {
        if makers.insert(input.name.clone(), None).is_some() {
            twice.push(input.name.clone());
        }
    }
    let mut constants = BTreeSet::new();
    let sparse = graph.sparse_initializers.iter().map(|tensor| &tensor.values.name);
    for name in graph.initializers.iter().map(|tensor| &tensor.name).chain(sparse) {
        // An initializer may share its name with an input, whose default it then is.
        makers.insert(name.clone(), None);
        if !constants.insert(name) {
            twice.push(name.clone());
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name.clone(), Some(index)).is_some() {
                twice.push(name.clone());
            }
        }
    }
    if twice.is_empty() {
        return Ok(makers);
    }
    Err(Error::Duplicate { graph: graph.name.clone(), names: twice })
}

/// Orders the nodes so that each follows its `sources`, and by place in the file where free.
fn sort(graph: &mut Graph, sources: &[Vec<usize>]) -> Result<(), Error> {
    let count = graph.nodes.len();
    let mut readers = vec![Vec::new(); count];
    let mut waiting: Vec<usize> = sources.iter().map(Vec::len).collect();
    for (reader, sources) in sources.iter().enumerate() {
        for &source in sources {
            readers[source].push(reader);
        }
    }
    let mut ready: BinaryHeap<_> = (0..count).filter(|&node| waiting[node] == 0).map(Reverse).collect();
    let mut place = vec![0; count];
    let mut done = 0;
    while let Some(Reverse(node)) = ready.pop() {
        place[node] = done;
        done += 1;
        for &reader in &readers[node] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if done < count {
        let nodes = cycle(&graph.nodes, sources, &waiting);
        return Err(Error::Cycle { graph: graph.name.clone(), nodes });
    }
    let mut placed: Vec<_> = place.into_iter().zip(std::mem::take(&mut graph.nodes)).collect();
    placed.sort_by_key(|(place, _)| *place);
    graph.nodes = placed.into_iter().map(|(_, node)| node).collect();
    Ok(())
}

/// One cycle among the nodes that still wait: each of them has a source that waits, too.
fn cycle(nodes: &[Node], sources: &[Vec<usize>], waiting: &[usize]) -> Vec<String> {
    let waits = |node: &usize| waiting[*node] > 0;
    let mut path: Vec<usize> = (0..nodes.len()).find(waits).into_iter().collect();
    while let Some(&last) = path.last() {
        let Some(&next) = sources[last].iter().find(|node| waits(node)) else { break };
        if let Some(start) = path.iter().position(|&node| node == next) {
            path.drain(..start);
            break;
        }
        path.push(next);
    }
    path.iter().rev().map(|&node| nodes[node].label().to_owned()).collect()
}
