//! Finding a factory by what the configuration says: among the registered ones, then in the libraries of the plugins folders.

use super::adapter::BackendFactory;
use super::library::{Library, Refusal};
use super::load_error::{LoadError, UnknownName};
use super::names;
use super::registry::BackendRegistry;
use std::collections::HashSet;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

/// Looks for state backends in libraries.
///
/// A library is only opened when a name is looked for that no registered factory has, since opening one runs its code.
#[derive(Clone, Debug)]
pub struct PluginLoader {
    folders: Vec<PathBuf>,
}

/// The libraries of one plugins folder.
#[derive(Debug)]
pub struct ScannedFolder {
    /// The folder as it was configured.
    pub path: PathBuf,
    /// Its libraries by file name, opened or refused; or why the folder cannot be read.
    pub libraries: Result<Vec<Result<Library, Refusal>>, String>,
}

impl PluginLoader {
    /// A loader for `folders`, searched in this order; relative ones start at the current folder.
    pub fn new(folders: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            folders: folders.into_iter().map(Into::into).collect(),
        }
    }

    /// The folders.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Opens every library of every folder. A file that can be reached in two ways is opened once.
    #[must_use]
    pub fn scan(&self) -> Vec<ScannedFolder> {
        let mut seen = HashSet::new();
        self.folders
            .iter()
            .map(|folder| ScannedFolder {
                path: folder.clone(),
                libraries: library_files(folder).map(|files| {
                    files
                        .into_iter()
                        .filter(|file| seen.insert(real_path(file)))
                        .map(|file| Library::open(&file))
                        .collect()
                }),
            })
            .collect()
    }

    /// The factory that `value` leads to: a short name in any case, a factory's full name, the name of a library in one of the
    /// folders (with or without `lib` and its suffix), or the path of one.
    ///
    /// # Errors
    /// Why there is none, or more than one.
    pub fn find(&self, value: &str, registry: &BackendRegistry) -> Result<BackendFactory, LoadError> {
        if let Some(factory) = registry.find(value) {
            return Ok(factory.clone());
        }
        if value.contains(std::path::MAIN_SEPARATOR) || value.contains('/') {
            return only_factory(value, &PathBuf::from(value));
        }
        if value.ends_with(DLL_SUFFIX) {
            return self.find_file(value);
        }
        self.find_name(value, registry)
    }

    /// The factory of the file called `value` in one of the folders.
    fn find_file(&self, value: &str) -> Result<BackendFactory, LoadError> {
        let looked_at: Vec<PathBuf> = self.folders.iter().map(|folder| folder.join(value)).collect();
        let mut seen = HashSet::new();
        let found: Vec<&PathBuf> = looked_at
            .iter()
            .filter(|file| file.exists() && seen.insert(real_path(file)))
            .collect();
        match found.as_slice() {
            [] => Err(LoadError::NoSuchFile {
                value: value.to_owned(),
                looked_at,
            }),
            [file] => only_factory(value, file),
            files => Err(LoadError::Ambiguous {
                value: value.to_owned(),
                candidates: files.iter().map(|file| file.display().to_string()).collect(),
                advice: "name one by its path",
            }),
        }
    }

    /// The factory called `value` in any library of the folders.
    fn find_name(&self, value: &str, registry: &BackendRegistry) -> Result<BackendFactory, LoadError> {
        let folders = self.scan();
        let results = || {
            folders
                .iter()
                .flat_map(|folder| folder.libraries.as_deref().unwrap_or_default())
        };
        let libraries = || results().filter_map(|result| result.as_ref().ok());
        let factories = || libraries().flat_map(Library::factories);

        let by_name: Vec<_> = factories().filter(|factory| factory.name() == value).collect();
        let short_name = value.to_lowercase();
        let candidates = if by_name.is_empty() {
            factories()
                .filter(|factory| factory.has_short_name(&short_name) && may_answer(factory, &short_name))
                .collect()
        } else {
            by_name
        };
        match candidates.as_slice() {
            [] => {}
            [factory] => return Ok((*factory).clone()),
            several => {
                return Err(LoadError::Ambiguous {
                    value: value.to_owned(),
                    candidates: several.iter().map(ToString::to_string).collect(),
                    advice: "name one by the file of its library, or move the others out of plugins.dir",
                });
            }
        }
        for result in results() {
            let path = match result {
                Ok(library) => library.path(),
                Err(refusal) => &refusal.path,
            };
            if is_called(path, value) {
                return match result {
                    Ok(_) => only_factory(value, path),
                    Err(refusal) => Err(LoadError::refused(value, refusal.clone())),
                };
            }
        }
        Err(unknown_name(value, registry, &folders))
    }
}

