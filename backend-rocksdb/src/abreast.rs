//! The groups of frozen tables, looked through by several threads where they are large.
//!
//! A snapshot finds what was changed by a look at every entry of the pages that were written since the one before: with keys all over the state
//! that is most of the memory, whatever little was changed. One thread gets through about 5 GB of it in a second, at best.

use millpond_backend_api::{BackendResult, KeyGroup};
use millpond_backend_memory::kinds::FrozenGroup;
use millpond_backend_memory::table::PAGE_BYTES;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// With less than this there is no thread more: starting it, and one more file, would cost as much as it spares.
const BYTES_A_THREAD: usize = 64 << 20;

/// Groups that follow each other.
type Groups<'g> = Vec<(KeyGroup, &'g mut FrozenGroup)>;

/// Threads of the process that help along.
static HELPING: AtomicUsize = AtomicUsize::new(0);

/// Leave for so many helpers; given back when it is dropped.
#[derive(Debug)]
struct Helpers(usize);

impl Helpers {
    /// For at most `wanted`. All in the process are fewer than it has processors: whoever asks works, too.
    fn ask(wanted: usize) -> Self {
        if wanted == 0 {
            return Self(0);
        }
        let most = thread::available_parallelism().map_or(0, |processors| processors.get() - 1);
        let given = |helping: usize| wanted.min(most.saturating_sub(helping));
        let add = |helping| Some(helping + given(helping));
        let before = HELPING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        Self(before.map_or(0, given))
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPING.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// About how much memory a group holds.
fn bytes_of(group: &FrozenGroup) -> usize {
    match group {
        FrozenGroup::Pages(pages, _) => pages.len() * PAGE_BYTES,
        FrozenGroup::Sorted { .. } | FrozenGroup::Below => 0,
    }
}

/// Divides `groups` into at most `parts` of about the same size, in order.
fn divide(mut groups: Groups<'_>, parts: usize) -> Vec<Groups<'_>> {
    let all: usize = groups.iter().map(|(_, group)| bytes_of(group)).sum();
    let mut divided = Vec::new();
    // From the end, where it costs nothing to take off.
    for part in (1..parts).rev() {
        let goal = all / parts * part;
        let mut before = 0;
        let first_behind = groups.iter().position(|(_, group)| {
            let is_behind = before >= goal;
            before += bytes_of(group);
            is_behind
        });
        if let Some(at) = first_behind {
            divided.push(groups.split_off(at));
        }
    }
    divided.push(groups);
    divided.retain(|part| !part.is_empty());
    divided.reverse();
    divided
}

/// Calls `each` with all of `groups`: at once, or with a part in each of several threads if they are large and the machine has processors for that.
/// Returns what came of the parts, in order.
///
/// # Errors
/// One of those of `each`.
pub(crate) fn side_by_side<'g, T: Send>(
    groups: Groups<'g>,
    each: impl Fn(Groups<'g>) -> BackendResult<T> + Sync,
) -> BackendResult<Vec<T>> {
    let bytes: usize = groups.iter().map(|(_, group)| bytes_of(group)).sum();
    let helpers = Helpers::ask((bytes / BYTES_A_THREAD).saturating_sub(1));
    run(divide(groups, helpers.0 + 1), &each)
}

fn run<'g, T: Send>(
    parts: Vec<Groups<'g>>,
    each: &(impl Fn(Groups<'g>) -> BackendResult<T> + Sync),
) -> BackendResult<Vec<T>> {
    let helpers = parts.len().saturating_sub(1);
    let left = Mutex::new(parts.into_iter().enumerate());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> BackendResult<Vec<_>> {
        let mut done = Vec::new();
        while let Some((number, part)) = next() {
            done.push((number, each(part)?));
        }
        Ok(done)
    };
    let mut done = thread::scope(|scope| {
        // Where there can be no thread its part is done by the others.
        let helpers: Vec<_> = (0..helpers)
            .filter_map(|_| {
                let thread = thread::Builder::new().name("millpond-changes".to_owned());
                thread.spawn_scoped(scope, work).ok()
            })
            .collect();
        let mut done = work();
        for helper in helpers {
            let by_helper = helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done = done.and_then(|mut done| {
                done.extend(by_helper?);
                Ok(done)
            });
        }
        done
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, of_part)| of_part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_backend_api::{BackendError, BackendErrorKind};
    use millpond_backend_memory::table::{EraOfOwner, GroupTable, Layout, SnapshotEra, cell_hash};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// A group with `pages` pages or a few more.
    fn group(pages: usize) -> FrozenGroup {
        let mut table = GroupTable::new(0);
        let layout = Layout::Fixed(4096);
        for key in 0..(pages * PAGE_BYTES / 4096) as u64 {
            let key = key.to_le_bytes();
            let parts = millpond_backend_memory::table::Parts {
                hash: cell_hash(millpond_backend_api::key_hash(&key), &[]),
                key: &key,
                namespace: &[],
                map_key: &[],
                head: false,
            };
            table.insert(layout, &parts, 0);
        }
        let era = SnapshotEra::begin(&mut EraOfOwner::default());
        FrozenGroup::Pages(table.freeze(&era, false), layout)
    }

    fn numbers(groups: &Groups<'_>) -> Vec<u16> {
        groups.iter().map(|(group, _)| group.0).collect()
    }

    fn numbered(groups: &mut [FrozenGroup]) -> Groups<'_> {
        (0..).map(KeyGroup).zip(groups).collect()
    }

    #[test]
    fn parts_are_in_order_and_about_as_large_as_each_other() {
        let mut groups: Vec<_> = [1, 1, 6, 1, 1, 1, 1].into_iter().map(group).collect();
        let all: usize = groups.iter().map(bytes_of).sum();
        let parts = divide(numbered(&mut groups), 2);
        assert_eq!(
            parts.iter().map(numbers).collect::<Vec<_>>(),
            [vec![0, 1, 2], vec![3, 4, 5, 6]]
        );
        let first: usize = parts[0].iter().map(|(_, group)| bytes_of(group)).sum();
        assert!(first * 3 > all && first * 3 < all * 3, "{first} of {all}");
    }

    #[test]
    fn every_group_is_in_one_part_whatever_their_sizes_and_however_many_parts() {
        for sizes in [
            vec![],
            vec![0],
            vec![0; 5],
            vec![3],
            vec![0, 0, 3],
            vec![3, 0, 0, 0],
            vec![2; 9],
        ] {
            for count in 1..5 {
                let mut groups: Vec<_> = sizes
                    .iter()
                    .map(|pages| {
                        if *pages == 0 {
                            FrozenGroup::Below
                        } else {
                            group(*pages)
                        }
                    })
                    .collect();
                let len = u16::try_from(groups.len()).unwrap();
                let parts = divide(numbered(&mut groups), count);
                assert!(parts.len() <= count);
                let all: Vec<_> = parts.iter().flat_map(numbers).collect();
                assert_eq!(all, (0..len).collect::<Vec<_>>(), "{sizes:?} {count}");
            }
        }
    }

    #[test]
    fn parts_are_worked_on_at_once_and_come_back_in_order() {
        let mut groups: Vec<_> = (0..2).map(|_| FrozenGroup::Below).collect();
        let parts = numbered(&mut groups)
            .into_iter()
            .map(|group| vec![group])
            .collect();
        let (arrive, arrived) = channel();
        let arrived = Mutex::new(arrived);
        // The first part waits for the second one.
        let done = run(parts, &|groups: Groups<'_>| {
            let number = groups[0].0.0;
            if number == 0 {
                let waited = arrived.lock().unwrap().recv_timeout(Duration::from_secs(60));
                waited.map_err(|_| BackendError::new(BackendErrorKind::Other, "one after the other"))?;
            } else {
                arrive.clone().send(()).unwrap();
            }
            Ok(number)
        });
        assert_eq!(done.unwrap(), [0, 1]);
    }

    #[test]
    fn what_goes_wrong_in_any_part_is_told() {
        for broken in 0..3 {
            let mut groups: Vec<_> = (0..3).map(|_| FrozenGroup::Below).collect();
            let parts = numbered(&mut groups)
                .into_iter()
                .map(|group| vec![group])
                .collect();
            let done = run(parts, &|groups: Groups<'_>| match groups[0].0.0 {
                number if number == broken => Err(BackendError::new(BackendErrorKind::Other, "broken")),
                number => Ok(number),
            });
            assert_eq!(done.unwrap_err().to_string(), "broken");
        }
    }

    #[test]
    fn all_helpers_together_are_fewer_than_processors() {
        let processors = thread::available_parallelism().unwrap().get();
        let all: Vec<_> = (0..processors + 1).map(|_| Helpers::ask(processors)).collect();
        assert!(all.iter().map(|helpers| helpers.0).sum::<usize>() < processors);
        assert_eq!(Helpers::ask(0).0, 0);
    }
}
