//! Completed checkpoints: how many are kept, and which files they still use.
