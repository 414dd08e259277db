//! State that expires: what a backend is told of it, and how to see in stored bytes whether they have expired.
//!
//! A state with a time to live (TTL) is stored with the time of each value, so that a backend can drop what has expired without knowing the types:
//!
//! ```text
//! value, or value of a map's entry:   u64 LE time | the value
//! list, for each element:             u32 LE length of the element | u64 LE time | the element
//! ```
//!
//! Times are milliseconds since 1970. A value has expired when its time plus the state's TTL, at most `u64::MAX`, is at or before now; a list's cell
//! has when all of its elements have. The engine hides what has expired by itself: dropping it only saves room.

use crate::state::StateKind;
use abi_stable::StableAbi;

/// The bytes of the time in front of a value.
pub const TIME_BYTES: usize = 8;

/// The bytes in front of each element of a list: its length and its time.
pub const ELEMENT_HEADER_BYTES: usize = 4 + TIME_BYTES;

/// How long the cells of a state live, and where the program wants those that have expired to be dropped. Never stored by a backend: the engine
/// knows it anew when it registers the state.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateTtl {
    /// Milliseconds from a value's time to its end; 0 if the state has no TTL, and then values carry no time.
    pub ttl_ms: u64,
    /// Snapshots that have everything leave out what has expired.
    pub in_snapshots: bool,
    /// Where a backend merges files in the background, it drops what has expired.
    pub in_compactions: bool,
    /// After how many entries it looks at the time anew then; 0: as the backend is configured.
    pub entries_per_look: u64,
}

impl StateTtl {
    /// No TTL.
    pub const NONE: Self = Self {
        ttl_ms: 0,
        in_snapshots: false,
        in_compactions: false,
        entries_per_look: 0,
    };

    /// A TTL that asks for no cleanup.
    #[must_use]
    pub const fn of_ms(ttl_ms: u64) -> Self {
        Self { ttl_ms, ..Self::NONE }
    }

    /// Whether the state has no TTL.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.ttl_ms == 0
    }

    /// Whether a value of `time_ms` has expired at `now_ms`. Never without a TTL.
    #[inline]
    #[must_use]
    pub const fn has_expired(self, time_ms: u64, now_ms: u64) -> bool {
        self.ttl_ms != 0 && time_ms.saturating_add(self.ttl_ms) <= now_ms
    }

    /// Whether the cell with the bytes `value`, of a state of the kind `kind`, has expired at `now_ms` and may be dropped. Bytes that are not of the stored
    /// form have not: damage is to be seen by who reads them.
    #[inline]
    #[must_use]
    pub fn has_cell_expired(self, kind: StateKind, value: &[u8], now_ms: u64) -> bool {
        if self.is_none() {
            return false;
        }
        match kind {
            StateKind::List => TimedElements::new(value).all(|element| match element {
                Ok((time, _)) => self.has_expired(time, now_ms),
                Err(DamagedElement { .. }) => false,
            }),
            _ => split_time(value).is_some_and(|(time, _)| self.has_expired(time, now_ms)),
        }
    }

    /// How many bytes at the start of a list are elements that have expired at `now_ms`, one after the other; what lies behind them, if anything, is
    /// to be kept. 0 for bytes that are not of the stored form.
    #[must_use]
    pub fn expired_prefix(self, list: &[u8], now_ms: u64) -> usize {
        let mut elements = TimedElements::new(list);
        let mut prefix = 0;
        let mut is_prefix = true;
        while let Some(element) = elements.next() {
            match element {
                Ok((time, _)) if is_prefix && self.has_expired(time, now_ms) => prefix = elements.position(),
                Ok(_) => is_prefix = false,
                Err(DamagedElement { .. }) => return 0,
            }
        }
        prefix
    }
}

/// The time in front of a value, and the value; `None` where there is no room for a time.
#[inline]
#[must_use]
pub fn split_time(stored: &[u8]) -> Option<(u64, &[u8])> {
    let (time, value) = stored.split_first_chunk::<TIME_BYTES>()?;
    Some((u64::from_le_bytes(*time), value))
}

