//! What the machine must have, and how to get it.

use crate::{Failure, say};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something that is not part of a Rust toolchain.
#[derive(Debug)]
struct Program {
    /// Any of these names will do.
    names: &'static [&'static str],
    /// Where a machine has it.
    kind: Kind,
    /// What it is for.
    purpose: &'static str,
    /// Whether nothing works without it; else some tests skip themselves.
    needed: bool,
    /// Only there on Linux.
    linux_only: bool,
    /// Its package for apt, dnf, apk and pacman.
    packages: [&'static str; 4],
}

/// Where to look for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In the folders for programs.
    Program,
    /// The library of clang, with the headers that belong to it: as bindgen looks for it.
    Libclang,
}

const PROGRAMS: [Program; 5] = [
    Program {
        names: &["cc", "gcc", "clang"],
        kind: Kind::Program,
        purpose: "links every program and builds a library for the loader's tests",
        needed: true,
        linux_only: false,
        packages: ["build-essential", "gcc", "build-base", "base-devel"],
    },
    Program {
        names: &["strace"],
        kind: Kind::Program,
        purpose: "injects faults into system calls for the tests of storage",
        needed: false,
        linux_only: true,
        packages: ["strace", "strace", "strace", "strace"],
    },
    Program {
        names: &["awk"],
        kind: Kind::Program,
        purpose: "counts words the other way for the tests of word_count",
        needed: false,
        linux_only: false,
        packages: ["gawk", "gawk", "gawk", "gawk"],
    },
    Program {
        names: &["xfs_io"],
        kind: Kind::Program,
        purpose: "cuts the power of the disks in the tests of power cuts",
        needed: false,
        linux_only: true,
        packages: ["xfsprogs", "xfsprogs", "xfsprogs-extra", "xfsprogs"],
    },
    Program {
        names: &["mkfs.ext4"],
        kind: Kind::Program,
        purpose: "makes disks for the tests of power cuts",
        needed: false,
        linux_only: true,
        packages: ["e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"],
    },
];

/// What RocksDB is compiled with.
const FOR_ROCKSDB: [Program; 2] = [
    Program {
        names: &["c++", "g++", "clang++"],
        kind: Kind::Program,
        purpose: "compiles RocksDB",
        needed: true,
        linux_only: false,
        packages: ["g++", "gcc-c++", "g++", "gcc"],
    },
    Program {
        names: &["libclang"],
        kind: Kind::Libclang,
        purpose: "reads the headers of RocksDB",
        needed: true,
        linux_only: false,
        packages: ["libclang-dev", "clang-devel", "clang-dev", "clang"],
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
    let mut left_out = Vec::new();
    for (program, text) in get(&PROGRAMS) {
        if program.needed {
            return Err(Failure::Machine(text));
        }
        left_out.push(text);
    }
    Ok(left_out)
}

/// The bytes that anybody may still write into the file system of `folder`. `None` where that cannot be told, or nothing can be written there.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let probe = folder.join(format!(".millpond-xtask-{}", std::process::id()));
    std::fs::write(&probe, "")
        .and_then(|()| std::fs::remove_file(&probe))
        .ok()?;
    let output = Command::new("df").args(["-Pk"]).arg(folder).output().ok()?;
    free_bytes_of(&String::from_utf8_lossy(&output.stdout))
}

/// The bytes that are free by what `df -Pk` says of one file system.
fn free_bytes_of(table: &str) -> Option<u64> {
    let free = table.lines().nth(1)?.split_whitespace().nth(3)?;
    free.parse::<u64>().ok()?.checked_mul(1024)
}

/// Installs what RocksDB is compiled with, if it is missing. Returns what could not be had, in words.
pub(crate) fn prepare_for_rocksdb() -> Vec<String> {
    get(&FOR_ROCKSDB).into_iter().map(|(_, text)| text).collect()
}

