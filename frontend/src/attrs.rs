//! Reads the attributes of a node and keeps account of which were read.
//!
//! An attribute that a lowering did not read may change the node's meaning; `unread` lists such
//! attributes, so that none is ignored in silence.

use std::cell::Cell;

use crate::error::Error;
use crate::model::{AttrValue, Graph, Node, SparseTensorRef, TensorRef, ValueType};

/// The attributes of one node.
///
/// ```
/// use nnc_frontend::attrs::Attrs;
/// use nnc_frontend::model::{Attr, AttrValue, Node};
///
/// let axis = Attr { name: "axis".to_owned(), value: AttrValue::Int(1) };
/// let node = Node { op: "Softmax".to_owned(), attrs: vec![axis], ..Node::default() };
/// let attrs = Attrs::new(&node);
/// assert_eq!(attrs.unread(), ["axis"]);
/// assert_eq!(attrs.int_or("axis", -1)?, 1);
/// assert!(attrs.unread().is_empty());
/// # Ok::<(), nnc_frontend::error::Error>(())
/// ```
pub struct Attrs<'a> {
    node: &'a Node,
    read: Vec<Cell<bool>>,
}

/// A getter for one variant of `AttrValue`.
macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $found:pat => $value:expr, $type:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`Error::AttrType`] where the attribute holds another type.
        pub fn $name(&self, name: &str) -> Result<Option<$type>, Error> {
            match self.get(name) {
                None => Ok(None),
                Some($found) => Ok(Some($value)),
                Some(other) => Err(self.wrong_type(name, $expected, other)),
            }
        }
    };
}

impl<'a> Attrs<'a> {
    /// The attributes of `node`, none of them read.
    pub fn new(node: &'a Node) -> Attrs<'a> {
        Attrs { node, read: vec![Cell::new(false); node.attrs.len()] }
    }

    /// The attribute of that name, whatever it holds; counts as read.
    pub fn get(&self, name: &str) -> Option<&'a AttrValue> {
        let mut found = None;
        for (attr, read) in self.node.attrs.iter().zip(&self.read).filter(|(attr, _)| attr.name == name) {
            read.set(true);
            found = found.or(Some(&attr.value));
        }
        found
    }

    /// Whether the node has the attribute; does not count as reading it.
    pub fn has(&self, name: &str) -> bool {
        self.node.attrs.iter().any(|attr| attr.name == name)
    }

