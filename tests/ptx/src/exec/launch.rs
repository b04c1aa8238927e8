//! A launch: what all its blocks share, and the order in which they run.

use super::block::{Block, Progress};
use crate::check::fault::{Fault, FaultKind};
use crate::memory::Memory;
use crate::program::{Constant, Kernel, Lanes};

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most instructions, counted for each thread, that a launch may take.
    pub limit: u64,
    /// Decides in which order warps and diverged threads run; the result of a correct kernel does not
    /// depend on it.
    pub seed: u64,
    /// Moves results of approximate instructions within the error that the manual allows them, by this
    /// seed; without one they are as exact as their format.
    pub perturb: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { limit: 4_000_000_000, seed: 0, perturb: None }
    }
}

/// What a launch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions, counted for each thread that ran them.
    pub instructions: u64,
    /// Blocks that ran.
    pub blocks: u64,
    /// How often lanes waited for others at a bank of shared memory.
    pub conflicts: u64,
}

/// What all blocks of a launch share.
pub(crate) struct Cx<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) memory: &'a mut Memory,
    pub(crate) constants: Vec<Lanes>,
    pub(crate) params: &'a [u8],
    pub(crate) options: &'a Options,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
    pub(crate) spent: u64,
    pub(crate) conflicts: u64,
}

/// Sizes of a launch.
pub(crate) struct Extent {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
}

/// Most blocks that take turns before those that began earlier go on.
const ROUND: u64 = 64;

/// Runs a kernel; `variables` holds the addresses of the module's variables.
pub(crate) fn launch(
    kernel: &Kernel,
    memory: &mut Memory,
    options: &Options,
    extent: Extent,
    params: &[u8],
    variables: &[u64],
) -> Result<Stats, Fault> {
    check(kernel, &extent, params).map_err(|why| Fault {
        kernel: kernel.name.clone(),
        line: 0,
        block: [0; 3],
        thread: [0; 3],
        kind: FaultKind::Launch { why },
    })?;
    memory.begin_launch(kernel.global_granule);
    let value = |c: &Constant| match c {
        Constant::Value(v) => *v,
        Constant::Variable(number, offset) => variables[*number].wrapping_add(*offset),
    };
    let constants = kernel.constants.iter().map(|c| [value(c); 32]).collect();
    let Extent { grid, block, dynamic_shared } = extent;
    let (spent, conflicts) = (0, 0);
    let mut cx =
        Cx { kernel, memory, constants, params, options, grid, block, dynamic_shared, spent, conflicts };
    let blocks = grid.iter().map(|n| u64::from(*n)).product();
    let mut unfinished: Vec<Block> = Vec::new();
    for number in 0..blocks {
        let mut block = Block::new(&cx, number as u32);
        if block.run(&mut cx)? == Progress::Unfinished {
            unfinished.push(block);
        }
        if number % ROUND == ROUND - 1 {
            turn(&mut unfinished, &mut cx)?;
        }
    }
    while !unfinished.is_empty() {
        turn(&mut unfinished, &mut cx)?;
    }
    Ok(Stats { instructions: cx.spent, blocks, conflicts: cx.conflicts })
}

fn turn(unfinished: &mut Vec<Block>, cx: &mut Cx) -> Result<(), Fault> {
    let mut rest = Vec::new();
    for mut block in unfinished.drain(..) {
        if block.run(cx)? == Progress::Unfinished {
            rest.push(block);
        }
    }
    *unfinished = rest;
    Ok(())
}

fn check(kernel: &Kernel, extent: &Extent, params: &[u8]) -> Result<(), String> {
    let threads: u64 = extent.block.iter().map(|n| u64::from(*n)).product();
    let blocks = extent.grid.iter().try_fold(1u32, |all, n| all.checked_mul(*n));
    if params.len() as u64 != kernel.param_bytes {
        return Err(format!("expected {} bytes of parameters, found {}", kernel.param_bytes, params.len()));
    }
    if threads == 0 || threads > kernel.max_threads.unwrap_or(1024).min(1024) {
        return Err(format!("{threads} threads in a block"));
    }
    if blocks.is_none_or(|n| n == 0) || extent.grid[1] > 65535 || extent.grid[2] > 65535 {
        return Err(format!("a grid of {:?}", extent.grid));
    }
    let shared = kernel.shared_bytes.max(kernel.dynamic_at) + u64::from(extent.dynamic_shared);
    if shared > 227 << 10 {
        return Err(format!("{shared} bytes of shared memory"));
    }
    Ok(())
}
