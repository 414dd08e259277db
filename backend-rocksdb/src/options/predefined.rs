//! Flink's sets of options for a kind of disk (`PredefinedOptions`). What is set by its own key wins over the set; what the set does
//! not mention has RocksDB's default as Flink writes it down (`RocksDBConfigurableOptions`).

/// A set of options for a kind of disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PredefinedOptions {
    /// RocksDB's defaults.
    #[default]
    Default,
    /// For spinning disks.
    SpinningDiskOptimized,
    /// For spinning disks, with more memory for blocks and write buffers, and bloom filters.
    SpinningDiskOptimizedHighMem,
    /// For flash disks.
    FlashSsdOptimized,
}

pub(super) const NAMES: [(&str, PredefinedOptions); 4] = [
    ("DEFAULT", PredefinedOptions::Default),
    (
        "SPINNING_DISK_OPTIMIZED",
        PredefinedOptions::SpinningDiskOptimized,
    ),
    (
        "SPINNING_DISK_OPTIMIZED_HIGH_MEM",
        PredefinedOptions::SpinningDiskOptimizedHighMem,
    ),
    ("FLASH_SSD_OPTIMIZED", PredefinedOptions::FlashSsdOptimized),
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) threads: i32,
    pub(super) dynamic_level_size: bool,
    pub(super) target_file_bytes: u64,
    pub(super) level_base_bytes: u64,
    pub(super) write_buffer_bytes: u64,
    pub(super) write_buffers: i32,
    pub(super) write_buffers_to_merge: i32,
    pub(super) block_bytes: u64,
    pub(super) block_cache_bytes: u64,
    pub(super) use_bloom_filter: bool,
}

impl PredefinedOptions {
    pub(super) const fn values(self) -> Values {
        let default = Values {
            threads: 2,
            dynamic_level_size: false,
            target_file_bytes: 64 * MIB,
            level_base_bytes: 256 * MIB,
            write_buffer_bytes: 64 * MIB,
            write_buffers: 2,
            write_buffers_to_merge: 1,
            block_bytes: 4 * KIB,
            block_cache_bytes: 8 * MIB,
            // Flink has none: a key that is in one file is then looked for in a block of each file.
            use_bloom_filter: true,
        };
        match self {
            Self::Default => default,
            Self::SpinningDiskOptimized => Values {
                threads: 4,
                dynamic_level_size: true,
                ..default
            },
            Self::SpinningDiskOptimizedHighMem => Values {
                threads: 4,
                dynamic_level_size: true,
                target_file_bytes: 256 * MIB,
                level_base_bytes: 1024 * MIB,
                write_buffers: 4,
                write_buffers_to_merge: 3,
                block_bytes: 128 * KIB,
                block_cache_bytes: 256 * MIB,
                use_bloom_filter: true,
                ..default
            },
            Self::FlashSsdOptimized => Values {
                threads: 4,
                ..default
            },
        }
    }
}
