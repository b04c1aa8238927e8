//! Moving and converting elements: numbers in and out of any data type.
