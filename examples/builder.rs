//! Writes a graph in Rust, compiles it and runs the artifact: `cargo run --release --example builder`.
//!
//! The graph tells which corner of a triangle is nearest to each of `n` points; `points.nnir` is the
//! same in text form.
#![allow(clippy::print_stdout)] // a program's output

use nnc::Options;
use nnc::ir::{Attr, Builder, DType, Dim, Graph, OpError, ScalarOp, Type, attrs};
use nnc::runtime::{Artifact, Session, Tensor};
use std::error::Error;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("points-{}.nnc", std::process::id()));
    let compiled = nnc::compile(&graph()?, &Options::default(), &file)?;
    println!("{} kernels, {} bytes of code for {}", compiled.n_kernels, compiled.code, compiled.target);

    let mut session = Session::new(Arc::new(Artifact::open(&file)?));
    std::fs::remove_file(&file)?;
    let points = Tensor::from_slice(&[3, 2], &[0.5f32, 0.25, 3.0, 1.0, 1.0, 2.5])?;
    let outputs = session.run(&[("points", points.into())])?;
    let nearest = outputs[0].tensor().ok_or("the output is a tensor")?;
    for row in nearest.elems::<f32>()?.chunks(3) {
        println!("{row:.3?}");
    }
    Ok(())
}

/// The squared distance to a corner c is |x|² − (2x·c − |c|²): the largest 2x·c − |c|² wins.
fn graph() -> Result<Graph, OpError> {
    let mut graph = Graph::new("points");
    let body = graph.body();
    let ty = Type::tensor(DType::F32, vec![Dim::named("n"), Dim::int(2)]);
    let points = graph.add_param(body, ty, Some("points".into()));

    let mut b = Builder::new(&mut graph);
    let corners = b.constant(Tensor::from_slice(&[2, 3], &[0.0f32, 8.0, 0.0, 0.0, 0.0, 8.0])?);
    let squares = b.constant(Tensor::from_slice(&[3], &[0.0f32, 16.0, 16.0])?);
    let dots = b.contract("mk", "kn", "mn", points, corners)?;
    let scores = b.binary(ScalarOp::Sub, dots, squares)?;
    let nearest = b.one("softmax", attrs! { axis: Attr::Int(1), log: Attr::Int(0) }, &[scores])?;

    graph.block_mut(body).results = vec![nearest];
    graph.output_names = vec!["nearest".into()];
    Ok(graph)
}
