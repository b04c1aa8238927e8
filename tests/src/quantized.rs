//! Products of quantized numbers, compiled for the CPU and for devices, and interpreted: those of bytes are
//! the same to the last bit.

use crate::compare::compiled_against_interpreter;
use crate::device::device_against_interpreter;
use nnc::Options;
use nnc_ir::{Attr, Builder, DType, Dim, Graph, OpError, ScalarOp, Tensor, Type, Value, ValueId, attrs};

type Built = Result<ValueId, OpError>;

/// A graph of some tensors of numbers that repeat after 251.
struct Model {
    graph: Graph,
    inputs: Vec<Value>,
}

impl Model {
    fn new() -> Model {
        Model { graph: Graph::new("quantized"), inputs: Vec::new() }
    }

    fn input(&mut self, dtype: DType, dims: &[Dim], shape: &[usize]) -> ValueId {
        let body = self.graph.body();
        let v = self.graph.add_param(body, Type::tensor(dtype, dims.to_vec()), None);
        self.inputs.push(Value::Tensor(bytes(dtype, shape)));
        v
    }

    fn check(mut self, f: impl FnOnce(&mut Builder) -> Built) {
        let mut b = Builder::new(&mut self.graph);
        let y = f(&mut b).expect("the graph is well formed");
        let body = self.graph.body();
        self.graph.block_mut(body).results = vec![y];
        self.graph.output_names = vec!["y".into()];
        for optimize in [true, false] {
            let options = Options { optimize, ..Options::default() };
            assert_eq!(compiled_against_interpreter(&self.graph, &self.inputs, &options), 0.0);
        }
        assert_eq!(device_against_interpreter(&self.graph, &self.inputs), 0.0, "on a device");
    }
}

fn bytes(dtype: DType, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let low = if dtype == DType::I8 { 128.0 } else { 0.0 };
    let x: Vec<f64> = (0..n).map(|i| (i * 89 % 251) as f64 - low).collect();
    Tensor::from_f64s(dtype, shape, &x).expect("sizes agree")
}

fn numbers(n: usize, unit: f32) -> Tensor {
    let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 23) as f32 - 9.0) * unit).collect();
    Tensor::from_slice(&[n], &x).expect("sizes agree")
}

fn fixed(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|d| Dim::len(*d)).collect()
}

fn centered(b: &mut Builder, x: ValueId, zero: f64) -> Built {
    let x = b.cast(x, DType::I32)?;
    if zero == 0.0 { Ok(x) } else { b.binary_const(ScalarOp::Sub, x, zero) }
}

/// Scaled by column, rounded, moved, bounded, in bytes.
fn requantized(b: &mut Builder, sums: ValueId, scale: ValueId, to: DType, zero: f64, least: f64) -> Built {
    let y = b.cast(sums, DType::F32)?;
    let y = b.binary(ScalarOp::Mul, y, scale)?;
    let y = b.unary(ScalarOp::Round, y)?;
    let y = b.binary_const(ScalarOp::Add, y, zero)?;
    let (low, high) = to.int_range().expect("an integer type");
    let y = b.binary_const(ScalarOp::Max, y, least.max(low as f64))?;
    let y = b.binary_const(ScalarOp::Min, y, high as f64)?;
    b.cast(y, to)
}

/// Sizes of a convolution and where its bytes lie.
struct Conv {
    channels: [usize; 2],
    kernel: usize,
    stride: i64,
    pad: i64,
    groups: usize,
    x: (DType, f64),
    w: (DType, f64),
    last: bool,
}

fn convolution(b: &mut Builder, c: &Conv, x: ValueId) -> Built {
    let [i, o] = c.channels;
    let w = b.constant(bytes(c.w.0, &[o, i / c.groups, c.kernel, c.kernel]));
    let (x, w) = (centered(b, x, c.x.1)?, centered(b, w, c.w.1)?);
    let bias: Vec<i32> = (0..o as i32).map(|i| i * 977 - 3000).collect();
    let bias = b.constant(Tensor::from_slice(&[o], &bias)?);
    let pads = Attr::Dims(vec![Dim::int(c.pad); 2]);
    let attrs = attrs! {
        strides: Attr::Ints(vec![c.stride; 2]), dilations: Attr::Ints(vec![1; 2]), pads_low: pads.clone(), pads_high: pads,
        groups: Attr::Int(c.groups as i64), channels_last: Attr::Int(i64::from(c.last))
    };
    let sums = b.one("conv", attrs, &[x, w, bias])?;
    let scale = b.constant(numbers(o, 2e-4));
    let along = if c.last { vec![o] } else { vec![o, 1, 1] };
    let scale = b.reshape(scale, &fixed(&along))?;
    requantized(b, sums, scale, c.x.0, 3.0, 3.0)
}

