//! The table of all options for the documentation.

use std::fmt::Write;

use super::foreign::{KEYS, Why};
use super::option::AnyOption;
use super::options::SECTIONS;

const HEAD: &str = "\
# Options

Generated from the engine's option table: do not edit. To write it anew:

    MILLPOND_REGENERATE=1 cargo test -p millpond-engine options_page

Settings are read, from weak to strong, from the defaults below, `config.yaml` (or Flink's old `flink-conf.yaml`) in the folder
given by `--conf` or `MILLPOND_CONF_DIR`, `-D key=value`, and the program. Old keys work like new ones; the strongest origin wins,
within one origin the new key.

Durations are a whole number and `d`, `h`, `min`, `s`, `ms`, `µs` or `ns`; without unit they are milliseconds. Sizes are a whole
number and `b`, `kb`, `mb`, `gb` or `tb`, powers of 1024; without unit they are bytes. Lists are YAML lists, or one line with `;`
or `,` between the items. Names of choices are read in any case. `<name>` stands for any name.
";

/// All options as a page in Markdown: for each subject a table of key, type, default, old keys and meaning, then the keys of
/// Flink that are read without effect. It is `docs/OPTIONS.md`.
#[must_use]
pub fn options_table() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        line(&mut page, format_args!("\n## {}\n", section.title));
        line(
            &mut page,
            format_args!("| key | type | default | old keys | meaning |"),
        );
        line(&mut page, format_args!("|---|---|---|---|---|"));
        for option in section.options {
            line(&mut page, format_args!("{}", row(*option)));
        }
    }
    for (title, wanted) in [
        ("Options of Flink that are not there yet", Why::NotYet),
        ("Options of Flink that have no meaning here", Why::NoMeaning),
    ] {
        let keys: Vec<_> = KEYS
            .iter()
            .filter(|(_, why)| *why == wanted)
            .map(|(key, _)| format!("`{key}`"))
            .collect();
        line(&mut page, format_args!("\n## {title}\n"));
        line(
            &mut page,
            format_args!("Read with a warning, without effect: {}.", keys.join(", ")),
        );
    }
    line(
        &mut page,
        format_args!("\n## Options of Flink that are settled\n"),
    );
    for (key, why) in KEYS {
        if let Why::Because(text) = why {
            line(&mut page, format_args!("- `{key}` {text}"));
        }
    }
    page
}

fn row(option: &dyn AnyOption) -> String {
    let info = option.info();
    let old_keys: Vec<_> = info.names().skip(1).map(|key| format!("`{key}`")).collect();
    let mut meaning = info.description.trim().to_owned();
    if let Some(expected) = info.expected {
        meaning = format!("{meaning} Valid: {expected}.");
    }
    if !info.fallback_keys.is_empty() {
        let keys: Vec<_> = info.fallback_keys.iter().map(|key| format!("`{key}`")).collect();
        meaning = format!("{meaning} If it is not set, {} counts.", keys.join(", then "));
    }
    let default = info
        .default
        .map_or_else(|| "none".to_owned(), |text| format!("`{text}`"));
    let cells = [
        format!("`{}`", info.key),
        option.type_name().into_owned(),
        default,
        if old_keys.is_empty() {
            "-".to_owned()
        } else {
            old_keys.join(", ")
        },
        meaning,
    ];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}
