//! Ensembles of decision trees, walked without branches.
//!
//! All trees share one table of nodes in which a leaf leads to itself. The state is a node for each row
//! and tree; as many steps as the deepest tree has levels move every state at once.

use super::{OnnxOp, ml};
use crate::context::{Cx, Lowered};
use crate::import::tensor;
use crate::refusal::{Refusal, unsupported};
use nnc_ir::{Attr, DType, Dim, ScalarOp, Tensor, ValueId, attrs};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const ROWS: &[OnnxOp] = &[
    ml("TreeEnsemble", &[5], "sums, means or extremes of the leaves that a row reaches", |cx| {
        let forest = flat_forest(cx)?;
        let post = Post::from_number(cx.attrs.int_or("post_transform", 0)?)?;
        let scores = scores(cx, &forest)?;
        let y = post.apply(cx, scores)?;
        cx.done(y)
    }),
    ml("TreeEnsembleClassifier", &[1, 3, 5], "the class with the highest score, and all scores", classify),
    ml(
        "TreeEnsembleRegressor",
        &[1, 3, 5],
        "sums, means or extremes of the leaves that a row reaches",
        |cx| {
            let mut forest = nested_forest(cx, "target")?;
            let n = cx.attrs.int_or("n_targets", 1)?;
            forest.n_targets = usize::try_from(n).unwrap_or(0).max(1);
            forest.aggregate = match cx.attrs.string_or("aggregate_function", "SUM")? {
                "SUM" => Aggregate::Sum,
                "AVERAGE" => Aggregate::Mean,
                "MIN" => Aggregate::Min,
                "MAX" => Aggregate::Max,
                other => unsupported!("attribute \"aggregate_function\" is unknown: \"{other}\""),
            };
            let post = Post::from_attr(cx)?;
            let base = forest.base.clone();
            let mut y = scores(cx, &forest)?;
            y = add_base(cx, y, &base)?;
            let y = post.apply(cx, y)?;
            cx.done(y)
        },
    ),
];

/// How the votes of all trees become one number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Mean,
    Min,
    Max,
}

/// The comparison at a node: goes the true way where it holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Le,
    Lt,
    Ge,
    Gt,
    Eq,
    Ne,
    Leaf,
}

impl Mode {
    fn op(self) -> ScalarOp {
        match self {
            Mode::Le => ScalarOp::Le,
            Mode::Lt => ScalarOp::Lt,
            Mode::Ge => ScalarOp::Ge,
            Mode::Gt => ScalarOp::Gt,
            Mode::Eq => ScalarOp::Eq,
            Mode::Ne | Mode::Leaf => ScalarOp::Ne,
        }
    }
}

struct TreeNode {
    feature: usize,
    value: f64,
    mode: Mode,
    yes: usize,
    no: usize,
    missing_yes: bool,
}

/// Votes of a leaf: target and weight.
type Votes = Vec<(usize, f64)>;

struct Forest {
    nodes: Vec<TreeNode>,
    votes: BTreeMap<usize, Votes>,
    roots: Vec<usize>,
    n_targets: usize,
    aggregate: Aggregate,
    base: Vec<f64>,
    /// Thresholds and weights are doubles.
    double: bool,
}

/// Numbers of an attribute: floats, or doubles in a tensor of the name with a suffix.
fn numbers(cx: &Cx, name: &str, double: &mut bool) -> Lowered<Option<Vec<f64>>> {
    if let Some(t) = cx.attrs.tensor(&format!("{name}_as_tensor"))? {
        let t = tensor(t)?;
        *double |= t.dtype() == DType::F64;
        return Ok(Some(t.to_f64s()));
    }
    Ok(cx.attrs.floats(name)?.map(|f| f.iter().map(|v| f64::from(*v)).collect()))
}

fn required_ints<'m>(cx: &Cx<'_, '_, 'm>, name: &str) -> Lowered<&'m [i64]> {
    Ok(cx.attrs.required(name, cx.attrs.ints(name))?)
}