#[test]
fn convolutions() {
    let (u, i) = (DType::U8, DType::I8);
    let conv = |channels, kernel, stride, pad, groups, x, w, last| Conv {
        channels,
        kernel,
        stride,
        pad,
        groups,
        x,
        w,
        last,
    };
    for c in [
        conv([3, 8], 3, 1, 1, 1, (u, 7.0), (i, 0.0), false),
        conv([8, 20], 1, 1, 0, 1, (u, 0.0), (i, 5.0), true),
        conv([8, 20], 1, 2, 0, 1, (i, -3.0), (u, 128.0), true),
        conv([6, 6], 3, 2, 1, 6, (u, 128.0), (i, 0.0), false),
        conv([8, 12], 3, 1, 1, 2, (i, 0.0), (i, 0.0), true),
        conv([5, 17], 7, 2, 0, 1, (u, 255.0), (u, 0.0), false),
        // Runs of 4 and 16 bytes that begin at any multiple of 2 and 4.
        conv([2, 6], 2, 1, 0, 1, (u, 3.0), (i, 0.0), true),
        conv([4, 8], 4, 1, 0, 1, (i, 1.0), (u, 7.0), true),
    ] {
        let mut m = Model::new();
        let shape = if c.last { [2, 13, 11, c.channels[0]] } else { [2, c.channels[0], 13, 11] };
        let x = m.input(c.x.0, &fixed(&shape), &shape);
        m.check(|b| {
            let y = convolution(b, &c, x)?;
            // A second product reads the bytes of the first, and so does somebody else.
            let after = Conv { channels: [c.channels[1], 9], kernel: 1, stride: 1, pad: 0, groups: 1, ..c };
            let z = convolution(b, &after, y)?;
            let channels = if c.last { 3 } else { 1 };
            b.concat(&[z, y], channels)
        });
    }
}

#[test]
fn residual_sums() {
    let mut m = Model::new();
    let shape = [1, 9, 9, 16];
    let x = m.input(DType::U8, &fixed(&shape), &shape);
    m.check(|b| {
        let c = Conv {
            channels: [16, 16],
            kernel: 3,
            stride: 1,
            pad: 1,
            groups: 1,
            x: (DType::U8, 9.0),
            w: (DType::I8, 0.0),
            last: true,
        };
        let left = convolution(b, &c, x)?;
        let right = convolution(b, &Conv { kernel: 1, pad: 0, ..c }, x)?;
        let (left, right) = (b.cast(left, DType::F32)?, b.cast(right, DType::F32)?);
        let right = b.binary_const(ScalarOp::Mul, right, 0.5)?;
        let sum = b.binary(ScalarOp::Add, left, right)?;
        let sum = b.unary(ScalarOp::Round, sum)?;
        b.cast(sum, DType::U8)
    });
}

#[test]
fn products_by_column_zero_points() {
    for (a, w, rows, k, n) in [
        (DType::U8, DType::U8, 1, 3, 5),
        (DType::I8, DType::I8, 7, 130, 40),
        (DType::U8, DType::I8, 33, 64, 70),
    ] {
        let mut m = Model::new();
        let x = m.input(a, &[Dim::named("rows"), Dim::len(k)], &[rows, k]);
        // The zero point of the left operand is known at run time only.
        let zero = m.input(a, &[], &[]);
        m.check(|b| {
            let (wide, zero) = (b.cast(x, DType::I32)?, b.cast(zero, DType::I32)?);
            let zero = b.binary_const(ScalarOp::Add, zero, 11.0)?;
            let left = b.binary(ScalarOp::Sub, wide, zero)?;
            let weights = b.constant(bytes(w, &[k, n]));
            let weights = b.cast(weights, DType::I32)?;
            let zeros: Vec<i32> = (0..n as i32).map(|j| j % 7).collect();
            let zeros = b.constant(Tensor::from_slice(&[n], &zeros)?);
            let right = b.binary(ScalarOp::Sub, weights, zeros)?;
            let sums = b.contract("mk", "kn", "mn", left, right)?;
            let scale = b.constant(numbers(n, 1e-3));
            requantized(b, sums, scale, DType::I8, -5.0, -128.0)
        });
    }
}

