//! Artifacts and sessions through the public interface, with plans made by hand.

mod allocations;
mod binding;
mod build;
mod control;
mod files;
mod launch;