/// The error for a name that nobody has.
fn unknown_name(value: &str, registry: &BackendRegistry, folders: &[ScannedFolder]) -> LoadError {
    let results = || {
        folders
            .iter()
            .flat_map(|folder| folder.libraries.as_deref().unwrap_or_default())
    };
    let factories: Vec<&BackendFactory> = registry
        .iter()
        .chain(
            results()
                .filter_map(|result| result.as_ref().ok())
                .flat_map(Library::factories),
        )
        .collect();
    let advice = names::not_built_in(value);
    let file_names: Vec<String> = results()
        .filter_map(|result| result.as_ref().ok())
        .filter_map(|library| library.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    let candidates = factories
        .iter()
        .flat_map(|factory| {
            std::iter::once(factory.name()).chain(factory.short_names().iter().map(String::as_str))
        })
        .chain(names::RESERVED)
        .chain(file_names.iter().map(String::as_str));
    LoadError::UnknownName(Box::new(UnknownName {
        value: value.to_owned(),
        nearest: if advice.is_some() {
            None
        } else {
            names::nearest(value, candidates).map(str::to_owned)
        },
        advice: advice.map(str::to_owned),
        known: factories
            .iter()
            .map(|factory| format!("{} = {factory}", factory.short_names().join(", ")))
            .collect(),
        searched: folders.iter().map(describe_folder).collect(),
        refused: results()
            .filter_map(|result| result.as_ref().err().cloned())
            .collect(),
    }))
}

/// A folder and what is in it, in words.
fn describe_folder(folder: &ScannedFolder) -> String {
    let path = folder.path.display();
    match &folder.libraries {
        Err(reason) => format!("{path} ({reason})"),
        Ok(libraries) => match libraries.len() {
            0 => format!("{path} (no libraries)"),
            _ => {
                let names: Vec<_> = libraries
                    .iter()
                    .map(|result| match result {
                        Ok(library) => library.path(),
                        Err(refusal) => refusal.path.as_path(),
                    })
                    .filter_map(|path| path.file_name())
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect();
                format!("{path} ({})", names.join(", "))
            }
        },
    }
}

/// The one factory of the library at `path`.
fn only_factory(value: &str, path: &Path) -> Result<BackendFactory, LoadError> {
    if !path.exists() {
        return Err(LoadError::NoSuchFile {
            value: value.to_owned(),
            looked_at: vec![path.to_owned()],
        });
    }
    let library = Library::open(path).map_err(|refusal| LoadError::refused(value, refusal))?;
    match library.factories() {
        [factory] => Ok(factory.clone()),
        several => Err(LoadError::Ambiguous {
            value: value.to_owned(),
            candidates: several.iter().map(ToString::to_string).collect(),
            advice: "put the library's folder into plugins.dir and name the factory",
        }),
    }
}

/// Whether a factory from a library may answer to a short name: those of the built-in backends belong to Millpond's own.
fn may_answer(factory: &BackendFactory, short_name: &str) -> bool {
    !names::RESERVED.contains(&short_name) || factory.name().starts_with("millpond")
}

/// Whether the file at `path` is the library `name`, given with or without `lib` and the suffix.
fn is_called(path: &Path, name: &str) -> bool {
    let file = path
        .file_name()
        .and_then(|file| file.to_str())
        .unwrap_or_default();
    let stem = file.strip_suffix(DLL_SUFFIX).unwrap_or(file);
    stem == name || stem.strip_prefix(DLL_PREFIX) == Some(name)
}

/// The library files of a folder by name, or why it cannot be read. Hidden files are left out: they may be half copied.
fn library_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such folder".to_owned(),
        _ => error.to_string(),
    })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.ends_with(DLL_SUFFIX) && !name.starts_with('.'))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// The path without links, or the path itself where that cannot be told.
fn real_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
