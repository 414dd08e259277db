//! What the machine must have, and how to get it.

use crate::{Failure, say};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program that is not part of a Rust toolchain.
#[derive(Debug)]
struct Program {
    /// Any of these names will do.
    names: &'static [&'static str],
    /// What it is for.
    purpose: &'static str,
    /// Whether nothing works without it; else some tests skip themselves.
    needed: bool,
    /// Only there on Linux.
    linux_only: bool,
    /// Its package for apt, dnf, apk and pacman.
    packages: [&'static str; 4],
}

const PROGRAMS: [Program; 5] = [
    Program {
        names: &["cc", "gcc", "clang"],
        purpose: "links every program and builds a library for the loader's tests",
        needed: true,
        linux_only: false,
        packages: ["build-essential", "gcc", "build-base", "base-devel"],
    },
    Program {
        names: &["strace"],
        purpose: "injects faults into system calls for the tests of storage",
        needed: false,
        linux_only: true,
        packages: ["strace", "strace", "strace", "strace"],
    },
    Program {
        names: &["awk"],
        purpose: "counts words the other way for the tests of word_count",
        needed: false,
        linux_only: false,
        packages: ["gawk", "gawk", "gawk", "gawk"],
    },
    Program {
        names: &["xfs_io"],
        purpose: "cuts the power of the disks in the tests of power cuts",
        needed: false,
        linux_only: true,
        packages: ["xfsprogs", "xfsprogs", "xfsprogs-extra", "xfsprogs"],
    },
    Program {
        names: &["mkfs.ext4"],
        purpose: "makes disks for the tests of power cuts",
        needed: false,
        linux_only: true,
        packages: ["e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"],
    },
];

/// A package manager, with what comes before the names of packages.
#[derive(Debug)]
struct Manager {
    program: &'static str,
    refresh: Option<&'static [&'static str]>,
    install: &'static [&'static str],
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        refresh: Some(&["update"]),
        install: &["install", "-y", "--no-install-recommends"],
    },
    Manager {
        program: "dnf",
        refresh: None,
        install: &["install", "-y"],
    },
    Manager {
        program: "apk",
        refresh: None,
        install: &["add"],
    },
    Manager {
        program: "pacman",
        refresh: None,
        install: &["-Sy", "--noconfirm"],
    },
];

/// Installs what is missing. Returns what could not be had and is not needed, in words.
///
/// # Errors
/// What is needed and could not be had, with the command that installs it.
pub(crate) fn prepare() -> Result<Vec<String>, Failure> {
    let missing: Vec<&Program> = PROGRAMS.iter().filter(|program| !program.is_there()).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let manager = MANAGERS
        .iter()
        .enumerate()
        .find(|(_, manager)| answers(manager.program));
    if let Some((at, manager)) = manager {
        let packages: Vec<&str> = missing
            .iter()
            .filter_map(|program| program.packages.get(at).copied())
            .collect();
        install(manager, &packages);
    }
    let mut left_out = Vec::new();
    for program in missing.iter().filter(|program| !program.is_there()) {
        let how = manager.map_or_else(
            || "install it by the package manager of this system".to_owned(),
            |(at, manager)| {
                let package = program.packages.get(at).copied().unwrap_or_default();
                format!(
                    "install it by: sudo {} {} {package}",
                    manager.program,
                    manager.install.join(" ")
                )
            },
        );
        let text = format!(
            "{} is missing ({}); {how}",
            program.names.join(" or "),
            program.purpose
        );
        if program.needed {
            return Err(Failure::Machine(text));
        }
        left_out.push(text);
    }
    Ok(left_out)
}

impl Program {
    fn is_there(&self) -> bool {
        (self.linux_only && !cfg!(target_os = "linux")) || self.names.iter().any(|name| answers(name))
    }
}

/// Runs the package manager if that is allowed. Whether it helped is seen by looking again.
fn install(manager: &Manager, packages: &[&str]) {
    let Some(prefix) = privilege() else {
        return;
    };
    for arguments in manager
        .refresh
        .into_iter()
        .map(<[_]>::to_vec)
        .chain([[manager.install, packages].concat()])
    {
        let mut words: Vec<&str> = prefix.to_vec();
        words.push(manager.program);
        words.extend(arguments);
        say(format_args!("$ {}", words.join(" ")));
        if let Some((program, arguments)) = words.split_first() {
            // A failure shows in what is still missing.
            let _ = Command::new(program)
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .status();
        }
    }
}

/// What to put in front of a command to run it as root: nothing for root, sudo if it asks for no password.
fn privilege() -> Option<&'static [&'static str]> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    sudo.is_ok_and(|status| status.success())
        .then_some(&["sudo", "-n"])
}

/// Whether there is a program of this name in a folder of `PATH`, or among those for root, which are not in everybody's `PATH`.
fn answers(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|folder| {
            let file = folder.join(program);
            file.is_file() || file.with_extension("exe").is_file()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_any_of_its_names() {
        let program = Program {
            names: &["no-such-program-anywhere", "cargo"],
            purpose: "",
            needed: true,
            linux_only: false,
            packages: [""; 4],
        };
        assert!(program.is_there());
        assert!(!answers("no-such-program-anywhere"));
    }
}
