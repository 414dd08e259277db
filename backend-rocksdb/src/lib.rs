//! State larger than memory.
