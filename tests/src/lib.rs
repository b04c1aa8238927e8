//! Tests that cross crates: one binary, one module a subject. What programs for tests need is public.

pub mod interpreted;
pub mod standard;

#[cfg(test)]
mod cli;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod device;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod filetests;
#[cfg(test)]
mod halves;
#[cfg(test)]
mod house;
#[cfg(test)]
mod models;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod onnx;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod precision;
#[cfg(test)]
mod program;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod quantized;
#[cfg(test)]
mod random_graphs;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod tile;
