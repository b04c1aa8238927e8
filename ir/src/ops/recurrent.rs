//! Recurrent layers: LSTM, GRU and plain, in the gate orders of ONNX (iofc, zrh).

use super::matmul::matmul;
use super::{Effects, EvalCx, InferCx, OpError, OpRow, spec};
use crate::{DType, Dim, Tensor, Type, Value, refuse};
use nnc_tensor::movers;

pub(super) const ROWS: &[OpRow] = &[RECURRENT];

const RECURRENT: OpRow = OpRow {
    name: "recurrent",
    doc: "lstm, gru or rnn over x [S, B, I] with w [D, G·H, I], r [D, G·H, H], bias [D, 2·G·H], lens [B], h0 and c0 \
          [D, B, H], peephole [D, 3·H] (in order i, o, f), to y [S, D, B, H] and the last h and c [D, B, H]; \
          `alphas` and `betas` are empty or have an entry for each of `activations`; `clip` 0 is none",
    attrs: &[
        spec::texts("activations"),
        spec::floats("alphas"),
        spec::floats("betas"),
        spec::text("cell"),
        spec::float("clip"),
        spec::text("direction"),
        spec::int("hidden"),
        spec::int("input_forget"),
        spec::int("linear_before_reset"),
    ],
    effects: Effects::Pure,
    infer: infer_recurrent,
    content: None,
    eval: eval_recurrent,
    scalar: None,
    decompose: None,
};

/// Gates and activations of a direction.
fn counts(cell: &str) -> (usize, usize) {
    match cell {
        "lstm" => (4, 3),
        "gru" => (3, 2),
        _ => (1, 1),
    }
}

fn infer_recurrent(cx: &mut InferCx) -> Result<Vec<Type>, OpError> {
    cx.n_inputs(8)?;
    let x = cx.floats(0, "the sequence")?.clone();
    if x.rank() != 3 {
        refuse!("the sequence must have rank 3, found {x}");
    }
    let (gates, n_activations) = counts(cx.choice("cell", &["lstm", "gru", "rnn"])?);
    let directions = match cx.choice("direction", &["forward", "reverse", "bidirectional"])? {
        "bidirectional" => 2,
        _ => 1,
    };
    cx.flag("input_forget")?;
    cx.flag("linear_before_reset")?;
    let hidden = cx.positive_int("hidden")?;
    let names = cx.attrs.strs("activations");
    if names.len() != directions * n_activations {
        refuse!("expected {} activations, found {}", directions * n_activations, names.len());
    }
    for name in names {
        drop(activation(name, None, None)?);
    }
    for list in ["alphas", "betas"] {
        let found = cx.attrs.floats(list).len();
        if found != 0 && found != names.len() {
            refuse!("attribute \"{list}\" must be empty or have {} entries, found {found}", names.len());
        }
    }
    let [s, b, i] = [&x.shape[0], &x.shape[1], &x.shape[2]].map(Dim::clone);
    let (d, h, g) = (Dim::len(directions), Dim::int(hidden), Dim::int(hidden) * Dim::len(gates));
    let state = [d.clone(), b.clone(), h.clone()];
    cx.expect(1, "the weight", x.dtype, &[d.clone(), g.clone(), i])?;
    cx.expect(2, "the recurrence weight", x.dtype, &[d.clone(), g.clone(), h.clone()])?;
    cx.expect(3, "the bias", x.dtype, &[d.clone(), g * Dim::int(2)])?;
    cx.integers(4, "lengths")?;
    cx.expect(4, "lengths", cx.tensor(4)?.dtype, std::slice::from_ref(&b))?;
    cx.expect(5, "the initial h", x.dtype, &state)?;
    cx.expect(6, "the initial c", x.dtype, &state)?;
    cx.expect(7, "peepholes", x.dtype, &[d.clone(), h.clone() * Dim::int(3)])?;
    let last = Type::tensor(x.dtype, state.to_vec());
    Ok(vec![Type::tensor(x.dtype, vec![s, d, b, h]), last.clone(), last])
}

type Activation = Box<dyn Fn(f64) -> f64>;

