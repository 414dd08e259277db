//! One library file: opening it, and saying clearly why it cannot be used.

use super::adapter::{BackendFactory, FactoryOrigin};
use abi_stable::library::{LibraryError, RootModule, lib_header_from_path};
use abi_stable::sabi_types::{VersionNumber, VersionStrings};
use millpond_backend_api::abi::BackendModule_Ref;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A library of state backends that was opened. It stays in memory until the process ends.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    api_version: String,
    factories: Vec<BackendFactory>,
}

impl Library {
    /// Opens the library at `path` and asks it for its factories. Opening runs code of the library.
    ///
    /// Any number of libraries can be open at once, also several versions of one: each has a module of its own.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        let refuse = |kind, reason: String| Refusal {
            path: path.to_owned(),
            kind,
            reason,
        };
        check_file(path).map_err(|reason| refuse(RefusalKind::NotLoadable, reason))?;
        // Never `load_from_file`: that keeps one module a process, and a second library would silently be the first.
        let explained = |error| {
            let (kind, reason) = explain(&error);
            refuse(kind, reason)
        };
        let header = lib_header_from_path(path).map_err(explained)?;
        let api_version = header.version_strings().to_string();
        if let Some(reason) = other_major(header.version_strings()) {
            return Err(refuse(RefusalKind::WrongAbi, reason));
        }
        let module = header
            .init_root_module::<BackendModule_Ref>()
            .map_err(|error| match error {
                LibraryError::AbiInstability(details) => refuse(
                    RefusalKind::WrongAbi,
                    format!(
                        "it was built against millpond-backend-api {api_version} with other types than those of this engine's {}: {}",
                        BackendModule_Ref::VERSION_STRINGS,
                        first_difference(&details.to_string())
                    ),
                ),
                error => explained(error),
            })?;
        let factories: Vec<_> = module.factories()()
            .into_iter()
            .map(|object| BackendFactory::new(object, FactoryOrigin::Library(path.to_owned())))
            .collect();
        if factories.is_empty() || factories.iter().any(|factory| factory.name().is_empty()) {
            return Err(refuse(
                RefusalKind::NotLoadable,
                "it exports no state backend factory, or one without a name".to_owned(),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            api_version,
            factories,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of `millpond-backend-api` that it was built against.
    #[must_use]
    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Its factories, at least one.
    #[must_use]
    pub fn factories(&self) -> &[BackendFactory] {
        &self.factories
    }
}

/// Why a library cannot be used, by what has to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The file is no library, not a library of state backends, or the system cannot load it: another file is needed.
    NotLoadable,
    /// It is a library of state backends for another version of the boundary: it must be built anew.
    WrongAbi,
}

/// A library that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// What has to be done about it.
    pub kind: RefusalKind,
    /// Why, in words that follow the file's name.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Refusal {}

/// Refuses what the system's loader would refuse too, in better words.
fn check_file(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("it cannot be opened: {error}"))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut start))
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if start.is_empty() {
        return Err("it is not a shared library: the file is empty".to_owned());
    }
    if cfg!(target_os = "linux") && !start.starts_with(b"\x7fELF") {
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let found = match std::str::from_utf8(line) {
            Ok(text) if !text.contains(char::is_control) => format!("a text file that starts with '{text}'"),
            _ => "a file of another kind".to_owned(),
        };
        return Err(format!("it is not a shared library but {found}"));
    }
    check_length(path, &start, metadata.len())
}

/// Checks that a 64-bit ELF file is as long as its header says. The loader maps what the header names, and what is missing would end the
/// process with a signal; a copy that is still under way looks just like that.
fn check_length(path: &Path, header: &[u8], len: u64) -> Result<(), String> {
    const CLASS_64: u8 = 2;
    if header.get(4) != Some(&CLASS_64) {
        return Ok(());
    }
    let number = |at: usize, bytes: usize, from: &[u8]| {
        let part = from.get(at..at + bytes).unwrap_or_default();
        part.iter()
            .rev()
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    let cut =
        |needed: u64| format!("it is cut: it has {len} bytes and needs {needed}; is it still being copied?");
    // The table of sections is the last thing in a file as linkers write it.
    let (sections, section_bytes, section_count) = (
        number(40, 8, header),
        number(58, 2, header),
        number(60, 2, header),
    );
    let end = sections.saturating_add(section_bytes * section_count);
    if end > len || header.len() < 64 {
        return Err(cut(end.max(64)));
    }
    let (segments, segment_bytes, segment_count) = (
        number(32, 8, header),
        number(54, 2, header),
        number(56, 2, header),
    );
    let mut table = Vec::new();
    std::fs::File::open(path)
        .and_then(|mut file| {
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(segments))?;
            file.take(segment_bytes * segment_count).read_to_end(&mut table)
        })
        .map_err(|error| format!("it cannot be read: {error}"))?;
    let step = usize::try_from(segment_bytes).unwrap_or(0).max(1);
    for segment in table.chunks(step) {
        let end = number(8, 8, segment).saturating_add(number(32, 8, segment));
        if end > len {
            return Err(cut(end));
        }
    }
    Ok(())
}

