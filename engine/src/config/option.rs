//! A typed option: its key, old keys, default, valid values and meaning in one place.

use std::borrow::Cow;
use std::fmt;

use super::configuration::Configuration;
use super::value::{ConfigValue, RawValue};
use crate::Result;

/// A key of the configuration with the type of its value.
///
/// Options are constants; the engine's are in [`options`](super::options), and a backend or program may define its own:
///
/// ```
/// use millpond_engine::config::{ConfigOption, Configuration};
///
/// const CACHE_PAGES: ConfigOption<u32> = ConfigOption::new("acme.cache-pages")
///     .with_default("1000")
///     .accepting(|pages| *pages >= 1, "at least 1 page");
///
/// let mut config = Configuration::new();
/// config.set_string("acme.cache-pages", "0");
/// assert_eq!(
///     config.get(&CACHE_PAGES).unwrap_err().to_string(),
///     "set by the program: acme.cache-pages: '0' is not valid, expected at least 1 page"
/// );
/// ```
pub struct ConfigOption<T> {
    info: OptionInfo,
    accepts: fn(&T) -> bool,
}

/// An old key whose value must be translated: the key, and its value's meaning for the new key (`None`: it says nothing).
pub(super) type TranslatedKey = (&'static str, fn(&str) -> Option<String>);

/// What there is to know about an option besides its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct OptionInfo {
    pub(super) key: &'static str,
    /// Former names; as strong as the key itself when given by a stronger origin.
    pub(super) old_keys: &'static [&'static str],
    /// Former names whose values meant something else.
    pub(super) translated_keys: &'static [TranslatedKey],
    /// Other options that are asked when neither the key nor an old key is set.
    pub(super) fallback_keys: &'static [&'static str],
    /// As it would be written in a file.
    pub(super) default: Option<&'static str>,
    pub(super) description: &'static str,
    /// What is expected of a value beyond its type.
    pub(super) expected: Option<&'static str>,
}

impl OptionInfo {
    /// The key, the old keys and the translated ones: all names under which the option itself is given.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.key)
            .chain(self.old_keys.iter().copied())
            .chain(self.translated_keys.iter().map(|(key, _)| *key))
    }

    /// The place in a key that stands for any name, as in `metrics.reporter.<name>.interval`: what is before and behind it.
    pub(super) fn template(&self) -> Option<(&'static str, &'static str)> {
        self.key.split_once("<name>")
    }
}

impl<T> ConfigOption<T> {
    /// An option called `key`, without default. A key with the segment `<name>` stands for a family of keys and is read by
    /// [`Configuration::get_named`].
    #[must_use]
    pub const fn new(key: &'static str) -> Self {
        Self {
            info: OptionInfo {
                key,
                old_keys: &[],
                translated_keys: &[],
                fallback_keys: &[],
                default: None,
                description: "",
                expected: None,
            },
            accepts: |_| true,
        }
    }

    /// The same option with a default, written as in a file. It must be a valid value.
    #[must_use]
    pub const fn with_default(mut self, default: &'static str) -> Self {
        self.info.default = Some(default);
        self
    }

    /// The same option that is also found under former names, the most recent one first.
    #[must_use]
    pub const fn with_old_keys(mut self, old_keys: &'static [&'static str]) -> Self {
        self.info.old_keys = old_keys;
        self
    }

    /// The same option, also found under former names whose values are translated.
    #[must_use]
    pub(super) const fn with_translated_keys(mut self, translated_keys: &'static [TranslatedKey]) -> Self {
        self.info.translated_keys = translated_keys;
        self
    }

    /// The same option that takes the value of another key while it has none of its own.
    #[must_use]
    pub const fn with_fallback_keys(mut self, fallback_keys: &'static [&'static str]) -> Self {
        self.info.fallback_keys = fallback_keys;
        self
    }

    /// The same option with a meaning for the table of options: a sentence or two, in one paragraph.
    #[must_use]
    pub const fn with_description(mut self, description: &'static str) -> Self {
        self.info.description = description;
        self
    }

    /// The same option that takes only values for which `accepts` is true; `expected` completes "expected ...".
    #[must_use]
    pub const fn accepting(mut self, accepts: fn(&T) -> bool, expected: &'static str) -> Self {
        self.accepts = accepts;
        self.info.expected = Some(expected);
        self
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        self.info.key
    }

    /// The default as it would be written in a file, if the option has one.
    #[must_use]
    pub const fn default_text(&self) -> Option<&'static str> {
        self.info.default
    }

    pub(super) const fn info(&self) -> &OptionInfo {
        &self.info
    }
}

impl<T: ConfigValue> ConfigOption<T> {
    /// Reads and checks a value.
    ///
    /// # Errors
    /// What was expected instead.
    pub(super) fn parse(&self, raw: &RawValue) -> Result<T, String> {
        let value = T::parse(raw).map_err(|of_type| match self.info.expected {
            Some(expected) if T::IS_NUMBER => expected.to_owned(),
            _ => of_type,
        })?;
        if (self.accepts)(&value) {
            Ok(value)
        } else {
            Err(self.info.expected.unwrap_or("another value").to_owned())
        }
    }
}

impl<T> Clone for ConfigOption<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ConfigOption<T> {}

impl<T> fmt::Debug for ConfigOption<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigOption").field(&self.info.key).finish()
    }
}

/// An option whose type is forgotten, for lists of options.
pub(super) trait AnyOption: Sync {
    fn info(&self) -> &OptionInfo;

    fn type_name(&self) -> Cow<'static, str>;

    /// Reads the option as [`Configuration::get_optional`] does, for the error alone. Of a family of keys, reads each one.
    fn check(&self, config: &Configuration) -> Result<()>;
}

impl<T: ConfigValue> AnyOption for ConfigOption<T> {
    fn info(&self) -> &OptionInfo {
        &self.info
    }

    fn type_name(&self) -> Cow<'static, str> {
        T::type_name()
    }

    fn check(&self, config: &Configuration) -> Result<()> {
        if self.info.template().is_some() {
            for name in config.names_of_family(&self.info) {
                config.get_named_optional(self, &name)?;
            }
            return Ok(());
        }
        config.get_optional(self).map(drop)
    }
}