/// An activation by its ONNX name in any case.
fn activation(name: &[u8], alpha: Option<f64>, beta: Option<f64>) -> Result<Activation, OpError> {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let with = |a: f64, b: f64| (alpha.unwrap_or(a), beta.unwrap_or(b));
    Ok(match name.as_str() {
        "sigmoid" => Box::new(|x| 1.0 / (1.0 + (-x).exp())),
        "tanh" => Box::new(f64::tanh),
        "relu" => Box::new(|x| x.max(0.0)),
        "softsign" => Box::new(|x| x / (1.0 + x.abs())),
        "softplus" => Box::new(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        "affine" => {
            let (a, b) = with(1.0, 0.0);
            Box::new(move |x| a * x + b)
        }
        "leakyrelu" => {
            let (a, _) = with(0.01, 0.0);
            Box::new(move |x| if x < 0.0 { a * x } else { x })
        }
        "thresholdedrelu" => {
            let (a, _) = with(1.0, 0.0);
            Box::new(move |x| if x > a { x } else { 0.0 })
        }
        "scaledtanh" => {
            let (a, b) = with(1.0, 1.0);
            Box::new(move |x| a * (b * x).tanh())
        }
        "hardsigmoid" => {
            let (a, b) = with(0.2, 0.5);
            Box::new(move |x| (a * x + b).clamp(0.0, 1.0))
        }
        "elu" => {
            let (a, _) = with(1.0, 0.0);
            Box::new(move |x| if x < 0.0 { a * x.exp_m1() } else { x })
        }
        _ => refuse!("unknown activation {name:?}"),
    })
}

/// One direction's weights and settings.
struct Cell<'a> {
    kind: &'a str,
    hidden: usize,
    /// Recurrence weights, `[H, G·H]`.
    r: Vec<f64>,
    /// Biases of the recurrence, `[G·H]`.
    r_bias: &'a [f64],
    peephole: &'a [f64],
    activations: Vec<Activation>,
    clip: f64,
    linear_before_reset: bool,
    input_forget: bool,
}

impl Cell<'_> {
    fn act(&self, i: usize, x: f64) -> f64 {
        let x = if self.clip > 0.0 { x.clamp(-self.clip, self.clip) } else { x };
        self.activations[i](x)
    }

    /// Advances h and c by one step; `xw` is x·wᵀ plus its bias.
    fn step(&self, xw: &[f64], h: &mut [f64], c: &mut [f64]) {
        match self.kind {
            "lstm" => self.lstm(xw, h, c),
            "gru" => self.gru(xw, h),
            _ => {
                let hr = self.recur(h);
                (0..self.hidden).for_each(|j| h[j] = self.act(0, xw[j] + hr[j]));
            }
        }
    }

    /// h·rᵀ plus its bias.
    fn recur(&self, h: &[f64]) -> Vec<f64> {
        let mut y = self.r_bias.to_vec();
        let n = y.len();
        matmul(h, &self.r, &mut y, 1, self.hidden, n);
        y
    }

    fn lstm(&self, xw: &[f64], h: &mut [f64], c: &mut [f64]) {
        let (n, hr) = (self.hidden, self.recur(h));
        let gate = |g: usize, j: usize| xw[g * n + j] + hr[g * n + j];
        for j in 0..n {
            let [pi, po, pf] = [self.peephole[j], self.peephole[n + j], self.peephole[2 * n + j]];
            let i = self.act(0, gate(0, j) + pi * c[j]);
            let f = if self.input_forget { 1.0 - i } else { self.act(0, gate(2, j) + pf * c[j]) };
            c[j] = f * c[j] + i * self.act(1, gate(3, j));
            let o = self.act(0, gate(1, j) + po * c[j]);
            h[j] = o * self.activations[2](c[j]);
        }
    }

    fn gru(&self, xw: &[f64], h: &mut [f64]) {
        let (n, hr) = (self.hidden, self.recur(h));
        let gate = |g: usize| (0..n).map(move |j| (g * n + j, j));
        let z: Vec<f64> = gate(0).map(|(at, _)| self.act(0, xw[at] + hr[at])).collect();
        let r: Vec<f64> = gate(1).map(|(at, _)| self.act(0, xw[at] + hr[at])).collect();
        let candidate: Vec<f64> = if self.linear_before_reset {
            gate(2).map(|(at, j)| self.act(1, xw[at] + r[j] * hr[at])).collect()
        } else {
            let reset: Vec<f64> = h.iter().zip(&r).map(|(h, r)| h * r).collect();
            let again = self.recur(&reset);
            gate(2).map(|(at, _)| self.act(1, xw[at] + again[at])).collect()
        };
        (0..n).for_each(|j| h[j] = (1.0 - z[j]) * candidate[j] + z[j] * h[j]);
    }
}