fn index(v: i64, below: usize, what: &str) -> Lowered<usize> {
    usize::try_from(v)
        .ok()
        .filter(|v| *v < below)
        .ok_or_else(|| Refusal::Because(format!("{what} {v} lies outside 0 to {below}")))
}

/// The form with an identifier for each node: nodes_*, and votes as `{prefix}_*`.
fn nested_forest(cx: &Cx, prefix: &str) -> Lowered<Forest> {
    let mut double = false;
    let (trees, ids) = (required_ints(cx, "nodes_treeids")?, required_ints(cx, "nodes_nodeids")?);
    let n = ids.len();
    let modes = cx.attrs.required("nodes_modes", cx.attrs.strings("nodes_modes"))?;
    let values = numbers(cx, "nodes_values", &mut double)?.unwrap_or_default();
    let features = required_ints(cx, "nodes_featureids")?;
    let (yes, no) = (required_ints(cx, "nodes_truenodeids")?, required_ints(cx, "nodes_falsenodeids")?);
    let missing = cx.attrs.ints("nodes_missing_value_tracks_true")?.unwrap_or(&[]);
    // How often a node was visited in training: no part of the meaning.
    cx.attrs.get("nodes_hitrates");
    cx.attrs.get("nodes_hitrates_as_tensor");
    let lens = [trees.len(), modes.len(), values.len(), features.len(), yes.len(), no.len()];
    if lens.iter().any(|l| *l != n) || (!missing.is_empty() && missing.len() != n) {
        unsupported!("the attributes \"nodes_…\" differ in length");
    }
    let places: BTreeMap<(i64, i64), usize> =
        trees.iter().copied().zip(ids.iter().copied()).zip(0..).collect();
    let place = |tree: i64, id: i64| {
        let found = places.get(&(tree, id)).copied();
        found.ok_or_else(|| Refusal::Because(format!("tree {tree} has no node {id}")))
    };
    let mut nodes = Vec::with_capacity(n);
    for i in 0..n {
        let mode = mode(modes[i])?;
        let leaf = mode == Mode::Leaf;
        nodes.push(TreeNode {
            feature: if leaf { 0 } else { index(features[i], 1 << 31, "feature")? },
            value: if leaf { 0.0 } else { values[i] },
            mode,
            yes: if leaf { i } else { place(trees[i], yes[i])? },
            no: if leaf { i } else { place(trees[i], no[i])? },
            missing_yes: missing.get(i).is_some_and(|m| *m != 0),
        });
    }
    let votes = nested_votes(cx, prefix, &place, &mut double)?;
    let roots = roots(trees, &nodes)?;
    let base = numbers(cx, "base_values", &mut double)?.unwrap_or_default();
    let n_targets = votes.values().flatten().map(|(t, _)| t + 1).max().unwrap_or(1);
    Ok(Forest { nodes, votes, roots, n_targets, aggregate: Aggregate::Sum, base, double })
}

fn mode(word: &str) -> Lowered<Mode> {
    Ok(match word {
        "BRANCH_LEQ" => Mode::Le,
        "BRANCH_LT" => Mode::Lt,
        "BRANCH_GTE" => Mode::Ge,
        "BRANCH_GT" => Mode::Gt,
        "BRANCH_EQ" => Mode::Eq,
        "BRANCH_NEQ" => Mode::Ne,
        "LEAF" => Mode::Leaf,
        other => unsupported!("node mode \"{other}\" is unknown"),
    })
}

/// The first node of each tree that no other leads to, trees in order of their identifiers.
fn roots(trees: &[i64], nodes: &[TreeNode]) -> Lowered<Vec<usize>> {
    let inner = nodes.iter().filter(|n| n.mode != Mode::Leaf);
    let children: BTreeSet<usize> = inner.flat_map(|n| [n.yes, n.no]).collect();
    let mut roots = BTreeMap::new();
    for (i, tree) in trees.iter().enumerate().filter(|(i, _)| !children.contains(i)) {
        roots.entry(*tree).or_insert(i);
    }
    if roots.len() != trees.iter().collect::<BTreeSet<_>>().len() {
        unsupported!("a tree has no root");
    }
    Ok(roots.into_values().collect())
}

