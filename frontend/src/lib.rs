//! Reads ONNX models and lowers them to the graph IR.