/// `[D, rows, cols]` as one `[cols, rows]` matrix a direction.
fn transposed(t: &Tensor) -> Result<Vec<f64>, OpError> {
    Ok(movers::transpose(t, &[0, 2, 1])?.to_f64s())
}

fn eval_recurrent(cx: &EvalCx) -> Result<Vec<Value>, OpError> {
    let (x, dtype) = (cx.tensor(0)?, cx.tensor(0)?.dtype());
    let (kind, hidden) = (cx.attrs.str("cell"), cx.attrs.index("hidden"));
    let (gates, n_activations) = counts(kind);
    let [steps, batch, inputs] = [x.shape()[0], x.shape()[1], x.shape()[2]];
    let directions = if cx.attrs.str("direction") == "bidirectional" { 2 } else { 1 };
    let width = gates.saturating_mul(hidden);
    check_shapes(cx, directions, batch, inputs, width, hidden)?;
    let data = x.to_f64s();
    let (w, r) = (transposed(cx.tensor(1)?)?, transposed(cx.tensor(2)?)?);
    let (bias, peephole) = (cx.tensor(3)?.to_f64s(), cx.tensor(7)?.to_f64s());
    let (lens, mut h, mut c) = (cx.i64s(4)?, cx.tensor(5)?.to_f64s(), cx.tensor(6)?.to_f64s());
    let mut y = vec![0.0; steps * directions * batch * hidden];
    for d in 0..directions {
        let bias = &bias[d * 2 * width..][..2 * width];
        let first = d * n_activations;
        let cell = Cell {
            kind,
            hidden,
            r: r[d * hidden * width..][..hidden * width].to_vec(),
            r_bias: &bias[width..],
            peephole: &peephole[d * 3 * hidden..][..3 * hidden],
            activations: (first..first + n_activations)
                .map(|i| nth_activation(cx, i))
                .collect::<Result<_, _>>()?,
            clip: cx.attrs.float("clip"),
            linear_before_reset: cx.attrs.flag("linear_before_reset"),
            input_forget: cx.attrs.flag("input_forget"),
        };
        let mut xw: Vec<f64> = (0..steps * batch).flat_map(|_| bias[..width].iter().copied()).collect();
        matmul(&data, &w[d * inputs * width..], &mut xw, steps * batch, inputs, width);
        let backward = d == 1 || cx.attrs.str("direction") == "reverse";
        for b in 0..batch {
            let at = (d * batch + b) * hidden;
            let len = usize::try_from(lens[b]).unwrap_or(0).min(steps);
            for turn in 0..len {
                let s = if backward { len - 1 - turn } else { turn };
                let (h, c) = (&mut h[at..at + hidden], &mut c[at..at + hidden]);
                cell.step(&xw[(s * batch + b) * width..][..width], h, c);
                y[((s * directions + d) * batch + b) * hidden..][..hidden].copy_from_slice(h);
            }
        }
    }
    let state = [directions, batch, hidden];
    Ok(vec![
        Tensor::from_f64s(dtype, &[steps, directions, batch, hidden], &y)?.into(),
        Tensor::from_f64s(dtype, &state, &h)?.into(),
        Tensor::from_f64s(dtype, &state, &c)?.into(),
    ])
}

fn nth_activation(cx: &EvalCx, i: usize) -> Result<Activation, OpError> {
    let at = |list: &str| cx.attrs.floats(list).get(i).copied();
    activation(&cx.attrs.strs("activations")[i], at("alphas"), at("betas"))
}

fn check_shapes(cx: &EvalCx, d: usize, b: usize, i: usize, width: usize, h: usize) -> Result<(), OpError> {
    let expected: [&[usize]; 7] = [
        &[d, width, i],
        &[d, width, h],
        &[d, width.saturating_mul(2)],
        &[b],
        &[d, b, h],
        &[d, b, h],
        &[d, h.saturating_mul(3)],
    ];
    for (at, shape) in (1..).zip(expected) {
        let found = cx.tensor(at)?;
        if found.shape() != shape || found.dtype() == DType::Str {
            refuse!("operand {at} must have shape {shape:?}, found {found:?}");
        }
    }
    Ok(())
}
