//! Elementary functions against the C library's in f64.
