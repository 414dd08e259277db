//! What is worth a warning: keys that nobody knows, keys without effect, and values that are overruled.

use super::configuration::Configuration;
use super::foreign::{Why, why_without_effect};
use super::option::OptionInfo;
use super::options;

/// What keys of the engine begin with; a key below these that is not known is taken for a mistake.
const OUR_PREFIXES: &[&str] = &[
    "akka.",
    "cluster.",
    "control.",
    "execution-retries.",
    "execution.",
    "heartbeat.",
    "high-availability.",
    "io.",
    "jobmanager.",
    "metrics.",
    "parallelism.",
    "pekko.",
    "pipeline.",
    "plugins.",
    "process.",
    "recovery.",
    "rest.",
    "restart-strategy.",
    "savepoints.",
    "sink.committer.",
    "state.",
    "task.",
    "taskmanager.",
    "web.",
];

/// Families of keys that belong to whoever is named in them.
const OPEN_FAMILIES: &[&str] = &["metrics.reporter.", "traces.reporter.", "events.reporter."];

/// Keys that work, with something to know about them: the key, the value that calls for it, and the remark.
const REMARKS: &[(&str, Option<&str>, &str)] = &[(
    "state.backend.rocksdb.checkpointdir",
    None,
    "is the local folder of the databases, despite its name; it is read as state.backend.rocksdb.localdir",
)];

/// Options that are read and checked and that nothing acts on in this version: the key or, with a `.` at its end, the family; and the only value that
/// asks for something, where the others ask for what is done anyway.
const WITHOUT_EFFECT_YET: &[(&str, Option<&str>)] = &[
    ("execution.buffer-timeout.", None),
    ("execution.checkpointing.cleaner.parallel-mode", None),
    ("heartbeat.rpc-failure-threshold", None),
    ("metrics.", None),
    ("pipeline.name", None),
    ("process.", None),
    ("rest.", None),
    ("sink.committer.retries", None),
    (
        "state.backend.rocksdb.bloom-filter.block-based-mode",
        Some("true"),
    ),
    ("taskmanager.memory.segment-size", None),
    ("web.", None),
];

/// How similar (0 to 1) a known key must be to be proposed for an unknown one.
const SIMILAR: f64 = 0.6;
/// How similar an unknown key outside our prefixes must be to a known one to be taken for a mistake.
const NEARLY_THE_SAME: f64 = 0.9;

impl Configuration {
    /// What the user should hear of, a sentence each: unknown keys below the engine's prefixes with the nearest known key, keys
    /// of Flink without effect, old keys that a new one overrules, keys without value.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes().to_vec();
        for (key, value, origin) in self.iter() {
            let value = value.to_string();
            let sentence = remark(key, &value).or_else(|| without_effect_yet(key, &value));
            if let Some(sentence) = sentence.or_else(|| sentence_about(key)) {
                warnings.push(format!("{origin}: {key} {sentence}"));
            }
        }
        for option in options::all() {
            self.overruled(option.info(), &mut warnings);
        }
        warnings
    }

    /// Writes the [`warnings`](Self::warnings) to the log.
    pub fn log_warnings(&self) {
        for warning in self.warnings() {
            tracing::warn!("{warning}");
        }
    }

    /// A value under an old key that a newer key of the same origin overrules. That `-D` overrules a file is meant so.
    fn overruled(&self, info: &OptionInfo, warnings: &mut Vec<String>) {
        let given: Vec<_> = info
            .names()
            .filter_map(|name| Some((name, self.origin_of_key(name)?)))
            .collect();
        for (index, (old, origin)) in given.iter().enumerate().skip(1) {
            let winner = given
                .iter()
                .take(index)
                .find(|(_, other)| other.rank() == origin.rank());
            if let Some((new, new_origin)) = winner {
                warnings.push(format!(
                    "{origin}: {old} is an old name of {} and has no effect, since {new} is given as well ({new_origin})",
                    info.key
                ));
            }
        }
    }
}

fn remark(key: &str, value: &str) -> Option<String> {
    REMARKS
        .iter()
        .find(|(known, only, _)| {
            *known == key && only.is_none_or(|only| only.eq_ignore_ascii_case(value.trim()))
        })
        .map(|(_, _, text)| (*text).to_owned())
}

fn without_effect_yet(key: &str, value: &str) -> Option<String> {
    let option = options::all().find(|option| option.info().names().any(|name| name == key))?;
    let newest = option.info().key;
    let is_meant = |(known, only): &(&str, Option<&str>)| {
        let same = if known.ends_with('.') {
            newest.starts_with(known)
        } else {
            newest == *known
        };
        same && only.is_none_or(|only| only.eq_ignore_ascii_case(value.trim()))
    };
    WITHOUT_EFFECT_YET
        .iter()
        .any(is_meant)
        .then(|| "has no effect yet in this version".to_owned())
}

/// What is to be said of `key` whatever its value is; nothing if it is known, or belongs to somebody else.
fn sentence_about(key: &str) -> Option<String> {
    if is_known(key) || OPEN_FAMILIES.iter().any(|family| key.starts_with(family)) {
        return None;
    }
    match why_without_effect(key) {
        Some(Why::NotYet) => {
            return Some("is an option of Flink that Millpond does not have yet; it is ignored".into());
        }
        Some(Why::NoMeaning) => {
            return Some("is an option of Flink that has no meaning in Millpond; it is ignored".into());
        }
        Some(Why::Because(text)) => return Some(text.to_owned()),
        None => {}
    }
    let nearest = nearest_known(key);
    let ours = OUR_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) && !is_of_other_backend(key);
    match nearest {
        Some((name, similarity)) if ours && similarity >= SIMILAR || similarity >= NEARLY_THE_SAME => {
            Some(format!("is not known; did you mean {name}?"))
        }
        _ if ours => Some("is not known".to_owned()),
        _ => None,
    }
}

fn is_known(key: &str) -> bool {
    options::all().any(|option| {
        let info = option.info();
        match info.template() {
            Some((before, behind)) => key
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(behind))
                .is_some_and(|name| !name.is_empty()),
            None => info
                .names()
                .chain(info.fallback_keys.iter().copied())
                .any(|name| name == key),
        }
    })
}

/// Whether `key` is `state.backend.<name>.<something>` for a backend that is not one of ours by name, nor nearly.
fn is_of_other_backend(key: &str) -> bool {
    let Some((name, _)) = key
        .strip_prefix("state.backend.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    ["rocksdb", "forst", "changelog", "latency-track", "fs"]
        .iter()
        .all(|ours| strsim::osa_distance(ours, name) > ours.len() / 3)
}

/// How similar two keys are from 0 to 1, whatever their case.
fn similarity(left: &str, right: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&left.to_lowercase(), &right.to_lowercase())
}

/// The known key that is most like `key`, and how much (0 to 1).
fn nearest_known(key: &str) -> Option<(&'static str, f64)> {
    options::all()
        .flat_map(|option| option.info().names())
        .filter(|name| !name.contains('<'))
        .map(|name| (name, similarity(key, name)))
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
}
