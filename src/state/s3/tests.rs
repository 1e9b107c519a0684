//! Against a bucket in memory that answers conditional requests as S3 documents it, and fails as told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::config::{BehaviorVersion, Credentials};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use serde_json::json;

use super::*;
use crate::state::{FolderStore, Lock, StateFile, StateWriter};

const START: u64 = 1_800_000_000;

/// What is done to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Done, and the answer lost.
    AnswerLost,
    /// Not done, and no answer.
    RequestLost,
    /// Done, and answered with 500.
    DoneAnd500,
    /// Not done.
    Status(u16, &'static str),
}

#[derive(Debug, Default)]
struct Bucket {
    objects: std::collections::BTreeMap<String, (Vec<u8>, String, u64)>,
    /// Seconds that have passed.
    clock: u64,
    faults: VecDeque<Option<Fault>>,
    puts: usize,
    gets: usize,
    owners: Vec<Option<String>>,
    bytes: usize,
    region: Option<&'static str>,
}

/// Status, code, body, ETag, and when the object was written.
type Reply = (u16, String, Vec<u8>, Option<String>, u64);

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Bucket>>);

static ETAGS: AtomicU64 = AtomicU64::new(0);

impl Fake {
    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.0.lock().unwrap()
    }

    fn builder(&self) -> Builder {
        let fake = self.clone();
        Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(fake.clone())))
    }

    fn object(&self, stack: &str) -> Object {
        let prefix = Prefix {
            bucket: "team-state".to_owned(),
            prefix: "p".to_owned(),
        };
        Object::new(self.builder(), &prefix, stack, "111122223333")
    }

    async fn take(&self) -> Result<(S3Store, Option<State>), StateError> {
        self.take_as("a").await
    }

    async fn take_as(&self, host: &str) -> Result<(S3Store, Option<State>), StateError> {
        S3Store::take(self.object("shop"), holder(host), Fence::open()).await
    }

    fn document(&self) -> serde_json::Value {
        let body = self.bucket().objects["p/shop.json"].0.clone();
        serde_json::from_slice(&decompressed(&body).unwrap()).unwrap()
    }

    /// Puts it there with the ETag and time of the object of stack `shop`.
    fn put(&self, stack: &str, document: &serde_json::Value) {
        let mut bucket = self.bucket();
        let (_, etag, written) = bucket.objects["p/shop.json"].clone();
        let body = serde_json::to_vec(document).unwrap();
        bucket
            .objects
            .insert(format!("p/{stack}.json"), (body, etag, written));
    }

    fn answer(&self, request: &HttpRequest) -> Option<Reply> {
        let mut bucket = self.bucket();
        let header = |name: &str| request.headers().get(name).map(str::to_owned);
        bucket.owners.push(header("x-amz-expected-bucket-owner"));
        let uri = request.uri().to_owned();
        let path = uri.split_once("amazonaws.com/").unwrap().1;
        let key = path.split('?').next().unwrap().to_owned();
        if bucket.region.is_some_and(|region| !uri.contains(region)) {
            return Some((301, "PermanentRedirect".to_owned(), Vec::new(), None, 0));
        }
        let there = bucket.objects.get(&key).cloned();
        let now = START + bucket.clock;
        if request.method() == "GET" {
            bucket.gets += 1;
            let fault = if bucket
                .faults
                .front()
                .copied()
                .flatten()
                .is_some_and(|f| matches!(f, Fault::Status(403, _) | Fault::Status(_, "NoSuchBucket")))
            {
                bucket.faults.pop_front().flatten()
            } else {
                None
            };
            if let Some(Fault::Status(status, code)) = fault {
                return Some((status, code.to_owned(), Vec::new(), None, 0));
            }
            return Some(match there {
                None => (404, "NoSuchKey".to_owned(), Vec::new(), None, 0),
                Some((body, etag, modified)) => (200, String::new(), body, Some(etag), modified),
            });
        }
        bucket.puts += 1;
        let fault = bucket.faults.pop_front().flatten();
        match fault {
            Some(Fault::Status(status, code)) => return Some((status, code.to_owned(), Vec::new(), None, 0)),
            Some(Fault::RequestLost) => return None,
            _ => {}
        }
        let refused = match (header("if-match"), header("if-none-match"), &there) {
            (Some(_), None, None) => Some((404, "NoSuchKey")),
            (Some(wanted), None, Some((_, etag, _))) if wanted != *etag => Some((412, "PreconditionFailed")),
            (None, Some(_), Some(_)) => Some((412, "PreconditionFailed")),
            (Some(_), None, Some(_)) | (None, Some(_), None) => None,
            _ => panic!("a write without one condition"),
        };
        if let Some((status, code)) = refused {
            return Some((status, code.to_owned(), Vec::new(), None, 0));
        }
        let body = request.body().bytes().expect("a state is not streamed").to_vec();
        bucket.bytes += body.len();
        let etag = format!("\"{:032x}\"", ETAGS.fetch_add(1, Ordering::Relaxed));
        bucket.objects.insert(key, (body, etag.clone(), now));
        match fault {
            Some(Fault::AnswerLost) => None,
            Some(Fault::DoneAnd500) => Some((500, "InternalError".to_owned(), Vec::new(), None, 0)),
            _ => Some((200, String::new(), Vec::new(), Some(etag), now)),
        }
    }
}

