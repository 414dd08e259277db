//! The snapshot format of the reference backend: the tables one after the other, with lengths; the engine's checksum covers all.

use super::defect::Defect;
use super::reference::{Table, entry};
use crate::canonical::{CanonicalReader, CanonicalWriter, is_canonical};
use crate::contract::Address;
use crate::*;
use abi_stable::std_types::ROption;

const FORMAT: &str = "reference/1";
/// The bytes that one write takes at most.
const STEP_BYTES: usize = 1 << 16;

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
    bytes.extend(part);
}

/// Writes the tables in the canonical form.
pub(super) fn write_canonical(
    streams: &SnapshotStreams,
    tables: &[Table],
    range: KeyGroupRange,
    defect: Defect,
) -> BackendResult<Vec<SnapshotHandle>> {
    let tables: Vec<&Table> = tables
        .iter()
        .filter(|table| defect != Defect::ForgetsEmptyStates || !table.cells.is_empty())
        .collect();
    let states = tables.iter().map(|table| table.descriptor.clone()).collect();
    let mut writer = CanonicalWriter::new(streams, range, states);
    for group in range.iter() {
        for (number, table) in tables.iter().enumerate() {
            writer.begin(number, group)?;
            for (address, value) in table.cells.iter().filter(|(address, _)| address.group == group.0) {
                let entry = entry(address, value);
                writer.entry(&entry)?;
                if defect == Defect::RepeatsEntries && value.len() == 5 {
                    writer.entry(&entry)?;
                }
            }
            writer.end()?;
        }
    }
    writer.finish()
}

/// Brings what a canonical snapshot has in `range` into the tables.
fn restore_canonical(
    handle: &SnapshotHandle,
    files: &RestoreFiles,
    range: KeyGroupRange,
    defect: Defect,
    tables: &mut Vec<Table>,
) -> BackendResult<()> {
    let mut reader = CanonicalReader::open(handle, range, files)?;
    for descriptor in reader.states() {
        table_of(tables, descriptor);
    }
    let mut last = None;
    while let Some(section) = reader.next_section()? {
        let place = Some((section.group(), section.state()));
        if defect == Defect::TakesOneSectionAGroup && last == place {
            continue;
        }
        last = place;
        let table = table_of(tables, section.descriptor());
        for entry in section.entries() {
            let address = Address {
                group: section.group().0,
                key: entry.key.to_vec(),
                namespace: entry.namespace.to_vec(),
                map_key: entry.map_key.to_vec(),
            };
            let old = table.cells.insert(address, entry.value.to_vec());
            assert!(
                defect != Defect::PanicsOnDoubles || old.is_none(),
                "a cell came twice"
            );
        }
    }
    Ok(())
}

fn table_of<'t>(tables: &'t mut Vec<Table>, descriptor: &StateDescriptor) -> &'t mut Table {
    let known = tables
        .iter()
        .position(|other| other.descriptor.name == descriptor.name);
    let index = known.unwrap_or_else(|| {
        tables.push(Table::new(descriptor.clone()));
        tables.len() - 1
    });
    &mut tables[index]
}

