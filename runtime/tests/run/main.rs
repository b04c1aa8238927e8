//! Artifacts and sessions through the public interface, with plans made by hand.

mod allocations;
mod binding;
mod build;
mod control;
#[cfg(feature = "device")]
mod device;
mod files;
mod launch;
