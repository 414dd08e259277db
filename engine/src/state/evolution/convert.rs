//! How a stored value becomes one of the registered type.

use crate::api::Data;
use crate::codec::{self, CodecError, CodecId, Compatibility, TypeShape, can_evolve, shape_of};
use crate::{Error, ErrorKind};
use millpond_backend_api::export::panic_text;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Takes one stored value from the beginning of some bytes, and appends what it becomes. A panic of the user's function is an error that names both types.
pub(crate) type Convert = Arc<dyn Fn(&mut &[u8], &mut Vec<u8>) -> crate::Result<()> + Send + Sync>;

/// A function of the user that makes values of one type out of those of another.
#[derive(Clone)]
pub(crate) struct Migration {
    from: TypeShape,
    to: TypeShape,
    convert: Convert,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Migration({} -> {})", self.from, self.to)
    }
}

impl Migration {
    pub(crate) fn new<Old: Data, New: Data>(migrate: impl Fn(Old) -> New + Send + Sync + 'static) -> Self {
        let (from, to) = (shape_of::<Old>(), shape_of::<New>());
        let names = format!("{from} to {to}");
        Self {
            from,
            to,
            convert: Arc::new(move |stored, to| {
                let old = codec::decode_prefix(stored)?;
                // What a panic leaves half done is dropped with the value; the function is not called again in this attempt.
                let new = catch_unwind(AssertUnwindSafe(|| migrate(old)))
                    .map_err(|payload| panicked(&names, payload.as_ref()))?;
                Ok(codec::encode_into(&new, to)?)
            }),
        }
    }
}

fn panicked(names: &str, payload: &(dyn std::any::Any + Send)) -> Error {
    Error::new(
        ErrorKind::State,
        format!(
            "the migration from {names} (with_migration) panicked: {}; nothing was changed: put the function right, and start the job again",
            panic_text(payload)
        ),
    )
}

/// What leads from stored values to registered ones.
pub(crate) enum Way {
    /// They are the same.
    AsIs,
    /// Each is converted; how, as a phrase.
    Convert(Convert, String),
}

/// A conversion that follows from the stored shape alone, or why there is none.
pub(crate) type Evolve = fn(&TypeShape) -> Result<Convert, String>;

/// The conversion to a `T` by serde: fields by name, with defaults.
pub(crate) fn evolved<T: Data>(stored: &TypeShape) -> Result<Convert, String> {
    can_evolve::<T>(stored).map_err(|error| match error {
        // The offset would be one in a made-up value.
        CodecError::Custom { message, .. } => message.into_string(),
        other => other.to_string(),
    })?;
    let stored = stored.clone();
    Ok(Arc::new(move |bytes, to| {
        let value: T = codec::decode_stored(bytes, &stored)?;
        Ok(codec::encode_into(&value, to)?)
    }))
}

/// Finds the way from stored values to registered ones: as they are, by the user's migrations, or by `evolve`.
///
/// # Errors
/// Why there is none, as a sentence without its full stop.
pub(crate) fn way(
    stored: &CodecId,
    registered: &CodecId,
    migrations: &[Migration],
    evolve: Evolve,
) -> Result<Way, String> {
    let Compatibility::Incompatible { reason } = CodecId::check(stored, registered) else {
        return Ok(Way::AsIs);
    };
    let is_other_codec = (&stored.name, stored.version) != (&registered.name, registered.version);
    let (Ok(from), Ok(to), false) = (
        stored.shape.parse::<TypeShape>(),
        registered.shape.parse::<TypeShape>(),
        is_other_codec,
    ) else {
        return Err(reason);
    };
    if let Some(steps) = steps(&from, &to, migrations) {
        let by = if steps.len() > 1 {
            format!("by {} functions of the program", steps.len())
        } else {
            "by a function of the program".to_owned()
        };
        return Ok(Way::Convert(chain(steps), by));
    }
    match evolve(&from) {
        Ok(convert) => Ok(Way::Convert(convert, "by field names and defaults".to_owned())),
        Err(why) => Err(format!("{reason}, and cannot be derived from it: {why}")),
    }
}

