//! Sessions: one caller's memory for running one artifact.

use super::RunError;
use super::bind::{Binding, bind};
use super::device::Resident;
use super::limits::{Limits, RunOptions};
use super::memory::Memory;
use super::program::{Home, PortInfo};
use super::run::Run;
use super::view::{OutputMem, TensorView};
use crate::artifact::Artifact;
use crate::device::{DeviceTensor, Located};
use crate::pool::{Executor, Pool, shared_pool};
use nnc_tensor::plan::BufferId;
use nnc_tensor::{DType, Dim, Recycled, Value};
use std::sync::Arc;
use std::time::Instant;

/// Bindings that a session keeps: shapes that alternate are bound once.
const BINDINGS: usize = 8;

/// How a session works.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// Size of a pool of the session's own; ignored where an executor is given. By default sessions
    /// share one pool with [`default_threads`](crate::default_threads) threads.
    pub threads: Option<usize>,
    /// Who runs kernels: a shared [`Pool`], or the application's own threads.
    pub executor: Option<Arc<dyn Executor>>,
}

/// An input or output of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Sizes, outermost first.
    pub shape: Vec<Dim>,
    /// What it is where it is no tensor: `seq(f32[n])`.
    pub container: Option<String>,
}

/// Runs an artifact. Each thread has a session of its own; all of them share the artifact.
pub struct Session {
    artifact: Arc<Artifact>,
    executor: Arc<dyn Executor>,
    memory: Memory,
    /// The latest first.
    bindings: Vec<Binding>,
    /// What the last outputs lie in, one of each.
    outputs: Vec<Recycled>,
}

impl Session {
    /// A session on the threads that all sessions share.
    pub fn new(artifact: Arc<Artifact>) -> Session {
        Session::with_options(artifact, &SessionOptions::default())
    }

    /// A session.
    pub fn with_options(artifact: Arc<Artifact>, options: &SessionOptions) -> Session {
        let executor: Arc<dyn Executor> = match (&options.executor, options.threads) {
            (Some(executor), _) => Arc::clone(executor),
            (None, Some(threads)) => Arc::new(Pool::new(threads)),
            (None, None) => shared_pool(),
        };
        let memory = Memory::new(artifact.program());
        Session { artifact, executor, memory, bindings: Vec::with_capacity(BINDINGS), outputs: Vec::new() }
    }

    /// The artifact.
    pub fn artifact(&self) -> &Arc<Artifact> {
        &self.artifact
    }

