//! A release that cannot start from what the others have stored.

use super::{Gate, Release};
use millpond_engine::Result;
use millpond_engine::api::ProcessContext;
use millpond_engine::state::StateRegistry;

/// A release whose `visits` are text, which nothing makes of those of the others.
#[derive(Clone)]
pub(super) struct Third;

impl Release for Third {
    fn open(states: &mut StateRegistry<'_>, _: &Gate) -> Result<Self> {
        states.value_state::<u64>("total")?;
        states.value_state::<String>("visits")?;
        Ok(Self)
    }

    fn enter(&self, _: u64, _: u64, _: &mut ProcessContext<'_, u64>) -> Result<String> {
        Ok(String::new())
    }
}