/// The fewest of the user's functions that lead from one shape to another, one after the other.
fn steps(from: &TypeShape, to: &TypeShape, migrations: &[Migration]) -> Option<Vec<Convert>> {
    (1..=migrations.len()).find_map(|count| exactly(count, from, to, migrations))
}

/// Such a way of `count` functions.
fn exactly(count: usize, from: &TypeShape, to: &TypeShape, migrations: &[Migration]) -> Option<Vec<Convert>> {
    if count == 0 {
        return to.reads(from).is_ok().then(Vec::new);
    }
    let first = migrations
        .iter()
        .filter(|migration| migration.from.reads(from).is_ok());
    first.into_iter().find_map(|first| {
        let mut steps = vec![Arc::clone(&first.convert)];
        steps.extend(exactly(count - 1, &first.to, to, migrations)?);
        Some(steps)
    })
}

fn chain(steps: Vec<Convert>) -> Convert {
    let mut steps = steps.into_iter();
    let first = steps
        .next()
        .unwrap_or_else(|| Arc::new(|_: &mut &[u8], _: &mut Vec<u8>| Ok(())));
    steps.fold(first, |before, next| {
        Arc::new(move |stored, to| {
            let mut between = Vec::new();
            before(stored, &mut between)?;
            next(&mut between.as_slice(), to)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Named {
        name: String,
        #[serde(default)]
        count: u64,
    }

    fn converted(way: Way, stored: &[u8]) -> Vec<u8> {
        let Way::Convert(convert, _) = way else {
            panic!("the types differ");
        };
        let (mut stored, mut to) = (stored, Vec::new());
        convert(&mut stored, &mut to).unwrap();
        assert!(stored.is_empty());
        to
    }

    #[test]
    fn functions_go_before_what_serde_would_do_and_lead_over_types_between() {
        let from_u8 = Migration::new(|number: u8| number.to_string());
        let from_text = Migration::new(|name: String| Named { name, count: 7 });
        let back = Migration::new(|name: String| u8::try_from(name.len()).unwrap());
        let all = [back, from_text, from_u8];
        let registered = CodecId::of::<Named>();
        let named = codec::to_vec(&Named {
            name: "12".to_owned(),
            count: 7,
        })
        .unwrap();
        let way = |stored: &CodecId, migrations: &[Migration]| {
            super::way(stored, &registered, migrations, evolved::<Named>)
        };
        let from_text = way(&CodecId::of::<String>(), &all).unwrap();
        assert_eq!(converted(from_text, &codec::to_vec("12").unwrap()), named);
        let from_number = way(&CodecId::of::<u8>(), &all).unwrap();
        assert_eq!(converted(from_number, &[12]), named);
        assert!(matches!(way(&registered, &all), Ok(Way::AsIs)));
        let Err(reason) = way(&CodecId::of::<u8>(), &all[..2]) else {
            panic!("nothing leads from a number to a name");
        };
        assert!(
            reason.contains("stored is u8") && reason.contains("struct Named"),
            "{reason}"
        );
    }

    #[test]
    fn a_function_that_panics_is_an_error_with_both_types_and_the_text() {
        let migration = Migration::new(|number: u8| -> String { panic!("no text for {number}") });
        let registered = CodecId::of::<String>();
        let way = way(&CodecId::of::<u8>(), &registered, &[migration], evolved::<String>).unwrap();
        let Way::Convert(convert, _) = way else {
            panic!("the types differ");
        };
        let error = convert(&mut [12].as_slice(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        for part in ["from u8 to string", "panicked: no text for 12", "with_migration"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn without_a_function_serde_finds_fields_by_name() {
        mod before {
            #[derive(serde::Serialize, serde::Deserialize)]
            pub(super) struct Named {
                pub(super) old: (u8, Vec<String>),
                pub(super) name: String,
            }
        }
        let stored = before::Named {
            old: (1, vec!["left out".to_owned()]),
            name: "kept".to_owned(),
        };
        let codec = CodecId::of::<before::Named>();
        let way = way(&codec, &CodecId::of::<Named>(), &[], evolved::<Named>).unwrap();
        let expected = Named {
            name: "kept".to_owned(),
            count: 0,
        };
        let to = converted(way, &codec::to_vec(&stored).unwrap());
        assert_eq!(codec::decode::<Named>(&to).unwrap(), expected);
    }
}