fn nested_votes(
    cx: &Cx,
    prefix: &str,
    place: &dyn Fn(i64, i64) -> Lowered<usize>,
    double: &mut bool,
) -> Lowered<BTreeMap<usize, Votes>> {
    let name = |part: &str| format!("{prefix}_{part}");
    let (trees, ids) = (required_ints(cx, &name("treeids"))?, required_ints(cx, &name("nodeids"))?);
    let targets = required_ints(cx, &name("ids"))?;
    let weights = numbers(cx, &name("weights"), double)?.unwrap_or_default();
    if [ids.len(), targets.len(), weights.len()].iter().any(|l| *l != trees.len()) {
        unsupported!("the attributes \"{prefix}_…\" differ in length");
    }
    let mut votes: BTreeMap<usize, Votes> = BTreeMap::new();
    for i in 0..trees.len() {
        let target = index(targets[i], 1 << 20, "target")?;
        votes.entry(place(trees[i], ids[i])?).or_default().push((target, weights[i]));
    }
    Ok(votes)
}

/// The form of version 5: inner nodes by position, leaves in a table of their own.
fn flat_forest(cx: &Cx) -> Lowered<Forest> {
    let attr_tensor = |name: &str| tensor(cx.attrs.required(name, cx.attrs.tensor(name))?);
    let splits = attr_tensor("nodes_splits")?;
    let double = splits.dtype() == DType::F64;
    let modes = attr_tensor("nodes_modes")?.to_ints();
    let weights = attr_tensor("leaf_weights")?.to_f64s();
    let features = required_ints(cx, "nodes_featureids")?;
    let (yes, no) = (required_ints(cx, "nodes_truenodeids")?, required_ints(cx, "nodes_falsenodeids")?);
    let (yes_leaf, no_leaf) = (required_ints(cx, "nodes_trueleafs")?, required_ints(cx, "nodes_falseleafs")?);
    let targets = required_ints(cx, "leaf_targetids")?;
    let missing = cx.attrs.ints("nodes_missing_value_tracks_true")?.unwrap_or(&[]);
    cx.attrs.get("nodes_hitrates");
    let members = match cx.attrs.tensor("membership_values")? {
        Some(t) => tensor(t)?.to_f64s(),
        None => Vec::new(),
    };
    let n = features.len();
    let lens = [splits.len(), modes.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len()];
    if lens.iter().any(|l| *l != n) || targets.len() != weights.len() {
        unsupported!("the attributes \"nodes_…\" differ in length");
    }
    let child = |at: i64, leaf: i64| {
        if leaf != 0 { Ok(n + index(at, weights.len(), "leaf")?) } else { index(at, n, "node") }
    };
    let splits = splits.to_f64s();
    let mut nodes = Vec::new();
    let mut member = Vec::new();
    for i in 0..n {
        let mode = numbered_mode(modes[i])?;
        if modes[i] == MEMBER {
            member.push(i);
        }
        nodes.push(TreeNode {
            feature: index(features[i], 1 << 31, "feature")?,
            value: splits[i],
            mode,
            yes: child(yes[i], yes_leaf[i])?,
            no: child(no[i], no_leaf[i])?,
            missing_yes: missing.get(i).is_some_and(|m| *m != 0),
        });
    }
    let n_targets = usize::try_from(cx.attrs.int_or("n_targets", 1)?).unwrap_or(0).max(1);
    let mut votes = BTreeMap::new();
    for (i, (t, w)) in targets.iter().zip(&weights).enumerate() {
        nodes.push(leaf(n + i));
        votes.insert(n + i, vec![(index(*t, n_targets, "target")?, *w)]);
    }
    expand_members(&mut nodes, &member, &members)?;
    let roots =
        required_ints(cx, "tree_roots")?.iter().map(|r| index(*r, n, "root")).collect::<Lowered<_>>()?;
    let aggregate = match cx.attrs.int_or("aggregate_function", 1)? {
        0 => Aggregate::Mean,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => unsupported!("attribute \"aggregate_function\" is unknown: {other}"),
    };
    Ok(Forest { nodes, votes, roots, n_targets, aggregate, base: Vec::new(), double })
}

