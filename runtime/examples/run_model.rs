//! Runs a compiled model on `.npy` files: `run_model model.nnc x=image.npy … [output folder]`.
//!
//! Needs no compiler: only this crate is linked.
#![allow(clippy::print_stdout)] // a program's output

use nnc_runtime::tensor::file::{read_npy, write_npy};
use nnc_runtime::{Artifact, Session, Value};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let Some(model) = args.next() else {
        return Err("usage: run_model model.nnc name=file.npy ... [output folder]".into());
    };
    let mut session = Session::new(Arc::new(Artifact::open(model)?));
    for port in session.inputs() {
        println!("input  {}: {}{:?}", port.name, port.dtype, port.shape);
    }
    let (mut inputs, mut folder) = (Vec::new(), None);
    for arg in args {
        match arg.split_once('=') {
            Some((name, path)) => {
                let tensor = read_npy(&std::fs::read(path)?)?;
                inputs.push((name.to_owned(), Value::from(tensor)));
            }
            None => folder = Some(PathBuf::from(arg)),
        }
    }
    let named: Vec<(&str, Value)> = inputs.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    let start = std::time::Instant::now();
    let outputs = session.run(&named)?;
    println!("ran in {:.3} ms", start.elapsed().as_secs_f64() * 1e3);
    for (port, value) in session.outputs().iter().zip(&outputs) {
        println!("output {}: {value:?}", port.name);
        if let (Some(folder), Some(tensor)) = (&folder, value.tensor()) {
            std::fs::write(folder.join(format!("{}.npy", port.name)), write_npy(tensor)?)?;
        }
    }
    Ok(())
}
