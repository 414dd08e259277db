//! The snapshot format of the reference backend: the tables one after the other, with lengths; the engine's checksum covers all.

use super::defect::Defect;
use super::reference::Table;
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
            let known = tables
                .iter()
                .position(|other| other.descriptor.name == table.descriptor.name);
            let index = known.unwrap_or_else(|| {
                tables.push(Table::new(table.descriptor.clone()));
                tables.len() - 1
            });
            tables[index]
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