/// The number of the mode that asks for membership in a set.
const MEMBER: i128 = 6;

/// A mode by its number; membership becomes a chain of equalities.
fn numbered_mode(number: i128) -> Lowered<Mode> {
    Ok(match number {
        0 => Mode::Le,
        1 => Mode::Lt,
        2 => Mode::Ge,
        3 => Mode::Gt,
        4 | MEMBER => Mode::Eq,
        5 => Mode::Ne,
        other => unsupported!("node mode {other} is unknown"),
    })
}

fn leaf(at: usize) -> TreeNode {
    TreeNode { feature: 0, value: 0.0, mode: Mode::Leaf, yes: at, no: at, missing_yes: false }
}

/// Membership in a set becomes a chain of comparisons; sets are divided by NaN.
fn expand_members(nodes: &mut Vec<TreeNode>, member: &[usize], values: &[f64]) -> Lowered {
    let mut sets = values.split(|v| v.is_nan());
    for at in member {
        let Some(([first, rest @ ..], true)) = sets.next().map(|s| (s, !s.is_empty())) else {
            unsupported!("attribute \"membership_values\" has too few sets");
        };
        nodes[*at].value = *first;
        let (feature, yes, no) = (nodes[*at].feature, nodes[*at].yes, nodes[*at].no);
        let mut last = *at;
        for value in rest {
            let next = nodes.len();
            nodes.push(TreeNode { feature, value: *value, mode: Mode::Eq, yes, no, missing_yes: false });
            nodes[last].no = next;
            last = next;
        }
    }
    Ok(())
}

/// Number of levels below the deepest root; refuses trees that lead back to themselves.
fn depth(forest: &Forest) -> Lowered<usize> {
    let mut level: BTreeSet<usize> = forest.roots.iter().copied().collect();
    let mut depth = 0;
    loop {
        let inner = level.iter().map(|i| &forest.nodes[*i]).filter(|n| n.mode != Mode::Leaf);
        let next: BTreeSet<usize> = inner.flat_map(|n| [n.yes, n.no]).collect();
        if next.is_empty() {
            return Ok(depth);
        }
        depth += 1;
        if depth > forest.nodes.len().min(4096) {
            unsupported!("a tree leads back to itself or is deeper than 4096 levels");
        }
        level = next;
    }
}

fn column(cx: &mut Cx, forest: &Forest, f: fn(&TreeNode) -> i64) -> Lowered<ValueId> {
    let ints: Vec<i64> = forest.nodes.iter().map(f).collect();
    cx.int_list(&ints)
}

/// The aggregated votes, `[rows, targets]`.
fn scores(cx: &mut Cx, forest: &Forest) -> Lowered<ValueId> {
    let x = cx.required(0)?;
    cx.expect_rank("the input", x, 2)?;
    let dtype = if forest.double { DType::F64 } else { DType::F32 };
    let steps = depth(forest)?;
    let x = cx.cast(x, dtype)?;
    let leaves = walk(cx, forest, x, steps, dtype)?;
    let n = forest.n_targets;
    let empty = match forest.aggregate {
        Aggregate::Min => f64::INFINITY,
        Aggregate::Max => f64::NEG_INFINITY,
        Aggregate::Sum | Aggregate::Mean => 0.0,
    };
    let mut table = vec![empty; forest.nodes.len() * n];
    for (node, votes) in &forest.votes {
        for (target, weight) in votes.iter().filter(|(t, _)| *t < n) {
            let slot = &mut table[node * n + target];
            *slot = if empty == 0.0 { *slot + weight } else { *weight };
        }
    }
    let table = cx.constant(Tensor::from_f64s(dtype, &[forest.nodes.len(), n], &table)?);
    let votes = cx.one("gather", attrs! { axis: Attr::Int(0) }, &[table, leaves])?;
    let kind = match forest.aggregate {
        Aggregate::Min => "min",
        Aggregate::Max => "max",
        Aggregate::Sum | Aggregate::Mean => "sum",
    };
    let y = cx.reduce(kind, votes, &[1])?;
    match forest.aggregate {
        Aggregate::Mean => cx.with_const(ScalarOp::Div, y, forest.roots.len() as f64),
        Aggregate::Sum => Ok(y),
        // A target without votes has 0.
        Aggregate::Min | Aggregate::Max => {
            let none = cx.with_const(ScalarOp::Eq, y, empty)?;
            let zero = cx.scalar(dtype, 0.0)?;
            Ok(cx.select(none, zero, y)?)
        }
    }
}

