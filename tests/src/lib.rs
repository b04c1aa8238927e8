//! Tests that cross crates: one binary, one module a subject.
#![cfg(test)]

mod cli;
mod compare;
mod filetests;
mod models;
mod onnx;
mod operators;
mod random_graphs;
