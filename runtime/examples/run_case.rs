//! Runs a compiled model on the standard's test data and compares what comes out:
//! `run_case [--isa NAME] [--l2 BOUND] model.nnc folder …`.
//!
//! A folder holds `test_data_set_N` with `input_K.pb` and `output_K.pb`. `--isa` takes the CPU for one that
//! has this instruction set at most, `--l2` bounds the relative L2 error in place of the default. Needs no compiler, so a test
//! builds it for another machine and runs it there; ends with exit code 1 where a result is wrong.
#![allow(clippy::print_stdout)] // a program's output

use nnc_runtime::tensor::compare::{Difference, Tolerance, compare};
use nnc_runtime::tensor::file::{ProtoKind, read_value_proto};
use nnc_runtime::tensor::plan::Plan;
use nnc_runtime::{Artifact, ArtifactError, DType, Isa, LoadOptions, Port, Session, Value};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            println!("error  {e}");
            ExitCode::from(2)
        }
    }
}

/// Whether every result is the expected one.
fn run() -> Result<bool, Failure> {
    let mut args = std::env::args().skip(1).peekable();
    let mut option = |name: &str| args.next_if(|a| a == name).and_then(|_| args.next());
    let isa = match option("--isa") {
        Some(name) => Some(Isa::from_name(&name).ok_or(format!("no instruction set is named \"{name}\""))?),
        None => None,
    };
    let bound = option("--l2").map(|text| text.parse::<f64>()).transpose()?;
    let model = args.next().ok_or("usage: run_case [--isa NAME] [--l2 BOUND] model.nnc folder ...")?;
    let options = LoadOptions { isa, check_weights: true, ..LoadOptions::default() };
    let artifact = Artifact::open_with(&model, &options).map_err(advise)?;
    let isa = artifact.kernels().iter().map(|k| k.isa).max().unwrap_or(Isa::Portable);
    let mut tolerance = Tolerance::default_for(is_coarse(artifact.plan()));
    if let (Tolerance::Whole { l2, .. }, Some(bound)) = (&mut tolerance, bound) {
        *l2 = bound;
    }
    let mut session = Session::new(Arc::new(artifact));
    let (mut right, mut sets) = (true, 0);
    for folder in args.map(PathBuf::from) {
        for set in data_sets(&folder)? {
            let difference = run_set(&mut session, &set, tolerance)?;
            let (status, shown) = (if difference.problem.is_none() { "pass" } else { "FAIL" }, set.display());
            let (abs, l2) = (difference.max_abs, difference.rel_l2);
            let (isa, problem) = (isa.name(), difference.problem.unwrap_or_default());
            println!("{status}  {shown}  max abs {abs:.1e}, relative L2 {l2:.1e}, {isa}  {problem}");
            right &= status == "pass";
            sets += 1;
        }
    }
    if sets == 0 {
        return Err("no test_data_set_N is in the folders given".into());
    }
    Ok(right)
}

/// An artifact's fault with what to do about it.
fn advise(e: ArtifactError) -> Failure {
    match e.help() {
        Some(help) => format!("{e}: {help}").into(),
        None => e.into(),
    }
}

/// The folders of test data in the order of their names.
fn data_sets(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("\"{}\": {e}", folder.display()))?;
    let is_set = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str());
        name.is_some_and(|n| n.starts_with("test_data_set_"))
    };
    let mut sets: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_set).collect();
    sets.sort();
    Ok(sets)
}

fn run_set(session: &mut Session, folder: &Path, tolerance: Tolerance) -> Result<Difference, Failure> {
    let inputs = read_values(folder, "input", &session.inputs())?;
    let expected = read_values(folder, "output", &session.outputs())?;
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs).collect();
    let found = session.run(&named)?;
    let mut all = Difference::default();
    for (port, (f, e)) in session.outputs().iter().zip(found.iter().zip(&expected)) {
        all.merge(compare(f, e, tolerance), || format!("output \"{}\"", port.name));
    }
    Ok(all)
}

fn read_values(folder: &Path, what: &str, ports: &[Port]) -> Result<Vec<Value>, Failure> {
    let read = |(k, port): (usize, &Port)| {
        let path = folder.join(format!("{what}_{k}.pb"));
        let wrong = |e: &dyn Error| format!("\"{}\": {e}", path.display());
        let bytes = std::fs::read(&path).map_err(|e| wrong(&e))?;
        Ok(read_value_proto(&bytes, ProtoKind::of_container(port.container.as_deref()))
            .map_err(|e| wrong(&e))?)
    };
    ports.iter().enumerate().map(read).collect()
}

/// The model computes with types of few bits.
fn is_coarse(plan: &Plan) -> bool {
    let few_bits = |d: DType| (d.is_float() && d.bits() <= 16) || (d.is_int() && d.bits() <= 8);
    plan.buffers.iter().any(|b| few_bits(b.dtype))
}