/// Installs what is missing of `programs`. Returns what could not be had, and what to do about it.
fn get(programs: &'static [Program]) -> Vec<(&'static Program, String)> {
    let missing: Vec<&Program> = programs.iter().filter(|program| !program.is_there()).collect();
    if missing.is_empty() {
        return Vec::new();
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
    let still_missing = missing.into_iter().filter(|program| !program.is_there());
    let in_words = still_missing.map(|program| {
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
        (program, text)
    });
    in_words.collect()
}

impl Program {
    fn is_there(&self) -> bool {
        if self.linux_only && !cfg!(target_os = "linux") {
            return true;
        }
        match self.kind {
            Kind::Program => self.names.iter().any(|name| answers(name)),
            Kind::Libclang => {
                let folders = libclang_folders();
                let headers = ["/usr/lib", "/usr/lib64"].map(PathBuf::from);
                folders.iter().any(|folder| has_libclang(folder, &headers))
            }
        }
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

/// Where bindgen looks for the library of clang: where it is told to, then where systems put it.
fn libclang_folders() -> Vec<PathBuf> {
    let told = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let asked = Command::new("llvm-config").arg("--libdir").output().ok();
    let asked = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let roots = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/opt/homebrew/opt/llvm/lib",
    ]
    .map(PathBuf::from);
    let below = roots.iter().flat_map(|root| subfolders(root));
    // Such as /usr/lib/llvm-19/lib.
    let versions = below.flat_map(|folder| [folder.join("lib"), folder.join("lib64"), folder]);
    let mac = PathBuf::from("/Library/Developer/CommandLineTools/usr/lib");
    let mut folders: Vec<PathBuf> = told
        .into_iter()
        .chain(asked)
        .chain([mac])
        .chain(versions)
        .collect();
    folders.extend(roots);
    folders
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Whether the library is in `folder`, with the headers of its compiler beside it or in one of the folders of `others`: a machine that only runs
/// programs may have the first without the second.
fn has_libclang(folder: &Path, others: &[PathBuf]) -> bool {
    let is_libclang = |path: &Path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_it = ["libclang.", "libclang-"].iter().any(|start| {
            name.strip_prefix(start)
                .is_some_and(|rest| !rest.starts_with("cpp"))
        });
        let is_shared = name.contains(".so") || name.contains(".dylib");
        is_it && is_shared && path.exists()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let libraries = entries.map(|entry| entry.path()).filter(|path| is_libclang(path));
    libraries
        .filter_map(|path| path.canonicalize().ok())
        .any(|library| {
            let beside = library.parent().unwrap_or(folder);
            [beside, folder]
                .into_iter()
                .chain(others.iter().map(PathBuf::as_path))
                .flat_map(|folder| subfolders(&folder.join("clang")))
                .any(|version| version.join("include").join("stddef.h").is_file())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_any_of_its_names() {
        let program = Program {
            names: &["no-such-program-anywhere", "cargo"],
            kind: Kind::Program,
            purpose: "",
            needed: true,
            linux_only: false,
            packages: [""; 4],
        };
        assert!(program.is_there());
        assert!(!answers("no-such-program-anywhere"));
    }

    #[test]
    fn the_library_of_clang_counts_with_its_headers_only() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("llvm-19/lib");
        std::fs::create_dir_all(&folder).unwrap();
        assert!(!has_libclang(&folder, &[]));
        // Others of the same family are no substitute.
        for name in ["libclang-cpp.so.19", "libclangAST.a", "libclang.a"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let headers = folder.join("clang/19/include");
        std::fs::create_dir_all(&headers).unwrap();
        std::fs::write(headers.join("stddef.h"), "").unwrap();
        assert!(!has_libclang(&folder, &[]));
        std::fs::write(folder.join("libclang-19.so.1"), "").unwrap();
        assert!(has_libclang(&folder, &[]));
        std::fs::remove_file(headers.join("stddef.h")).unwrap();
        assert!(!has_libclang(&folder, &[]));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_elsewhere_finds_the_headers_beside_the_library_itself() {
        let root = tempfile::tempdir().unwrap();
        let (real, linked) = (root.path().join("llvm/lib"), root.path().join("lib"));
        std::fs::create_dir_all(real.join("clang/19/include")).unwrap();
        std::fs::create_dir_all(&linked).unwrap();
        std::fs::write(real.join("clang/19/include/stddef.h"), "").unwrap();
        std::os::unix::fs::symlink(real.join("libclang.so.1"), linked.join("libclang-19.so")).unwrap();
        assert!(!has_libclang(&linked, &[]), "the link leads nowhere");
        std::fs::write(real.join("libclang.so.1"), "").unwrap();
        assert!(has_libclang(&linked, &[]));
    }

    #[test]
    fn free_space_is_told_where_something_can_be_written() {
        let table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                     tmpfs         25165824 8804  25157020       1% /dev/shm\n";
        assert_eq!(free_bytes_of(table), Some(25_157_020 << 10));
        assert_eq!(free_bytes_of("nothing"), None);
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).is_some_and(|bytes| bytes > 0));
        assert_eq!(free_bytes(&folder.path().join("nowhere")), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
