//! Who gets which part of a snapshot.
