//! Sigmoid, SiLU, GELU and Mish out of exponentials, error functions and hyperbolic tangents.

use super::pattern::{Match, near};
use crate::fold::known::uniform;
use crate::pass::{NodeView, Pass, Report, Target};
use nnc_ir::{Graph, OpError, Outcome, Rewriter, ScalarOp, ValueId};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// The pass.
pub(crate) const PASS: Pass = Pass {
    name: "raise-activations",
    doc: "Spelled-out sigmoid, SiLU, GELU (by error function or tanh) and Mish become one scalar function each.",
    required: false,
    run,
};

/// Factors of a product, and nodes of a polynomial, that are looked at.
const MOST_PARTS: usize = 12;

fn run(graph: &Graph, _: &Target, report: &mut Report) -> Result<Graph, OpError> {
    report.apply(PASS.name, graph, raise)
}

fn raise(rw: &mut Rewriter, node: &NodeView) -> Result<Outcome, OpError> {
    if !matches!(node.old.op.name, "mul" | "div")
        || !node.types[0].as_tensor().is_some_and(|t| t.dtype.is_float())
    {
        return Ok(Outcome::NoMatch);
    }
    let mut m = Match::new(rw, node);
    let found = match node.old.op.name {
        "div" => m.attempt(|m| logistic(m, node)).or_else(|| gated(&mut m, node)),
        _ => m.attempt(|m| gate(m, node)).or_else(|| gated(&mut m, node)),
    };
    let Some((op, x)) = found else { return Ok(Outcome::NoMatch) };
    if let Err(outcome) = m.closed(()) {
        return Ok(outcome);
    }
    Ok(Outcome::Applied(vec![rw.b.unary(op, x)?]))
}

/// `1 / (1 + exp(-x))` is sigmoid, `x / (1 + exp(-x))` is SiLU.
fn logistic(m: &mut Match, node: &NodeView) -> Option<(ScalarOp, ValueId)> {
    let (e, one) = m.with_number(node.inputs[1], "add")?;
    let negated = m.def(e, "exp")?.inputs[0];
    let x = m.def(negated, "neg")?.inputs[0];
    if one != 1.0 {
        return None;
    }
    if node.inputs[0] == x {
        return Some((ScalarOp::Silu, x));
    }
    (uniform(m.graph(), node.inputs[0]) == Some(1.0)).then_some((ScalarOp::Sigmoid, x))
}

/// `x · sigmoid(x)` is SiLU, `x · tanh(softplus(x))` is Mish.
fn gate(m: &mut Match, node: &NodeView) -> Option<(ScalarOp, ValueId)> {
    (0..2).find_map(|i| {
        m.attempt(|m| {
            let (x, gate) = (node.inputs[i], node.inputs[1 - i]);
            if let Some(n) = m.def(gate, "sigmoid") {
                return (n.inputs[0] == x).then_some((ScalarOp::Silu, x));
            }
            let soft = m.def(gate, "tanh")?.inputs[0];
            (m.def(soft, "softplus")?.inputs[0] == x).then_some((ScalarOp::Mish, x))
        })
    })
}

/// `x · (1 + t)/2`, the factors in any order, with `t = erf(x/√2)` or `tanh(√(2/π)·(x + 0.044715·x³))`.
fn gated(m: &mut Match, node: &NodeView) -> Option<(ScalarOp, ValueId)> {
    let (mut factors, mut number) = (Vec::new(), 1.0);
    flatten(m, node.old.op.name, &node.inputs, &mut factors, &mut number)?;
    let [a, b] = factors[..] else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        m.attempt(|m| {
            let t = bounded_part(m.graph(), gate)?;
            let line = polynomial(m, gate, t, &mut 0)?;
            if !near(line[0] * number, 0.5) || !near(line[1] * number, 0.5) || line[2..] != [0.0, 0.0] {
                return None;
            }
            let op = m.graph().def_node(t)?.op.name;
            let argument = m.def(t, op)?.inputs[0];
            let p = polynomial(m, argument, x, &mut 0)?;
            let root = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
            match (op, p) {
                ("erf", [0.0, k, 0.0, 0.0]) => near(k, FRAC_1_SQRT_2).then_some((ScalarOp::Gelu, x)),
                ("tanh", [0.0, k, 0.0, c]) => {
                    (near(k, root) && near(c, 0.044_715 * root)).then_some((ScalarOp::GeluTanh, x))
                }
                _ => None,
            }
        })
    })
}

/// The factors of nested products that are not numbers, and the product of the numbers.
fn flatten(
    m: &mut Match,
    op: &str,
    operands: &[ValueId],
    factors: &mut Vec<ValueId>,
    number: &mut f64,
) -> Option<()> {
    for (i, v) in operands.iter().enumerate() {
        let divisor = op == "div" && i == 1;
        if let Some(c) = uniform(m.graph(), *v) {
            *number *= if divisor { 1.0 / c } else { c };
            continue;
        }
        if divisor || factors.len() > MOST_PARTS {
            return None;
        }
        match m.graph().def_node(*v).map(|n| n.op.name) {
            // x itself may be a product: it has several readers.
            Some(inner @ ("mul" | "div")) if m.rw.n_uses(*v) == 1 => {
                let inputs = m.def(*v, inner)?.inputs.clone();
                flatten(m, inner, &inputs, factors, number)?;
            }
            _ => factors.push(*v),
        }
    }
    Some(())
}

/// The error function or hyperbolic tangent in a linear expression.
fn bounded_part(graph: &Graph, v: ValueId) -> Option<ValueId> {
    let mut v = v;
    for _ in 0..MOST_PARTS {
        let node = graph.def_node(v)?;
        match node.op.name {
            "erf" | "tanh" => return Some(v),
            "add" | "mul" | "div" | "sub" => {
                v = *node.inputs.iter().find(|i| uniform(graph, **i).is_none())?;
            }
            _ => return None,
        }
    }
    None
}

/// Coefficients of 1, x, x² and x³, if the value is such a polynomial.
fn polynomial(m: &mut Match, v: ValueId, x: ValueId, visited: &mut usize) -> Option<[f64; 4]> {
    *visited += 1;
    if v == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(c) = uniform(m.graph(), v) {
        return Some([c, 0.0, 0.0, 0.0]);
    }
    let op = m.graph().def_node(v).filter(|_| *visited < MOST_PARTS)?.op.name;
    let inputs = match op {
        "add" | "sub" | "mul" | "div" | "neg" => m.def(v, op)?.inputs.clone(),
        _ => return None,
    };
    let a = polynomial(m, inputs[0], x, visited)?;
    if op == "neg" {
        return Some(a.map(|c| -c));
    }
    let b = polynomial(m, inputs[1], x, visited)?;
    let zip = |f: fn(f64, f64) -> f64| std::array::from_fn(|i| f(a[i], b[i]));
    match op {
        "add" => Some(zip(|a, b| a + b)),
        "sub" => Some(zip(|a, b| a - b)),
        "div" => (b[1..] == [0.0; 3]).then(|| a.map(|c| c / b[0])),
        _ => product(a, b),
    }
}

/// `None` beyond the third power.
fn product(a: [f64; 4], b: [f64; 4]) -> Option<[f64; 4]> {
    let mut c = [0.0; 7];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            c[i + j] += x * y;
        }
    }
    (c[4..] == [0.0; 3]).then(|| [c[0], c[1], c[2], c[3]])
}
