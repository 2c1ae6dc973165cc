//! What the head of a program's file says: for which machine it is.

/// How much of a file has to be looked at.
pub const HEAD: usize = 20;

/// A machine that our programs are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// `x86_64`, Debian's amd64.
    X86_64,
    /// `aarch64`, Debian's arm64.
    Aarch64,
}

impl Machine {
    /// Returns the name as the kernel and Rust have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// Says why a file is no program for one of our machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It does not begin as a program does.
    #[error("it is not a program of Linux (no ELF file)")]
    NotElf,
    /// It is an object file, a library or a core dump.
    #[error("it is an ELF file, but not a program that can be run")]
    NotAProgram,
    /// It is for a machine that we know nothing of.
    #[error("it is for another kind of machine than x86_64 and aarch64 (ELF machine {0})")]
    OtherMachine(u16),
}

/// Reads the machine out of the first [`HEAD`] octets of a file (`elf(5)`:
/// `e_ident`, `e_type`, `e_machine`).
///
/// # Errors
///
/// It is no program, or none for a machine of ours.
pub fn machine(head: &[u8]) -> Result<Machine, ElfError> {
    // ELFCLASS64, ELFDATA2LSB: both machines are 64 bits wide and have the
    // lowest octet first.
    let (Some([0x7f, b'E', b'L', b'F', class, order]), Some(&[t0, t1, m0, m1])) =
        (head.first_chunk::<6>(), head.get(16..20).and_then(<[u8]>::first_chunk::<4>))
    else {
        return Err(ElfError::NotElf);
    };
    let machine = u16::from_le_bytes([m0, m1]);
    if (*class, *order) != (2, 1) {
        return Err(ElfError::OtherMachine(machine));
    }
    // ET_EXEC or ET_DYN, which position-independent programs are.
    if !matches!(u16::from_le_bytes([t0, t1]), 2 | 3) {
        return Err(ElfError::NotAProgram);
    }
    // EM_X86_64, EM_AARCH64
    match machine {
        62 => Ok(Machine::X86_64),
        183 => Ok(Machine::Aarch64),
        other => Err(ElfError::OtherMachine(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: u8, kind: u8, machine: u8) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', class, 1, 1, 0];
        head.resize(16, 0);
        head.extend([kind, 0, machine, 0]);
        head
    }

    #[test]
    fn this_program_is_for_this_machine() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(machine(&own).unwrap().as_str(), std::env::consts::ARCH);
    }

    #[test]
    fn machines_are_told_apart_and_the_rest_is_refused() {
        assert_eq!(machine(&head(2, 3, 62)), Ok(Machine::X86_64));
        assert_eq!(machine(&head(2, 2, 183)), Ok(Machine::Aarch64));
        assert_eq!(machine(&head(2, 3, 243)), Err(ElfError::OtherMachine(243)));
        assert_eq!(machine(&head(1, 2, 40)), Err(ElfError::OtherMachine(40)));
        assert_eq!(machine(&head(2, 1, 62)), Err(ElfError::NotAProgram));
        for bad in [&b""[..], b"#!/bin/sh\nexit 0\n", &head(2, 3, 62)[..19], b"MZ\x90\0"] {
            assert_eq!(machine(bad), Err(ElfError::NotElf));
        }
    }
}
