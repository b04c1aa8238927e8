//! Tests that cross crates: one binary, one module a subject.
#![cfg(test)]

mod cli;
mod compare;
mod device;
mod examples;
mod filetests;
mod house;
mod models;
mod onnx;
mod operators;
mod program;
mod promises;
mod quantized;
mod random_graphs;
mod targets;
