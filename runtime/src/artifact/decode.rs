//! Decodes sections: as postcard does, but values nested deeper than a plan ever is are an error
//! instead of the end of the stack.

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Deepest nesting of values: 64 nested sizes of six values each, or 64 nested steps.
const MAX_DEPTH: usize = 400;

/// The value that takes all of `bytes`.
pub(super) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    let mut inner = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(Limited { inner: &mut inner, left: MAX_DEPTH }).ok()?;
    inner.finalize().ok().filter(|rest| rest.is_empty())?;
    Some(value)
}

/// Wraps any part of a deserializer; `left` levels may follow below it.
struct Limited<T> {
    inner: T,
    left: usize,
}

impl<T> Limited<T> {
    /// The same limit around another part.
    fn with<U>(&self, inner: U) -> Limited<U> {
        Limited { inner, left: self.left }
    }
}

/// Methods of a deserializer that lead to no other values.
macro_rules! flat {
    ($($name:ident)*) => { $(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$name(visitor)
        }
    )* };
}

/// Methods of a deserializer that lead one level down.
macro_rules! nested {
    ($($name:ident($($arg:ident: $ty:ty),*))*) => { $(
        fn $name<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            let left = self.left.checked_sub(1).ok_or_else(|| D::Error::custom("nested too deeply"))?;
            self.inner.$name($($arg,)* Limited { inner: visitor, left })
        }
    )* };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<D> {
    type Error = D::Error;

    flat! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_identifier
    }

    nested! {
        deserialize_any()
        deserialize_ignored_any()
        deserialize_option()
        deserialize_seq()
        deserialize_map()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Only what the nested methods lead to: a visitor of numbers or text is never wrapped.
impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Limited { inner: d, left: self.left })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Limited { inner: d, left: self.left })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Limited { inner: seq, left: self.left })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Limited { inner: map, left: self.left })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Limited { inner: data, left: self.left })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Limited { inner: d, left: self.left })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let seed = self.with(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.next_value_seed(seed)
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<A> {
    type Error = A::Error;
    type Variant = Limited<A::Variant>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), A::Error> {
        let left = self.left;
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Limited { inner: variant, left }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nnc_tensor::plan::{BufferId, Plan, Step};

    fn nested(depth: usize) -> Plan {
        let wrap = |then, _| vec![Step::If { cond: BufferId(0), then, otherwise: Vec::new() }];
        Plan { steps: (0..depth).fold(Vec::new(), wrap), ..Plan::default() }
    }

    #[test]
    fn plans_decode_and_bottomless_ones_do_not() {
        let bytes = postcard::to_allocvec(&nested(64)).unwrap();
        assert_eq!(decode::<Plan>(&bytes), Some(nested(64)));
        assert_eq!(decode::<Plan>(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode::<Plan>(&[bytes, vec![0]].concat()), None);
        assert_eq!(decode::<Plan>(&postcard::to_allocvec(&nested(300)).unwrap()), None);
    }

    #[test]
    fn long_nesting_does_not_reach_the_end_of_the_stack() {
        // An empty name, one size, and in it sums of one term of one minimum of sums, without end.
        let mut bytes = vec![0, 1];
        bytes.extend([1, 1, 2, 1, 2].repeat(200_000));
        assert_eq!(decode::<Plan>(&bytes), None);
    }
}
