//! Runs compiled artifacts; holds no compiler.
