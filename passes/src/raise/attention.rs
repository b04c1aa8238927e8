//! Attention out of two contractions around a softmax.
//!
//! `contract(softmax(scale·contract(q, k) + mask), v)`, with the scale on either operand or the result,
//! masks added or chosen, scores capped by tanh, keys and values repeated for grouped queries. A row
//! that sees nothing gives 0, where the parts would give NaN for masks of −∞. Scores that a
//! choice replaces by a number of −10000 or less are taken as hidden: the number is added to them.

use super::pattern::Match;
use crate::fold::known::uniform;
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Attr, Dim, Graph, Node, OpError, Outcome, Rewriter, ScalarOp, ValueId, attrs};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "raise-attention",
    doc: "A softmax between two contractions becomes `attention` on [batch, head, position, feature] operands.",
    required: false,
    run,
};

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, raise)
}

/// Letters of batch, head and position are looked up by axis; operands may lack some.
#[derive(Clone)]
struct Operand {
    value: ValueId,
    /// A letter for each axis; none for axes of size 1 that a reshape has added.
    letters: Vec<Option<char>>,
}

/// One mask and what it is multiplied by.
enum Mask {
    Added { value: ValueId, factor: f64 },
    Chosen { hidden: ValueId, inverted: bool, fill: f64 },
}

/// What lies between the first contraction and the softmax, from the softmax inward.
struct Scores {
    scale: f64,
    softcap: f64,
    masks: Vec<Mask>,
    contraction: ValueId,
}

/// The whole pattern.
struct Found {
    q: Operand,
    k: Operand,
    v: Operand,
    scores: Scores,
    /// Letters of batch axes, query, key, inner and value features.
    batch: Vec<char>,
    names: [char; 4],
    out: String,
    /// Shape of the scores.
    full: Vec<Dim>,
}

fn raise(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !node.is("contract") {
        return Ok(Outcome::NoMatch);
    }
    let mut m = Match::new(rw, node);
    let Some(probabilities) = (0..2).find_map(|i| m.attempt(|m| Some((i, softmax(m, node.inputs[i])?))))
    else {
        return Ok(Outcome::NoMatch);
    };
    let found = match matched(&mut m, node, probabilities) {
        Ok(found) => m.closed(found),
        Err(outcome) => Err(outcome),
    };
    let mut found = match found {
        Ok(found) => found,
        Err(outcome) => return Ok(outcome),
    };
    found.q = scaled_operand(rw, found.q, &mut found.scores.scale);
    found.k = scaled_operand(rw, found.k, &mut found.scores.scale);
    found.v = unmoved(rw, found.v);
    build(rw, node, &found)
}

/// The operand of a softmax over the last axis, through conversions and a guard against NaN.
fn softmax(m: &mut Match, v: ValueId) -> Option<ValueId> {
    let v = converted(m, v);
    if let Some(guarded) = m.attempt(|m| {
        let [c, zero, p] = m.def(v, "select")?.inputs[..] else { return None };
        let of = m.def(c, "is_nan")?.inputs[0];
        if of == p && uniform(m.graph(), zero) == Some(0.0) { softmax(m, p) } else { None }
    }) {
        return Some(guarded);
    }
    let node = m.def(v, "softmax")?;
    let last = m.graph().tensor_ty(v).rank().checked_sub(1)?;
    (node.attrs.index("axis") == last && !node.attrs.flag("log")).then(|| node.inputs[0])
}

/// Conversions between float types are passed.
fn converted(m: &mut Match, v: ValueId) -> ValueId {
    let float = |v: ValueId| m.graph().tensor_ty(v).dtype.is_float();
    match m.graph().def_if(v, "cast") {
        Some(n) if float(v) && float(n.inputs[0]) => {
            m.pass(v);
            converted(m, n.inputs[0])
        }
        _ => v,
    }
}

