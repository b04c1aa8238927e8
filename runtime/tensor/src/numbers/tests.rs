//! Numbers against values from NumPy, ml_dtypes and the tables of ONNX's `Cast`.