/// The leaf that each row reaches in each tree, `[rows, trees]`.
fn walk(cx: &mut Cx, forest: &Forest, x: ValueId, steps: usize, dtype: DType) -> Lowered<ValueId> {
    let rows = cx.dim(x, 0);
    let roots: Vec<i64> = forest.roots.iter().map(|r| *r as i64).collect();
    let roots = cx.int_list(&roots)?;
    let mut state = cx.broadcast(roots, &[rows, Dim::len(forest.roots.len())])?;
    let feature = column(cx, forest, |n| n.feature as i64)?;
    let (yes, no) = (column(cx, forest, |n| n.yes as i64)?, column(cx, forest, |n| n.no as i64)?);
    let values: Vec<f64> = forest.nodes.iter().map(|n| n.value).collect();
    let values = cx.constant(Tensor::from_f64s(dtype, &[values.len()], &values)?);
    let look = |cx: &mut Cx, table, at| cx.one("gather", attrs! { axis: Attr::Int(0) }, &[table, at]);
    for _ in 0..steps {
        let column = look(cx, feature, state)?;
        let number = cx.one("gather_elements", attrs! { axis: Attr::Int(1) }, &[x, column])?;
        let threshold = look(cx, values, state)?;
        let go = compare(cx, forest, number, threshold, state)?;
        let (a, b) = (look(cx, yes, state)?, look(cx, no, state)?);
        state = cx.select(go, a, b)?;
    }
    Ok(state)
}

/// Whether each row goes the true way; several comparisons are told apart by a table.
fn compare(
    cx: &mut Cx,
    forest: &Forest,
    number: ValueId,
    threshold: ValueId,
    state: ValueId,
) -> Lowered<ValueId> {
    let used: BTreeSet<Mode> = forest.nodes.iter().map(|n| n.mode).filter(|m| *m != Mode::Leaf).collect();
    let mut go: Option<ValueId> = None;
    for mode in used {
        let holds = cx.binary(mode.op(), number, threshold)?;
        go = Some(match go {
            None => holds,
            Some(before) => {
                let here: Vec<bool> = forest.nodes.iter().map(|n| n.mode == mode).collect();
                let here = flag(cx, &here, state)?;
                cx.select(here, holds, before)?
            }
        });
    }
    let Some(go) = go else { unsupported!("no tree has an inner node") };
    if !forest.nodes.iter().any(|n| n.missing_yes) {
        return Ok(go);
    }
    let tracked: Vec<bool> = forest.nodes.iter().map(|n| n.missing_yes).collect();
    let tracked = flag(cx, &tracked, state)?;
    let missing = cx.unary(ScalarOp::IsNan, number)?;
    let missing = cx.binary(ScalarOp::And, missing, tracked)?;
    Ok(cx.binary(ScalarOp::Or, go, missing)?)
}

fn flag(cx: &mut Cx, table: &[bool], state: ValueId) -> Lowered<ValueId> {
    let table = cx.constant(Tensor::from_bools(&[table.len()], table)?);
    Ok(cx.one("gather", attrs! { axis: Attr::Int(0) }, &[table, state])?)
}