fn matched(m: &mut Match, node: &NodeView, (side, scores): (usize, ValueId)) -> Result<Found, Outcome> {
    let full = m.graph().tensor_ty(scores).shape.clone();
    let scores = walk(m, scores, &full).ok_or(Outcome::NoMatch)?;
    let first = m.graph().def_node(scores.contraction).ok_or(Outcome::NoMatch)?;
    if !(2..=4).contains(&full.len()) {
        return Err(Outcome::Blocked("the scores must have rank 2, 3 or 4"));
    }
    let (sides, second) = (["lhs", "rhs"], &node.attrs);
    // The second contraction's letters, renamed so that the scores' axes are called alike in both.
    let p: Vec<char> = second.str(sides[side]).chars().collect();
    let s: Vec<char> = first.attrs.str("out").chars().collect();
    let rename = |c: char| match p.iter().position(|l| *l == c) {
        Some(i) => s[i],
        // Letters of its own must not collide with those of the first.
        None => c.to_ascii_uppercase(),
    };
    let values: Vec<char> = second.str(sides[1 - side]).chars().map(rename).collect();
    let out: String = second.str("out").chars().map(rename).collect();
    if s.iter().any(char::is_ascii_uppercase) {
        return Err(Outcome::NoMatch);
    }
    let (batch, query, key) = (s[..s.len() - 2].to_vec(), s[s.len() - 2], s[s.len() - 1]);
    let (lhs, rhs) = (first.attrs.str("lhs"), first.attrs.str("rhs"));
    let summed: Vec<char> = lhs.chars().filter(|l| rhs.contains(*l) && !s.contains(l)).collect();
    let own: Vec<char> = values.iter().copied().filter(|l| !s.contains(l)).collect();
    let ([inner], [feature]) = (summed.as_slice(), own.as_slice()) else {
        return Err(Outcome::Blocked("queries and values must have one axis of features each"));
    };
    let no = Outcome::Blocked("the axes of queries, keys and values are not those of attention");
    let swapped = rhs.contains(query);
    let (q, k) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let shape = q.contains(query) && !q.contains(key) && k.contains(key) && !k.contains(query);
    let summed_again = values.contains(&key) && !values.contains(&query) && !out.contains(key);
    let result = out.contains(query) && out.contains(*feature) && batch.iter().all(|b| out.contains(*b));
    let plain = |letters: &str, n: usize| letters.chars().filter(|l| !batch.contains(l)).count() == n;
    if !(shape && summed_again && result && plain(q, 2) && plain(k, 2)) || values.len() > full.len() {
        return Err(no);
    }
    let operand = |value: ValueId, letters: &[char]| Operand {
        value,
        letters: letters.iter().map(|l| Some(*l)).collect(),
    };
    let chars = |s: &str| s.chars().collect::<Vec<_>>();
    let (qi, ki) = (usize::from(swapped), usize::from(!swapped));
    Ok(Found {
        q: operand(first.inputs[qi], &chars(q)),
        k: operand(first.inputs[ki], &chars(k)),
        v: operand(node.inputs[1 - side], &values),
        names: [query, key, *inner, *feature],
        scores,
        batch,
        out,
        full,
    })
}

/// From the softmax to the contraction of queries and keys.
fn walk(m: &mut Match, v: ValueId, full: &[Dim]) -> Option<Scores> {
    let mut s = Scores { scale: 1.0, softcap: 0.0, masks: Vec::new(), contraction: v };
    let mut v = v;
    loop {
        v = converted(m, v);
        let node = m.graph().def_node(v)?;
        if m.graph().tensor_ty(v).shape != full {
            return None;
        }
        if node.is("contract") {
            m.def(v, "contract")?;
            s.contraction = v;
            return Some(s);
        }
        v = match node.op.name {
            "mul" | "div" => {
                m.def(v, node.op.name)?;
                capped(m, node, &mut s)?
            }
            // A mask inside of the cap is not of attention's form.
            "add" | "select" if s.softcap != 0.0 => return None,
            "add" => {
                let i = (0..2).find(|i| leads_to_scores(m, node.inputs[*i]))?;
                m.def(v, "add")?;
                s.masks.push(Mask::Added { value: node.inputs[1 - i], factor: s.scale });
                node.inputs[i]
            }
            "select" => {
                m.def(v, "select")?;
                chosen(m, node, &mut s)?
            }
            _ => return None,
        };
    }
}

/// A product with a number, or `cap·tanh(x/cap)`.
fn capped(m: &mut Match, node: &Node, s: &mut Scores) -> Option<ValueId> {
    let number = |i: usize| uniform(m.graph(), node.inputs[i]);
    let (x, c) = match (number(0), number(1)) {
        (_, Some(c)) => (node.inputs[0], if node.is("div") { 1.0 / c } else { c }),
        (Some(c), None) if node.is("mul") => (node.inputs[1], c),
        _ => return None,
    };
    if let Some(inner) = m.attempt(|m| m.def(x, "tanh")) {
        // What is inside is divided by the cap: undone in the scale.
        if s.softcap != 0.0 || s.scale != 1.0 || c <= 0.0 {
            return None;
        }
        (s.softcap, s.scale) = (c, c);
        return Some(inner.inputs[0]);
    }
    s.scale *= c;
    Some(x)
}