    /// Names of the attributes that nobody read, in the order of the file.
    pub fn unread(&self) -> Vec<&'a str> {
        let unread = self.node.attrs.iter().zip(&self.read).filter(|(_, read)| !read.get());
        unread.map(|(attr, _)| attr.name.as_str()).collect()
    }

    getter! {
        /// An integer.
        int, "an int", AttrValue::Int(value) => *value, i64
    }
    getter! {
        /// A number.
        float, "a float", AttrValue::Float(value) => *value, f32
    }
    getter! {
        /// The bytes of a string.
        bytes, "a string", AttrValue::String(value) => value, &'a [u8]
    }
    getter! {
        /// Integers.
        ints, "ints", AttrValue::Ints(value) => value, &'a [i64]
    }
    getter! {
        /// Numbers.
        floats, "floats", AttrValue::Floats(value) => value, &'a [f32]
    }
    getter! {
        /// The bytes of strings.
        byte_strings, "strings", AttrValue::Strings(value) => value, &'a [Vec<u8>]
    }
    getter! {
        /// A tensor.
        tensor, "a tensor", AttrValue::Tensor(value) => value, &'a TensorRef
    }
    getter! {
        /// Tensors.
        tensors, "tensors", AttrValue::Tensors(value) => value, &'a [TensorRef]
    }
    getter! {
        /// A sparse tensor.
        sparse_tensor, "a sparse tensor", AttrValue::SparseTensor(value) => value, &'a SparseTensorRef
    }
    getter! {
        /// A subgraph.
        graph, "a graph", AttrValue::Graph(value) => value, &'a Graph
    }
    getter! {
        /// Subgraphs.
        graphs, "graphs", AttrValue::Graphs(value) => value, &'a [Graph]
    }
    getter! {
        /// A type; `None` inside where the file states one that is unknown.
        type_proto, "a type", AttrValue::TypeProto(value) => value.as_ref(), Option<&'a ValueType>
    }

    /// An integer, or `default`.
    ///
    /// # Errors
    ///
    /// As [`Attrs::int`].
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, Error> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// An integer that stands for yes (not 0) or no, or `default`.
    ///
    /// # Errors
    ///
    /// As [`Attrs::int`].
    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, Error> {
        Ok(self.int(name)?.map_or(default, |value| value != 0))
    }

    /// A number, or `default`.
    ///
    /// # Errors
    ///
    /// As [`Attrs::float`].
    pub fn float_or(&self, name: &str, default: f32) -> Result<f32, Error> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    /// A string.
    ///
    /// # Errors
    ///
    /// [`Error::AttrType`] where the attribute holds another type or is not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.bytes(name)?.map(|bytes| self.utf8(name, bytes)).transpose()
    }

    /// A string, or `default`.
    ///
    /// # Errors
    ///
    /// As [`Attrs::string`].
    pub fn string_or(&self, name: &str, default: &'a str) -> Result<&'a str, Error> {
        Ok(self.string(name)?.unwrap_or(default))
    }

    /// Strings.
    ///
    /// # Errors
    ///
    /// [`Error::AttrType`] where the attribute holds another type or is not UTF-8.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&'a str>>, Error> {
        let Some(strings) = self.byte_strings(name)? else { return Ok(None) };
        strings.iter().map(|bytes| self.utf8(name, bytes)).collect::<Result<_, _>>().map(Some)
    }

    /// What a getter found, where the operator cannot do without it:
    /// `attrs.required("to", attrs.int("to"))?`.
    ///
    /// # Errors
    ///
    /// The getter's, or [`Error::MissingAttr`].
    pub fn required<T>(&self, name: &str, found: Result<Option<T>, Error>) -> Result<T, Error> {
        found?.ok_or_else(|| Error::MissingAttr {
            node: self.node.label().to_owned(),
            op: self.node.op.clone(),
            attr: name.to_owned(),
        })
    }

    fn utf8(&self, name: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
        std::str::from_utf8(bytes).map_err(|_| self.mismatch(name, "UTF-8", "other bytes"))
    }

    fn wrong_type(&self, name: &str, expected: &'static str, found: &AttrValue) -> Error {
        self.mismatch(name, expected, found.kind())
    }

    fn mismatch(&self, name: &str, expected: &'static str, found: &'static str) -> Error {
        Error::AttrType {
            node: self.node.label().to_owned(),
            op: self.node.op.clone(),
            attr: name.to_owned(),
            expected,
            found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Attr;

    fn node(attrs: &[(&str, AttrValue)]) -> Node {
        let attrs = attrs.iter().map(|(name, value)| Attr { name: (*name).to_owned(), value: value.clone() });
        Node { name: "n".to_owned(), op: "Op".to_owned(), attrs: attrs.collect(), ..Node::default() }
    }

    #[test]
    fn getters_mark_what_they_read_and_nothing_else() {
        let node = node(&[
            ("axis", AttrValue::Int(3)),
            ("alpha", AttrValue::Float(0.5)),
            ("mode", AttrValue::String(b"linear".to_vec())),
            ("pads", AttrValue::Ints(vec![1, 2])),
        ]);
        let attrs = Attrs::new(&node);
        assert!(attrs.has("alpha"));
        assert_eq!(attrs.string("mode").unwrap(), Some("linear"));
        assert_eq!(attrs.ints("pads").unwrap(), Some(&[1, 2][..]));
        assert_eq!(attrs.ints("strides").unwrap(), None);
        assert_eq!(attrs.unread(), ["axis", "alpha"]);
        assert_eq!(attrs.float_or("alpha", 1.0).unwrap(), 0.5);
        assert!(attrs.flag_or("axis", false).unwrap());
        assert!(attrs.unread().is_empty());
    }

    #[test]
    fn wrong_types_and_missing_attributes_name_the_node() {
        let node = node(&[("axis", AttrValue::Float(3.0)), ("mode", AttrValue::String(vec![0xff]))]);
        let attrs = Attrs::new(&node);
        let message = attrs.int("axis").unwrap_err().to_string();
        assert_eq!(message, "node \"n\" (Op): attribute \"axis\" must be an int, found a float");
        let message = attrs.string("mode").unwrap_err().to_string();
        assert_eq!(message, "node \"n\" (Op): attribute \"mode\" must be UTF-8, found other bytes");
        let message = attrs.required("to", attrs.int("to")).unwrap_err().to_string();
        assert_eq!(message, "node \"n\" (Op): attribute \"to\" is required");
    }
}
