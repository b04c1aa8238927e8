//! Measures what a model costs at run time: `measure MODEL.nnc [DATA-SET] [--runs N] [--dims a=1,b=2]`.
//!
//! Prints one JSON object: load time, memory, allocations of warm runs, processor time of an idle pool,
//! whether one and two threads give the same bits. With `--shapes N` it runs N other shapes in turn and
//! compares them with fresh sessions. Inputs come from a folder with `input_K.pb`, or are made up.
#![allow(clippy::print_stdout)] // a program's output
#![allow(unsafe_code)] // the allocator's interface and the system's clock

use nnc_runtime::tensor::file::{ProtoKind, read_value_proto};
use nnc_runtime::{
    Artifact, DType, Dim, OutputMem, Pool, Port, Profile, RunError, RunOptions, Session, SessionOptions,
    Tensor, TensorView, Value,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes on to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Sizes = BTreeMap<String, usize>;
type Outcome<T> = Result<T, Box<dyn Error>>;

/// What to do.
#[derive(Default)]
struct Args {
    model: PathBuf,
    data: Option<PathBuf>,
    runs: usize,
    shapes: usize,
    dims: Sizes,
}

fn main() -> Outcome<()> {
    let args = parse()?;
    let mut facts: Vec<(&str, String)> = Vec::new();
    if args.shapes > 0 {
        shapes(&args, &mut facts)?;
    } else {
        fixed(&args, &mut facts)?;
    }
    let fields: Vec<String> = facts.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
    println!("{{{}}}", fields.join(", "));
    Ok(())
}

fn parse() -> Outcome<Args> {
    let usage = "usage: measure MODEL.nnc [DATA-SET] [--runs N] [--shapes N] [--dims a=1,b=2]";
    let mut args = Args { runs: 100, ..Args::default() };
    let mut words = std::env::args().skip(1);
    args.model = words.next().ok_or(usage)?.into();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--runs" => args.runs = words.next().ok_or(usage)?.parse()?,
            "--shapes" => args.shapes = words.next().ok_or(usage)?.parse()?,
            "--dims" => {
                for pair in words.next().ok_or(usage)?.split(',') {
                    let (name, size) = pair.split_once('=').ok_or(usage)?;
                    args.dims.insert(name.to_owned(), size.parse()?);
                }
            }
            _ => args.data = Some(word.into()),
        }
    }
    Ok(args)
}

/// A field of `/proc/self/status` in bytes.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
}

/// Makes the peak of resident memory that of now.
fn reset_peak() -> Outcome<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

/// Processor time of all threads.
fn cpu_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec.unsigned_abs(), u32::try_from(t.tv_nsec).unwrap_or(0))
}

fn threads(n: usize) -> SessionOptions {
    SessionOptions { threads: Some(n), executor: None }
}

/// The inputs in the model's order.
fn read_inputs(ports: &[Port], args: &Args) -> Outcome<Vec<Value>> {
    let value = |(at, port): (usize, &Port)| match &args.data {
        Some(folder) => read_input(folder, at),
        None => made_up(port, &args.dims).map(Value::from),
    };
    ports.iter().enumerate().map(value).collect()
}

fn read_input(folder: &Path, at: usize) -> Outcome<Value> {
    let bytes = std::fs::read(folder.join(format!("input_{at}.pb")))?;
    Ok(read_value_proto(&bytes, ProtoKind::Tensor)?)
}

/// Small numbers that are good as pictures, indices and masks.
fn made_up(port: &Port, sizes: &Sizes) -> Outcome<Tensor> {
    let shape: Vec<usize> = port.shape.iter().map(|d| size_of(d, sizes)).collect();
    let n: usize = shape.iter().product();
    let numbers: Vec<f64> = match port.dtype.is_float() {
        true => (0..n).map(|i| ((i * 7919) % 2001) as f64 / 1000.0 - 1.0).collect(),
        false => (0..n).map(|i| f64::from(u8::from(i % 3 != 0))).collect(),
    };
    Ok(Tensor::from_f64s(port.dtype, &shape, &numbers)?)
}

