//! Makes a failing case smaller: fewer results, then values of nodes as inputs.

use super::check::Case;
use nnc_ir::{Graph, Interpreter, NodeId, Outcome, ValueId, rewrite};
use std::collections::BTreeSet;

/// The smallest case found for which `fails` answers yes.
pub(super) fn shrink(case: Case, fails: &dyn Fn(&Case) -> bool) -> Case {
    let mut best = case;
    for i in (0..best.bounds.len()).rev() {
        if best.bounds.len() > 1 {
            let smaller = without_result(&best, i);
            try_one(&mut best, smaller, fails);
        }
    }
    let mut turns = 0;
    loop {
        let mut nodes = best.graph.block(best.graph.body()).nodes.clone();
        nodes.retain(|n| !best.graph.node(*n).is("constant"));
        let mut smaller = false;
        for n in nodes {
            let cut = with_input(&best, n);
            smaller = try_one(&mut best, cut, fails);
            if smaller {
                break;
            }
        }
        turns += 1;
        if !smaller || turns > 40 {
            return best;
        }
    }
}

fn try_one(best: &mut Case, smaller: Option<Case>, fails: &dyn Fn(&Case) -> bool) -> bool {
    match smaller.filter(|c| fails(c)) {
        Some(c) => {
            *best = c;
            true
        }
        None => false,
    }
}

fn without_result(case: &Case, i: usize) -> Option<Case> {
    let mut smaller = case.clone();
    let body = smaller.graph.body();
    smaller.graph.block_mut(body).results.remove(i);
    smaller.graph.output_names.remove(i);
    smaller.bounds.remove(i);
    without_unread(smaller)
}

/// Drops nodes that nothing reads.
fn without_unread(case: Case) -> Option<Case> {
    let mut case = case;
    loop {
        let uses = case.graph.use_counts();
        let mut keep = BTreeSet::new();
        let mut all = 0;
        case.graph.visit_nodes(case.graph.body(), &mut |n| {
            let node = case.graph.node(n);
            all += 1;
            if node.is("symbols") || node.outputs.iter().any(|v| uses[v.index()] > 0) {
                keep.insert(n);
            }
        });
        if keep.len() == all {
            return Some(without_inputs(case, &uses));
        }
        case.graph = case.graph.retain(&keep).ok()?;
    }
}

/// Drops inputs that nothing reads and no size needs: those of fixed shape.
fn without_inputs(mut case: Case, uses: &[u32]) -> Case {
    let body = case.graph.body();
    let params = case.graph.block(body).params.clone();
    let fixed = |v: ValueId| case.graph.tensor_ty(v).fixed_shape().is_some();
    let keep: Vec<bool> = params.iter().map(|v| uses[v.index()] > 0 || !fixed(*v)).collect();
    if keep.iter().all(|k| *k) || keep.iter().all(|k| !*k) {
        return case;
    }
    let mut flags = keep.iter();
    case.inputs.retain(|_| *flags.next().unwrap_or(&true));
    let mut flags = keep.iter();
    case.graph.block_mut(body).params.retain(|_| *flags.next().unwrap_or(&true));
    // The copy numbers the parameters anew.
    if let Ok(copy) = rewrite(&case.graph, |_, _| Ok(Outcome::NoMatch)) {
        case.graph = copy;
    }
    case
}

/// The case with the results of a node as inputs.
fn with_input(case: &Case, n: NodeId) -> Option<Case> {
    let outputs = case.graph.node(n).outputs.clone();
    if case.graph.node(n).is("symbols") || outputs.iter().any(|v| case.graph.ty(*v).as_tensor().is_none()) {
        return None;
    }
    let mut probe: Graph = case.graph.clone();
    let body = probe.body();
    probe.block_mut(body).results = outputs.clone();
    let values = Interpreter::new(&probe).run(&case.inputs).ok()?;
    let mut smaller = case.clone();
    smaller.inputs.extend(values);
    let n_inputs = case.inputs.len();
    let copy = rewrite(&case.graph, |r, view| {
        if view.old.outputs != outputs {
            return Ok(Outcome::NoMatch);
        }
        let body = r.b.graph.body();
        let param = |(i, ty): (usize, &nnc_ir::Type)| {
            let name = format!("x{}", 100 + n_inputs + i);
            r.b.graph.add_param(body, ty.clone(), Some(name))
        };
        Ok(Outcome::Applied(view.types.iter().enumerate().map(param).collect()))
    });
    smaller.graph = copy.ok()?;
    without_unread(smaller)
}