fn add_base(cx: &mut Cx, y: ValueId, base: &[f64]) -> Lowered<ValueId> {
    if base.is_empty() {
        return Ok(y);
    }
    let dtype = cx.dtype(y);
    let base = cx.constant(Tensor::from_f64s(dtype, &[base.len()], base)?);
    Ok(cx.binary(ScalarOp::Add, y, base)?)
}

/// What is done to scores in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Post {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl Post {
    pub(super) fn from_attr(cx: &Cx) -> Lowered<Post> {
        Ok(match cx.attrs.string_or("post_transform", "NONE")? {
            "NONE" => Post::None,
            "SOFTMAX" => Post::Softmax,
            "LOGISTIC" => Post::Logistic,
            "SOFTMAX_ZERO" => Post::SoftmaxZero,
            "PROBIT" => Post::Probit,
            other => unsupported!("attribute \"post_transform\" is unknown: \"{other}\""),
        })
    }

    fn from_number(number: i64) -> Lowered<Post> {
        Ok(match number {
            0 => Post::None,
            1 => Post::Softmax,
            2 => Post::Logistic,
            3 => Post::SoftmaxZero,
            4 => Post::Probit,
            other => unsupported!("attribute \"post_transform\" is unknown: {other}"),
        })
    }

    /// Scores `[rows, targets]` transformed row by row.
    pub(super) fn apply(self, cx: &mut Cx, y: ValueId) -> Lowered<ValueId> {
        match self {
            Post::None => Ok(y),
            Post::Softmax => super::norm::softmax(cx, y, 1, false),
            Post::Logistic => Ok(cx.unary(ScalarOp::Sigmoid, y)?),
            Post::SoftmaxZero => softmax_zero(cx, y),
            Post::Probit => probit(cx, y),
        }
    }
}

/// Softmax in which scores of exactly zero stay zero and do not count.
fn softmax_zero(cx: &mut Cx, y: ValueId) -> Lowered<ValueId> {
    let most = cx.reduce_keep("max", y, &[1])?;
    let shifted = cx.binary(ScalarOp::Sub, y, most)?;
    let weight = cx.unary(ScalarOp::Exp, shifted)?;
    let none = cx.with_const(ScalarOp::Eq, y, 0.0)?;
    let dtype = cx.dtype(y);
    let zero = cx.scalar(dtype, 0.0)?;
    let weight = cx.select(none, zero, weight)?;
    let sum = cx.reduce_keep("sum", weight, &[1])?;
    let empty = cx.with_const(ScalarOp::Eq, sum, 0.0)?;
    let one = cx.scalar(dtype, 1.0)?;
    let sum = cx.select(empty, one, sum)?;
    Ok(cx.binary(ScalarOp::Div, weight, sum)?)
}

/// The inverse of the normal distribution, by Winitzki's approximation of the inverse error function.
fn probit(cx: &mut Cx, y: ValueId) -> Lowered<ValueId> {
    // a = 0.147 is the constant that the reference uses.
    let a = 0.147;
    let x = cx.affine(y, 2.0, -1.0)?;
    let squares = cx.binary(ScalarOp::Mul, x, x)?;
    let rest = cx.affine(squares, -1.0, 1.0)?;
    let log = cx.unary(ScalarOp::Log, rest)?;
    let half = cx.affine(log, 0.5, 2.0 / (std::f64::consts::PI * a))?;
    let inner = cx.binary(ScalarOp::Mul, half, half)?;
    let scaled = cx.affine(log, 1.0 / a, 0.0)?;
    let inner = cx.binary(ScalarOp::Sub, inner, scaled)?;
    let inner = cx.unary(ScalarOp::Sqrt, inner)?;
    let inner = cx.binary(ScalarOp::Sub, inner, half)?;
    let magnitude = cx.unary(ScalarOp::Sqrt, inner)?;
    let sign = cx.unary(ScalarOp::Sign, x)?;
    let inverse = cx.binary(ScalarOp::Mul, sign, magnitude)?;
    cx.affine(inverse, std::f64::consts::SQRT_2, 0.0)
}

