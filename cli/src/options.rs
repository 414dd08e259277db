//! `millpond options`: which settings there are.

use crate::{Failure, Outcome};
use millpond_engine::config::options_table;
use std::io::Write;

/// Arguments of `millpond options`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show only the options with this text in their key or meaning
    filter: Option<String>,
    /// Print the page of all options as it is in docs/OPTIONS.md
    #[arg(long, conflicts_with = "filter")]
    markdown: bool,
}

/// Lists the options.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<Outcome, Failure> {
    let table = options_table();
    if args.markdown {
        out.write_all(table.as_bytes())?;
        return Ok(Outcome::Well);
    }
    let filter = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let mut shown = 0;
    for option in table.lines().filter_map(Row::parse) {
        if option.key.to_lowercase().contains(&filter) || option.meaning.to_lowercase().contains(&filter) {
            write!(out, "{}", option.text())?;
            shown += 1;
        }
    }
    if shown == 0 {
        writeln!(out, "no option has '{filter}' in its key or meaning")?;
        return Ok(Outcome::NotWell);
    }
    Ok(Outcome::Well)
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    key: String,
    kind: String,
    default: String,
    old_keys: String,
    meaning: String,
}

impl Row {
    /// The row of an option; nothing for the other lines of the page.
    fn parse(line: &str) -> Option<Self> {
        let cells = line.strip_prefix("| `")?.strip_suffix(" |")?.replace("\\|", "\0");
        let mut cells = cells
            .split(" | ")
            .map(|cell| cell.replace('\0', "|").replace('`', ""));
        Some(Self {
            key: cells.next()?,
            kind: cells.next()?,
            default: cells.next()?,
            old_keys: cells.next()?,
            meaning: cells.next()?,
        })
    }

    fn text(&self) -> String {
        let mut text = format!("{} ({}, default {})\n", self.key, self.kind, self.default);
        if !self.meaning.is_empty() {
            text.push_str(&wrap(&self.meaning));
        }
        if self.old_keys != "-" {
            text.push_str(&wrap(&format!("Old names: {}", self.old_keys)));
        }
        text
    }
}

/// Lines of at most 100 characters with four spaces in front.
fn wrap(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = vec![String::from("   ")];
    for word in text.split_whitespace() {
        if lines
            .last()
            .is_some_and(|line| line.len() > 4 && line.len() + word.len() + 1 > WIDTH)
        {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_page_is_found_in_it() {
        let page = options_table();
        let rows: Vec<_> = page.lines().filter_map(Row::parse).collect();
        let lines = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows.len(), lines);
        let row = rows.iter().find(|row| row.key == "state.backend.type").unwrap();
        assert_eq!(
            (row.default.as_str(), row.old_keys.as_str()),
            ("hashmap", "state.backend")
        );
        assert!(row.text().lines().all(|line| line.len() <= 100));
    }
}
