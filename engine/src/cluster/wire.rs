//! The bytes on the wire: the greeting that opens every connection, its answer, and the frames of control connections.
//!
//! ```text
//! greeting:  magic "MILLPOND" | version u16 | length u32 | Hello
//! answer:    code u8 | length u32 | text (UTF-8)
//! frame:     length u32 | Message
//! ```
//! Numbers are little-endian. Greeting and answer keep this outline in every version, so that two versions can still tell each
//! other apart. A data connection carries timely's own stream right after the answer.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::failure::FailureCause;
use super::{AttemptNumber, AttemptPlan};
use crate::codec;

/// First bytes of every connection: what does not start so is not one of us and gets no answer.
pub(super) const MAGIC: [u8; 8] = *b"MILLPOND";
/// Version of everything after the magic. A process of another version is refused.
pub(super) const PROTOCOL_VERSION: u16 = 1;
/// Longest greeting or answer: a job name of a few KiB fits.
const HELLO_BYTES_MAX: u32 = 64 << 10;
/// Longest control frame. The largest is the start of an attempt, which carries checkpoint metadata with inline state.
const FRAME_BYTES_MAX: u32 = 1 << 30;
/// Frames are read in steps of this size, so that a wrong length costs no memory.
const READ_STEP_BYTES: usize = 64 << 10;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To process 0: the control messages.
    Control {
        /// Highest attempt that the sender has taken part in.
        attempt_seen: AttemptNumber,
    },
    /// Timely's data between two processes.
    Data {
        /// The attempt that it belongs to.
        attempt: AttemptNumber,
    },
}

/// Who opens a connection, and what it takes for granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) purpose: Purpose,
    pub(super) job_name: String,
    pub(super) process: u32,
    pub(super) processes: u32,
    pub(super) slots: u32,
    pub(super) plan_fingerprint: u64,
}

/// The answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Welcome; the connection is open.
    Accepted,
    /// Right, but too early: try again soon.
    NotYet,
    /// Right, but the attempt is over: do not try this one again.
    Stale,
    /// Wrong, with both values in the text: trying again would not help.
    Refused(String),
}

/// What process 0 and the others say to each other over a control connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// A sign of life.
    Heartbeat,
    /// From 0: connect with each other for this attempt.
    AttemptStart(AttemptPlan),
    /// To 0: all data connections of the attempt are open here.
    Ready { attempt: AttemptNumber },
    /// From 0: everybody is ready, run.
    Go { attempt: AttemptNumber },
    /// `process` failed.
    Failed {
        attempt: AttemptNumber,
        process: u32,
        cause: FailureCause,
    },
    /// `process` was lost.
    Lost {
        attempt: AttemptNumber,
        process: u32,
        reason: String,
    },
    /// To 0: all workers here have finished.
    Finished { attempt: AttemptNumber },
    /// From 0: the job is finished.
    JobFinished,
    /// From 0: the job failed for good.
    GaveUp { cause: FailureCause },
}

fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    codec::to_vec(value).map_err(invalid)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    codec::decode(bytes).map_err(invalid)
}

/// `length | bytes`, where the length must not be above `max`.
fn with_length(mut head: Vec<u8>, body: &[u8], max: u32) -> io::Result<Vec<u8>> {
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= max);
    let length = length.ok_or_else(|| invalid(format!("{} bytes, at most {max} can be sent", body.len())))?;
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(body);
    Ok(head)
}

/// The bytes of one control frame.
pub(super) fn frame(message: &Message) -> io::Result<Vec<u8>> {
    with_length(Vec::new(), &encode(message)?, FRAME_BYTES_MAX)
}

/// Reads `length` bytes; every step must bring something within `patience`.
async fn read_bytes<R: AsyncRead + Unpin>(
    reader: &mut R,
    length: u32,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = reader.take(u64::from(length));
    while part.limit() > 0 {
        bytes.reserve(READ_STEP_BYTES.min(usize::try_from(part.limit()).unwrap_or(READ_STEP_BYTES)));
        if timeout(patience, part.read_buf(&mut bytes)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

async fn read_array<const N: usize, R: AsyncRead + Unpin>(
    reader: &mut R,
    patience: Duration,
) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    timeout(patience, reader.read_exact(&mut bytes)).await??;
    Ok(bytes)
}

async fn read_length<R: AsyncRead + Unpin>(reader: &mut R, max: u32, patience: Duration) -> io::Result<u32> {
    let length = u32::from_le_bytes(read_array(reader, patience).await?);
    if length > max {
        return Err(invalid(format!(
            "a length of {length} bytes, at most {max} are allowed"
        )));
    }
    Ok(length)
}

/// Reads one control message.
///
/// # Errors
/// End of file or silence for longer than `patience`, a length out of bounds, bytes that are no message.
pub(super) async fn read_message<R: AsyncRead + Unpin>(
    reader: &mut R,
    patience: Duration,
) -> io::Result<Message> {
    let length = read_length(reader, FRAME_BYTES_MAX, patience).await?;
    decode(&read_bytes(reader, length, patience).await?)
}

/// Sends the greeting and reads the answer.
///
/// # Errors
/// As [`read_message`].
pub(super) async fn greet<S>(stream: &mut S, hello: &Hello, patience: Duration) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    let bytes = with_length(head, &encode(hello)?, HELLO_BYTES_MAX)?;
    timeout(patience, stream.write_all(&bytes)).await??;
    let [code] = read_array(stream, patience).await?;
    let length = read_length(stream, HELLO_BYTES_MAX, patience).await?;
    let text = read_bytes(stream, length, patience).await?;
    match code {
        0 => Ok(Answer::Accepted),
        1 => Ok(Answer::NotYet),
        2 => Ok(Answer::Stale),
        3 => Ok(Answer::Refused(String::from_utf8_lossy(&text).into_owned())),
        other => Err(invalid(format!("an answer of unknown code {other}"))),
    }
}

/// What came in as a greeting.
#[derive(Debug)]
pub(super) enum Greeting {
    /// A peer of this version.
    Hello(Hello),
    /// A peer of another version of the protocol.
    OtherVersion(u16),
}

/// Reads the greeting of a connection that was accepted, each step within `patience`.
///
/// # Errors
/// As [`read_message`]; also what does not start with the magic.
pub(super) async fn read_greeting<R: AsyncRead + Unpin>(
    reader: &mut R,
    patience: Duration,
) -> io::Result<Greeting> {
    if read_array(reader, patience).await? != MAGIC {
        return Err(invalid("not a Millpond process"));
    }
    let version = u16::from_le_bytes(read_array(reader, patience).await?);
    let length = read_length(reader, HELLO_BYTES_MAX, patience).await?;
    // Read in any version: closing a connection with something unread would take the answer back.
    let body = read_bytes(reader, length, patience).await?;
    if version != PROTOCOL_VERSION {
        return Ok(Greeting::OtherVersion(version));
    }
    decode(&body).map(Greeting::Hello)
}

/// Sends the answer to a greeting.
///
/// # Errors
/// The connection is gone, or takes nothing for longer than `patience`.
pub(super) async fn answer<W: AsyncWrite + Unpin>(
    writer: &mut W,
    answer: &Answer,
    patience: Duration,
) -> io::Result<()> {
    let (code, text) = match answer {
        Answer::Accepted => (0, ""),
        Answer::NotYet => (1, ""),
        Answer::Stale => (2, ""),
        Answer::Refused(text) => (3, text.as_str()),
    };
    let bytes = with_length(vec![code], text.as_bytes(), HELLO_BYTES_MAX)?;
    timeout(patience, writer.write_all(&bytes)).await?
}
