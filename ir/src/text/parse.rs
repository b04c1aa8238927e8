//! Parsing graphs. Every node is inferred again and its written types are compared with the result.

use super::lex::{Lexer, Token};
use super::{TextError, attr, usual_output_name};
use crate::verify::is_instance;
use crate::{Attrs, BlockId, Dim, Graph, InferCx, Node, OpRow, Sym, Type, ValueId, ops};
use std::collections::HashMap;
use std::sync::Arc;

/// The graph that a text and its data file describe.
pub fn parse(text: &str, data: &[u8]) -> Result<Graph, TextError> {
    let mut parser = Parser { l: Lexer::new(text)?, data, graph: Graph::new(""), scope: HashMap::new() };
    parser.graph()?;
    Ok(parser.graph)
}

struct Parser<'a> {
    l: Lexer<'a>,
    data: &'a [u8],
    graph: Graph,
    scope: HashMap<String, ValueId>,
}

/// A value where it is defined: what stands after `%`, and its name.
struct Definition {
    id: String,
    name: Option<String>,
    at: usize,
}

/// What stands after a type: nothing, `= none`, `= [sizes]`.
enum Content {
    Usual,
    Exactly(Option<Vec<Dim>>),
}

fn show(types: &[Type]) -> String {
    format!("({})", types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

impl Parser<'_> {
    fn graph(&mut self) -> Result<(), TextError> {
        self.l.keyword("graph")?;
        self.l.sign('@')?;
        self.graph.name = self.l.name("a name")?;
        let body = self.graph.body();
        self.params(body)?;
        self.l.sign('-')?;
        self.l.sign('>')?;
        let at = self.l.position();
        let types = self.l.list('(', ')', Lexer::ty)?;
        self.l.sign('{')?;
        while self.l.accept_word("size")? {
            self.bound()?;
        }
        self.nodes(body, "return")?;
        let found = self.graph.block(body).results.iter().map(|v| self.graph.ty(*v).clone());
        let found: Vec<Type> = found.collect();
        if found != types {
            return Err(self
                .l
                .error_at(at, format!("expected results {}, found {}", show(&types), show(&found))));
        }
        match self.l.peek() {
            Token::End => Ok(()),
            other => Err(self.l.error(format!("expected the end of the text, found {other}"))),
        }
    }

    fn bound(&mut self) -> Result<(), TextError> {
        let sym = Sym::new(self.l.name("a size")?);
        self.l.keyword("in")?;
        let lo = self.l.int()?;
        for sign in ['.', '.', '='] {
            self.l.sign(sign)?;
        }
        let hi = self.l.int()?;
        self.graph.bounds.insert(sym, (lo, hi));
        Ok(())
    }

    fn definition(&mut self) -> Result<Definition, TextError> {
        let at = self.l.position();
        let id = self.l.value()?;
        let name = match self.l.peek() {
            Token::Quoted(_) => Some(self.l.text("a name")?),
            _ if super::lex::is_word(&id) => Some(id.clone()),
            _ => None,
        };
        Ok(Definition { id, name, at })
    }

    fn define(&mut self, d: &Definition, v: ValueId) -> Result<(), TextError> {
        match self.scope.insert(d.id.clone(), v) {
            None => Ok(()),
            Some(_) => Err(self.l.error_at(d.at, format!("%{} is defined twice", d.id))),
        }
    }

    fn params(&mut self, block: BlockId) -> Result<Vec<String>, TextError> {
        let mut ids = Vec::new();
        self.l.sign('(')?;
        if self.l.accept(')')? {
            return Ok(ids);
        }
        loop {
            let d = self.definition()?;
            self.l.sign(':')?;
            let ty = self.l.ty()?;
            let v = self.graph.add_param(block, ty, d.name.clone());
            if let Content::Exactly(c) = self.content()? {
                self.graph.value_mut(v).content = c;
            }
            self.define(&d, v)?;
            ids.push(d.id);
            if self.l.accept(')')? {
                return Ok(ids);
            }
            self.l.sign(',')?;
        }
    }

    fn content(&mut self) -> Result<Content, TextError> {
        if !self.l.accept('=')? {
            return Ok(Content::Usual);
        }
        if self.l.accept_word("none")? {
            return Ok(Content::Exactly(None));
        }
        Ok(Content::Exactly(Some(self.l.dims()?)))
    }

    /// Nodes up to the keyword that ends the block, and the results after it.
    fn nodes(&mut self, block: BlockId, end: &str) -> Result<Vec<String>, TextError> {
        let mut ids = Vec::new();
        while !self.l.accept_word(end)? {
            self.node(block, &mut ids)?;
        }
        let (mut results, mut names) = (Vec::new(), Vec::new());
        while *self.l.peek() != Token::Sign('}') {
            results.push(self.use_of()?);
            let is_output = block == self.graph.body();
            names.push(match is_output && self.l.accept_word("as")? {
                true => Some(self.l.text("a name")?),
                false => None,
            });
            if !self.l.accept(',')? {
                break;
            }
        }
        self.l.sign('}')?;
        self.graph.block_mut(block).results = results;
        if block == self.graph.body() {
            let name = |(i, name): (usize, Option<String>)| {
                name.unwrap_or_else(|| usual_output_name(&self.graph, i))
            };
            self.graph.output_names = names.into_iter().enumerate().map(name).collect();
        }
        Ok(ids)
    }

    fn use_of(&mut self) -> Result<ValueId, TextError> {
        let at = self.l.position();
        let id = self.l.value()?;
        self.scope.get(&id).copied().ok_or_else(|| self.l.error_at(at, format!("%{id} is not defined here")))
    }

    fn node(&mut self, block: BlockId, ids: &mut Vec<String>) -> Result<(), TextError> {
        let mut outputs = Vec::new();
        while let Token::Value(_) = self.l.peek() {
            outputs.push(self.definition()?);
            if !self.l.accept(',')? {
                self.l.sign('=')?;
                break;
            }
        }
        let at = self.l.position();
        let name = self.l.word("an operator")?;
        let op =
            ops::find(&name).ok_or_else(|| self.l.error_at(at, format!("unknown operator \"{name}\"")))?;
        let inputs = self.inputs()?;
        let attrs = self.attrs(op)?;
        let written = self.types(outputs.len())?;
        let origin: Arc<str> =
            if self.l.accept_word("from")? { self.l.text("a name")?.into() } else { "".into() };
        let blocks = self.blocks()?;
        let (types, contents) = self.infer(op, &attrs, &inputs, &blocks, &written).map_err(|e| {
            let place = if origin.is_empty() { String::new() } else { format!("node \"{origin}\" ") };
            self.l.error_at(at, format!("{place}({name}): {}", e.0))
        })?;
        let node = Node { op, attrs, inputs, outputs: Vec::new(), blocks, origin };
        let id = self.graph.push_node(block, node, types, contents);
        for (i, d) in outputs.iter().enumerate() {
            let v = self.graph.node(id).outputs[i];
            self.graph.value_mut(v).name = d.name.clone();
            self.define(d, v)?;
            ids.push(d.id.clone());
        }
        Ok(())
    }

    fn inputs(&mut self) -> Result<Vec<ValueId>, TextError> {
        let scope = &self.scope;
        self.l.list('(', ')', |l| {
            let at = l.position();
            let id = l.value()?;
            scope.get(&id).copied().ok_or_else(|| l.error_at(at, format!("%{id} is not defined here")))
        })
    }

    fn attrs(&mut self, op: &'static OpRow) -> Result<Attrs, TextError> {
        let mut attrs = Attrs::new();
        if *self.l.peek() != Token::Sign('{') {
            return Ok(attrs);
        }
        let data = self.data;
        self.l.list('{', '}', |l| {
            let at = l.position();
            let name = l.word("an attribute")?;
            let spec = op.attrs.iter().find(|s| s.name == name);
            let spec =
                spec.ok_or_else(|| l.error_at(at, format!("{} has no attribute \"{name}\"", op.name)))?;
            l.sign('=')?;
            if attrs.get(spec.name).is_some() {
                return Err(l.error_at(at, format!("attribute \"{name}\" is given twice")));
            }
            attrs.set(spec.name, attr::parse(l, spec.kind, data)?);
            Ok(())
        })?;
        Ok(attrs)
    }

    fn types(&mut self, n: usize) -> Result<Vec<(Type, Content)>, TextError> {
        let mut written = Vec::new();
        if n == 0 {
            return Ok(written);
        }
        self.l.sign(':')?;
        for i in 0..n {
            if i > 0 {
                self.l.sign(',')?;
            }
            written.push((self.l.ty()?, self.content()?));
        }
        Ok(written)
    }

    fn blocks(&mut self) -> Result<Vec<BlockId>, TextError> {
        let mut blocks = Vec::new();
        while self.l.accept_word("do")? {
            self.l.enter()?;
            let block = self.graph.add_block();
            let params = self.params(block)?;
            self.l.sign('{')?;
            let inside = self.nodes(block, "yield")?;
            for id in params.iter().chain(&inside) {
                self.scope.remove(id);
            }
            self.l.leave();
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Types and known elements of the results, the written ones if they fit.
    #[allow(clippy::type_complexity, reason = "the two lists that push_node takes")]
    fn infer(
        &mut self,
        op: &'static OpRow,
        attrs: &Attrs,
        inputs: &[ValueId],
        blocks: &[BlockId],
        written: &[(Type, Content)],
    ) -> Result<(Vec<Type>, Vec<Option<Vec<Dim>>>), ops::OpError> {
        op.check_attrs(attrs)?;
        if !blocks.is_empty() && !op.has_bodies() {
            return Err(ops::OpError(format!("{} takes no bodies", op.name)));
        }
        let last = self.graph.last_sym();
        let mut cx = InferCx::new(&mut self.graph, attrs, inputs, blocks);
        let inferred = (op.infer)(&mut cx)?;
        if inferred.len() != written.len() {
            let (expected, found) = (inferred.len(), written.len());
            return Err(ops::OpError(format!("expected {expected} results, found {found}")));
        }
        for (i, (expected, (found, _))) in inferred.iter().zip(written).enumerate() {
            if !is_instance(found, expected, last) {
                return Err(ops::OpError(format!("result {i} must have type {expected}, found {found}")));
            }
        }
        let mut usual = written.first().and_then(|(ty, _)| op.content_of(&cx, ty));
        let contents = written.iter().map(|(_, content)| match (content, usual.take()) {
            (Content::Usual, usual) => usual,
            (Content::Exactly(c), _) => c.clone(),
        });
        let contents = contents.collect();
        Ok((written.iter().map(|(ty, _)| ty.clone()).collect(), contents))
    }
}