pub(super) fn write(
    streams: &SnapshotStreams,
    tables: &[Table],
    range: KeyGroupRange,
    defect: Defect,
) -> BackendResult<Vec<SnapshotHandle>> {
    let mut bytes = Vec::new();
    for table in tables {
        put(&mut bytes, table.descriptor.name.as_bytes());
        put(&mut bytes, &[table.descriptor.kind as u8]);
        put(&mut bytes, &table.descriptor.value_width.to_le_bytes());
        put(&mut bytes, &table.descriptor.codec);
        put(&mut bytes, &(table.cells.len() as u64).to_le_bytes());
        for (address, value) in &table.cells {
            put(&mut bytes, &address.group.to_le_bytes());
            put(&mut bytes, &address.key);
            put(&mut bytes, &address.namespace);
            put(&mut bytes, &address.map_key);
            put(&mut bytes, value);
        }
    }
    let Some(largest) = tables
        .iter()
        .max_by_key(|table| table.cells.values().map(Vec::len).sum::<usize>())
    else {
        return Ok(Vec::new());
    };
    let mut stream = streams.open(StreamHint {
        state: largest.descriptor.name.clone(),
        expected_bytes: ROption::RSome(bytes.len() as u64),
        shared: false,
    })?;
    for part in bytes.chunks(STEP_BYTES) {
        if defect != Defect::IgnoresCancellation {
            streams.check_cancelled()?;
        }
        let written = stream.write(part);
        if defect == Defect::HidesFailures {
            let _ = written;
        } else {
            written?;
        }
    }
    let file = stream.finish()?;
    Ok(vec![SnapshotHandle {
        key_groups: range,
        format: FORMAT.into(),
        state_bytes: file.size,
        new_bytes: file.size,
        files: [file].into_iter().collect(),
        payload: Default::default(),
    }])
}

pub(super) fn restore(
    handle: &SnapshotHandle,
    files: &RestoreFiles,
    range: KeyGroupRange,
    defect: Defect,
    tables: &mut Vec<Table>,
) -> BackendResult<()> {
    if is_canonical(handle) && defect != Defect::RestoresItsOwnFormOnly {
        return restore_canonical(handle, files, range, defect, tables);
    }
    if handle.format != FORMAT {
        let text = format!("the format {} is not {FORMAT}", handle.format);
        return Err(BackendError::new(BackendErrorKind::Incompatible, text));
    }
    for file in &handle.files {
        let bytes = if defect == Defect::ChecksNothing {
            unchecked(files, file)?
        } else {
            files.read_all(file)?
        };
        let mut reader = Reader {
            rest: &bytes,
            panics: defect == Defect::TrustsLengths,
        };
        while !reader.rest.is_empty() {
            let table = reader.table()?;
            table_of(tables, &table.descriptor)
                .cells
                .extend(table.cells.into_iter().filter(|(address, _)| {
                    defect == Defect::RestoresForeignGroups || range.contains(KeyGroup(address.group))
                }));
        }
    }
    Ok(())
}

fn unchecked(files: &RestoreFiles, file: &FileRef) -> BackendResult<Vec<u8>> {
    let mut stream = files.open(file)?;
    let mut bytes = Vec::new();
    let mut step = [0; 1 << 12];
    loop {
        match stream.read(&mut step)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&step[..count]),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    panics: bool,
}

impl<'a> Reader<'a> {
    fn part(&mut self) -> BackendResult<&'a [u8]> {
        let damaged = || BackendError::new(BackendErrorKind::Corrupted, "a length leads out of the file");
        let (len, rest) = self.rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let len = u32::from_le_bytes(*len) as usize;
        assert!(!self.panics || len <= rest.len(), "a length was trusted");
        let (part, rest) = rest.split_at_checked(len).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> BackendResult<[u8; N]> {
        self.part()?
            .try_into()
            .map_err(|_| BackendError::new(BackendErrorKind::Corrupted, "a number of another width"))
    }

    fn table(&mut self) -> BackendResult<Table> {
        let damaged = |text: &str| BackendError::new(BackendErrorKind::Corrupted, text);
        let name = std::str::from_utf8(self.part()?).map_err(|_| damaged("no name"))?;
        let kind = StateKind::from_number(self.array::<1>()?[0]).ok_or_else(|| damaged("no kind"))?;
        let width = u32::from_le_bytes(self.array()?);
        let mut descriptor = StateDescriptor::new(name, kind, width);
        descriptor.codec = self.part()?.to_vec().into();
        let mut table = Table::new(descriptor);
        for _ in 0..u64::from_le_bytes(self.array()?) {
            let address = Address {
                group: u16::from_le_bytes(self.array()?),
                key: self.part()?.to_vec(),
                namespace: self.part()?.to_vec(),
                map_key: self.part()?.to_vec(),
            };
            table.cells.insert(address, self.part()?.to_vec());
        }
        Ok(table)
    }
}