fn size_of(d: &Dim, sizes: &Sizes) -> usize {
    let value = d.eval(&|s| {
        let name = s.to_string();
        Some(sizes.get(name.trim_matches('"')).map_or(1, |v| *v as i64))
    });
    value.map_or(1, |v| usize::try_from(v).unwrap_or(0))
}

/// One model at one set of shapes.
fn fixed(args: &Args, facts: &mut Vec<(&str, String)>) -> Outcome<()> {
    // The fastest of some: what loading costs beside the disk.
    let load = |_| -> Outcome<(Duration, Artifact)> {
        let begin = Instant::now();
        let artifact = Artifact::open(&args.model)?;
        Ok((begin.elapsed(), artifact))
    };
    let loads: Vec<(Duration, Artifact)> = (0..5).map(load).collect::<Outcome<_>>()?;
    let (time, artifact) = loads.into_iter().min_by_key(|(time, _)| *time).ok_or("five are not none")?;
    facts.push(("load_ms", ms(time)));
    let mut session = Session::with_options(Arc::new(artifact), &threads(2));
    let inputs = read_inputs(&session.inputs(), args)?;
    let names: Vec<String> = session.inputs().into_iter().map(|p| p.name).collect();
    let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
    let first = session.run(&named)?;
    let again = session.run(&named)?;
    let mut single = Session::with_options(Arc::clone(session.artifact()), &threads(1));
    let alone = single.run(&named)?;
    facts.push(("same_bits_again", (bits(&first) == bits(&again)).to_string()));
    facts.push(("same_bits_on_one_thread", (bits(&first) == bits(&alone)).to_string()));
    let sizes: Option<Vec<usize>> = first.iter().map(|v| v.tensor().map(|t| t.bytes().len())).collect();
    drop((first, again, alone, single, named, session));
    let views: Option<Vec<TensorView<'_>>> =
        inputs.iter().map(|v| v.tensor().filter(|t| t.dtype() != DType::Str).map(Into::into)).collect();
    match (views, sizes) {
        (Some(views), Some(sizes)) => borrowed(args, &views, &sizes, facts),
        // Text and containers are outside of the promises on memory.
        _ => Ok(()),
    }
}

/// Memory, allocations and rest of runs on borrowed memory.
fn borrowed(
    args: &Args,
    views: &[TensorView<'_>],
    sizes: &[usize],
    facts: &mut Vec<(&str, String)>,
) -> Outcome<()> {
    let mut outputs: Vec<Vec<u8>> = sizes.iter().map(|n| vec![1; *n]).collect();
    reset_peak()?;
    let before = status("VmRSS");
    let artifact = Arc::new(Artifact::open(&args.model)?);
    let mut session = Session::with_options(Arc::clone(&artifact), &threads(2));
    if let Err(e) = run(&mut session, views, &mut outputs) {
        facts.push(("not_borrowed", format!("{:?}", e.to_string())));
        return Ok(());
    }
    run(&mut session, views, &mut outputs)?;
    let weights = artifact.weights_len() as u64;
    facts.push(("weights", weights.to_string()));
    facts.push(("session", session.memory_bytes().to_string()));
    facts.push(("peak", status("VmHWM").saturating_sub(before).to_string()));
    facts.push(("process", before.to_string()));
    let (count, begin) = (ALLOCATIONS.load(Ordering::Relaxed), Instant::now());
    for _ in 0..args.runs {
        run(&mut session, views, &mut outputs)?;
    }
    let (time, count) = (begin.elapsed(), ALLOCATIONS.load(Ordering::Relaxed) - count);
    facts.push(("runs", args.runs.to_string()));
    facts.push(("allocations", count.to_string()));
    facts.push(("run_ms", ms(time / u32::try_from(args.runs.max(1))?)));
    facts.push(("idle_cpu_us", idle(|| run(&mut session, views, &mut outputs))?.as_micros().to_string()));
    let before = status("VmRSS");
    let mut more: Vec<Session> =
        (0..7).map(|_| Session::with_options(Arc::clone(&artifact), &threads(1))).collect();
    more.iter_mut().try_for_each(|s| run(s, views, &mut outputs))?;
    facts.push(("seven_more_sessions", status("VmRSS").saturating_sub(before).to_string()));
    Ok(())
}

/// Processor time of the second after a run: the least of up to three, since what a host does to a virtual
/// machine counts as the machine's.
fn idle(mut run: impl FnMut() -> Result<(), RunError>) -> Result<Duration, RunError> {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        run()?;
        let begin = cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        least = least.min(cpu_time() - begin);
        if least < Duration::from_millis(1) {
            break;
        }
    }
    Ok(least)
}

