//! Routines on text, behind feature `text`.

mod label_encoder;
mod regex_full_match;
mod string_concat;
mod string_normalizer;
mod string_split;
mod tfidf_vectorizer;

pub(crate) use label_encoder::{category_mapper, label_encoder};
pub(crate) use regex_full_match::regex_full_match;
pub(crate) use string_concat::string_concat;
pub(crate) use string_normalizer::string_normalizer;
pub(crate) use string_split::string_split;
pub(crate) use tfidf_vectorizer::tfidf_vectorizer;

use crate::RoutineError;

fn utf8(bytes: &[u8]) -> Result<&str, RoutineError> {
    std::str::from_utf8(bytes).map_err(|_| RoutineError::NotUtf8)
}
