//! The map of settings, each with its origin.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::file;
use super::option::{ConfigOption, OptionInfo};
use super::options;
use super::origin::Origin;
use super::secrets::shown;
use super::value::{ConfigValue, RawValue};
use crate::{Error, ErrorKind, Result};

/// The settings of a program: key, value, and where the value came from.
///
/// A key holds one value, that of the strongest origin: default < file < command line < program. Old keys are as good as new
/// ones: among a key and its old names the strongest origin wins, within one origin the newest name. Keys that the engine does
/// not know are kept for state backends and other extensions.
#[derive(Clone, Default)]
pub struct Configuration {
    entries: BTreeMap<String, Entry>,
    /// What the readers of files have to say; see [`Configuration::warnings`].
    notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: RawValue,
    origin: Origin,
}

/// A value that was found for an option, and under which key.
pub(super) struct Found<'a> {
    pub(super) key: &'a str,
    pub(super) value: Cow<'a, RawValue>,
    pub(super) origin: &'a Origin,
}

impl Configuration {
    /// A configuration in which nothing is set: every option has its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `config.yaml`, or if there is none `flink-conf.yaml`, in the folder `dir`.
    ///
    /// Values are not checked yet, see [`validate`](Self::validate).
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`], if the folder does not exist, has neither file, or the file cannot be read or is
    /// malformed; the message names the file, and line and column where there are any.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let mut config = Self::new();
        file::read_folder(dir.as_ref(), &mut config)?;
        Ok(config)
    }

    /// The value of `option`: what was set, else its default.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`], if the value that was set is not valid, or nothing was set and there is no default.
    /// The message names the origin, the key, the value and what was expected.
    pub fn get<T: ConfigValue>(&self, option: &ConfigOption<T>) -> Result<T> {
        self.get_optional(option)?.ok_or_else(|| missing(option.key()))
    }

    /// The value of `option`: what was set, else its default, else nothing.
    ///
    /// # Errors
    /// Of kind [`ErrorKind::Configuration`], if the value that was set is not valid. The message names the origin, the key, the
    /// value and what was expected.
    pub fn get_optional<T: ConfigValue>(&self, option: &ConfigOption<T>) -> Result<Option<T>> {
        match self.find(option.info()) {
            Some(found) => parse_found(option, &found).map(Some),
            None => default_of(option),
        }
    }

    /// The value of an option that is a family of keys, such as `metrics.reporter.<name>.interval`, for one `name`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_named<T: ConfigValue>(&self, option: &ConfigOption<T>, name: &str) -> Result<T> {
        self.get_named_optional(option, name)?
            .ok_or_else(|| missing(&option.key().replace("<name>", name)))
    }

    /// The value of an option that is a family of keys for one `name`, if it is set or has a default.
    ///
    /// # Errors
    /// As [`get_optional`](Self::get_optional).
    pub fn get_named_optional<T: ConfigValue>(
        &self,
        option: &ConfigOption<T>,
        name: &str,
    ) -> Result<Option<T>> {
        let key = option.key().replace("<name>", name);
        match self.entries.get_key_value(&key) {
            Some((key, entry)) => {
                let found = Found {
                    key,
                    value: Cow::Borrowed(&entry.value),
                    origin: &entry.origin,
                };
                parse_found(option, &found).map(Some)
            }
            None => default_of(option),
        }
    }

    /// Sets `option` from the program, the strongest origin.
    ///
    /// The value is checked when it is read, and by [`validate`](Self::validate).
    pub fn set<T: ConfigValue>(&mut self, option: &ConfigOption<T>, value: T) -> &mut Self {
        self.insert(option.key(), value.to_raw(), Origin::Program);
        self
    }

    /// Sets `key` from the program to a value written as in a file. Any key is taken, also an old one.
    pub fn set_string(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.insert(key, RawValue::Text(value.into()), Origin::Program);
        self
    }

    /// Everything that was set, also keys unknown to the engine, in the order of the keys. Defaults are not included.
    ///
    /// Values are as they were given: mask those of [secret](super::is_secret) keys before printing them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue, &Origin)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), &entry.value, &entry.origin))
    }

    /// Where the value of `option` comes from.
    #[must_use]
    pub fn origin<T>(&self, option: &ConfigOption<T>) -> Origin {
        self.find(option.info())
            .map_or(Origin::Default, |found| found.origin.clone())
    }

    /// All settings by the newest name of their key, as text, for state backends: what was set, and with `with_defaults` also the
    /// engine's options that have a default and were not set. Lists are written with `;` between the items.
    #[must_use]
    pub fn effective(&self, with_defaults: bool) -> BTreeMap<String, String> {
        let mut settings: BTreeMap<String, String> = self
            .iter()
            .map(|(key, value, _)| (key.to_owned(), value.to_string()))
            .collect();
        for option in options::all() {
            let info = option.info();
            if info.template().is_some() {
                continue;
            }
            let found = self.find(info);
            // An old name must not be read by somebody who does not know that a newer one wins.
            for name in info.names().skip(1) {
                if !options::all().any(|other| other.info().key == name) {
                    settings.remove(name);
                }
            }
            let value = match (found, info.default) {
                (Some(found), _) => found.value.to_string(),
                (None, Some(default)) if with_defaults => default.to_owned(),
                (None, _) => continue,
            };
            settings.insert(info.key.to_owned(), value);
        }
        settings
    }

    /// Gives `key` a value, unless it has one from a stronger origin.
    pub(super) fn insert(&mut self, key: impl Into<String>, value: RawValue, origin: Origin) {
        let key = key.into();
        match self.entries.get(&key) {
            Some(present) if present.origin.rank() > origin.rank() => {}
            _ => {
                self.entries.insert(key, Entry { value, origin });
            }
        }
    }

    /// The origin of the value under exactly this key.
    pub(super) fn origin_of_key(&self, key: &str) -> Option<&Origin> {
        self.entries.get(key).map(|entry| &entry.origin)
    }

    /// Adds something that the user should hear of but that does not stop the program.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The value for an option under any of its names, that of the strongest origin; the newest name first.
    pub(super) fn find(&self, info: &OptionInfo) -> Option<Found<'_>> {
        let mut best: Option<Found<'_>> = None;
        let plain = std::iter::once(info.key).chain(info.old_keys.iter().copied());
        for (key, translate) in plain.map(|key| (key, None)).chain(
            info.translated_keys
                .iter()
                .map(|(key, translate)| (*key, Some(translate))),
        ) {
            let Some((key, entry)) = self.entries.get_key_value(key) else {
                continue;
            };
            if best
                .as_ref()
                .is_some_and(|best| best.origin.rank() >= entry.origin.rank())
            {
                continue;
            }
            let value = match translate {
                None => Cow::Borrowed(&entry.value),
                Some(translate) => match translate(entry.value.to_string().trim()) {
                    Some(text) => Cow::Owned(RawValue::Text(text)),
                    None => continue,
                },
            };
            best = Some(Found {
                key,
                value,
                origin: &entry.origin,
            });
        }
        best.or_else(|| {
            info.fallback_keys.iter().find_map(|key| {
                let (key, entry) = self.entries.get_key_value(*key)?;
                Some(Found {
                    key,
                    value: Cow::Borrowed(&entry.value),
                    origin: &entry.origin,
                })
            })
        })
    }

    /// The names for which a family of keys has a value.
    pub(super) fn names_of_family(&self, info: &OptionInfo) -> Vec<String> {
        let Some((before, behind)) = info.template() else {
            return Vec::new();
        };
        self.entries
            .keys()
            .filter_map(|key| key.strip_prefix(before)?.strip_suffix(behind))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl fmt::Debug for Configuration {
    /// What was set and where, with secrets masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(key, value, origin)| (key, format!("{} ({origin})", shown(key, value)))),
            )
            .finish()
    }
}

fn default_of<T: ConfigValue>(option: &ConfigOption<T>) -> Result<Option<T>> {
    let Some(default) = option.default_text() else {
        return Ok(None);
    };
    option.parse(&default.into()).map(Some).map_err(|expected| {
        let key = option.key();
        Error::new(
            ErrorKind::Bug,
            format!("the default of {key}, '{default}', is not valid, expected {expected}"),
        )
    })
}

fn parse_found<T: ConfigValue>(option: &ConfigOption<T>, found: &Found<'_>) -> Result<T> {
    option.parse(&found.value).map_err(|expected| {
        let Found { key, value, origin } = found;
        let new_key = option.key();
        let renamed = if *key == new_key || option.info().template().is_some() {
            String::new()
        } else {
            format!(" (read as {new_key})")
        };
        let value = shown(key, value);
        Error::new(
            ErrorKind::Configuration,
            format!("{origin}: {key}{renamed}: '{value}' is not valid, expected {expected}"),
        )
    })
}

fn missing(key: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("{key} is not set and has no default; set it in the configuration file or by -D {key}=..."),
    )
}