    /// Bytes of the memory that this session holds beside the artifact's, that of the last outputs included.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.held() + self.outputs.iter().map(|o| o.capacity() as u64).sum::<u64>()
    }

    /// Gives all of this session's memory back to the system; the next run takes what it needs.
    pub fn release_memory(&mut self) {
        self.memory = Memory::new(self.artifact.program());
        self.bindings.clear();
        self.outputs.clear();
    }

    /// The inputs in the model's order.
    pub fn inputs(&self) -> Vec<Port> {
        self.ports(&self.artifact.program().inputs)
    }

    /// The outputs in the model's order.
    pub fn outputs(&self) -> Vec<Port> {
        self.ports(&self.artifact.program().outputs)
    }

    fn ports(&self, ports: &[PortInfo]) -> Vec<Port> {
        let program = self.artifact.program();
        let port = |p: &PortInfo| {
            let b = program.buffer(p.buffer);
            Port {
                name: p.name.clone(),
                dtype: b.dtype,
                shape: b.shape.iter().map(|d| program.dims[d.index()].clone()).collect(),
                container: p.container.clone(),
            }
        };
        ports.iter().map(port).collect()
    }

    /// Runs the model on inputs by name; answers the outputs in the model's order. They may be kept; once
    /// they are dropped, the next outputs take their memory.
    pub fn run(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<Value>, RunError> {
        self.run_options(inputs, RunOptions::default())
    }

    /// [`Session::run`] with limits or a profile.
    pub fn run_options(
        &mut self,
        inputs: &[(&str, Value)],
        options: RunOptions<'_>,
    ) -> Result<Vec<Value>, RunError> {
        let artifact = Arc::clone(&self.artifact);
        let values = by_order(&artifact.program().inputs, inputs)?;
        let views: Vec<TensorView<'_>> = values.iter().map(|v| view_of(v)).collect();
        self.run_values(&values, &views, Resident::default(), options, |run, _, id, memory| {
            run.value_in(id, memory)
        })
    }

    /// [`Session::run_options`] with inputs that may lie on the artifact's device, and outputs by name that
    /// are to stay there: what goes from run to run, as a cache of keys and values does, then never
    /// comes to the host. Without a device, or where a value is no tensor of numbers, all is on the host.
    pub fn run_located(
        &mut self,
        inputs: &[(&str, Located)],
        keep: &[&str],
        options: RunOptions<'_>,
    ) -> Result<Vec<Located>, RunError> {
        let artifact = Arc::clone(&self.artifact);
        let program = artifact.program();
        if let Some(name) = keep.iter().find(|n| program.outputs.iter().all(|p| p.name != **n)) {
            return Err(RunError::UnknownOutput {
                name: (**name).to_owned(),
                known: names(&program.outputs),
            });
        }
        let given = by_order(&program.inputs, inputs)?;
        let resident: Vec<Option<DeviceTensor>> = given.iter().map(|v| artifact.resident(v)).collect();
        // What lies on another device comes to the host.
        let hosted = given.iter().zip(&resident).map(|(v, on_device)| match on_device {
            Some(_) => Ok(Value::Optional(None)),
            None => v.to_host(),
        });
        let hosted: Vec<Value> = hosted.collect::<Result<_, _>>()?;
        let values: Vec<&Value> = hosted.iter().collect();
        let view = |(value, on_device)| match on_device {
            Some(tensor) => DeviceTensor::view(tensor),
            None => view_of(value),
        };
        let views: Vec<TensorView<'_>> =
            values.iter().copied().zip(resident.iter().map(Option::as_ref)).map(view).collect();
        let keep: Vec<bool> = program.outputs.iter().map(|p| keep.contains(&p.name.as_str())).collect();
        let resident = Resident::new(&resident, &keep);
        self.run_values(&values, &views, resident, options, |run, at, id, memory| match run.take_kept(at) {
            Some(kept) => Ok(kept),
            None => Ok(run.value_in(id, memory)?.into()),
        })
    }

    /// Runs the model and takes its outputs.
    fn run_values<T>(
        &mut self,
        values: &[&Value],
        views: &[TensorView<'_>],
        resident: Resident<'_>,
        options: RunOptions<'_>,
        take: impl Fn(&mut Run<'_>, usize, BufferId, &mut Recycled) -> Result<T, RunError>,
    ) -> Result<Vec<T>, RunError> {
        let artifact = Arc::clone(&self.artifact);
        let program = artifact.program();
        for (at, (port, value)) in program.inputs.iter().zip(values).enumerate() {
            let is_tensor = value.tensor().is_some() || resident.input(at).is_some();
            match &port.container {
                None if !is_tensor => {
                    let expected = program.buffer(port.buffer).dtype.to_string();
                    return Err(kind_error("input", &port.name, expected, "no tensor".to_owned()));
                }
                Some(container) if is_tensor => {
                    return Err(kind_error("input", &port.name, container.clone(), "a tensor".to_owned()));
                }
                _ => {}
            }
        }
        let mut recycled = std::mem::take(&mut self.outputs);
        recycled.resize_with(program.outputs.len(), Recycled::default);
        let mut run = self.execute(views, resident, options, |memory| {
            for (port, value) in program.inputs.iter().zip(values) {
                if let Home::Slot(i) = program.buffer(port.buffer).home {
                    memory.slots[i] = Some((*value).clone());
                }
            }
        })?;
        let ports = program.outputs.iter().zip(&mut recycled).enumerate();
        let outputs = ports.map(|(at, (p, memory))| take(&mut run, at, p.buffer, memory)).collect();
        self.outputs = recycled;
        outputs
    }

    /// Runs the model on borrowed tensors in the model's order and writes the outputs to the
    /// caller's memory. Allocates nothing once these shapes have been run (routines, control flow
    /// over sequences, and growth excepted). For tensors of numbers only.
    pub fn run_with(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [OutputMem<'_>],
        options: RunOptions<'_>,
    ) -> Result<(), RunError> {
        let artifact = Arc::clone(&self.artifact);
        let program = artifact.program();
        for (what, ports) in [("input", &program.inputs), ("output", &program.outputs)] {
            let is_slot = |p: &&PortInfo| matches!(program.buffer(p.buffer).home, Home::Slot(_));
            if let Some(port) = ports.iter().find(is_slot) {
                let found = "text or a container, which borrowed memory cannot hold".to_owned();
                return Err(kind_error(what, &port.name, "numbers".to_owned(), found));
            }
        }
        count("outputs", program.outputs.len(), outputs.len())?;
        let mut run = self.execute(inputs, Resident::default(), options, |_| {})?;
        for (port, output) in program.outputs.iter().zip(outputs) {
            run.fetch(port.buffer)?;
            let bytes = run.bytes(port.buffer)?;
            let (expected, found) = (bytes.len(), output.bytes().len());
            let Some(target) = output.bytes().get_mut(..expected) else {
                return Err(RunError::Length { what: "output", name: port.name.clone(), expected, found });
            };
            target.copy_from_slice(bytes);
            let rank = program.buffer(port.buffer).shape.len();
            if !output.set_shape((0..rank).map(|a| run.size_of(port.buffer, a).unwrap_or(0))) {
                let found = format!("{rank} dimensions");
                return Err(kind_error("output", &port.name, "at most 16 dimensions".to_owned(), found));
            }
        }
        Ok(())
    }

    /// Binds the shapes, prepares the memory and executes the steps.
    fn execute<'a>(
        &'a mut self,
        inputs: &'a [TensorView<'a>],
        resident: Resident<'a>,
        mut options: RunOptions<'a>,
        fill: impl FnOnce(&mut Memory),
    ) -> Result<Run<'a>, RunError> {
        let program = self.artifact.program();
        check_inputs(&self.artifact, inputs, &resident)?;
        let limits = Limits {
            deadline: options.deadline,
            cancel: options.cancel,
            max_memory: options.max_memory.unwrap_or(u64::MAX),
        };
        limits.poll()?;
        let begin = options.profile.is_some().then(Instant::now);
        find_binding(&self.artifact, &mut self.bindings, inputs, self.memory.arena_len(&self.artifact))?;
        if let (Some(profile), Some(begin)) = (&mut options.profile, begin) {
            profile.record_binding(begin);
        }
        let binding = &self.bindings[0];
        self.memory.begin(program, binding, &limits)?;
        self.memory.stage(inputs)?;
        fill(&mut self.memory);
        let mut run = Run {
            artifact: &self.artifact,
            program,
            binding,
            memory: &mut self.memory,
            inputs,
            resident,
            limits,
            executor: &*self.executor,
            profile: options.profile,
            step: 0,
        };
        let present = Presence::new(&*self.executor);
        run.run()?;
        drop(present);
        Ok(run)
    }
}