fn http_date(seconds: u64) -> String {
    let time = DateTime::from_secs(i64::try_from(seconds).unwrap());
    time.fmt(Format::HttpDate).unwrap()
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some((status, code, body, etag, modified)) = self.answer(&request) else {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("connection reset by peer".into())));
        };
        let body = if code.is_empty() {
            body
        } else {
            format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>").into_bytes()
        };
        let now = START + self.bucket().clock;
        let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
        let headers = response.headers_mut();
        headers.insert("date", http_date(now));
        if let Some(etag) = etag {
            headers.insert("etag", etag);
            headers.insert("last-modified", http_date(modified));
        }
        if let Some(region) = self.bucket().region {
            headers.insert("x-amz-bucket-region", region);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn holder(host: &str) -> Holder {
    Holder {
        command: "up".to_owned(),
        host: host.to_owned(),
        process: std::process::id(),
        since: "2026-11-27T00:00:00Z".to_owned(),
    }
}

fn state(serial: u64) -> State {
    let state = json!({
        "format": 2, "stack": "shop", "account": "111122223333", "region": "eu-west-1", "partition": "aws",
        "endpoint": null, "owner": "1a2b3c4d", "serial": serial, "steps": [],
    });
    serde_json::from_value(state).unwrap()
}

fn large_state(serial: u64) -> State {
    let mut state = state(serial);
    let step = json!({
        "step": "s", "phase": "ready", "kind": "role", "needs": [], "desired": {"x": "y".repeat(100_000)}, "output": null,
    });
    state.steps.push(serde_json::from_value(step).unwrap());
    state
}

/// A way to open the same state again and again.
enum Kept {
    Folder(tempfile::TempDir),
    S3(Fake),
}

impl Kept {
    fn both() -> [Self; 2] {
        [
            Self::Folder(tempfile::tempdir().unwrap()),
            Self::S3(Fake::default()),
        ]
    }

    async fn open(&self) -> Result<(Box<dyn Store>, Option<State>), StateError> {
        match self {
            Self::Folder(folder) => {
                let lock = Lock::take(folder.path(), "shop", &holder("a"))?;
                let (writer, state) = StateWriter::open(StateFile::new(folder.path(), "shop"), lock)?;
                Ok((Box::new(FolderStore::new(writer)), state))
            }
            Self::S3(fake) => {
                let (store, state) = fake.take().await?;
                Ok((Box::new(store), state))
            }
        }
    }

    async fn load(&self) -> Option<State> {
        match self {
            Self::Folder(folder) => StateFile::new(folder.path(), "shop").load().unwrap(),
            Self::S3(fake) => fake.object("shop").load().await.unwrap(),
        }
    }

    /// Something else writes, without asking for the right to.
    fn overwrite(&self) {
        match self {
            Self::Folder(folder) => {
                let text = serde_json::to_vec(&state(77)).unwrap();
                fs_err::write(folder.path().join("shop.json"), text).unwrap();
            }
            Self::S3(fake) => {
                let mut bucket = fake.bucket();
                let (body, etag, _) = bucket.objects.get_mut("p/shop.json").unwrap();
                let mut document: serde_json::Value =
                    serde_json::from_slice(&decompressed(body).unwrap()).unwrap();
                document["write_id"] = "somebody".into();
                *body = serde_json::to_vec(&document).unwrap();
                *etag = "\"somebody's\"".to_owned();
            }
        }
    }
}

/// What every store does.
#[tokio::test(start_paused = true)]
async fn a_store_keeps_what_was_committed_for_one_run_at_a_time() {
    for kept in Kept::both() {
        assert_eq!(kept.load().await, None);
        let (store, before) = kept.open().await.unwrap();
        assert_eq!(before, None);
        for serial in 1..4 {
            store.commit(&state(serial)).await.unwrap();
            assert_eq!(kept.load().await, Some(state(serial)));
        }
        let refused = kept.open().await.err().unwrap();
        assert!(matches!(refused, StateError::Locked(_)), "{refused}");
        assert!(refused.to_string().contains("`up`, process"), "{refused}");
        store.release().await.unwrap();
        drop(store);
        let (store, before) = kept.open().await.unwrap();
        assert_eq!(before, Some(state(3)));
        store.remove().await.unwrap();
        store.release().await.unwrap();
        drop(store);
        assert_eq!(kept.load().await, None);
        let (_, before) = kept.open().await.unwrap();
        assert_eq!(before, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_something_else_wrote_to_is_lost_for_good() {
    for kept in Kept::both() {
        let (store, _) = kept.open().await.unwrap();
        store.commit(&state(1)).await.unwrap();
        kept.overwrite();
        let is_lost = |result| matches!(result, Err(StateError::Lost { .. }));
        let theirs = kept.load().await;
        assert!(is_lost(store.commit(&state(2)).await));
        assert!(is_lost(store.commit(&state(3)).await), "also the next one");
        assert!(is_lost(store.remove().await));
        assert_eq!(kept.load().await, theirs, "what the other wrote stays");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_a_write_the_state_is_written_once_and_nobody_else_is_blamed() {
    let faults = [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::DoneAnd500,
        Fault::Status(409, "ConditionalRequestConflict"),
        Fault::Status(412, "PreconditionFailed"),
        Fault::Status(404, "NoSuchKey"),
        Fault::Status(500, "InternalError"),
        Fault::Status(503, "SlowDown"),
    ];
    for fault in faults {
        // The first write takes the lease, the last two remove the state and release it.
        for at in 0..6 {
            for times in [1, 4] {
                let fake = Fake::default();
                fake.bucket().faults = std::iter::repeat_n(None, at)
                    .chain(std::iter::repeat_n(Some(fault), times))
                    .collect();
                let case = format!("{fault:?} {times} times at write {at}");
                let (store, _) = fake
                    .take()
                    .await
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                for serial in 1..4 {
                    store
                        .commit(&state(serial))
                        .await
                        .unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(fake.document()["state"]["serial"], serial, "{case}");
                }
                store
                    .remove()
                    .await
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                store
                    .release()
                    .await
                    .unwrap_or_else(|error| panic!("{case}: {error}"));
                assert!(fake.document()["lease"].is_null(), "{case}");
                assert!(fake.document()["state"].is_null(), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_ends_the_run_and_is_not_taken_for_another_run() {
    let fake = Fake::default();
    let (store, _) = fake.take().await.unwrap();
    store.commit(&state(1)).await.unwrap();
    fake.bucket().faults = std::iter::repeat_n(Some(Fault::Status(503, "SlowDown")), 10_000).collect();
    let lost = store.commit(&state(2)).await.unwrap_err().to_string();
    assert!(lost.contains("SlowDown"), "{lost}");
    assert!(!lost.contains("taken over"), "{lost}");
    fake.bucket().faults.clear();
    store.commit(&state(3)).await.unwrap_err();
    assert_eq!(fake.object("shop").load().await.unwrap(), Some(state(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_by_s3s_clock_and_late_requests_of_its_run_are_waited_for() {
    let fake = Fake::default();
    // As of a run on another machine.
    let (other, _) = fake.take().await.unwrap();
    other.commit(&state(1)).await.unwrap();
    let mut document = fake.document();
    document["lease"]["process"]["boot"] = "another machine".into();
    fake.put("shop", &document);
    for seconds in [0, 60, 129] {
        fake.bucket().clock = seconds;
        let refused = fake.take_as("b").await.err().unwrap().to_string();
        let left = 130 - seconds;
        assert!(refused.contains("process"), "{refused}");
        assert!(
            refused.contains(&format!("at most {} more", left + 1)),
            "{refused}"
        );
    }
    fake.bucket().clock = 130;
    let (store, before) = fake.take_as("b").await.unwrap();
    assert_eq!(before, Some(state(1)));
    // Written at 0, held until 120, and requests arrive for 360 more; now it is 130.
    let left = store.late_until().unwrap() - Instant::now();
    assert_eq!(left.as_secs(), 350);
    assert!(
        matches!(other.commit(&state(2)).await, Err(StateError::Lost { why }) if why.contains("process"))
    );
    // The next run waits for them as well, however this one ends.
    store.release().await.unwrap();
    fake.bucket().clock = 200;
    let (store, _) = fake.take_as("c").await.unwrap();
    assert_eq!((store.late_until().unwrap() - Instant::now()).as_secs(), 280);
    store.release().await.unwrap();
    fake.bucket().clock = 480;
    let (store, _) = fake.take_as("d").await.unwrap();
    assert_eq!(store.late_until(), None);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_process_that_is_gone_from_this_machine_is_taken_at_once() {
    let fake = Fake::default();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let (_, _) = S3Store::take(
        fake.object("shop"),
        Holder {
            process: child.id(),
            ..holder("a")
        },
        Fence::open(),
    )
    .await
    .unwrap();
    // This process wrote its own start beside the child's id.
    child.kill().unwrap();
    child.wait().unwrap();
    let (store, _) = fake.take_as("b").await.unwrap();
    assert_eq!(store.late_until(), None, "a process that is gone sends nothing");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_not_taken_for_no_state() {
    for (status, code, says) in [
        (
            403,
            "AccessDenied",
            "cannot read the state s3://team-state/p/shop.json",
        ),
        (
            404,
            "NoSuchBucket",
            "the bucket of s3://team-state/p does not exist",
        ),
    ] {
        let fake = Fake::default();
        fake.bucket().faults = [Some(Fault::Status(status, code))].into();
        let error = fake.object("shop").load().await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        fake.bucket().faults = [Some(Fault::Status(status, code))].into();
        assert!(fake.take().await.is_err());
        assert_eq!(fake.bucket().puts, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_region_is_found_and_every_request_names_its_owner() {
    let fake = Fake::default();
    fake.bucket().region = Some("ap-south-1");
    let (store, _) = fake.take().await.unwrap();
    store.commit(&state(1)).await.unwrap();
    let bucket = fake.bucket();
    assert_eq!((bucket.puts, bucket.gets), (2, 1), "the region is found once");
    assert!(
        bucket
            .owners
            .iter()
            .all(|owner| owner.as_deref() == Some("111122223333"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_state_of_another_stack_and_of_a_newer_version_is_refused() {
    let fake = Fake::default();
    let (store, _) = fake.take().await.unwrap();
    store.commit(&state(1)).await.unwrap();
    fake.put("other", &fake.document());
    let error = fake.object("other").load().await.unwrap_err().to_string();
    assert!(
        error.contains("is of stack \"shop\", expected \"other\""),
        "{error}"
    );
    let mut document = fake.document();
    document["format"] = 99.into();
    fake.put("shop", &document);
    let error = fake.object("shop").load().await.unwrap_err();
    assert!(matches!(error, StateError::Newer { format: 99, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_large_state_is_compressed_and_reading_is_one_get() {
    let fake = Fake::default();
    let (store, _) = fake.take().await.unwrap();
    store.commit(&large_state(1)).await.unwrap();
    assert!(fake.bucket().bytes < 5_000, "{} bytes", fake.bucket().bytes);
    fake.bucket().gets = 0;
    assert_eq!(fake.object("shop").load().await.unwrap(), Some(large_state(1)));
    assert_eq!(fake.bucket().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn no_two_writes_have_the_same_content() {
    let fake = Fake::default();
    let (store, _) = fake.take().await.unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        store.commit(&state(1)).await.unwrap();
        assert!(seen.insert(fake.document().to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_while_nothing_is_committed_ends_calls_and_the_next_commit() {
    let kept = Kept::S3(Fake::default());
    let Kept::S3(fake) = &kept else { unreachable!() };
    let fence = Fence::open();
    let (store, _) = S3Store::take(fake.object("shop"), holder("a"), fence.clone())
        .await
        .unwrap();
    store.commit(&state(1)).await.unwrap();
    kept.overwrite();
    let work = async {
        // More than is left, so that the lease is renewed for it.
        fence.admit(Duration::from_mins(10)).await.unwrap_err();
        assert!(matches!(
            store.commit(&state(2)).await,
            Err(StateError::Lost { .. })
        ));
    };
    tokio::select! {
        () = work => {}
        () = store.keep() => unreachable!("it never ends"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_for_what_takes_longer_than_is_left_of_it() {
    let fake = Fake::default();
    let fence = Fence::open();
    let (store, _) = S3Store::take(fake.object("shop"), holder("a"), fence.clone())
        .await
        .unwrap();
    tokio::select! {
        admitted = fence.admit(Duration::from_mins(10)) => admitted.unwrap(),
        () = store.keep() => unreachable!("it never ends"),
    }
    assert_eq!(fake.document()["lease"]["seconds"], 610);
}
