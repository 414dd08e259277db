//! Faults of a store: a call that fails may have been carried out, and one that was may never be answered.

use super::*;
use crate::checkpoint::storage::read_all;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutResult, UploadPart,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::runtime::Runtime;

/// How a call goes that does not go well.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// Whether it is carried out.
    done: bool,
    /// Whether there is an answer, which says that it failed.
    reported: bool,
}

const FAULTS: [Fault; 4] = [
    Fault {
        done: false,
        reported: true,
    },
    Fault {
        done: false,
        reported: false,
    },
    Fault {
        done: true,
        reported: true,
    },
    Fault {
        done: true,
        reported: false,
    },
];

fn broken() -> object_store::Error {
    object_store::Error::Generic {
        store: "Faulty",
        source: "the connection is broken".into(),
    }
}

impl Fault {
    async fn answer<T>(self) -> object_store::Result<T> {
        if !self.reported {
            std::future::pending::<()>().await;
        }
        Err(broken())
    }
}

/// A store in memory whose next puts go as planned.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    puts: Mutex<VecDeque<Fault>>,
    gets_fail: AtomicBool,
    parts: Arc<Parts>,
    /// Told of every object that was deleted.
    deleted: Sender<ObjectPath>,
}

/// What becomes of the parts of uploads.
#[derive(Debug)]
struct Parts {
    fault: Mutex<Option<Fault>>,
    sent: AtomicU32,
    /// Told of every upload that was given up.
    aborted: Sender<()>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let fault = self.puts.lock().unwrap().pop_front();
        match fault {
            None => self.inner.put_opts(path, payload, options).await,
            Some(fault) => {
                if fault.done {
                    self.inner.put_opts(path, payload, options).await?;
                }
                fault.answer().await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &ObjectPath,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(FaultyUpload {
            inner: self.inner.put_multipart_opts(path, options).await?,
            parts: Arc::clone(&self.parts),
        }))
    }

