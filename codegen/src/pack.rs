//! Weights in the layouts that microkernels read.