#[test]
fn sums_and_scaled_sums() {
    for scaled in [false, true] {
        let mut m = Model::new();
        let x = m.input(DType::U8, &fixed(&[2, 5, 24]), &[2, 5, 24]);
        let by = m.input(DType::F32, &[], &[]);
        m.check(|b| {
            let left = centered(b, x, 100.0)?;
            let weights = b.constant(bytes(DType::I8, &[36, 24]));
            let right = centered(b, weights, 0.0)?;
            let sums = b.contract("bmk", "nk", "bmn", left, right)?;
            if !scaled {
                return Ok(sums);
            }
            let by = b.binary_const(ScalarOp::Add, by, 0.015625)?;
            let y = b.cast(sums, DType::F32)?;
            let y = b.binary(ScalarOp::Mul, y, by)?;
            let bias = b.constant(numbers(36, 0.5));
            let y = b.binary(ScalarOp::Add, y, bias)?;
            let y = b.binary_const(ScalarOp::Max, y, 0.0)?;
            b.unary(ScalarOp::Neg, y)
        });
    }
}

/// Each column of `[n, blocks]` repeated along its block.
fn by_block(b: &mut Builder, v: ValueId, n: usize, blocks: usize, block: usize) -> Built {
    let v = b.reshape(v, &fixed(&[n, blocks, 1]))?;
    let v = b.broadcast(v, &fixed(&[n, blocks, block]))?;
    b.reshape(v, &fixed(&[n, blocks * block]))
}

#[test]
fn weights_of_four_bits() {
    for (dtype, rows, k, n, block, zeros) in [
        (DType::U4, 1, 512, 300, 32, false),
        (DType::U4, 19, 96, 40, 16, true),
        (DType::I4, 3, 1100, 17, 100, false),
        (DType::U4, 2, 60, 21, 16, true),
    ] {
        let mut m = Model::new();
        let x = m.input(DType::U8, &[Dim::named("rows"), Dim::len(k)], &[rows, k]);
        let mut b = Builder::new(&mut m.graph);
        let (blocks, sign) = (k.div_ceil(block), if dtype == DType::I4 { 8.0 } else { 0.0 });
        let depth = blocks * block;
        let numbers_of = |len: usize, by: usize| (0..len).map(|i| (i * by % 16) as f64).collect::<Vec<_>>();
        let w: Vec<f64> = numbers_of(n * depth, 7).into_iter().map(|v| v - sign).collect();
        let y = (|| {
            let x = b.cast(x, DType::F32)?;
            let w = b.constant(Tensor::from_f64s(dtype, &[n, depth], &w)?);
            let w = b.cast(w, DType::F32)?;
            let zero = if zeros {
                let z = Tensor::from_f64s(DType::U4, &[n, blocks], &numbers_of(n * blocks, 5))?;
                let z = b.constant(z);
                let z = b.cast(z, DType::F32)?;
                by_block(&mut b, z, n, blocks, block)?
            } else {
                b.splat(DType::F32, 8.0 - sign, &fixed(&[n, depth]))?
            };
            let w = b.binary(ScalarOp::Sub, w, zero)?;
            let scale = b.constant(numbers(n * blocks, 0.01));
            let scale = by_block(&mut b, scale, n, blocks, block)?;
            let w = b.binary(ScalarOp::Mul, w, scale)?;
            let w = b.slice_axis(w, 1, Dim::ZERO, Dim::len(k))?;
            let w = b.transpose(w, &[1, 0])?;
            b.contract("mk", "kn", "mn", x, w)
        })()
        .expect("the graph is well formed");
        let y = b.unary(ScalarOp::Neg, y).expect("one operand");
        let body = m.graph.body();
        m.graph.block_mut(body).results = vec![y];
        m.graph.output_names = vec!["y".into()];
        let error = compiled_against_interpreter(&m.graph, &m.inputs, &Options::default());
        assert!(error < 1e-6, "relative error {error} at block {block}");
        let error = device_against_interpreter(&m.graph, &m.inputs);
        assert!(error < 1e-6, "relative error {error} at block {block} on a device");
    }
}
