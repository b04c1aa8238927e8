//! Routines of classical machine learning, behind feature `ml`.

mod array_feature_extractor;
mod maps;
mod one_hot_encoder;

pub(crate) use array_feature_extractor::array_feature_extractor;
pub(crate) use maps::{cast_map, dict_vectorizer, zipmap};
pub(crate) use one_hot_encoder::one_hot_encoder;