/// A choice between scores and a number that hides them.
fn chosen(m: &Match, node: &Node, s: &mut Scores) -> Option<ValueId> {
    let number = |i: usize| uniform(m.graph(), node.inputs[i]);
    let (x, fill, inverted) = match (number(1), number(2)) {
        (Some(fill), None) => (node.inputs[2], fill, false),
        (None, Some(fill)) => (node.inputs[1], fill, true),
        _ => return None,
    };
    s.masks.push(Mask::Chosen { hidden: node.inputs[0], inverted, fill: fill * s.scale });
    Some(x)
}

/// True for the operand of a sum that the scores come from.
fn leads_to_scores(m: &Match, v: ValueId) -> bool {
    let mut v = v;
    for _ in 0..8 {
        let Some(node) = m.graph().def_node(v) else { return false };
        let unknown = |i: &ValueId| uniform(m.graph(), *i).is_none();
        v = match node.op.name {
            "contract" => return true,
            "mul" | "div" | "tanh" | "cast" => match node.inputs.iter().find(|i| unknown(i)) {
                Some(x) => *x,
                None => return false,
            },
            "add" => match node.inputs.iter().find(|i| leads_to_scores(m, **i)) {
                Some(x) => *x,
                None => return false,
            },
            "select" => match node.inputs[1..].iter().find(|i| unknown(i)) {
                Some(x) => *x,
                None => return false,
            },
            _ => return false,
        };
    }
    false
}

/// An operand without transposes and without reshapes that only concern axes of size 1.
fn unmoved(rw: &Rewriter, mut operand: Operand) -> Operand {
    while let Some(inner) = rw.b.graph.def_node(operand.value).and_then(|n| passed(rw, n, &operand)) {
        operand = inner;
    }
    operand
}

/// An operand without the numbers it is multiplied by, which go to the scale.
fn scaled_operand(rw: &Rewriter, operand: Operand, scale: &mut f64) -> Operand {
    let mut operand = unmoved(rw, operand);
    while let Some(node) = rw.b.graph.def_node(operand.value) {
        let number = |i: usize| uniform(rw.b.graph, node.inputs[i]);
        let (value, factor) = match node.op.name {
            "mul" => match (number(0), number(1)) {
                (_, Some(c)) => (node.inputs[0], c),
                (Some(c), None) => (node.inputs[1], c),
                _ => break,
            },
            "div" => match number(1) {
                Some(c) => (node.inputs[0], 1.0 / c),
                None => break,
            },
            _ => break,
        };
        *scale *= factor;
        operand = unmoved(rw, Operand { value, ..operand });
    }
    operand
}

/// The operand below a transpose, or below a reshape that only adds or drops axes of size 1.
fn passed(rw: &Rewriter, node: &Node, operand: &Operand) -> Option<Operand> {
    if !matches!(node.op.name, "transpose" | "reshape") {
        return None;
    }
    let value = node.inputs[0];
    if node.is("transpose") {
        let perm = node.attrs.indices("perm");
        let mut letters = vec![None; perm.len()];
        perm.iter().enumerate().for_each(|(to, from)| letters[*from] = operand.letters[to]);
        return Some(Operand { value, letters });
    }
    let (from, to) = (&rw.b.graph.tensor_ty(value).shape, node.attrs.dims("shape"));
    let mut left = to.iter().zip(&operand.letters).filter(|(d, _)| !d.is(1));
    let letters = from.iter().map(|d| match d.is(1) {
        true => Some(None),
        false => left.next().filter(|(to, _)| *to == d).map(|(_, l)| *l),
    });
    let letters = letters.collect::<Option<Vec<_>>>()?;
    left.next().is_none().then_some(Operand { value, letters })
}

/// The shape `[batch, head, a, b]` of an operand; sizes of 1 for what it lacks.
fn target(rw: &Rewriter, o: &Operand, order: &[Option<char>; 4]) -> Vec<Dim> {
    let shape = &rw.b.graph.tensor_ty(o.value).shape;
    let size = |l: &Option<char>| match l.and_then(|l| o.letters.iter().position(|x| *x == Some(l))) {
        Some(i) => shape[i].clone(),
        None => Dim::ONE,
    };
    order.iter().map(size).collect()
}

