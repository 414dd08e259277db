//! Appending to lists by merge operands, which RocksDB puts behind what there is when it reads or compacts a key.

use rocksdb::MergeOperands;

/// The operator's name, which stands in each database: another one cannot open it.
const NAME: &str = "millpond::Append";

/// Sets the operator of the column families with these options.
pub(crate) fn set_operator(options: &mut rocksdb::Options) {
    options.set_merge_operator_associative(NAME, append);
}

/// What there is, and behind it the operands in their order.
fn append(_name: &[u8], there: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let there = there.unwrap_or_default();
    let len = there.len() + operands.iter().map(<[u8]>::len).sum::<usize>();
    let mut whole = Vec::with_capacity(len);
    whole.extend_from_slice(there);
    for operand in operands {
        whole.extend_from_slice(operand);
    }
    Some(whole)
}
