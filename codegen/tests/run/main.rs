//! Runs compiled kernels natively and compares with the interpreter of tile programs.

mod fuzz;
mod harness;
mod loops;
mod scalars;
mod strips;