/// The list's bytes are not those of timed elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedElement {
    /// Where the element begins that cannot be read.
    pub position: usize,
    /// How many bytes there are.
    pub len: usize,
}

/// Time and bytes of each element of a list with TTL, in order. The first element that cannot be read is the last that is given.
#[derive(Clone, Debug)]
pub struct TimedElements<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> TimedElements<'a> {
    /// The elements of the list with the stored bytes `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next element begins.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&self) -> Option<(u64, &'a [u8])> {
        let rest = self.bytes.get(self.position..)?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (time, rest) = split_time(rest)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        Some((time, rest.get(..len)?))
    }
}

impl<'a> Iterator for TimedElements<'a> {
    type Item = Result<(u64, &'a [u8]), DamagedElement>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let Some((time, element)) = self.read() else {
            let damaged = DamagedElement {
                position: self.position,
                len: self.bytes.len(),
            };
            self.position = self.bytes.len();
            return Some(Err(damaged));
        };
        self.position += ELEMENT_HEADER_BYTES + element.len();
        Some(Ok((time, element)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(time: u64, bytes: &[u8]) -> Vec<u8> {
        let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&len[..], &time.to_le_bytes(), bytes].concat()
    }

    #[test]
    fn a_value_expires_at_its_time_plus_the_ttl_and_not_before() {
        let ttl = StateTtl::of_ms(100);
        assert!(!ttl.has_expired(1000, 1099));
        assert!(ttl.has_expired(1000, 1100));
        assert!(!ttl.has_expired(1000, 0), "the clock may go back");
        let value = [&1000_u64.to_le_bytes()[..], b"value"].concat();
        for kind in [StateKind::Value, StateKind::Map] {
            assert!(!ttl.has_cell_expired(kind, &value, 1099));
            assert!(ttl.has_cell_expired(kind, &value, 1100));
            assert!(!StateTtl::NONE.has_cell_expired(kind, &value, u64::MAX));
        }
    }

    #[test]
    fn times_and_ttls_at_the_end_of_their_range_do_not_overflow() {
        let ttl = StateTtl::of_ms(u64::MAX);
        assert!(!ttl.has_expired(u64::MAX - 1, u64::MAX - 1));
        assert!(!StateTtl::of_ms(1).has_expired(u64::MAX, u64::MAX - 1));
        assert!(!StateTtl::NONE.has_expired(0, u64::MAX));
    }

    #[test]
    fn a_list_expires_with_its_last_element() {
        let ttl = StateTtl::of_ms(100);
        let list = [element(1000, b"a"), element(1050, b""), element(1020, b"ccc")].concat();
        let read: Vec<_> = TimedElements::new(&list).map(Result::unwrap).collect();
        assert_eq!(read, [(1000, &b"a"[..]), (1050, b""), (1020, b"ccc")]);
        let expired = |now| ttl.has_cell_expired(StateKind::List, &list, now);
        assert!(!expired(1149) && expired(1150));
        assert_eq!(ttl.expired_prefix(&list, 1099), 0);
        assert_eq!(
            ttl.expired_prefix(&list, 1130),
            13,
            "the third one lies behind a live one"
        );
        assert_eq!(ttl.expired_prefix(&list, 1150), list.len());
    }

    #[test]
    fn damaged_bytes_never_expire_and_never_make_a_panic() {
        let ttl = StateTtl::of_ms(1);
        assert!(!ttl.has_cell_expired(StateKind::Value, &[0; 7], u64::MAX));
        let list = [element(0, b"abc"), element(0, b"de")].concat();
        for len in (1..list.len()).filter(|len| *len != 15) {
            let cut = &list[..len];
            assert!(!ttl.has_cell_expired(StateKind::List, cut, u64::MAX), "{len}");
            assert_eq!(ttl.expired_prefix(cut, u64::MAX), 0);
            let last = TimedElements::new(cut).last();
            let position = if len < 15 { 0 } else { 15 };
            assert_eq!(last, Some(Err(DamagedElement { position, len })));
        }
        let mut long = list.clone();
        long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(!ttl.has_cell_expired(StateKind::List, &long, u64::MAX));
    }
}
