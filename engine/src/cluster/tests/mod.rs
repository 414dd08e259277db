//! Clusters of real processes and connections, on loopback.

mod harness;
mod loss;
mod meeting;

/// Where a test binary that was started again as a process of a cluster finds its work; does nothing in a normal run.
#[test]
fn child_process() {
    harness::run_as_child();
}
