//! Text tests of passes: `tests/filetests/<pass>/*.nnir`.
//!
//! ```text
//! ; test: pass fold-affine
//! ; expect: unchanged, blocked "the product has other readers"   (only where the pass must not fire)
//! ; sizes: n = 3, m = 4                                           (only where the usual ones do not fit)
//! graph @before(…) -> (…) { … }
//! ; ---- after
//! graph @before(…) -> (…) { … }
//! ```
//!
//! Of every file it is checked that the pass gives the expected graph (after `clean`, which drops what
//! nobody reads), that a second run changes nothing, that the verifier is content, and that both graphs
//! compute the same on random inputs. `NNC_BLESS=1` rewrites what stands after the mark.

use nnc_ir::{DType, Graph, Interpreter, Kind, Sym, Tensor, Type, Value, text, verify};
use nnc_passes::{PIPELINE, Pass, Report, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MARK: &str = "; ---- after\n";

#[test]
fn passes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let mut files = Vec::new();
    find(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the folder of filetests is there");
    let mut failures = Vec::new();
    for file in &files {
        if let Err(why) = run_file(file) {
            let name = file.strip_prefix(&root).unwrap_or(file);
            failures.push(format!("{}: {why}", name.display()));
        }
    }
    assert!(failures.is_empty(), "NNC_BLESS=1 rewrites expectations\n{}", failures.join("\n"));
}

/// Every pass has a file where it fires, one where it does not and one with symbolic sizes.
#[test]
fn every_pass_has_its_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    for folder in std::fs::read_dir(&root).expect("the folder is there") {
        let folder = folder.expect("it can be listed").path();
        let mut files = Vec::new();
        find(&folder, &mut files);
        let texts: Vec<String> = files.iter().map(|f| std::fs::read_to_string(f).expect("text")).collect();
        let has = |f: &dyn Fn(&&String) -> bool| texts.iter().any(|t| f(&t));
        assert!(has(&|t| t.contains(MARK)), "{}: the pass fires nowhere", folder.display());
        assert!(has(&|t| t.contains("expect: unchanged")), "{}: it fires everywhere", folder.display());
        let symbolic = |t: &&String| text::parse(before(t), &[]).is_ok_and(|g| !symbols(&g).is_empty());
        assert!(has(&symbolic), "{}: no sizes are symbols", folder.display());
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|e| e == "nnir") {
            files.push(path);
        }
    }
}

fn before(text: &str) -> &str {
    text.split(MARK).next().unwrap_or_default()
}

/// The rest of the line `; key: …` of the head.
fn head<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let lines = text.lines().take_while(|l| l.starts_with(';'));
    lines.filter_map(|l| l[1..].trim().strip_prefix(key)?.strip_prefix(':')).next().map(str::trim)
}

fn pass_of(text: &str) -> Result<&'static Pass, String> {
    let name =
        head(text, "test").and_then(|t| t.strip_prefix("pass ")).ok_or("no line \"; test: pass NAME\"")?;
    PIPELINE.iter().find(|p| p.name == name).ok_or(format!("no pass is called \"{name}\""))
}

fn apply(pass: &Pass, graph: &Graph, report: &mut Report) -> Result<Graph, String> {
    let new = (pass.run)(graph, &Target::default(), report).map_err(|e| format!("{}: {e}", pass.name))?;
    verify(&new).map_err(|e| format!("after {}: {}", pass.name, e[0]))?;
    Ok(new)
}

fn run_file(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let (pass, clean) = (pass_of(&text)?, PIPELINE.iter().find(|p| p.name == "clean").expect("a pass"));
    let graph = text::parse(before(&text), &[]).map_err(|e| e.to_string())?;
    verify(&graph).map_err(|e| e[0].to_string())?;
    let mut report = Report::default();
    let new = apply(pass, &graph, &mut report)?;
    let new = apply(clean, &new, &mut Report::default())?;
    same_results(&text, pass, &graph, &new)?;
    let mut again = Report::default();
    let twice = apply(clean, &apply(pass, &new, &mut again)?, &mut Report::default())?;
    if again.n_applied(pass.name) > 0 || text::print(&twice) != text::print(&new) {
        return Err(format!("a second run changes it to\n{}", text::print(&twice).0));
    }
    let expect = head(&text, "expect").unwrap_or_default();
    if let Some(why) = expect.split("blocked ").nth(1)
        && !report.events.iter().any(|e| e.blocked == Some(why.trim_matches('"')))
    {
        return Err(format!("nothing is blocked because {why}: {:?}", report.events));
    }
    if expect.starts_with("unchanged") {
        let applied = report.n_applied(pass.name);
        return if applied == 0 { Ok(()) } else { Err(format!("changed to\n{}", text::print(&new).0)) };
    }
    let after = text::print(&new).0;
    if text.split(MARK).nth(1) == Some(&after) {
        return Ok(());
    }
    if std::env::var_os("NNC_BLESS").is_some() {
        let blessed = format!("{}\n{MARK}{after}", before(&text).trim_end());
        return std::fs::write(file, blessed).map_err(|e| e.to_string());
    }
    Err(format!("found\n{after}"))
}

