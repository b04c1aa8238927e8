//! The interpreter against the PTX manual, and whole kernels with and without their barriers.

mod arithmetic;
mod asynchronous;
mod conversions;
mod faults;
mod harness;
mod kernels;
mod matrix;
mod memory;
mod warps;
