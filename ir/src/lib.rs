//! The intermediate representation: graph, tile programs, interpreter, text form.