/// Both graphs on random inputs; a pass of exact rules also on infinities, NaN and zeros.
fn same_results(text: &str, pass: &Pass, a: &Graph, b: &Graph) -> Result<(), String> {
    let sizes = sizes(text, a)?;
    for special in [false, true] {
        if special && pass.name != "simplify" {
            continue;
        }
        let inputs = inputs(a, &sizes, special)?;
        let x = Interpreter::new(a).run(&inputs).map_err(|e| format!("before: {e}"))?;
        let y = Interpreter::new(b).run(&inputs).map_err(|e| format!("after: {e}"))?;
        for (x, y) in x.iter().zip(&y) {
            let (Some(x), Some(y)) = (x.tensor(), y.tensor()) else { continue };
            close(x, y).map_err(|e| format!("results differ: {e}"))?;
        }
    }
    Ok(())
}

fn symbols(graph: &Graph) -> Vec<Sym> {
    let mut found = std::collections::BTreeSet::new();
    for p in &graph.block(graph.body()).params {
        graph.ty(*p).visit_dims(&mut |d| {
            d.visit_syms(&mut |s| {
                found.insert(s.clone());
            })
        });
    }
    found.into_iter().collect()
}

/// Values of symbols: those of the head, else different primes.
fn sizes(text: &str, graph: &Graph) -> Result<BTreeMap<String, i64>, String> {
    let mut sizes: BTreeMap<String, i64> =
        symbols(graph).iter().map(|s| s.to_string()).zip([3, 2, 5, 7, 11, 13]).collect();
    for part in head(text, "sizes").into_iter().flat_map(|l| l.split(',')) {
        let (name, value) = part.split_once('=').ok_or("sizes are given as \"n = 3\"")?;
        sizes.insert(name.trim().into(), value.trim().parse().map_err(|_| format!("not a size: {value}"))?);
    }
    Ok(sizes)
}

fn inputs(graph: &Graph, sizes: &BTreeMap<String, i64>, special: bool) -> Result<Vec<Value>, String> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let one = |ty: &Type, random: &mut Random| {
        let t = ty.as_tensor().ok_or("inputs must be tensors")?;
        let env = |s: &Sym| sizes.get(&s.to_string()).copied();
        let shape = t.shape.iter().map(|d| d.eval(&env).map(|v| v as usize).map_err(|e| e.to_string()));
        let shape = shape.collect::<Result<Vec<usize>, _>>()?;
        let data: Vec<f64> = (0..shape.iter().product()).map(|_| random.element(t.dtype, special)).collect();
        Tensor::from_f64s(t.dtype, &shape, &data).map(Value::Tensor).map_err(|e| e.to_string())
    };
    let params = &graph.block(graph.body()).params;
    params.iter().map(|p| one(graph.ty(*p), &mut random)).collect()
}

/// Xorshift (Marsaglia 2003): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// Floats between -2 and 2; integers that can be indices.
    fn element(&mut self, dtype: DType, special: bool) -> f64 {
        let x = self.next() as f64 / (1u64 << 51) as f64 - 2.0;
        match dtype.kind() {
            Kind::Float if special => match self.next() % 8 {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => 0.0,
                _ => x,
            },
            Kind::Float => x,
            _ => (self.next() % 2) as f64,
        }
    }
}

/// Equal but for rounding: the tolerance is some roundings of the type, relative to the largest element.
fn close(x: &Tensor, y: &Tensor) -> Result<(), String> {
    if (x.dtype(), x.shape()) != (y.dtype(), y.shape()) {
        return Err(format!("{}{:?} and {}{:?}", x.dtype(), x.shape(), y.dtype(), y.shape()));
    }
    let unit = match x.dtype() {
        DType::F64 => 1e-15,
        DType::F32 => 6e-8,
        DType::F16 => 5e-4,
        DType::BF16 => 4e-3,
        d if d.is_float() => 0.1,
        _ => 0.0,
    };
    let (a, b) = (x.to_f64s(), y.to_f64s());
    let size = a.iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
    let equal =
        |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 32.0 * unit * size;
    match a.iter().zip(&b).position(|p| !equal(p)) {
        Some(i) => Err(format!("element {i} is {} and {}", a[i], b[i])),
        None => Ok(()),
    }
}
