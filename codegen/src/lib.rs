//! Tile programs to machine code, and the artifact.
