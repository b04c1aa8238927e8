//! Runs compiled artifacts; holds no compiler.
//!
//! An [`Artifact`] is a compiled model in one file; a [`Session`] runs it.
//!
//! ```no_run
//! use nnc_runtime::{Artifact, Session, Tensor};
//! use std::sync::Arc;
//!
//! let artifact = Arc::new(Artifact::open("model.nnc")?);
//! let mut session = Session::new(artifact);
//! let x = Tensor::from_slice(&[1, 3], &[1.0f32, 2.0, 3.0])?;
//! let outputs = session.run(&[("x", x.into())])?;
//! println!("{:?}", outputs[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Memory that is mapped, shared with threads or handed to machine code is touched in `os/`,
//! `artifact/map.rs` and `exec/call.rs` alone, a driver of devices is called in `device/cuda/`; all else
//! is safe Rust.
#![deny(unsafe_code)]
// What only devices need is compiled without them too, and left out of the program.
#![cfg_attr(not(feature = "device"), allow(dead_code))]

mod artifact;
pub mod device;
mod exec;
mod os;
mod pool;

pub use artifact::{
    Artifact, ArtifactError, ArtifactInfo, DeviceCode, DeviceEntry, DeviceText, LoadOptions, TargetInfo,
    WEIGHT_ALIGN, host_abi,
};
#[cfg(feature = "write")]
pub use artifact::{ArtifactWriter, TargetCode};
pub use exec::{
    OutputMem, Port, Profile, ProfileEvent, ProfileRow, RoutineFailure, RoutineFn, RunError, RunOptions,
    Session, SessionOptions, TensorView,
};
pub use nnc_kernels::{Isa, Kernel, kernels, lookup, trial};
pub use nnc_tensor::{self as tensor, DType, Dim, MapKey, Tensor, Value};
pub use pool::{Executor, Pool, default_threads};
