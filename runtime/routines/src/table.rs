//! The one table of routines.

use crate::{Attrs, RoutineError};
use crate::{cast, compress, nms, nonzero, optional, random, sequence, topk, unique};
use nnc_tensor::Value;

/// A routine: its name in plans, what it is, and the function.
pub struct Routine {
    /// Name in [`nnc_tensor::plan::Step::Routine`].
    pub name: &'static str,
    /// One line about it.
    pub doc: &'static str,
    /// Attributes and inputs to outputs.
    pub run: fn(&Attrs, &[Value]) -> Result<Vec<Value>, RoutineError>,
}

macro_rules! routines {
    ($($(#[cfg(feature = $feature:literal)])? $name:literal $run:path, $doc:literal;)*) => {
        /// Every routine of this build, sorted by name.
        pub const ROUTINES: &[Routine] =
            &[$($(#[cfg(feature = $feature)])? Routine { name: $name, doc: $doc, run: $run },)*];

        /// Every routine there is, with the feature that it needs.
        const NAMES: &[(&str, Option<&str>)] = &[$(($name, feature!($($feature)?))),*];
    };
}

macro_rules! feature {
    () => {
        None
    };
    ($name:literal) => {
        Some($name)
    };
}

routines! {
    #[cfg(feature = "ml")]
    "array_feature_extractor" crate::ml::array_feature_extractor, "entries of the last axis";
    "bernoulli" random::bernoulli, "ones with given probabilities";
    "cast" cast::cast, "numbers to text and text to numbers";
    #[cfg(feature = "ml")]
    "cast_map" crate::ml::cast_map, "the values of a map as a tensor";
    #[cfg(feature = "text")]
    "category_mapper" crate::text::category_mapper, "integers to text, text to integers";
    "compress" compress::compress, "slices that a condition chooses";
    "concat_from_sequence" sequence::concat_from_sequence, "the tensors of a sequence as one";
    #[cfg(feature = "ml")]
    "dict_vectorizer" crate::ml::dict_vectorizer, "maps to rows by a vocabulary";
    "dropout_mask" random::dropout_mask, "what dropout keeps, as numpy's generator draws it";
    #[cfg(feature = "image")]
    "image_decoder" crate::image_decoder::image_decoder, "an image file to pixels";
    #[cfg(feature = "text")]
    "label_encoder" crate::text::label_encoder, "elements to elements by a table";
    "multinomial" random::multinomial, "classes drawn by weight";
    "nms" nms::nms, "boxes that do not overlap better ones";
    "nonzero" nonzero::nonzero, "coordinates of elements that are not zero";
    #[cfg(feature = "ml")]
    "one_hot_encoder" crate::ml::one_hot_encoder, "one at the index of the category";
    "optional" optional::optional, "an optional of a value or of none";
    "optional_get_element" optional::get_element, "the value in an optional";
    "optional_has_element" optional::has_element, "whether an optional holds a value";
    "random_normal" random::normal, "numbers from a normal distribution";
    "random_uniform" random::uniform, "numbers from a uniform distribution";
    #[cfg(feature = "text")]
    "regex_full_match" crate::text::regex_full_match, "whether all of a text matches a pattern";
    "sequence_at" sequence::at, "an element of a sequence";
    "sequence_construct" sequence::construct, "the inputs as a sequence";
    "sequence_empty" sequence::empty, "a sequence of nothing";
    "sequence_erase" sequence::erase, "a sequence without one of its elements";
    "sequence_insert" sequence::insert, "a sequence with another element";
    "sequence_length" sequence::length, "the number of elements of a sequence";
    "sort" topk::sort, "elements in order along an axis, and where they were";
    "split_to_sequence" sequence::split_to_sequence, "parts of a tensor along an axis";
    #[cfg(feature = "text")]
    "string_concat" crate::text::string_concat, "texts joined element by element";
    #[cfg(feature = "text")]
    "string_normalizer" crate::text::string_normalizer, "texts in one case, without stop words";
    #[cfg(feature = "text")]
    "string_split" crate::text::string_split, "texts cut at a delimiter";
    #[cfg(feature = "text")]
    "tfidf_vectorizer" crate::text::tfidf_vectorizer, "counts of n-grams, weighted";
    "topk" topk::topk, "the largest or smallest elements along an axis";
    "unique" unique::unique, "distinct elements or slices";
    #[cfg(feature = "ml")]
    "zipmap" crate::ml::zipmap, "rows as maps from labels";
}

/// The routine of this name, if this build has it; see [`feature_of`] where it does not.
pub fn lookup(name: &str) -> Option<&'static Routine> {
    ROUTINES.iter().find(|r| r.name == name)
}

/// The feature that a routine needs (`Some(None)`: none); `None` for a name that is no routine's.
pub fn feature_of(name: &str) -> Option<Option<&'static str>> {
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, feature)| *feature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_documented() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ROUTINES.iter().all(|r| !r.doc.is_empty() && feature_of(r.name).is_some()));
        assert_eq!(feature_of("tfidf_vectorizer"), Some(Some("text")));
        assert_eq!((feature_of("topk"), feature_of("softmax")), (Some(None), None));
    }
}