/// The operand as `[batch, head, a, b]`.
fn arranged(rw: &mut Rewriter, o: &Operand, order: &[Option<char>; 4]) -> Result<ValueId, OpError> {
    let shape = target(rw, o, order);
    let named = |l: &Option<char>| l.and_then(|l| o.letters.iter().position(|x| *x == Some(l)));
    let mut perm: Vec<usize> = (0..o.letters.len()).filter(|i| o.letters[*i].is_none()).collect();
    perm.extend(order.iter().filter_map(named));
    let sizes = rw.b.graph.tensor_ty(o.value).shape.clone();
    // Axes of size 1 need no transpose.
    let moved: Vec<usize> = perm.iter().copied().filter(|p| !sizes[*p].is(1)).collect();
    let x = if moved.is_sorted() { o.value } else { rw.b.transpose(o.value, &perm)? };
    rw.b.reshape(x, &shape)
}

fn build(rw: &mut Rewriter, node: &NodeView, f: &Found) -> Result<Outcome, OpError> {
    let [query, key, inner, feature] = f.names;
    let (b, h) = match f.batch[..] {
        [] => (None, None),
        [b] => (Some(b), None),
        [b, h, ..] => (Some(b), Some(h)),
    };
    let order = |a: char, c: char| [b, h, Some(a), Some(c)];
    let (qo, ko, vo) = (order(query, inner), order(key, inner), order(key, feature));
    let [qs, ks, vs] = [(&f.q, &qo), (&f.k, &ko), (&f.v, &vo)].map(|(o, order)| target(rw, o, order));
    let heads = |d: &Dim| *d == qs[1] || d.is(1);
    if ks[..3] != vs[..3] || qs[0] != ks[0] || !heads(&ks[1]) || qs[3] != ks[3] {
        return Ok(Outcome::Blocked("queries, keys and values differ in batch or heads"));
    }
    let Some(mask) = combined(rw, f, &[&qs[0], &qs[1], &qs[2], &ks[2]].map(Dim::clone))? else {
        return Ok(Outcome::Blocked("a mask is not of the scores' shape or hides less than everything"));
    };
    let q = arranged(rw, &f.q, &qo)?;
    let (mut k, mut v) = (arranged(rw, &f.k, &ko)?, arranged(rw, &f.v, &vo)?);
    if let (Some((k0, n)), Some((v0, m))) = (unrepeated(rw, k), unrepeated(rw, v))
        && n == m
    {
        (k, v) = (k0, v0);
    }
    let dtype = rw.b.graph.tensor_ty(q).dtype;
    if node.types[0].as_tensor().map(|t| t.dtype) != Some(dtype) {
        return Ok(Outcome::Blocked("the product is of another type than the queries"));
    }
    let attrs = attrs! {
        scale: Attr::Float(f.scores.scale), causal: Attr::Int(0), heads_last: Attr::Int(0), past: Attr::Dims(vec![Dim::ZERO]),
        softcap: Attr::Float(f.scores.softcap)
    };
    let y = rw.b.one("attention", attrs, &[q, k, v, mask])?;
    finish(rw, node, f, y, [b, h, Some(query), Some(feature)])
}

/// The result in the order of axes that the second contraction gave.
fn finish(
    rw: &mut Rewriter,
    node: &NodeView,
    f: &Found,
    y: ValueId,
    order: [Option<char>; 4],
) -> Result<Outcome, OpError> {
    let Some(ty) = node.types[0].as_tensor() else { return Ok(Outcome::NoMatch) };
    let letters: Vec<char> = order.into_iter().flatten().collect();
    let shape = rw.b.graph.tensor_ty(y).shape.clone();
    let kept: Vec<Dim> = (0..4).filter(|i| order[*i].is_some()).map(|i| shape[i].clone()).collect();
    let y = rw.b.reshape(y, &kept)?;
    let perm: Option<Vec<usize>> = f.out.chars().map(|l| letters.iter().position(|x| *x == l)).collect();
    let Some(perm) = perm.filter(|p| p.len() == letters.len()) else { return Ok(Outcome::NoMatch) };
    let y = rw.b.transpose(y, &perm)?;
    if rw.b.graph.tensor_ty(y) != ty {
        return Ok(Outcome::Blocked("the sizes of queries and values are not known to fit"));
    }
    Ok(Outcome::Applied(vec![y]))
}

