//! How long state lives, as a program says it.

use crate::{Error, ErrorKind, Result};
use millpond_backend_api::StateTtl;
use std::time::Duration;

/// How many cells a backend in memory looks at for each record, unless it is told otherwise.
pub const CLEANUP_CELLS_DEFAULT: u64 = 5;

/// What makes a value live on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TtlUpdate {
    /// Nothing does: the state has no TTL and is stored as one that never had.
    Disabled,
    /// Writing it.
    #[default]
    OnCreateAndWrite,
    /// Writing and reading it. Each read of a value is then a write, too.
    OnReadAndWrite,
}

/// What a read shows of a value that has expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StateVisibility {
    /// Nothing.
    #[default]
    NeverReturnExpired,
    /// The value if it is still there, for the last time: the read removes it.
    ReturnExpiredIfNotCleanedUp,
}

/// How long the values of a state live. See [`StateRegistry::with_ttl`](crate::state::StateRegistry::with_ttl).
///
/// ```
/// use millpond_engine::state::{StateTtlConfig, TtlUpdate};
/// use std::time::Duration;
///
/// let ttl = StateTtlConfig::new_builder(Duration::from_secs(3600))
///     .update_type(TtlUpdate::OnReadAndWrite)
///     .cleanup_full_snapshot()
///     .build()?;
/// assert_eq!(ttl.time_to_live(), Duration::from_secs(3600));
/// # Ok::<(), millpond_engine::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTtlConfig {
    ttl_ms: u64,
    update: TtlUpdate,
    visibility: StateVisibility,
    full_snapshots: bool,
    incremental: Incremental,
    compactions: bool,
    /// 0: as the backend is configured.
    compaction_entries: u64,
}

/// Cleanup a few cells at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incremental {
    /// How many for each record; 0: none.
    pub(super) cells: u64,
    /// Also for records that do not come near a state with a TTL.
    pub(super) every_record: bool,
}

/// Collects the settings of a [`StateTtlConfig`].
#[derive(Clone, Debug)]
pub struct StateTtlConfigBuilder {
    ttl: Duration,
    update: TtlUpdate,
    visibility: StateVisibility,
    full_snapshots: bool,
    in_background: bool,
    incremental: Option<Incremental>,
    compaction_entries: Option<u64>,
}

impl StateTtlConfig {
    /// A configuration for values that live for `ttl`, a millisecond or more.
    #[must_use]
    pub fn new_builder(ttl: Duration) -> StateTtlConfigBuilder {
        StateTtlConfigBuilder {
            ttl,
            update: TtlUpdate::default(),
            visibility: StateVisibility::default(),
            full_snapshots: false,
            in_background: true,
            incremental: None,
            compaction_entries: None,
        }
    }

    /// How long values live.
    #[must_use]
    pub fn time_to_live(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// What makes them live on.
    #[must_use]
    pub fn update_type(&self) -> TtlUpdate {
        self.update
    }

    /// What is seen of those that have expired.
    #[must_use]
    pub fn visibility(&self) -> StateVisibility {
        self.visibility
    }

    pub(super) fn incremental(&self) -> Incremental {
        self.incremental
    }

    /// What the backend is told.
    pub(in crate::state) fn for_backend(&self) -> StateTtl {
        StateTtl {
            ttl_ms: self.ttl_ms,
            in_snapshots: self.full_snapshots,
            in_compactions: self.compactions,
            entries_per_look: self.compaction_entries,
        }
    }
}

impl StateTtlConfigBuilder {
    /// What makes a value live on; [`TtlUpdate::OnCreateAndWrite`] unless set.
    #[must_use]
    pub fn update_type(self, update: TtlUpdate) -> Self {
        Self { update, ..self }
    }

    /// What a read shows of values that have expired; [`StateVisibility::NeverReturnExpired`] unless set.
    #[must_use]
    pub fn state_visibility(self, visibility: StateVisibility) -> Self {
        Self { visibility, ..self }
    }

    /// Leaves values that have expired out of snapshots that have everything. They stay in memory all the same.
    #[must_use]
    pub fn cleanup_full_snapshot(self) -> Self {
        Self {
            full_snapshots: true,
            ..self
        }
    }

    /// Has backends in memory look at `cells` cells for each record that comes while a state with a TTL is in use, and remove those that have
    /// expired; with `run_for_every_record` also for records that do not touch such a state. Unless set: [`CLEANUP_CELLS_DEFAULT`] cells, and not
    /// for every record. A backend that knows that nothing can have expired since it looked last does not look.
    #[must_use]
    pub fn cleanup_incrementally(self, cells: u64, run_for_every_record: bool) -> Self {
        Self {
            incremental: Some(Incremental {
                cells,
                every_record: run_for_every_record,
            }),
            ..self
        }
    }

