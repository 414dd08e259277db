//! `config.yaml`: YAML 1.2, nested or dotted keys, lists; every value keeps its text as written and its line.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use saphyr::{MarkedYaml, ScalarStyle, ScanError, YamlData, YamlLoader};
use saphyr_parser::Parser;

use super::configuration::Configuration;
use super::file::refused;
use super::origin::Origin;
use super::value::RawValue;
use crate::{Error, Result};

/// Reads the text of `file` into `config`.
pub(super) fn read(text: &str, file: &Path, config: &mut Configuration) -> Result<()> {
    let documents = parse(text).map_err(|error| malformed(file, &error))?;
    let mut reader = Reader {
        file: file.into(),
        config,
    };
    match documents.as_slice() {
        [] => Ok(()),
        [document] => reader.read_root(document),
        [_, second, ..] => {
            let line = second.span.start.line();
            Err(reader.refused_at(line, "a second YAML document begins here, expected one"))
        }
    }
}

/// The documents of `text` with scalars as they are written: `010` stays `010`.
fn parse(text: &str) -> Result<Vec<MarkedYaml<'_>>, ScanError> {
    let mut loader = YamlLoader::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true)?;
    match loader.error() {
        Some(error) => Err(error.clone()),
        None => Ok(loader.into_documents()),
    }
}

fn malformed(file: &Path, error: &ScanError) -> Error {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    let file = file.display();
    refused(format!(
        "{file}:{line}:{column}: malformed YAML: {}",
        error.info()
    ))
}

struct Reader<'a> {
    file: Arc<Path>,
    config: &'a mut Configuration,
}

impl Reader<'_> {
    fn read_root(&mut self, root: &MarkedYaml<'_>) -> Result<()> {
        match plain(root) {
            YamlData::Mapping(_) => self.read_node("", root.span.start.line(), root),
            YamlData::BadValue => Ok(()),
            other if scalar(other).is_some_and(|value| value.is_none()) => Ok(()),
            _ => Err(self.refused_at(root.span.start.line(), "expected `key: value` pairs")),
        }
    }

    /// Takes in what `key` has: a value, or keys below it. `line` is that of the key.
    fn read_node(&mut self, key: &str, line: usize, node: &MarkedYaml<'_>) -> Result<()> {
        match plain(node) {
            YamlData::Mapping(pairs) => {
                for (name, value) in pairs {
                    let line = name.span.start.line();
                    let Some(Some(name)) = scalar(plain(name)) else {
                        return Err(self.refused_at(line, "expected a text as the key"));
                    };
                    let name = name.trim();
                    let path = if key.is_empty() {
                        name.to_owned()
                    } else {
                        format!("{key}.{name}")
                    };
                    self.read_node(&path, line, value)?;
                }
                Ok(())
            }
            YamlData::Sequence(items) => {
                let items = items.iter().map(|item| match scalar(plain(item)) {
                    Some(Some(text)) => Ok(text.trim().to_owned()),
                    _ => {
                        let what = format!("{key}: expected a list of plain values");
                        Err(self.refused_at(item.span.start.line(), &what))
                    }
                });
                let items = items.collect::<Result<Vec<_>>>()?;
                self.insert(key, line, RawValue::List(items))
            }
            other => match scalar(other) {
                Some(Some(text)) => self.insert(key, line, RawValue::Text(text.trim().to_owned())),
                Some(None) => {
                    let file = self.file.display();
                    let note = format!("{file}:{line}: {key} has no value and is taken as not set");
                    self.config.note(note);
                    Ok(())
                }
                None => {
                    Err(self.refused_at(line, &format!("{key}: expected a value, a list or keys below it")))
                }
            },
        }
    }

    fn insert(&mut self, key: &str, line: usize, value: RawValue) -> Result<()> {
        // The same key nested and dotted is no duplicate to the YAML reader.
        if let Some(Origin::File { line: first, .. }) = self.config.origin_of_key(key) {
            let what = format!("{key} is given twice, the first time in line {first}");
            return Err(self.refused_at(line, &what));
        }
        let path = Arc::clone(&self.file);
        self.config.insert(key, value, Origin::File { path, line });
        Ok(())
    }

    fn refused_at(&self, line: usize, what: &str) -> Error {
        refused(format!("{}:{line}: {what}", self.file.display()))
    }
}

/// The data of a node without its tag.
fn plain<'n, 'input>(node: &'n MarkedYaml<'input>) -> &'n YamlData<'input, MarkedYaml<'input>> {
    match &node.data {
        YamlData::Tagged(_, inner) => plain(inner),
        data => data,
    }
}

