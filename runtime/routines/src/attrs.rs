//! Typed access to a routine's attributes.

use crate::RoutineError;
use nnc_tensor::DType;
use nnc_tensor::plan::Attr;

/// The attributes of one step. A getter answers `None` for an attribute that is not there and an
/// error for one of another type.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a>(pub &'a [(String, Attr)]);

impl<'a> Attrs<'a> {
    fn get(&self, name: &str) -> Option<&'a Attr> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }

    fn typed<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Attr) -> Option<T>,
    ) -> Result<Option<T>, RoutineError> {
        match self.get(name) {
            None => Ok(None),
            Some(attr) => read(attr).map(Some).ok_or(RoutineError::Attr { name, expected }),
        }
    }

    /// An integer.
    pub fn int(&self, name: &'static str) -> Result<Option<i64>, RoutineError> {
        self.typed(name, "an integer", |a| match a {
            Attr::Int(v) => Some(*v),
            _ => None,
        })
    }

    /// An integer or what stands for it.
    pub fn int_or(&self, name: &'static str, default: i64) -> Result<i64, RoutineError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// An integer as truth value.
    pub fn flag_or(&self, name: &'static str, default: bool) -> Result<bool, RoutineError> {
        Ok(self.int(name)?.map_or(default, |v| v != 0))
    }

    /// A number; integers count too.
    pub fn float(&self, name: &'static str) -> Result<Option<f64>, RoutineError> {
        self.typed(name, "a number", |a| match a {
            Attr::Float(v) => Some(*v),
            Attr::Int(v) => Some(*v as f64),
            _ => None,
        })
    }

    /// A number or what stands for it.
    pub fn float_or(&self, name: &'static str, default: f64) -> Result<f64, RoutineError> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// A text.
    pub fn str(&self, name: &'static str) -> Result<Option<&'a str>, RoutineError> {
        self.typed(name, "a text", |a| match a {
            Attr::Str(v) => Some(v.as_str()),
            _ => None,
        })
    }

    /// Integers.
    pub fn ints(&self, name: &'static str) -> Result<Option<&'a [i64]>, RoutineError> {
        self.typed(name, "a list of integers", |a| match a {
            Attr::Ints(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// Numbers.
    pub fn floats(&self, name: &'static str) -> Result<Option<&'a [f64]>, RoutineError> {
        self.typed(name, "a list of numbers", |a| match a {
            Attr::Floats(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// Texts.
    pub fn strs(&self, name: &'static str) -> Result<Option<&'a [Vec<u8>]>, RoutineError> {
        self.typed(name, "a list of texts", |a| match a {
            Attr::Strs(v) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// An element type by ONNX's number.
    pub fn dtype(&self, name: &'static str) -> Result<Option<DType>, RoutineError> {
        let expected = "the number of an element type";
        let read = |v| i32::try_from(v).ok().and_then(DType::from_onnx);
        self.int(name)?.map(|v| read(v).ok_or(RoutineError::Attr { name, expected })).transpose()
    }
}