    /// Has RocksDB drop values that have expired when it compacts files, and look at the clock once in `entries` entries. Unless set, it does that once in
    /// `state.backend.rocksdb.compaction.filter.query-time-after-num-entries` entries.
    #[must_use]
    pub fn cleanup_in_rocksdb_compact_filter(self, entries: u64) -> Self {
        Self {
            compaction_entries: Some(entries),
            ..self
        }
    }

    /// Removes values that have expired only when they are read, and where another setting says so.
    #[must_use]
    pub fn disable_cleanup_in_background(self) -> Self {
        Self {
            in_background: false,
            ..self
        }
    }

    /// The configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] when values would live for less than a millisecond or longer than any clock shows, or a cleanup is asked for that does
    /// nothing.
    pub fn build(&self) -> Result<StateTtlConfig> {
        let refuse = |text: String| Err(Error::new(ErrorKind::Configuration, text));
        let ttl = self.ttl;
        let Some(ttl_ms) = u64::try_from(ttl.as_millis())
            .ok()
            .filter(|ttl_ms| i64::try_from(*ttl_ms).is_ok())
        else {
            return refuse(format!(
                "a time to live of {ttl:?} is more milliseconds than a timestamp can count, at most {} are possible: state that lives for ever needs none",
                i64::MAX
            ));
        };
        if ttl_ms == 0 {
            return refuse(format!(
                "a time to live of {ttl:?} is too short: values must live for a millisecond at least"
            ));
        }
        let none = Incremental {
            cells: 0,
            every_record: false,
        };
        let incremental = match self.incremental {
            Some(Incremental { cells: 0, .. }) => {
                return refuse(
                    "cleanup_incrementally(0, ..) looks at no cells: give it one at least, or disable the cleanup in the background"
                        .to_owned(),
                );
            }
            Some(incremental) => incremental,
            None if self.in_background => Incremental {
                cells: CLEANUP_CELLS_DEFAULT,
                ..none
            },
            None => none,
        };
        let compaction_entries = match self.compaction_entries {
            Some(0) => {
                return refuse(
                    "cleanup_in_rocksdb_compact_filter(0) never looks at the clock: give it one entry at least, or disable the cleanup in the \
                     background"
                        .to_owned(),
                );
            }
            entries => entries,
        };
        Ok(StateTtlConfig {
            ttl_ms,
            update: self.update,
            visibility: self.visibility,
            full_snapshots: self.full_snapshots,
            incremental,
            compactions: self.in_background || compaction_entries.is_some(),
            compaction_entries: compaction_entries.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ttl: Duration) -> StateTtlConfigBuilder {
        StateTtlConfig::new_builder(ttl)
    }

    #[test]
    fn durations_that_are_no_ttl_are_refused_and_named() {
        for (ttl, named) in [
            (Duration::ZERO, "0ns"),
            (Duration::from_micros(999), "999µs"),
            (Duration::from_millis(1 << 63), "9223372036854775.808s"),
            (Duration::MAX, "18446744073709551615"),
        ] {
            let error = of(ttl).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(named), "{error}");
        }
        for ttl in [Duration::from_millis(1), Duration::from_millis((1 << 63) - 1)] {
            assert_eq!(of(ttl).build().unwrap().time_to_live(), ttl);
        }
    }

    #[test]
    fn cleanups_that_do_nothing_are_refused() {
        let hour = of(Duration::from_secs(3600));
        for builder in [
            hour.clone().cleanup_incrementally(0, true),
            hour.clone().cleanup_in_rocksdb_compact_filter(0),
        ] {
            assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Configuration);
        }
        assert!(hour.build().is_ok());
    }

    #[test]
    fn the_cleanup_in_the_background_is_on_unless_it_is_disabled() {
        let hour = of(Duration::from_secs(3600));
        let default = hour.clone().build().unwrap();
        assert_eq!(default.incremental().cells, CLEANUP_CELLS_DEFAULT);
        assert_eq!(
            default.for_backend(),
            StateTtl {
                ttl_ms: 3_600_000,
                in_snapshots: false,
                in_compactions: true,
                entries_per_look: 0
            }
        );
        let off = hour.disable_cleanup_in_background();
        let none = off.clone().build().unwrap();
        assert_eq!(
            (none.incremental().cells, none.for_backend().in_compactions),
            (0, false)
        );
        let asked = off
            .cleanup_incrementally(7, true)
            .cleanup_full_snapshot()
            .build()
            .unwrap();
        assert_eq!(asked.incremental().cells, 7);
        assert!(asked.for_backend().in_snapshots);
        assert!(!asked.for_backend().in_compactions);
    }
}
