//! Random graphs drawn from every operator's row, interpreted and compiled.
//!
//! `NNC_GRAPHS` is how many, `NNC_SEED` the first seed. A graph that fails is made smaller and printed.

mod bound;
mod check;
mod control;
mod elementwise;
mod generator;
mod indexed;
mod layers;
mod linalg;
mod movement;
mod reduce;
mod rng;
mod routine;
mod shrink;
mod windows;

use check::{Case, How, Place};
use generator::Gen;
use nnc_ir::{Graph, OpError, ops};
use nnc_runtime::{Isa, Pool};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How often operators and patterns were drawn.
#[derive(Default)]
pub(crate) struct Counts {
    rows: BTreeMap<&'static str, usize>,
    patterns: BTreeMap<&'static str, usize>,
}

/// Adds a few nodes to a graph.
type Motif = fn(&mut Gen) -> Result<(), OpError>;

/// Every motif and its weight.
const MOTIFS: &[(usize, Motif)] = &[
    (12, elementwise::chain),
    (8, movement::chain),
    (2, movement::sources),
    (1, movement::symbols),
    (6, linalg::contract),
    (6, windows::conv),
    (2, windows::conv_transpose),
    (4, windows::pool),
    (5, reduce::reduce),
    (3, reduce::scan),
    (3, reduce::softmax),
    (3, reduce::norm),
    (2, reduce::activations),
    (3, indexed::gather),
    (2, indexed::scatter),
    (2, layers::attention),
    (2, layers::recurrent),
    (1, control::branch),
    (1, control::unsized_branch),
    (1, control::repeated),
    (1, routine::routine),
];

/// The graph of a seed.
fn case(seed: u64, counts: &mut Counts) -> Result<Case, OpError> {
    let mut graph = Graph::new("random");
    let mut g = Gen::new(&mut graph, seed, counts)?;
    let n_nodes = g.rng.range(3, 10) as usize;
    let total: usize = MOTIFS.iter().map(|(weight, _)| weight).sum();
    while g.b.graph.n_nodes() < n_nodes {
        let mut at = g.rng.below(total);
        let motif = MOTIFS.iter().find(|(weight, _)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        (motif.expect("the weights add up to the total").1)(&mut g)?;
    }
    let (inputs, bounds) = g.finish();
    graph.visit_nodes(graph.body(), &mut |n| {
        let op = graph.node(n).op.name;
        *counts.rows.entry(op).or_default() += 1;
    });
    Ok(Case { graph, inputs, bounds })
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// How the graph of a seed is compiled: as by default, and in other ways now and then.
fn ways(seed: u64) -> Vec<How> {
    let mut ways = vec![How { optimize: true, isa: None }];
    if seed % 10 == 3 {
        ways.push(How { optimize: false, isa: None });
    }
    if seed % 20 == 7 {
        let sets = Isa::available().iter().filter(|isa| **isa != Isa::Avx512Vnni);
        ways.extend(sets.map(|isa| How { optimize: true, isa: Some(*isa) }));
    }
    ways
}

/// Checks a seed; the problem with the smallest graph found, if there is one.
fn check(seed: u64, counts: &mut Counts, place: &Place) -> Option<String> {
    let case = match case(seed, counts) {
        Ok(case) => case,
        Err(e) => return Some(format!("seed {seed}: no graph: {e}")),
    };
    for how in ways(seed) {
        if case.problem(how, place).is_some() {
            let small = shrink::shrink(case, &|c| c.problem(how, place).is_some());
            let problem = small.problem(how, place).unwrap_or_else(|| "gone when run again".into());
            let (text, _) = nnc_ir::text::print(&small.graph);
            return Some(format!("seed {seed}, {how:?}: {problem}\n{text}"));
        }
    }
    None
}

#[test]
fn compiled_graphs_do_what_the_interpreter_does() {
    let n = number("NNC_GRAPHS", if cfg!(debug_assertions) { 100 } else { 10_000 });
    let first = number("NNC_SEED", 1);
    eprintln!("{n} graphs from seed {first}");
    let next = AtomicU64::new(first);
    let (counts, problems) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..nnc_runtime::default_threads() {
            scope.spawn(|| {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let place = Place { folder: folder.path(), pool: Arc::new(Pool::new(2)) };
                let mut mine = Counts::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + n {
                        break;
                    }
                    if let Some(problem) = check(seed, &mut mine, &place) {
                        problems.lock().expect("no thread panics").push(problem);
                    }
                }
                let mut all = counts.lock().expect("no thread panics");
                mine.rows.iter().for_each(|(k, v)| *all.rows.entry(k).or_default() += v);
                mine.patterns.iter().for_each(|(k, v)| *all.patterns.entry(k).or_default() += v);
            });
        }
    });
    let counts = counts.into_inner().expect("no thread panics");
    eprintln!("{:?}\n{:?}", counts.rows, counts.patterns);
    let problems = problems.into_inner().expect("no thread panics");
    problems.iter().take(40).for_each(|p| eprintln!("{p}\n"));
    assert!(problems.is_empty(), "{} of {n} graphs fail", problems.len());
    if n >= 10_000 {
        enough(&counts);
    }
}

/// Every operator and every pattern was drawn often enough.
fn enough(counts: &Counts) {
    let rare: Vec<_> = ops::all()
        .filter(|row| counts.rows.get(row.name).is_none_or(|n| *n < 50))
        .map(|row| row.name)
        .collect();
    assert!(rare.is_empty(), "operators drawn less than 50 times: {rare:?}");
    let rare: Vec<_> = counts.patterns.iter().filter(|(_, n)| **n < 20).collect();
    assert!(rare.is_empty(), "patterns drawn less than 20 times: {rare:?}");
}