    async fn get_opts(&self, path: &ObjectPath, options: GetOptions) -> object_store::Result<GetResult> {
        if self.gets_fail.load(Ordering::Relaxed) {
            return Err(broken());
        }
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<ObjectPath>>,
    ) -> BoxStream<'static, object_store::Result<ObjectPath>> {
        let deleted = self.deleted.clone();
        self.inner
            .delete_stream(paths)
            .inspect(move |path| {
                if let Ok(path) = path {
                    let _ = deleted.send(path.clone());
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    parts: Arc<Parts>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.sent.fetch_add(1, Ordering::Relaxed);
        let fault = *self.parts.fault.lock().unwrap();
        match fault {
            None => self.inner.put_part(part),
            Some(fault) => Box::pin(fault.answer()),
        }
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let _ = self.parts.aborted.send(());
        self.inner.abort().await
    }
}

struct Fixture {
    store: Arc<Faulty>,
    storage: ObjectStorage,
    job: JobId,
    deleted: Receiver<ObjectPath>,
    aborted: Receiver<()>,
    runtime: Runtime,
}

fn fixture() -> Fixture {
    let (deleted_sender, deleted) = channel();
    let (aborted_sender, aborted) = channel();
    let store = Arc::new(Faulty {
        inner: InMemory::new(),
        puts: Mutex::default(),
        gets_fail: AtomicBool::new(false),
        parts: Arc::new(Parts {
            fault: Mutex::default(),
            sent: AtomicU32::new(0),
            aborted: aborted_sender,
        }),
        deleted: deleted_sender,
    });
    let (runtime, job) = (Runtime::new().unwrap(), JobId::random());
    Fixture {
        storage: open(&store, &job, &runtime),
        store,
        job,
        deleted,
        aborted,
        runtime,
    }
}

fn open(store: &Arc<Faulty>, job: &JobId, runtime: &Runtime) -> ObjectStorage {
    let location = RemoteLocation::parse("test", "memory:///c").unwrap().unwrap();
    let options = FileStorageOptions {
        inline_threshold: 0,
        ..FileStorageOptions::default()
    };
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
    ObjectStorage::with_store(store, &location, job, options, runtime.handle().clone())
        .unwrap()
        .with_call_limit(Duration::from_millis(500))
}

impl Fixture {
    /// A second coordinator of the same job.
    fn other(&self) -> ObjectStorage {
        open(&self.store, &self.job, &self.runtime)
    }

    fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.store.puts.lock().unwrap() = faults.into_iter().collect();
    }

    fn objects(&self) -> Vec<ObjectPath> {
        let list = self.store.inner.list(None).map_ok(|object| object.location);
        self.runtime.block_on(list.try_collect()).unwrap()
    }

    fn metadata(&self, id: CheckpointId) -> Option<Vec<u8>> {
        let path = object_path(&self.storage.paths().metadata(id)).unwrap();
        let read = async { self.store.inner.get(&path).await?.bytes().await };
        self.runtime.block_on(read).ok().map(|bytes| bytes.to_vec())
    }

    fn stream(&self) -> Box<dyn SnapshotStream> {
        self.storage
            .open_stream(CheckpointId(1), Scope::Exclusive, &StreamHint::default())
            .unwrap()
    }
}

const ID: CheckpointId = CheckpointId(7);

#[test]
fn metadata_is_published_in_spite_of_one_put_that_failed_or_was_lost() {
    for fault in FAULTS {
        let fixture = fixture();
        fixture.plan([fault]);
        let path = fixture.storage.publish_metadata(ID, b"ours");
        assert!(path.is_ok(), "{fault:?}: {path:?}");
        assert_eq!(fixture.metadata(ID).as_deref(), Some(&b"ours"[..]), "{fault:?}");
    }
}

#[test]
fn put_that_is_never_answered_counts_by_what_it_has_done() {
    for fault in FAULTS {
        let fixture = fixture();
        fixture.plan([fault; 3]);
        let path = fixture.storage.publish_metadata(ID, b"ours");
        assert_eq!(path.is_ok(), fault.done, "{fault:?}: {path:?}");
        assert_eq!(fixture.metadata(ID).is_some(), fault.done, "{fault:?}");
        if let Err(error) = path {
            assert_eq!(error.kind(), ErrorKind::Storage);
            assert!(error.to_string().contains("chk-7/_metadata"), "{error}");
        }
    }
}

#[test]
fn second_coordinator_does_not_publish_and_does_not_discard_what_the_first_has() {
    for fault in FAULTS.map(Some).into_iter().chain([None]) {
        let fixture = fixture();
        let other = fixture.other();
        fixture.storage.publish_metadata(ID, b"ours").unwrap();
        fixture.plan(fault.filter(|fault| !fault.done));
        let error = other.publish_metadata(ID, b"theirs").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(
            error.to_string().contains("does the same job run twice"),
            "{error}"
        );
        other.discard_checkpoint(ID).unwrap();
        assert_eq!(fixture.metadata(ID).as_deref(), Some(&b"ours"[..]));
        // Who published it may.
        fixture.storage.discard_checkpoint(ID).unwrap();
        assert_eq!(fixture.metadata(ID), None);
    }
}

#[test]
fn of_many_coordinators_at_once_one_publishes() {
    let fixture = fixture();
    let published: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u8)
            .map(|number| {
                let storage = fixture.other();
                scope.spawn(move || storage.publish_metadata(ID, &[number]).ok().map(|_| number))
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(Some(published), fixture.metadata(ID));
}

#[test]
fn checkpoint_in_doubt_is_discarded_only_by_who_turns_out_to_have_published_it() {
    for (is_ours, left) in [(true, None), (false, Some(&b"theirs"[..]))] {
        let fixture = fixture();
        if !is_ours {
            fixture.other().publish_metadata(ID, b"theirs").unwrap();
        }
        fixture.plan(
            [Fault {
                done: is_ours,
                reported: true,
            }; 3],
        );
        fixture.store.gets_fail.store(true, Ordering::Relaxed);
        let error = fixture.storage.publish_metadata(ID, b"ours").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        let error = fixture.storage.discard_checkpoint(ID).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(fixture.metadata(ID).is_some());
        fixture.store.gets_fail.store(false, Ordering::Relaxed);
        fixture.storage.discard_checkpoint(ID).unwrap();
        assert_eq!(fixture.metadata(ID).as_deref(), left);
    }
}

#[test]
fn stream_whose_put_failed_fails_and_takes_the_object_back() {
    for fault in FAULTS {
        let fixture = fixture();
        fixture.plan([fault]);
        let mut stream = fixture.stream();
        stream.write(b"some bytes").unwrap();
        let error = stream.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        fixture.deleted.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(fixture.objects(), Vec::new(), "{fault:?}");
    }
}

#[test]
fn late_stream_does_not_bring_a_discarded_checkpoint_back() {
    let fixture = fixture();
    let mut late = fixture.stream();
    late.write(b"some bytes").unwrap();
    fixture.storage.discard_checkpoint(CheckpointId(1)).unwrap();
    while fixture.deleted.try_recv().is_ok() {}
    let error = late.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let deleted = fixture.deleted.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(error.to_string().contains(deleted.as_ref()), "{error}");
    assert_eq!(fixture.objects(), Vec::new());
}

#[test]
fn stream_whose_part_failed_takes_nothing_more_and_is_given_up() {
    let fixture = fixture();
    *fixture.store.parts.fault.lock().unwrap() = Some(FAULTS[0]);
    let mut stream = fixture.stream();
    let bytes = vec![1; 16 << 20];
    let error = loop {
        if let Err(error) = stream.write(&bytes) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(stream.write(b"x").unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(stream.finish().unwrap_err().kind(), ErrorKind::Storage);
    fixture.aborted.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(fixture.objects(), Vec::new());
}

#[test]
fn dropped_stream_gives_its_upload_up() {
    let fixture = fixture();
    let mut stream = fixture.stream();
    stream.write(&vec![1; 16 << 20]).unwrap();
    drop(stream);
    fixture.aborted.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(fixture.objects(), Vec::new());
}

#[test]
fn stream_holds_three_parts_and_no_more_while_the_store_is_slow() {
    let fixture = fixture();
    *fixture.store.parts.fault.lock().unwrap() = Some(FAULTS[1]);
    let mut stream = fixture.stream();
    let error = stream.write(&vec![1; 64 << 20]).unwrap_err();
    assert!(error.to_string().contains("no answer"), "{error}");
    assert_eq!(fixture.store.parts.sent.load(Ordering::Relaxed), 3);
}

#[test]
fn nothing_is_visible_before_a_stream_is_finished() {
    let fixture = fixture();
    let mut stream = fixture.stream();
    stream.write(&vec![1; 20 << 20]).unwrap();
    assert_eq!(fixture.objects(), Vec::new());
    let file = stream.finish().unwrap();
    assert_eq!(fixture.objects().len(), 1);
    assert_eq!(read_all(&fixture.storage, &file).unwrap().len(), 20 << 20);
}

#[test]
fn store_that_cannot_be_written_to_is_a_wrong_setting() {
    let fixture = fixture();
    fixture.plan([FAULTS[0]]);
    let error = fixture.storage.probe().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in ["execution.checkpointing.dir", "memory:///c"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}