/// Class labels as a constant vector of integers or strings.
pub(super) fn labels(cx: &mut Cx, ints: &str, strings: &str) -> Lowered<Option<Tensor>> {
    if let Some(names) = cx.attrs.byte_strings(strings)?.filter(|s| !s.is_empty()) {
        cx.attrs.ints(ints)?;
        return Ok(Some(Tensor::from_strings(&[names.len()], names.to_vec())?));
    }
    let ints = cx.attrs.ints(ints)?.filter(|i| !i.is_empty());
    ints.map(|i| Ok(Tensor::from_slice(&[i.len()], i)?)).transpose()
}

fn classify(cx: &mut Cx) -> Lowered {
    let mut forest = nested_forest(cx, "class")?;
    let post = Post::from_attr(cx)?;
    let Some(labels) = labels(cx, "classlabels_int64s", "classlabels_strings")? else {
        unsupported!("no attribute gives the class labels");
    };
    forest.n_targets = labels.len();
    let voted: BTreeSet<usize> = forest.votes.values().flatten().map(|(t, _)| *t).collect();
    let positive = forest.votes.values().flatten().all(|(_, w)| *w >= 0.0);
    let sums = scores(cx, &forest)?;
    let labels = cx.constant(labels);
    if forest.n_targets != 2 || voted.len() != 1 {
        let sums = add_base(cx, sums, &forest.base)?;
        return best_class(cx, sums, labels, post);
    }
    // Two classes, of which one gets all votes: its score decides.
    let only = voted.into_iter().next().unwrap_or(0);
    let sums = cx.slice_axis(sums, 1, Dim::len(only), Dim::ONE)?;
    let base = match forest.base.as_slice() {
        [_, b] => *b,
        [b] => *b,
        _ => 0.0,
    };
    let score = cx.with_const(ScalarOp::Add, sums, base)?;
    two_classes(cx, score, labels, positive, post)
}

/// The label of the highest score, and the transformed scores.
pub(super) fn best_class(cx: &mut Cx, sums: ValueId, labels: ValueId, post: Post) -> Lowered {
    let attrs = attrs! { kind: Attr::Str("max".into()), axis: Attr::Int(1), last: Attr::Int(0) };
    let best = cx.one("arg_reduce", attrs, &[sums])?;
    let y = cx.one("gather", attrs! { axis: Attr::Int(0) }, &[labels, best])?;
    cx.output(0, y);
    let z = post.apply(cx, sums)?;
    let z = cx.cast(z, DType::F32)?;
    cx.output(1, z);
    Ok(())
}

/// Label and scores of both classes by the score of the second, `[rows, 1]`.
///
/// Votes that are never negative are probabilities (compared with one half, the other class gets the
/// rest); else the sign decides and the other class gets the negative score.
fn two_classes(cx: &mut Cx, score: ValueId, labels: ValueId, positive: bool, post: Post) -> Lowered {
    let rows = cx.dim(score, 0);
    let over = cx.with_const(ScalarOp::Gt, score, if positive { 0.5 } else { 0.0 })?;
    let over = cx.reshape(over, &[rows])?;
    let at = cx.cast(over, DType::I64)?;
    let y = cx.one("gather", attrs! { axis: Attr::Int(0) }, &[labels, at])?;
    cx.output(0, y);
    let other = if positive { cx.affine(score, -1.0, 1.0)? } else { cx.unary(ScalarOp::Neg, score)? };
    let both = cx.concat(&[other, score], 1)?;
    let z = match post {
        Post::Logistic if !positive => cx.unary(ScalarOp::Sigmoid, both)?,
        Post::Probit => probit(cx, score)?,
        _ => both,
    };
    let z = cx.cast(z, DType::F32)?;
    cx.output(1, z);
    Ok(())
}
