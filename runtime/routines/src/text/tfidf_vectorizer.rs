//! `tfidf_vectorizer`: counts of n-grams with gaps, weighted.

use crate::inputs::{Inputs, room_for, wrong};
use crate::{Attrs, RoutineError};
use nnc_tensor::{DType, Tensor, Value};
use std::collections::HashMap;

/// A token: a number or a text.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Token<'a> {
    Int(i128),
    Text(&'a [u8]),
}

/// A prefix of n-grams.
#[derive(Default)]
struct Node<'a> {
    /// Which n-gram of the pool ends here.
    gram: Option<usize>,
    next: HashMap<Token<'a>, usize>,
}

struct Vectorizer<'a> {
    nodes: Vec<Node<'a>>,
    /// By n-gram: its column.
    columns: Vec<usize>,
    width: usize,
    shortest: usize,
    longest: usize,
    max_step: usize,
}

fn bad(name: &'static str, expected: &'static str) -> RoutineError {
    RoutineError::Attr { name, expected }
}

/// Input `X` of shape `[c]` or `[n, c]`, integers or text; attributes of ONNX's `TfIdfVectorizer`;
/// output f32 `[columns]` or `[n, columns]`. Weights go by column, as in the reference
/// implementation.
pub(crate) fn tfidf_vectorizer(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let x = Inputs(inputs).tensor(0, "X")?;
    let vectorizer = Vectorizer::new(attrs)?;
    let mode = attrs.str("mode")?.ok_or(RoutineError::MissingAttr("mode"))?;
    let weights = attrs.floats("weights")?.filter(|w| !w.is_empty());
    if weights.is_some_and(|w| w.len() < vectorizer.width) {
        return Err(bad("weights", "one number a column"));
    }
    let (mut shape, row_len) = match *x.shape() {
        [] => (Vec::new(), 1),
        [c] => (Vec::new(), c),
        [n, c] => (vec![n], c),
        _ => return Err(wrong("X", "of shape [c] or [n, c]", x)),
    };
    shape.push(vectorizer.width);
    let tokens: Vec<Token> = match x.dtype() {
        DType::Str => x.strings().iter().map(|s| Token::Text(s)).collect(),
        d if d.is_int() => x.to_ints().into_iter().map(Token::Int).collect(),
        _ => return Err(wrong("X", "integers or text", x)),
    };
    let mut out = room_for::<f64>(&shape)?;
    let rows = if shape.len() == 1 { 1 } else { shape[0] };
    for row in 0..if vectorizer.width == 0 { 0 } else { rows } {
        let counts = vectorizer.count(&tokens[row * row_len..(row + 1) * row_len]);
        for (column, count) in counts.into_iter().enumerate() {
            let weight = weights.map_or(1.0, |w| w[column]);
            out.push(match mode {
                "TF" => count,
                "IDF" => weight * f64::from(u8::from(count > 0.0)),
                "TFIDF" => weight * count,
                _ => return Err(bad("mode", "\"TF\", \"IDF\" or \"TFIDF\"")),
            });
        }
    }
    Ok(vec![Tensor::from_f64s(DType::F32, &shape, &out)?.into()])
}

impl<'a> Vectorizer<'a> {
    fn new(attrs: &Attrs<'a>) -> Result<Vectorizer<'a>, RoutineError> {
        let pool: Vec<Token<'a>> = match (attrs.ints("pool_int64s")?, attrs.strs("pool_strings")?) {
            (Some(ints), _) if !ints.is_empty() => ints.iter().map(|v| Token::Int((*v).into())).collect(),
            (_, Some(strings)) => strings.iter().map(|s| Token::Text(s)).collect(),
            _ => return Err(RoutineError::MissingAttr("pool_int64s")),
        };
        let list = |name| -> Result<Vec<usize>, RoutineError> {
            let list = attrs.ints(name)?.ok_or(RoutineError::MissingAttr(name))?;
            let sizes = list.iter().map(|v| usize::try_from(*v)).collect::<Result<_, _>>();
            sizes.map_err(|_| bad(name, "a list of numbers that are not negative"))
        };
        let (columns, starts) = (list("ngram_indexes")?, list("ngram_counts")?);
        let length = |name, default| {
            let v = usize::try_from(attrs.int_or(name, default)?);
            v.map_err(|_| bad(name, "a number that is not negative"))
        };
        let width = columns.iter().max().map_or(0, |c| c.saturating_add(1));
        let mut out = Vectorizer {
            nodes: vec![Node::default()],
            columns,
            width,
            shortest: length("min_gram_length", 1)?.max(1),
            longest: length("max_gram_length", 1)?,
            max_step: length("max_skip_count", 0)?.saturating_add(1),
        };
        out.add_pool(&pool, &starts)?;
        Ok(out)
    }

    fn add_pool(&mut self, pool: &[Token<'a>], starts: &[usize]) -> Result<(), RoutineError> {
        let mut gram = 0;
        for (i, start) in starts.iter().enumerate() {
            let (len, end) = (i + 1, starts.get(i + 1).copied().unwrap_or(pool.len()));
            let grams = pool.get(*start..end).ok_or(bad("ngram_counts", "rising positions in the pool"))?;
            for tokens in grams.chunks_exact(len) {
                if (self.shortest..=self.longest).contains(&len) {
                    self.add(tokens, gram);
                }
                gram += 1;
            }
        }
        if gram > self.columns.len() {
            return Err(bad("ngram_indexes", "one column an n-gram"));
        }
        Ok(())
    }

    fn add(&mut self, tokens: &[Token<'a>], gram: usize) {
        let mut at = 0;
        for token in tokens {
            let fresh = self.nodes.len();
            at = *self.nodes[at].next.entry(*token).or_insert(fresh);
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].gram = Some(gram);
    }

    /// How often the n-grams of each column occur.
    fn count(&self, tokens: &[Token]) -> Vec<f64> {
        let mut counts = vec![0.0; self.width];
        let mut shortest = self.shortest;
        // Tokens further apart than the row is long make no n-gram.
        for step in 1..=self.max_step.min(tokens.len()) {
            for start in 0..tokens.len() {
                self.count_from(tokens.iter().skip(start).step_by(step), shortest, &mut counts);
            }
            // Single tokens have no gaps and are counted once.
            shortest = shortest.max(2);
            if shortest > self.longest {
                break;
            }
        }
        counts
    }

    fn count_from<'t>(
        &self,
        tokens: impl Iterator<Item = &'t Token<'t>>,
        shortest: usize,
        counts: &mut [f64],
    ) {
        let mut at = &self.nodes[0];
        for (token, len) in tokens.zip(1..=self.longest) {
            let Some(next) = at.next.get(token) else { return };
            at = &self.nodes[*next];
            if let Some(gram) = at.gram.filter(|_| len >= shortest) {
                counts[self.columns[gram]] += 1.0;
            }
        }
    }
}
