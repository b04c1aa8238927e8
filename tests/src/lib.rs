//! Tests that cross crates: one binary, one module a subject.
#![cfg(test)]

mod compare;
mod filetests;
mod models;
mod operators;