/// Keys or values before they were repeated for each head of a group, and how often they were.
fn unrepeated(rw: &Rewriter, v: ValueId) -> Option<(ValueId, Dim)> {
    let merged = rw.def(v, "reshape")?;
    let spread = rw.def(merged.inputs[0], "broadcast")?;
    let shape = |v: ValueId| &rw.b.graph.tensor_ty(v).shape;
    let wide = shape(merged.inputs[0]);
    let inserted = shape(spread.inputs[0]);
    if wide.len() != 5 || inserted.len() != 5 || !inserted[2].is(1) {
        return None;
    }
    let same = |i: usize| wide[i] == inserted[i];
    let x = rw.def(spread.inputs[0], "reshape")?.inputs[0];
    let narrow = [0, 1, 3, 4].map(|i| inserted[i].clone());
    let merges =
        shape(v)[..] == [&wide[0], &(wide[1].clone() * wide[2].clone()), &wide[3], &wide[4]].map(Dim::clone);
    (merges && [0, 1, 3, 4].into_iter().all(same) && shape(x)[..] == narrow).then(|| (x, wide[2].clone()))
}

/// The sum of all masks as `[batch|1, head|1, query|1, key]`.
fn combined(rw: &mut Rewriter, f: &Found, sizes: &[Dim; 4]) -> Result<Option<ValueId>, OpError> {
    let mut sum: Option<ValueId> = None;
    for mask in &f.scores.masks {
        let value = match mask {
            Mask::Added { value, factor } => {
                let Some(value) = placed(rw, *value, f, sizes)? else { return Ok(None) };
                if *factor == 1.0 { value } else { rw.b.binary_const(ScalarOp::Mul, value, *factor)? }
            }
            Mask::Chosen { hidden, inverted, fill } => {
                let dtype = rw.b.graph.tensor_ty(f.scores.contraction).dtype;
                if *fill > HIDDEN {
                    return Ok(None);
                }
                let Some(hidden) = placed(rw, *hidden, f, sizes)? else { return Ok(None) };
                let (fill, zero) = (rw.b.scalar(dtype, *fill)?, rw.b.scalar(dtype, 0.0)?);
                let (a, b) = if *inverted { (zero, fill) } else { (fill, zero) };
                rw.b.select(hidden, a, b)?
            }
        };
        sum = Some(match sum {
            Some(other) => {
                let dtype = rw.b.graph.tensor_ty(other).dtype;
                let value = rw.b.cast(value, dtype)?;
                rw.b.binary(ScalarOp::Add, other, value)?
            }
            None => value,
        });
    }
    if let Some(sum) = sum {
        return Ok(Some(sum));
    }
    let dtype = rw.b.graph.tensor_ty(f.scores.contraction).dtype;
    rw.b.splat(dtype, 0.0, &[Dim::ONE, Dim::ONE, Dim::ONE, sizes[3].clone()]).map(Some)
}

/// Numbers that models choose in place of scores that nobody is to see; −1e4 is the highest in use.
const HIDDEN: f64 = -1e4;

/// A mask without what broadcasts it, with four axes.
fn placed(rw: &mut Rewriter, v: ValueId, f: &Found, sizes: &[Dim; 4]) -> Result<Option<ValueId>, OpError> {
    let mut v = v;
    while let Some(n) = rw.def(v, "broadcast") {
        v = n.inputs[0];
    }
    let own = rw.b.graph.tensor_ty(v).shape.clone();
    let at = |i: usize| (i + own.len()).checked_sub(f.full.len()).map_or(Dim::ONE, |j| own[j].clone());
    let rank = f.full.len();
    let mut shape = vec![Dim::ONE; 4];
    // Batch axes come first, positions last.
    (0..rank - 2).for_each(|i| shape[i] = at(i));
    (shape[2], shape[3]) = (at(rank - 2), at(rank - 1));
    if !shape.iter().zip(sizes).all(|(d, full)| d.is(1) || d == full) {
        return Ok(None);
    }
    let x = rw.b.reshape(v, &shape)?;
    shape[3] = sizes[3].clone();
    rw.b.broadcast(x, &shape).map(Some)
}
