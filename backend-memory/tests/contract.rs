//! The contract suite of state backends, run against the memory backend through the objects that cross the boundary.

millpond_backend_api::contract_tests!(millpond_backend_memory::factory());