fn run(session: &mut Session, inputs: &[TensorView<'_>], outputs: &mut [Vec<u8>]) -> Result<(), RunError> {
    // On the stack, so that the program itself allocates nothing either.
    const MOST: usize = 64;
    let mut memory: [Option<OutputMem<'_>>; MOST] = [const { None }; MOST];
    let n = outputs.len();
    for (slot, bytes) in memory.iter_mut().zip(outputs) {
        *slot = Some(OutputMem::new(bytes));
    }
    let mut memory = memory.map(|m| m.unwrap_or_else(|| OutputMem::new(&mut [])));
    let Some(memory) = memory.get_mut(..n) else {
        return Err(RunError::Count { what: "outputs", expected: MOST, found: n });
    };
    session.run_with(inputs, memory, RunOptions::default())
}

/// Many shapes in turn through one session, against a fresh session for each.
fn shapes(args: &Args, facts: &mut Vec<(&str, String)>) -> Outcome<()> {
    let artifact = Arc::new(Artifact::open(&args.model)?);
    let ports = Session::with_options(Arc::clone(&artifact), &threads(1)).inputs();
    let names: Vec<String> = ports.iter().map(|p| p.name.clone()).collect();
    let (mut wrong, mut largest) = (0, 0);
    let both = SessionOptions { threads: None, executor: Some(Arc::new(Pool::new(2))) };
    let mut session = Session::with_options(Arc::clone(&artifact), &both);
    let mut all: Vec<(Vec<Value>, Vec<u8>)> = Vec::new();
    for at in 0..args.shapes {
        // Up and down, every dimension in a rhythm of its own.
        let size = |(i, most): (usize, &usize)| 1 + (at * (2 * i + 7) + at / 3) % *most;
        let dims: Sizes = args.dims.keys().cloned().zip(args.dims.values().enumerate().map(size)).collect();
        let inputs: Outcome<Vec<Value>> = ports.iter().map(|p| Ok(made_up(p, &dims)?.into())).collect();
        let inputs = inputs?;
        let named: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
        let mut fresh = Session::with_options(Arc::clone(&artifact), &both);
        let expected = bits(&fresh.run(&named)?);
        largest = largest.max(fresh.memory_bytes());
        all.push((inputs, expected));
    }
    let (before, mut bindings) = (status("VmRSS"), Vec::new());
    for at in 0..args.runs.max(1) {
        let (inputs, expected) = &all[(at * 31) % all.len()];
        let named: Vec<(&str, Value)> =
            names.iter().map(String::as_str).zip(inputs.iter().cloned()).collect();
        let mut profile = Profile::default();
        let options = RunOptions { profile: Some(&mut profile), ..RunOptions::default() };
        wrong += usize::from(bits(&session.run_options(&named, options)?) != *expected);
        bindings.push(profile.binding_ns);
    }
    bindings.sort_unstable();
    facts.push(("median_binding_ns", bindings[bindings.len() / 2].to_string()));
    facts.push(("shapes", all.len().to_string()));
    facts.push(("runs", args.runs.to_string()));
    facts.push(("wrong", wrong.to_string()));
    facts.push(("largest_need", largest.to_string()));
    facts.push(("session", session.memory_bytes().to_string()));
    facts.push(("resident", status("VmRSS").saturating_sub(before).to_string()));
    session.release_memory();
    facts.push(("released", status("VmRSS").saturating_sub(before).to_string()));
    Ok(())
}

/// All bytes of all tensors.
fn bits(values: &[Value]) -> Vec<u8> {
    values.iter().filter_map(Value::tensor).flat_map(|t| t.bytes().to_vec()).collect()
}

fn ms(d: Duration) -> String {
    format!("{:.3}", d.as_secs_f64() * 1e3)
}
