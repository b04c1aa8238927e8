//! What code is made for: a CPU, or CUDA devices.

use crate::cpu::{CodegenError, CpuTarget};
use crate::gpu::Sm;
use std::fmt;

/// What code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// A CPU.
    Cpu(CpuTarget),
    /// CUDA devices: one generation, or by a text for each.
    Cuda(Option<Sm>),
}

impl Machine {
    /// The machine with this name: that of a CPU, `cuda`, or `cuda:sm_80`.
    pub fn parse(name: &str) -> Result<Machine, CodegenError> {
        match name.split_once(':') {
            None if name == "cuda" => Ok(Machine::Cuda(None)),
            Some(("cuda", sm)) => match Sm::from_name(sm) {
                Some(sm) => Ok(Machine::Cuda(Some(sm))),
                None => Err(CodegenError::UnknownTarget(name.into())),
            },
            _ => CpuTarget::parse(name).map(Machine::Cpu),
        }
    }

    /// The machines with these names, which commas separate; a name that is there twice counts once.
    pub fn parse_all(names: &str) -> Result<Vec<Machine>, CodegenError> {
        let mut all = Vec::new();
        for name in names.split(',').map(str::trim) {
            let machine = Machine::parse(name)?;
            if !all.contains(&machine) {
                all.push(machine);
            }
        }
        Ok(all)
    }

    /// The names that [`Machine::parse`] knows.
    pub fn names() -> Vec<String> {
        let cpu = CpuTarget::names().map(str::to_owned);
        let cuda = std::iter::once("cuda".to_owned());
        cpu.chain(cuda).chain(Sm::ALL.map(|sm| format!("cuda:{sm}"))).collect()
    }

    /// The generations of devices that text is made for; none for a CPU.
    pub fn generations(self) -> Vec<Sm> {
        match self {
            Machine::Cpu(_) => Vec::new(),
            Machine::Cuda(Some(sm)) => vec![sm],
            Machine::Cuda(None) => Sm::ALL.to_vec(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::Cpu(cpu) => cpu.fmt(f),
            Machine::Cuda(None) => f.write_str("cuda"),
            Machine::Cuda(Some(sm)) => write!(f, "cuda:{sm}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_each_machine_once() {
        let names = |list| Machine::parse_all(list).map(|all| all.iter().map(Machine::to_string).collect());
        assert_eq!(names("cuda, cuda:sm_80,cuda"), Ok(vec!["cuda".to_owned(), "cuda:sm_80".to_owned()]));
        for bad in ["", "cuda,", "cuda,pdp11"] {
            assert!(Machine::parse_all(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn machines_are_parsed_by_the_names_they_print() {
        for name in Machine::names().iter().filter(|n| *n != "native") {
            assert_eq!(Machine::parse(name).map(|m| m.to_string()).as_ref(), Ok(name));
        }
        for bad in ["cuda:sm_42", "cuda:", "sm_80", "opencl:sm_80", ""] {
            assert!(Machine::parse(bad).is_err(), "{bad}");
        }
    }
}