/// The text of a scalar, `Some(None)` for the null value, `None` for what is no scalar.
fn scalar<'n, 'input>(data: &'n YamlData<'input, MarkedYaml<'input>>) -> Option<Option<&'n str>> {
    let YamlData::Representation(text, style, _) = data else {
        return None;
    };
    let text: &Cow<'_, str> = text;
    let null = *style == ScalarStyle::Plain && ["", "~", "null", "Null", "NULL"].contains(&text.as_ref());
    Some((!null).then_some(text.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Configuration> {
        let mut config = Configuration::new();
        read(text, Path::new("conf/config.yaml"), &mut config)?;
        Ok(config)
    }

    fn settings(text: &str) -> Vec<String> {
        read_text(text)
            .unwrap()
            .iter()
            .map(|(key, value, origin)| format!("{key}={value} @{origin}"))
            .collect()
    }

    #[test]
    fn nested_and_dotted_keys_and_lists_are_read_with_their_lines() {
        let text = "# comment\nstate:\n  backend.type: rocksdb\n  backend:\n    rocksdb:\n      thread.num: 4\nplugins.dir: [a, b]\ncluster:\n  addresses:\n    - one:1\n    - two:2\n";
        assert_eq!(
            settings(text),
            [
                "cluster.addresses=one:1;two:2 @conf/config.yaml:9",
                "plugins.dir=a;b @conf/config.yaml:7",
                "state.backend.rocksdb.thread.num=4 @conf/config.yaml:6",
                "state.backend.type=rocksdb @conf/config.yaml:3",
            ]
        );
    }

    #[test]
    fn scalars_keep_the_text_they_were_written_with() {
        assert_eq!(
            settings(
                "a: 010\nb: 1.50\nc: 'x: y'\nd: \"t\\tb\"\ne: True\nf: 0x1F\ng: &anchor 7\nh: *anchor\ni: !t 5\n"
            ),
            [
                "a=010 @conf/config.yaml:1",
                "b=1.50 @conf/config.yaml:2",
                "c=x: y @conf/config.yaml:3",
                "d=t\tb @conf/config.yaml:4",
                "e=True @conf/config.yaml:5",
                "f=0x1F @conf/config.yaml:6",
                "g=7 @conf/config.yaml:7",
                "h=7 @conf/config.yaml:8",
                "i=5 @conf/config.yaml:9",
            ]
        );
    }

    #[test]
    fn empty_files_and_comments_set_nothing() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n"] {
            assert!(settings(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_key_without_value_is_not_set_and_noted() {
        let config = read_text("rest.port:\n").unwrap();
        assert_eq!(config.iter().count(), 0);
        assert_eq!(
            config.notes(),
            ["conf/config.yaml:1: rest.port has no value and is taken as not set"]
        );
    }

    #[test]
    fn malformed_yaml_names_file_line_and_column() {
        let message = read_text("a: 1\nb: [1, 2\nc: 3\n").unwrap_err().to_string();
        assert!(
            message.starts_with("conf/config.yaml:3:") && message.contains(": malformed YAML: "),
            "{message}"
        );
        let message = read_text("a: 1\nb: }\n").unwrap_err().to_string();
        assert!(message.starts_with("conf/config.yaml:2:"), "{message}");
    }

    #[test]
    fn a_key_given_twice_is_refused_in_every_spelling() {
        let message = read_text("a: 1\na: 2\n").unwrap_err().to_string();
        assert!(message.starts_with("conf/config.yaml:2:1: "), "{message}");
        for text in ["a.b: 1\na:\n  b: 2\n", "a.b: 1\n\n\"a.b\": 2\n"] {
            assert_eq!(
                read_text(text).unwrap_err().to_string(),
                "conf/config.yaml:3: a.b is given twice, the first time in line 1"
            );
        }
    }

    #[test]
    fn what_is_no_map_of_values_is_refused_with_its_line() {
        for (text, message) in [
            ("- a\n- b\n", "conf/config.yaml:1: expected `key: value` pairs"),
            ("\njust text\n", "conf/config.yaml:2: expected `key: value` pairs"),
            (
                "a: 1\n---\nb: 2\n",
                "conf/config.yaml:3: a second YAML document begins here, expected one",
            ),
            (
                "a:\n  - b: 1\n",
                "conf/config.yaml:2: a: expected a list of plain values",
            ),
        ] {
            assert_eq!(read_text(text).unwrap_err().to_string(), message);
        }
    }
}
