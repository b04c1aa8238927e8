//! A module ready to run: the text, its variables, its kernels.

use crate::check::fault::{Fault, FaultKind};
use crate::decode;
use crate::exec::launch::{Extent, Options, Stats, launch};
use crate::memory::Memory;
use crate::parse::ast::Syntax;
use crate::parse::{ParseError, parse};
use crate::program::Kernel;
use crate::types::Space;
use std::sync::atomic::{AtomicU64, Ordering};

/// A PTX module that can be run.
#[derive(Debug)]
pub struct Module {
    text: String,
    pub(crate) syntax: Syntax,
    kernels: Vec<Kernel>,
    options: Options,
    number: u64,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Module {
    /// Reads a module; whatever in it could not be run is an error, with its line.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        let syntax = parse(text)?;
        let kernels = decode::decode(&syntax)?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Module { text: text.to_owned(), syntax, kernels, options: Options::default(), number })
    }

    /// The same module, run in another way.
    pub fn with_options(mut self, options: Options) -> Module {
        self.options = options;
        self
    }

    /// How it is run.
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its kernels.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|k| k.name.as_str())
    }

    /// Runs a kernel to its end. `params` are its parameters in the order of their declaration, each at
    /// its natural alignment.
    pub fn launch(
        &self,
        memory: &mut Memory,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared_bytes: u32,
        params: &[u8],
    ) -> Result<Stats, Fault> {
        let Some(found) = self.kernels.iter().find(|k| k.name == kernel) else {
            return Err(Fault {
                kernel: kernel.to_owned(),
                line: 0,
                block: [0; 3],
                thread: [0; 3],
                kind: FaultKind::Launch { why: "the module has no such kernel".to_owned() },
            });
        };
        let variables = self.variables(memory);
        let extent = Extent { grid, block, dynamic_shared: dynamic_shared_bytes };
        launch(found, memory, &self.options, extent, params, &variables)
    }

    /// The addresses of the module's variables, which get their values when a memory first sees them.
    fn variables(&self, memory: &mut Memory) -> Vec<u64> {
        if let Some(known) = memory.modules.get(&self.number) {
            return known.clone();
        }
        let mut addresses = Vec::new();
        for variable in &self.syntax.variables {
            let bytes = variable.bytes.filter(|_| variable.space != Space::Shared).unwrap_or(0);
            let address = memory.alloc(bytes as usize);
            let mut values = variable.init.clone();
            // What is not given is zero.
            values.resize(bytes as usize, 0);
            memory.write(address, &values).expect("the values fit what was just allocated");
            addresses.push(address);
        }
        memory.modules.insert(self.number, addresses.clone());
        addresses
    }
}
