//! Runs plans: binds sizes, lays out memory, executes steps.

mod bind;
mod call;
mod check;
mod control;
#[cfg_attr(not(feature = "device"), path = "no_device.rs")]
mod device;
mod error;
mod expr;
mod launch;
mod limits;
mod memory;
mod profile;
mod program;
mod routine;
mod run;
mod session;
mod view;

pub(crate) use check::{PlanFault, Surroundings, check};
pub(crate) use device::DeviceProgram;
pub use error::RunError;
pub use limits::RunOptions;
pub use profile::{Profile, ProfileEvent, ProfileRow};
pub(crate) use program::Program;
pub(crate) use routine::Routine;
pub use routine::{RoutineFailure, RoutineFn};
pub use session::{Port, Session, SessionOptions};
pub use view::{OutputMem, TensorView};
