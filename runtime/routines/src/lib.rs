//! Irregular routines: sorting, selection, strings, sequences.