/// Why a library that was built against version `found` of the boundary is refused. Below 1.0 a minor version may break what the
/// one before it promised, and a check of types cannot see that.
fn other_major(found: VersionStrings) -> Option<String> {
    let own = BackendModule_Ref::VERSION_STRINGS;
    let (Ok(expected), Ok(actual)) = (VersionNumber::new(own), VersionNumber::new(found)) else {
        return Some(format!(
            "its millpond-backend-api version '{found}' cannot be read, expected {own}"
        ));
    };
    let same = expected.major == actual.major && (expected.major > 0 || expected.minor == actual.minor);
    (!same).then(|| {
        format!(
            "it was built against millpond-backend-api {actual}, this engine needs {expected} or a compatible version"
        )
    })
}

/// Says what an error of the loader means. Its own texts can be pages long.
fn explain(error: &LibraryError) -> (RefusalKind, String) {
    let own = BackendModule_Ref::VERSION_STRINGS;
    match error {
        LibraryError::OpenError { err, .. } => (
            RefusalKind::NotLoadable,
            format!("the system cannot load it: {}", first_line(&err.to_string())),
        ),
        LibraryError::GetSymbolError { .. } => (
            RefusalKind::NotLoadable,
            "it is a shared library but not a Millpond state backend: it has no root module (see export_backends! in \
             millpond-backend-api)"
                .to_owned(),
        ),
        LibraryError::IncompatibleVersionNumber { actual_version, .. } => (
            RefusalKind::WrongAbi,
            format!("it was built against millpond-backend-api {actual_version}, this engine needs {own}"),
        ),
        LibraryError::ParseVersionError(error) => (
            RefusalKind::WrongAbi,
            format!(
                "its millpond-backend-api version cannot be read ({}), expected {own}",
                first_line(&error.to_string())
            ),
        ),
        LibraryError::InvalidAbiHeader(found) => (
            RefusalKind::WrongAbi,
            format!(
                "it was built with another version of abi_stable: expected {}.{}, found {}.{}",
                abi_stable::library::AbiHeader::VALUE.abi_major,
                abi_stable::library::AbiHeader::VALUE.abi_minor,
                found.abi_major,
                found.abi_minor
            ),
        ),
        LibraryError::InvalidCAbi { expected, found } => (
            RefusalKind::WrongAbi,
            format!(
                "it passes C types in another way: expected {}, found {}",
                first_line(&expected.to_string()),
                first_line(&found.to_string())
            ),
        ),
        LibraryError::AbiInstability(details) => (
            RefusalKind::WrongAbi,
            format!("its types differ: {}", first_difference(&details.to_string())),
        ),
        LibraryError::RootModule { err, .. } => (
            RefusalKind::NotLoadable,
            format!("its root module failed to initialise: {}", first_line(&err.to_string())),
        ),
        LibraryError::Many(errors) => errors.first().map_or_else(
            || (RefusalKind::NotLoadable, "for an unknown reason".to_owned()),
            explain,
        ),
    }
}

/// The first line with something on it.
fn first_line(text: &str) -> &str {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no details")
}

/// The first difference of abi_stable's layout report, in one line: `Type.field: what, expected .., found ..`.
///
/// The report has a section a type that was compared: how many errors there are, the way to the type (field by field, each with its
/// type and package), both layouts, and the errors, each with what was expected and found.
fn first_difference(report: &str) -> String {
    let mut lines = report
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.contains("error(s)inside:") || line.starts_with("0 "));
    let mut owner = "";
    let mut fields = String::new();
    let mut field_type = "";
    for line in lines.by_ref().take_while(|line| !line.starts_with("Layout of")) {
        if let Some(field) = line.strip_prefix("field_name:") {
            fields.push('.');
            fields.push_str(field);
        } else if let Some(name) = line.strip_prefix("type:") {
            field_type = name;
        } else if line.starts_with("package:'millpond-") {
            owner = field_type;
            fields.clear();
        }
    }
    let mut errors = lines.skip_while(|line| !line.starts_with("Error:"));
    let Some(what) = errors.next().and_then(|line| line.strip_prefix("Error:")) else {
        return first_line(report).to_owned();
    };
    let mut after = |label| {
        errors.by_ref().find(|line| line.starts_with(label));
        errors.by_ref().find(|line| !line.is_empty()).unwrap_or("?")
    };
    let expected = after("Expected:");
    let found = after("Found:");
    format!("{owner}{fields}: {what}, expected {expected}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_boundary_is_named_with_both_versions() {
        let reason = other_major(VersionStrings::new("7.0.1")).unwrap();
        assert!(
            reason.contains("7.0.1") && reason.contains(env!("CARGO_PKG_VERSION")),
            "{reason}"
        );
        assert!(other_major(VersionStrings::new("0.77.0")).is_some());
        assert!(other_major(VersionStrings::new("new")).is_some_and(|reason| reason.contains("'new'")));
        assert_eq!(other_major(BackendModule_Ref::VERSION_STRINGS), None);
    }
}
