//! Kernels and device functions: parameters, scopes, labels, instructions with operands.

use super::ast::{Function, Guard, Instruction, Label, Operand, Parameter, Registers};
use super::lex::Token;
use super::{Parsed, Parser};
use crate::types::Space;

impl Parser<'_> {
    /// What follows `.entry` or `.func`; none for a declaration without a body.
    pub(super) fn function(&mut self, is_kernel: bool) -> Parsed<Option<Function>> {
        let mut function = Function { is_kernel, scopes: vec![0], line: self.line(), ..Function::default() };
        if self.peek() == Token::Mark(b'(') {
            function.returns = self.parameters()?;
        }
        function.name = self.word("a name")?.to_owned();
        if self.peek() == Token::Mark(b'(') {
            function.params = self.parameters()?;
        }
        self.directives(&mut function)?;
        if self.mark(b';') {
            return Ok(None);
        }
        self.expect(b'{')?;
        self.block(&mut function, 0)?;
        Ok(Some(function))
    }

    fn parameters(&mut self) -> Parsed<Vec<Parameter>> {
        self.expect(b'(')?;
        let mut all = Vec::new();
        while !self.mark(b')') {
            match self.word("a parameter")? {
                ".param" => all.push(Parameter::Memory(self.variable(Space::Param)?)),
                ".reg" => {
                    let ty = self.word("a type")?;
                    let ty = self.type_named(ty.trim_start_matches('.'))?;
                    all.push(Parameter::Register { name: self.word("a name")?.to_owned(), ty });
                }
                other => return self.error(format!("expected a parameter, found \"{other}\"")),
            }
            self.mark(b',');
        }
        Ok(all)
    }

    fn directives(&mut self, function: &mut Function) -> Parsed<()> {
        while let Token::Word(word) = self.peek() {
            self.advance();
            let mut numbers = Vec::new();
            while let Token::Int(value) = self.peek() {
                self.advance();
                numbers.push(value);
                self.mark(b',');
            }
            match word {
                ".maxntid" | ".reqntid" => function.max_threads = Some(numbers.iter().product()),
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" | ".noreturn" | ".reqnctapercluster"
                | ".explicitcluster" | ".maxclusterrank" => {}
                _ => return self.error(format!("unknown directive \"{word}\"")),
            }
        }
        Ok(())
    }

    /// What stands in a scope, after its opening brace and with its closing one.
    fn block(&mut self, function: &mut Function, scope: usize) -> Parsed<()> {
        while !self.mark(b'}') {
            if self.mark(b'{') {
                let inner = function.scopes.len();
                function.scopes.push(scope);
                self.block(function, inner)?;
                continue;
            }
            match self.peek() {
                Token::Word(word) if word.starts_with('.') => self.declaration(word, function, scope)?,
                Token::Word(name) if self.tokens[self.at + 1].token == Token::Mark(b':') => {
                    let line = self.advance().line;
                    self.advance();
                    if self.peek() == Token::Word(".branchtargets") {
                        self.advance();
                        let targets = self.names()?;
                        function.branch_targets.push((scope, name.to_owned(), targets));
                    } else {
                        let at = function.body.len();
                        function.labels.push(Label { scope, name: name.to_owned(), at, line });
                    }
                }
                Token::Word(_) | Token::Mark(b'@') => {
                    let instruction = self.instruction(scope)?;
                    function.body.push(instruction);
                }
                Token::Mark(b';') => drop(self.advance()),
                _ => return self.unexpected("a statement"),
            }
        }
        Ok(())
    }

    fn names(&mut self) -> Parsed<Vec<String>> {
        let mut names = Vec::new();
        while !self.mark(b';') {
            names.push(self.word("a label")?.to_owned());
            self.mark(b',');
        }
        Ok(names)
    }

    fn declaration(&mut self, word: &str, function: &mut Function, scope: usize) -> Parsed<()> {
        match word {
            ".loc" | ".file" | ".pragma" => self.skip_line(self.line()),
            ".reg" => {
                self.advance();
                self.registers(function, scope)?;
            }
            _ => {
                let Some(space) = Space::named(&word[1..]) else { return self.unexpected("a declaration") };
                self.advance();
                let variable = self.variable(space)?;
                function.variables.push((scope, variable));
                self.expect(b';')?;
            }
        }
        Ok(())
    }

    fn registers(&mut self, function: &mut Function, scope: usize) -> Parsed<()> {
        let ty = self.word("a type")?;
        let ty = self.type_named(ty.trim_start_matches('.'))?;
        loop {
            let line = self.line();
            let name = self.word("a register")?.to_owned();
            let mut count = None;
            if self.mark(b'<') {
                count = Some(self.int()?);
                self.expect(b'>')?;
            }
            function.registers.push(Registers { scope, name, count, ty, line });
            if !self.mark(b',') {
                return self.expect(b';');
            }
        }
    }

    fn instruction(&mut self, scope: usize) -> Parsed<Instruction> {
        let (line, start) = (self.line(), self.tokens[self.at].start);
        let mut guard = None;
        if self.mark(b'@') {
            let negated = self.mark(b'!');
            let end = self.tokens[self.at].end;
            let name = self.word("a predicate")?.to_owned();
            guard = Some(Guard { name, negated, span: start..end });
        }
        let opcode = self.word("an instruction")?.to_owned();
        let mut operands = Vec::new();
        while self.peek() != Token::Mark(b';') {
            operands.push(self.operand()?);
            if !self.mark(b',') && self.peek() != Token::Mark(b';') {
                return self.unexpected("\",\" or \";\"");
            }
        }
        let end = self.advance().end;
        Ok(Instruction { scope, guard, opcode, operands, line, span: start..end })
    }

    fn operand(&mut self) -> Parsed<Operand> {
        if self.mark(b'!') {
            return Ok(Operand::Not(self.word("a predicate")?.to_owned()));
        }
        let first = match self.peek() {
            Token::Mark(b'[') => self.address()?,
            Token::Mark(b'{') => {
                self.advance();
                Operand::Vector(self.operands_until(b'}')?)
            }
            Token::Mark(b'(') => {
                self.advance();
                Operand::List(self.operands_until(b')')?)
            }
            _ => self.value()?,
        };
        if self.mark(b'|') {
            let second = self.operand()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn operands_until(&mut self, end: u8) -> Parsed<Vec<Operand>> {
        let mut all = Vec::new();
        while !self.mark(end) {
            all.push(self.operand()?);
            self.mark(b',');
        }
        Ok(all)
    }

    /// A name, perhaps with an offset, or a literal.
    fn value(&mut self) -> Parsed<Operand> {
        let negative = self.mark(b'-');
        let placed = self.advance();
        Ok(match placed.token {
            Token::Word("_") => Operand::Sink,
            Token::Word("WARP_SZ") => Operand::Int(32),
            Token::Word(name) if !negative => match self.offset()? {
                Some(offset) => Operand::Offset(name.to_owned(), offset),
                None => Operand::Name(name.to_owned()),
            },
            Token::Int(v) => Operand::Int(if negative { v.wrapping_neg() } else { v }),
            Token::F32(bits) => Operand::F32(bits ^ (u32::from(negative) << 31)),
            Token::F64(bits) => Operand::F64(bits ^ (u64::from(negative) << 63)),
            Token::Decimal(v) => Operand::F64(if negative { -v } else { v }.to_bits()),
            _ => return self.unexpected("an operand"),
        })
    }

    fn offset(&mut self) -> Parsed<Option<i64>> {
        if self.mark(b'+') || self.peek() == Token::Mark(b'-') {
            return self.signed().map(Some);
        }
        Ok(None)
    }

    fn address(&mut self) -> Parsed<Operand> {
        self.expect(b'[')?;
        let (base, offset) = match self.value()? {
            Operand::Offset(name, offset) => (Operand::Name(name), offset),
            base => (base, 0),
        };
        let mut coordinates = Vec::new();
        if self.mark(b',') {
            match self.operand()? {
                Operand::Vector(all) => coordinates = all,
                _ => return self.error("expected coordinates in braces"),
            }
        }
        self.expect(b']')?;
        Ok(Operand::Address { base: Box::new(base), offset, coordinates })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Operand;
    use super::super::parse;

    #[test]
    fn a_kernel_has_scopes_labels_guards_and_operands() {
        let text = ".target sm_80\n.visible .entry k(.param .u64 p, .param .align 8 .b8 q[16])\n\
            .maxntid 64, 2, 1\n{\n.reg .pred %p<2>;\n.reg .b32 %r<4>, %x;\nL0:\n\
            { .reg .b32 %x; @!%p1 ld.param.v2.b32 {%x, _}, [q+-8]; }\n\
            setp.lt.s32 %p0|%p1, %r1, -3;\nT: .branchtargets L0, L1;\nL1: ret;\n}";
        let module = parse(text).expect("a module");
        let k = &module.functions[0];
        assert_eq!((k.max_threads, k.params.len(), k.scopes.len()), (Some(128), 2, 2));
        assert_eq!(k.body.iter().map(|i| (i.scope, i.line)).collect::<Vec<_>>(), [(1, 8), (0, 9), (0, 11)]);
        let guard = k.body[0].guard.as_ref().expect("a guard");
        assert_eq!((&text[guard.span.clone()], guard.negated), ("@!%p1", true));
        assert_eq!(&text[k.body[0].span.clone()], "@!%p1 ld.param.v2.b32 {%x, _}, [q+-8];");
        let base = Box::new(Operand::Name("q".into()));
        assert_eq!(k.body[0].operands[1], Operand::Address { base, offset: -8, coordinates: vec![] });
        assert_eq!(k.body[1].operands[2], Operand::Int(-3i64 as u64));
        assert_eq!(k.branch_targets[0].2, ["L0", "L1"]);
        assert_eq!((k.labels[1].name.as_str(), k.labels[1].at), ("L1", 2));
    }
}
