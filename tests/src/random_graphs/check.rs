//! One graph, interpreted and compiled.

use super::bound::Bound;
use nnc::Options;
use nnc_ir::{Graph, Interpreter, Tensor, Value};
use nnc_runtime::{Artifact, Isa, LoadOptions, Pool, Session, SessionOptions};
use std::path::Path;
use std::sync::Arc;

/// A graph with inputs, and how far its results may be off.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) graph: Graph,
    pub(super) inputs: Vec<Value>,
    pub(super) bounds: Vec<Bound>,
}

/// How a graph is compiled and loaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) optimize: bool,
    pub(super) isa: Option<Isa>,
}

/// Where a worker puts its artifacts, and its threads.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) pool: Arc<Pool>,
}

impl Case {
    /// Why the compiled graph is wrong, if it is. Panics are problems too.
    pub(super) fn problem(&self, how: How, place: &Place) -> Option<String> {
        let run = std::panic::AssertUnwindSafe(|| self.check(how, place).err());
        std::panic::catch_unwind(run).unwrap_or_else(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Some(format!("panic: {text}"))
        })
    }

    fn check(&self, how: How, place: &Place) -> Result<(), String> {
        nnc_ir::verify(&self.graph).map_err(|e| format!("verifier: {e:?}"))?;
        let expected =
            Interpreter::new(&self.graph).run(&self.inputs).map_err(|e| format!("interpreter: {e}"))?;
        let path = place.folder.join("model.nnc");
        let target = how.isa.map_or("native", nnc::target_for).to_owned();
        let options = Options { target, optimize: how.optimize, ..Options::default() };
        nnc::compile(&self.graph, &options, &path).map_err(|e| format!("compiler: {e}"))?;
        let load = LoadOptions { isa: how.isa, ..LoadOptions::default() };
        let artifact = Artifact::open_with(&path, &load).map_err(|e| format!("loader: {e}"))?;
        let session = SessionOptions { executor: Some(place.pool.clone()), ..SessionOptions::default() };
        let mut session = Session::with_options(Arc::new(artifact), &session);
        let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
        let named: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(self.inputs.iter().cloned()).collect();
        // The second run finds the memory that the first one left.
        for turn in ["first", "second"] {
            let found = session.run(&named).map_err(|e| format!("{turn} run: {e}"))?;
            if found.len() != expected.len() {
                return Err(format!("expected {} results, found {}", expected.len(), found.len()));
            }
            for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
                let difference = compare(e, f, self.bounds[i]);
                difference.map_err(|why| format!("{turn} run, result {i}: {why}"))?;
            }
        }
        Ok(())
    }
}

fn compare(expected: &Value, found: &Value, bound: Bound) -> Result<(), String> {
    let (Value::Tensor(e), Value::Tensor(f)) = (expected, found) else {
        return if expected == found {
            Ok(())
        } else {
            Err(format!("expected {expected:?}, found {found:?}"))
        };
    };
    if (e.dtype(), e.shape()) != (f.dtype(), f.shape()) {
        return Err(format!("expected {} {:?}, found {} {:?}", e.dtype(), e.shape(), f.dtype(), f.shape()));
    }
    let differs = if e.dtype().is_float() { floats(e, f, bound) } else { integers(e, f) };
    match differs {
        Some((i, e, f)) => {
            Err(format!("element {i}: expected {e}, found {f}, both within {:.3e}", bound.err))
        }
        None => Ok(()),
    }
}

fn floats(e: &Tensor, f: &Tensor, bound: Bound) -> Option<(usize, String, String)> {
    let (x, y) = (e.to_f64s(), f.to_f64s());
    let close = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 2.0 * bound.err;
    let at = x.iter().zip(&y).position(|(a, b)| !close(*a, *b))?;
    Some((at, x[at].to_string(), y[at].to_string()))
}

fn integers(e: &Tensor, f: &Tensor) -> Option<(usize, String, String)> {
    let (x, y) = (e.to_ints(), f.to_ints());
    let at = x.iter().zip(&y).position(|(a, b)| a != b)?;
    Some((at, x[at].to_string(), y[at].to_string()))
}
