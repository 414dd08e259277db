//! The watermark of a task: the minimum over its input channels.

use super::batch::Mark;
use crate::api::{TimestampMs, WATERMARK_MAX, WATERMARK_MIN};

/// What the upstream subtasks of all inputs of a task have said.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Per input, per upstream subtask.
    inputs: Vec<Vec<Channel>>,
    watermark: TimestampMs,
    idle: bool,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    watermark: TimestampMs,
    idle: bool,
}

/// What changed for the task.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// The watermark has risen to this.
    pub(crate) watermark: Option<TimestampMs>,
    /// The input became idle, or active again.
    pub(crate) idle: Option<bool>,
}

impl Channels {
    /// Channels that have said nothing yet; `upstream` gives the number of upstream subtasks of each input.
    pub(crate) fn new(upstream: &[u32]) -> Self {
        let silent = Channel {
            watermark: WATERMARK_MIN,
            idle: false,
        };
        let inputs = upstream
            .iter()
            .map(|subtasks| vec![silent; *subtasks as usize])
            .collect();
        Self {
            inputs,
            watermark: WATERMARK_MIN,
            idle: false,
        }
    }

    /// Notes a mark that came in by `input`. An input with one channel takes it from whichever subtask it comes.
    pub(crate) fn update(&mut self, input: usize, mark: Mark) -> Change {
        let Some(channels) = self.inputs.get_mut(input) else {
            return Change::default();
        };
        let from = if channels.len() == 1 {
            0
        } else {
            mark.from as usize
        };
        let Some(channel) = channels.get_mut(from) else {
            return Change::default();
        };
        channel.watermark = channel.watermark.max(mark.watermark);
        channel.idle = mark.idle;
        let all = || self.inputs.iter().flatten();
        // A channel that has ended holds nobody back, but only when all have is the input at its end: an idle one may go on.
        let ended = |channel: &Channel| channel.watermark == WATERMARK_MAX;
        let open = || all().filter(|channel| !ended(channel));
        let idle = open().next().is_some() && open().all(|channel| channel.idle);
        let active = match open().next() {
            None => Some(WATERMARK_MAX),
            Some(_) => open()
                .filter(|channel| !channel.idle)
                .map(|channel| channel.watermark)
                .min(),
        };
        let mut change = Change::default();
        if let Some(minimum) = active
            && minimum > self.watermark
        {
            self.watermark = minimum;
            change.watermark = Some(minimum);
        }
        if idle != self.idle {
            self.idle = idle;
            change.idle = Some(idle);
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(from: u32, watermark: TimestampMs, idle: bool) -> Mark {
        Mark {
            from,
            watermark,
            idle,
            targets: 1,
        }
    }

    #[test]
    fn the_watermark_is_the_minimum_over_channels_that_are_not_idle() {
        let mut channels = Channels::new(&[2, 1]);
        assert_eq!(channels.update(0, mark(0, 10, false)), Change::default());
        assert_eq!(channels.update(0, mark(1, 7, false)), Change::default());
        assert_eq!(channels.update(1, mark(5, 20, false)).watermark, Some(7));
        assert_eq!(
            channels.update(0, mark(1, 5, false)),
            Change::default(),
            "watermarks never fall"
        );
        assert_eq!(
            channels.update(0, mark(1, 7, true)).watermark,
            Some(10),
            "an idle channel is left out"
        );
        assert_eq!(channels.update(0, mark(0, 10, true)).watermark, Some(20));
        assert_eq!(
            channels.update(1, mark(0, 20, true)).idle,
            Some(true),
            "all are idle"
        );
        assert_eq!(
            channels.update(1, mark(0, 21, false)),
            Change {
                watermark: Some(21),
                idle: Some(false)
            }
        );
    }

    #[test]
    fn the_input_is_at_its_end_only_when_every_channel_is() {
        let mut channels = Channels::new(&[2]);
        assert_eq!(channels.update(0, mark(1, 5, true)), Change::default());
        let ended = channels.update(0, mark(0, WATERMARK_MAX, false));
        assert_eq!(
            ended,
            Change {
                watermark: None,
                idle: Some(true)
            },
            "the other channel is idle and may go on"
        );
        assert_eq!(
            channels.update(0, mark(1, 9, false)),
            Change {
                watermark: Some(9),
                idle: Some(false)
            }
        );
        assert_eq!(
            channels.update(0, mark(1, WATERMARK_MAX, false)).watermark,
            Some(WATERMARK_MAX)
        );
    }

    #[test]
    fn a_mark_of_an_unknown_channel_changes_nothing() {
        let mut channels = Channels::new(&[2]);
        assert_eq!(channels.update(0, mark(9, 1, false)), Change::default());
        assert_eq!(channels.update(4, mark(0, 1, false)), Change::default());
    }
}
