//! What a record shows of all states of its key.

pub(super) struct Shown {
    pub(super) count: u64,
    pub(super) last: Option<u64>,
    pub(super) total: u64,
    pub(super) recent: Vec<u64>,
    pub(super) kinds: Vec<(u8, u64)>,
    pub(super) sum: u128,
    pub(super) mean: u64,
    pub(super) mood: String,
    pub(super) merged: String,
}

pub(super) fn show(mut shown: Shown) -> String {
    shown.kinds.sort_unstable();
    let Shown {
        count,
        last,
        total,
        recent,
        kinds,
        sum,
        mean,
        mood,
        merged,
    } = shown;
    let last = last.map_or_else(|| "-".to_owned(), |last| last.to_string());
    let recent = recent.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let kinds = kinds
        .iter()
        .map(|(kind, count)| format!("{kind}:{count}"))
        .collect::<Vec<_>>()
        .join(",");
    format!("{count} {last} {total} {recent} {kinds} {sum} {mean} {mood} {merged}")
}
