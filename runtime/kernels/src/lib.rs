//! CPU microkernels by family and instruction set.