/// Tells an executor of a run under way.
struct Presence<'a>(&'a dyn Executor);

impl<'a> Presence<'a> {
    fn new(executor: &'a dyn Executor) -> Presence<'a> {
        executor.enter();
        Presence(executor)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Moves the binding for these inputs to the front, made where there is none.
fn find_binding(
    artifact: &Artifact,
    bindings: &mut Vec<Binding>,
    inputs: &[TensorView<'_>],
    arena_len: usize,
) -> Result<(), RunError> {
    let found = bindings.iter().position(|b| b.is_for(inputs.iter().map(|v| v.shape)));
    match found {
        Some(at) => bindings[..=at].rotate_right(1),
        None => {
            let shapes: Vec<&[usize]> = inputs.iter().map(|v| v.shape).collect();
            // A layout that never got its memory was made for larger shapes than these.
            let last = bindings.first().map(|b| Arc::clone(&b.layout)).filter(|l| l.total <= arena_len);
            let old = if bindings.len() == BINDINGS { bindings.pop() } else { None };
            let new = bind(artifact.program(), &shapes, artifact.weights().len(), last, old)?;
            bindings.insert(0, new);
        }
    }
    Ok(())
}

fn check_inputs(
    artifact: &Artifact,
    inputs: &[TensorView<'_>],
    resident: &Resident<'_>,
) -> Result<(), RunError> {
    let program = artifact.program();
    count("inputs", program.inputs.len(), inputs.len())?;
    for (at, (port, view)) in program.inputs.iter().zip(inputs).enumerate() {
        let (name, b) = (&port.name, program.buffer(port.buffer));
        if port.container.is_some() {
            continue;
        }
        if view.dtype != b.dtype {
            return Err(kind_error("input", name, b.dtype.to_string(), view.dtype.to_string()));
        }
        let elems = view.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let expected = match b.dtype {
            DType::Str => Some(0),
            dtype => elems.and_then(|n| dtype.bytes_for(n)),
        };
        let expected = expected.ok_or(RunError::TooLarge { dtype: b.dtype })?;
        if expected != view.data.len() && resident.input(at).is_none() {
            let found = view.data.len();
            return Err(RunError::Length { what: "input", name: name.clone(), expected, found });
        }
    }
    Ok(())
}

/// The values in the order of the ports.
fn by_order<'a, T>(ports: &[PortInfo], given: &'a [(&str, T)]) -> Result<Vec<&'a T>, RunError> {
    if let Some((name, _)) = given.iter().find(|(n, _)| ports.iter().all(|p| p.name != *n)) {
        return Err(RunError::UnknownInput { name: (*name).to_owned(), known: names(ports) });
    }
    let value = |p: &PortInfo| given.iter().find(|(n, _)| *n == p.name).map(|(_, v)| v);
    ports.iter().map(|p| value(p).ok_or_else(|| RunError::MissingInput(p.name.clone()))).collect()
}

/// `"x", "y"`.
fn names(ports: &[PortInfo]) -> String {
    let names: Vec<String> = ports.iter().map(|p| format!("\"{}\"", p.name)).collect();
    names.join(", ")
}

fn view_of(value: &Value) -> TensorView<'_> {
    match value {
        Value::Tensor(t) => t.into(),
        _ => TensorView { dtype: DType::U8, shape: &[], data: &[] },
    }
}

fn count(what: &'static str, expected: usize, found: usize) -> Result<(), RunError> {
    if expected == found { Ok(()) } else { Err(RunError::Count { what, expected, found }) }
}

fn kind_error(what: &'static str, name: &str, expected: String, found: String) -> RunError {
    RunError::Kind { what, name: name.to_owned(), expected, found }
}
