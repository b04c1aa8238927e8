//! nnc: ONNX models to machine code.
