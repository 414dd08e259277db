//! The options that are a choice between names. Names are read in any case, `-` and `_` are the same.

use std::borrow::Cow;
use std::fmt;

use super::value::{ConfigValue, RawValue};
use crate::checkpoint::{CheckpointingMode, Retention};

/// How the variants of an enum are called in the configuration.
macro_rules! config_names {
    (
        $name:ident { $( $variant:ident = $text:literal $(| $alias:literal)* ),+ $(,)? } $(refused [$(($refused:literal, $why:literal)),+])?
    ) => {
        impl ConfigValue for $name {
            fn type_name() -> Cow<'static, str> {
                concat!("Enum", $(" `", $text, "`"),+).into()
            }

            fn parse(raw: &RawValue) -> Result<Self, String> {
                let text = raw.as_text()?;
                $( if [$text $(, $alias)*].iter().any(|name| same_name(name, text)) {
                    return Ok(Self::$variant);
                } )+
                let names = [$(concat!("`", $text, "`")),+].join(", ");
                $( $( if same_name($refused, text) {
                    return Err(format!(concat!("one of {} (`", $refused, "` ", $why, ")"), names));
                } )+ )?
                Err(format!("one of {names}"))
            }

            fn to_raw(&self) -> RawValue {
                match self {
                    $( Self::$variant => $text.into() ),+
                }
            }
        }
    };
}

/// An enum whose variants have a name in the configuration, other names that are read too, and names that are refused for a reason.
macro_rules! config_enum {
    (
        $(#[$meta:meta])* $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $text:literal $(| $alias:literal)* ),+ $(,)?
        } $(refused [$(($refused:literal, $why:literal)),+])?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$variant_meta])* $variant ),+
        }

        impl $name {
            /// The name in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text ),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        config_names! { $name { $($variant = $text $(| $alias)*),+ } $(refused [$(($refused, $why)),+])? }
    };
}

fn same_name(left: &str, right: &str) -> bool {
    let plain = |letter: char| match letter {
        '_' => '-',
        other => other.to_ascii_lowercase(),
    };
    left.chars().map(plain).eq(right.chars().map(plain))
}

config_names! {
    CheckpointingMode {
        ExactlyOnce = "EXACTLY_ONCE",
        AtLeastOnce = "AT_LEAST_ONCE",
    }
}

config_names! {
    Retention {
        NoExternalized = "NO_EXTERNALIZED_CHECKPOINTS",
        DeleteOnCancellation = "DELETE_ON_CANCELLATION",
        RetainOnCancellation = "RETAIN_ON_CANCELLATION",
    }
}

config_enum! {
    /// Who owns the files of a snapshot that a job was started from.
    ClaimMode {
        /// They stay the user's: the first checkpoint is a full one and nothing refers to them afterwards.
        NoClaim = "NO_CLAIM",
        /// They become the job's, which deletes them when it keeps enough checkpoints of its own. The first of these is a full one, too.
        Claim = "CLAIM",
    } refused [("LEGACY", "is not offered: files that stay the user's must not be needed by later checkpoints; use `NO_CLAIM`")]
}

config_enum! {
    /// What to do when the latest checkpoint cannot be read.
    OnDamage {
        /// Fail with the command that restores the one before: a sink may have committed the damaged one already.
        Fail = "fail",
        /// Go back to the newest one that can be read, and start a new lineage from there.
        Previous = "previous",
    }
}

config_enum! {
    /// When a failed job is started again.
    RestartStrategyType {
        /// Never.
        Disable = "disable" | "none" | "off",
        /// So many times, with the same pause before each.
        FixedDelay = "fixed-delay" | "fixeddelay",
        /// As long as failures are rare enough.
        FailureRate = "failure-rate" | "failurerate",
        /// With a pause that grows from failure to failure.
        ExponentialDelay = "exponential-delay" | "exponentialdelay",
    }
}

config_enum! {
    /// How a killed program finds its latest checkpoint again, and what keeps a second one out.
    HighAvailabilityType {
        /// Not at all: a killed program starts from the beginning.
        None = "none" | "standalone",
        /// By a pointer and a lock in `high-availability.storageDir`.
        Filesystem = "filesystem",
    } refused [("zookeeper", "is not there yet"), ("kubernetes", "is not there yet")]
}

config_enum! {
    /// Where timers are kept by the RocksDB backend.
    TimerServiceFactory {
        /// In RocksDB, like other state.
        RocksDb = "ROCKSDB",
        /// In memory; faster, and written in the synchronous part of every checkpoint.
        Heap = "HEAP",
    }
}

config_enum! {
    /// How RocksDB merges its files.
    CompactionStyle {
        /// Levels that grow by a factor: least space.
        Level = "LEVEL",
        /// Sorted runs of similar size: least write amplification.
        Universal = "UNIVERSAL",
        /// The oldest files are dropped.
        Fifo = "FIFO",
        /// Not at all.
        None = "NONE",
    }
}

config_enum! {
    /// Sets of RocksDB options for a kind of disk. Options that are set one by one win over them.
    PredefinedOptions {
        /// RocksDB's defaults.
        Default = "DEFAULT",
        /// For spinning disks.
        SpinningDiskOptimized = "SPINNING_DISK_OPTIMIZED",
        /// For spinning disks, with a larger block cache and bloom filters.
        SpinningDiskOptimizedHighMem = "SPINNING_DISK_OPTIMIZED_HIGH_MEM",
        /// For flash disks.
        FlashSsdOptimized = "FLASH_SSD_OPTIMIZED",
    }
}

config_enum! {
    /// How much RocksDB writes to its own log.
    RocksDbLogLevel {
        /// Everything.
        Debug = "DEBUG" | "DEBUG_LEVEL",
        /// What it does.
        Info = "INFO" | "INFO_LEVEL",
        /// What may go wrong.
        Warn = "WARN" | "WARN_LEVEL",
        /// What went wrong.
        Error = "ERROR" | "ERROR_LEVEL",
        /// What ends it.
        Fatal = "FATAL" | "FATAL_LEVEL",
        /// The options it was opened with, and nothing else.
        Header = "HEADER" | "HEADER_LEVEL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_with_either_dash() {
        for text in ["EXACTLY_ONCE", "exactly_once", "exactly-once", "Exactly-Once"] {
            assert_eq!(
                CheckpointingMode::parse(&text.into()),
                Ok(CheckpointingMode::ExactlyOnce)
            );
        }
        for text in ["none", "off", "DISABLE"] {
            assert_eq!(
                RestartStrategyType::parse(&text.into()),
                Ok(RestartStrategyType::Disable)
            );
        }
    }

    #[test]
    fn another_name_is_answered_with_the_list() {
        assert_eq!(
            CheckpointingMode::parse(&"exactlyonce".into()),
            Err("one of `EXACTLY_ONCE`, `AT_LEAST_ONCE`".to_owned())
        );
    }

    #[test]
    fn names_of_flink_that_are_not_offered_are_refused_with_the_reason() {
        assert_eq!(
            HighAvailabilityType::parse(&"ZOOKEEPER".into()),
            Err("one of `none`, `filesystem` (`zookeeper` is not there yet)".to_owned())
        );
        let legacy = ClaimMode::parse(&"legacy".into()).unwrap_err();
        assert!(legacy.contains("use `NO_CLAIM`"), "{legacy}");
        assert_eq!(
            HighAvailabilityType::parse(&"standalone".into()),
            Ok(HighAvailabilityType::None)
        );
    }
}
