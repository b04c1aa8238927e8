//! Makes plans and artifacts.

use nnc_runtime::tensor::plan::*;
use nnc_runtime::tensor::{Dim, Sym};
use nnc_runtime::{
    Artifact, ArtifactInfo, ArtifactWriter, DType, DeviceCode, LoadOptions, Session, TargetCode, Tensor,
    Value,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A plan under construction, with its code and constants.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) plan: Plan,
    pub(crate) code: Vec<u8>,
    pub(crate) constants: Vec<Vec<u8>>,
    pub(crate) device: Option<DeviceCode>,
}

impl Build {
    pub(crate) fn dim(&mut self, dim: impl Into<Dim>) -> DimId {
        let dim = dim.into();
        let at = self.plan.dims.iter().position(|d| *d == dim).unwrap_or_else(|| {
            self.plan.dims.push(dim);
            self.plan.dims.len() - 1
        });
        DimId(at as u32)
    }

    pub(crate) fn buffer(&mut self, dtype: DType, shape: &[Dim], place: Place) -> BufferId {
        let shape = shape.iter().map(|d| self.dim(d.clone())).collect();
        self.plan.buffers.push(Buffer { dtype, shape, place });
        BufferId(self.plan.buffers.len() as u32 - 1)
    }

    pub(crate) fn input(&mut self, name: &str, dtype: DType, shape: &[Dim]) -> BufferId {
        let buffer = self.buffer(dtype, shape, Place::Input(self.plan.inputs.len() as u32));
        self.plan.inputs.push(Port { name: name.to_owned(), buffer, container: None });
        buffer
    }

    pub(crate) fn arena(&mut self, dtype: DType, shape: &[Dim]) -> BufferId {
        self.buffer(dtype, shape, Place::Arena { first: 0, last: u32::MAX })
    }

    pub(crate) fn late(&mut self, dtype: DType, shape: &[Dim]) -> BufferId {
        self.buffer(dtype, shape, Place::Late)
    }

    /// A constant; offsets follow the writer's rule.
    pub(crate) fn constant(&mut self, t: &Tensor) -> BufferId {
        let before: usize = self.constants.iter().map(|c| c.len().next_multiple_of(64)).sum();
        self.constants.push(t.bytes().to_vec());
        let shape: Vec<Dim> = t.shape().iter().map(|d| Dim::len(*d)).collect();
        let place = Place::Constant { offset: before as u64, len: t.bytes().len() as u64 };
        self.buffer(t.dtype(), &shape, place)
    }

    pub(crate) fn output(&mut self, name: &str, buffer: BufferId) {
        self.plan.outputs.push(Port { name: name.to_owned(), buffer, container: None });
    }

    pub(crate) fn node(&mut self, name: &str) -> u32 {
        self.plan.nodes.push(name.to_owned());
        self.plan.nodes.len() as u32 - 1
    }

    pub(crate) fn kernel(&mut self, name: &str, code: &[u8], scratch: i64) -> KernelId {
        let (offset, scratch) = (self.code.len() as u64, self.dim(scratch));
        self.code.extend_from_slice(code);
        self.plan.kernels.push(Kernel { name: name.to_owned(), offset, scratch, writes: Vec::new() });
        KernelId(self.plan.kernels.len() as u32 - 1)
    }

    pub(crate) fn routine(&mut self, name: &str, inputs: &[BufferId], outputs: &[BufferId]) -> Step {
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        Step::Routine { name: name.to_owned(), attrs: Vec::new(), inputs, outputs, node: self.node(name) }
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.plan.steps.push(step);
    }

    pub(crate) fn copy(&mut self, from: BufferId, to: BufferId) {
        self.step(Step::Copy { from, to });
    }

    /// The artifact's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let path = self.file();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        bytes
    }

    /// The artifact in a new temporary file.
    pub(crate) fn file(&self) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nnc-run-{}-{n}.nnc", std::process::id()));
        let mut writer = ArtifactWriter::create(&path).unwrap();
        for c in &self.constants {
            writer.constant(c).unwrap();
        }
        let info = ArtifactInfo {
            model: "test".into(),
            precision: "f32".into(),
            writer: "1.2.3".into(),
            ..ArtifactInfo::default()
        };
        writer
            .finish(&[TargetCode { code: &self.code, plan: &self.plan, device: self.device.as_ref() }], &info)
            .unwrap();
        path
    }

    pub(crate) fn artifact(&self) -> Arc<Artifact> {
        let options = LoadOptions { routines: ROUTINES, ..LoadOptions::default() };
        Arc::new(Artifact::from_bytes_with(self.bytes(), &options).unwrap())
    }

    pub(crate) fn session(&self) -> Session {
        Session::new(self.artifact())
    }
}

pub(crate) type Routine = nnc_runtime::RoutineFn;

/// The routines that the tests' plans use.
pub(crate) const ROUTINES: &[(&str, Routine)] = &[
    ("positive", |_, v| {
        let x = v[0].tensor().ok_or("no tensor")?;
        let kept: Vec<i64> = x.elems::<i64>()?.iter().copied().filter(|e| *e > 0).collect();
        Ok(vec![Tensor::from_slice(&[kept.len()], &kept)?.into()])
    }),
    ("add", |_, v| {
        let (a, b) = (v[0].tensor().ok_or("no tensor")?, v[1].tensor().ok_or("no tensor")?);
        let (a, b) = (a.elems::<i64>()?, b.elems::<i64>()?);
        let sum: Vec<i64> = (0..a.len()).map(|i| a[i] + b[i % b.len()]).collect();
        Ok(vec![Tensor::from_slice(v[0].tensor().ok_or("no tensor")?.shape(), &sum)?.into()])
    }),
    ("append_count", |_, v| {
        let x = v[0].tensor().ok_or("no tensor")?.elems::<i64>()?.into_owned();
        let grown = [x.as_slice(), &[x.len() as i64]].concat();
        Ok(vec![Tensor::from_slice(&[grown.len()], &grown)?.into()])
    }),
    ("below", |_, v| {
        let (a, b) = (v[0].tensor().ok_or("no tensor")?, v[1].tensor().ok_or("no tensor")?);
        let below = a.elems::<i64>()?[0] < b.elems::<i64>()?[0];
        Ok(vec![Tensor::from_bools(&[], &[below])?.into()])
    }),
    ("refuse", |_, _| Err("it never works".into())),
    ("wrap", |_, v| Ok(vec![Value::Sequence(v.to_vec())])),
];

pub(crate) fn n() -> Dim {
    Dim::named("n")
}

pub(crate) fn sym(name: &str) -> Sym {
    Sym::new(name)
}

pub(crate) fn ints(data: &[i64]) -> Tensor {
    Tensor::from_slice(&[data.len()], data).unwrap()
}

pub(crate) fn scalar(v: i64) -> Tensor {
    Tensor::scalar(v)
}

/// The output's integers.
pub(crate) fn read(v: &Value) -> Vec<i64> {
    v.tensor().unwrap().elems::<i64>().unwrap().into_owned()
}
