//! A state in S3: one object has the state, the lease, and what tells each write from all others.
//!
//! Must not know any service but S3, nor what a resource is.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::file::{StateError, check_format, parse, unparsed};
use super::lock::LockError;
use super::records::{FORMAT, State};
use super::store::Store;
use crate::aws::errors::{call_error, chain};
use crate::lease::{
    self, Answer, Claim, Fence, Found, Held, Holder, Lease, MARGIN, Next, Put, S3Time, Seen, now,
};
use crate::location::Prefix;
use crate::resource::{CallError, Class};

/// How long one attempt of a call to S3 may take: a state has at most a few hundred kilobytes.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long S3 may not answer before a run gives up taking the lease.
const TAKE_DEADLINE: Duration = Duration::from_secs(30);
/// Between the first two tries of a write; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A state of at least so many bytes is compressed.
const COMPRESSED_FROM: usize = 4 * 1024;
/// As much of an object as is read once it is decompressed.
const LARGEST: u64 = 256 * 1024 * 1024;

/// The state object of one stack.
#[derive(Clone)]
pub struct Object {
    builder: Builder,
    client: RefCell<Client>,
    prefix: Prefix,
    key: String,
    stack: String,
    owner: String,
}

/// What is in the object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    stack: String,
    write_id: String,
    lease: Option<Lease>,
    late_until: Option<S3Time>,
    /// `None` where nothing is on record: the object stays, so that a write that arrives late finds its condition not met.
    state: Option<Box<RawValue>>,
}

/// The object as one read showed it.
struct Version {
    etag: String,
    document: Document,
    seen: Seen,
}

impl Object {
    /// The object of `stack` in the bucket, which must be the account's. `builder`: S3's configuration, with the region that
    /// the bucket is first looked for in. Makes no call.
    pub fn new(builder: Builder, prefix: &Prefix, stack: &str, owner: &str) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(3);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_millis(3_100))
            .operation_attempt_timeout(ATTEMPT)
            .build();
        let builder = builder.retry_config(retries).timeout_config(timeouts);
        Self {
            client: RefCell::new(Client::from_conf(builder.clone().build())),
            builder,
            key: prefix.key(stack),
            prefix: prefix.clone(),
            stack: stack.to_owned(),
            owner: owner.to_owned(),
        }
    }

    /// The address of the object.
    pub fn address(&self) -> String {
        format!("s3://{}/{}", self.prefix.bucket, self.key)
    }

    /// The recorded state; `None` if nothing is recorded. One GET.
    ///
    /// # Errors
    /// S3 does not answer it, or it cannot be used as it is.
    pub async fn load(&self) -> Result<Option<State>, StateError> {
        match self.read().await? {
            None => Ok(None),
            Some(read) => self.state(&read.document),
        }
    }

    /// Who holds the lease, and how long from now nobody else can take it.
    ///
    /// # Errors
    /// As [`Object::load`].
    pub async fn holder(&self) -> Result<Option<(Holder, Duration)>, StateError> {
        let Some(read) = self.read().await? else {
            return Ok(None);
        };
        Ok(match (claim(&read.seen), read.seen.lease) {
            (Claim::Held { left }, Some(lease)) => Some((lease.holder, left)),
            _ => None,
        })
    }

    fn state(&self, document: &Document) -> Result<Option<State>, StateError> {
        let state = document.state.as_ref();
        state
            .map(|state| parse(state.get().as_bytes(), &self.address(), &self.stack))
            .transpose()
    }

    async fn read(&self) -> Result<Option<Version>, StateError> {
        let date = Date::default();
        let get = || {
            let get = self.client.borrow().get_object().bucket(&self.prefix.bucket);
            get.key(&self.key)
                .expected_bucket_owner(&self.owner)
                .customize()
                .interceptor(date.clone())
                .send()
        };
        // On the heap: the SDK makes futures of many kilobytes.
        let mut answer = Box::pin(get()).await;
        if let Some(region) = answer.as_ref().err().and_then(other_region) {
            self.move_to(region);
            answer = Box::pin(get()).await;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(self.failed("read", call_error("s3:GetObject", &error))),
        };
        let incomplete = |what: &str| StateError::Unusable {
            path: self.address(),
            problem: format!("was answered without {what}"),
        };
        let etag = answer.e_tag().ok_or_else(|| incomplete("an ETag"))?.to_owned();
        let seconds = |time: &DateTime| u64::try_from(time.secs()).ok().map(S3Time);
        let modified = (answer.last_modified().and_then(seconds)).ok_or_else(|| incomplete("its date"))?;
        // Without the service's own time nothing is known of the age: the lease counts as new.
        let now = date.get().unwrap_or(modified);
        let body = answer.body.collect().await.map_err(|error| StateError::Service {
            what: "read",
            at: self.address(),
            source: error.into(),
        })?;
        let text = decompressed(&body.into_bytes()).map_err(|error| StateError::Unusable {
            path: self.address(),
            problem: format!("cannot be decompressed: {error}"),
        })?;
        check_format(&text, &self.address())?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|source| unparsed(&self.address(), source))?;
        if document.stack != self.stack {
            return Err(StateError::Unusable {
                path: self.address(),
                problem: format!("is of stack {:?}, expected {:?}", document.stack, self.stack),
            });
        }
        let seen = Seen {
            lease: document.lease.clone(),
            late_until: document.late_until,
            modified,
            now,
        };
        Ok(Some(Version { etag, document, seen }))
    }

    /// Writes the object under a condition. What says nothing of whether it was written is [`Answer::Unknown`], with the reason.
    async fn put(&self, etag: Option<&str>, body: Vec<u8>) -> (Answer, Option<CallError>) {
        let put = || {
            let put = self.client.borrow().put_object().bucket(&self.prefix.bucket);
            let put = match etag {
                Some(etag) => put.if_match(etag),
                None => put.if_none_match("*"),
            };
            put.key(&self.key)
                .expected_bucket_owner(&self.owner)
                .content_type("application/json")
                .body(ByteStream::from(body.clone()))
                .send()
        };
        let mut answer = Box::pin(put()).await;
        if let Some(region) = answer.as_ref().err().and_then(other_region) {
            self.move_to(region);
            answer = Box::pin(put()).await;
        }
        match answer {
            Ok(answer) => match answer.e_tag() {
                Some(etag) => (Answer::Written(etag.to_owned()), None),
                None => (Answer::Unknown, None),
            },
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                let is_refused = matches!(
                    (status, error.code()),
                    (Some(412 | 409), _) | (Some(404), Some("NoSuchKey"))
                );
                let call = call_error("s3:PutObject", &error);
                if is_refused {
                    (Answer::Refused, None)
                } else {
                    (Answer::Unknown, Some(call))
                }
            }
        }
    }

    fn move_to(&self, region: String) {
        let builder = self.builder.clone().region(Region::new(region));
        self.client.replace(Client::from_conf(builder.build()));
    }

    fn failed(&self, what: &'static str, call: CallError) -> StateError {
        if call.code.as_deref() == Some("NoSuchBucket") {
            return StateError::NoBucket {
                location: self.prefix.to_string(),
            };
        }
        StateError::Service {
            what,
            at: self.address(),
            source: call.into(),
        }
    }
}

/// Where the bucket is, if S3 says that it is in another region than the one that was asked.
pub(super) fn other_region<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let response = error.raw_response()?;
    let is_elsewhere = matches!(response.status().as_u16(), 301 | 307 | 400);
    let region = response.headers().get("x-amz-bucket-region")?;
    (is_elsewhere && !region.is_empty()).then(|| region.to_owned())
}

/// Keeps the time at which the service answered.
#[derive(Clone, Debug, Default)]
struct Date(Arc<Mutex<Option<S3Time>>>);

impl Date {
    fn get(&self) -> Option<S3Time> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let time = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let seconds = time.and_then(|time| u64::try_from(time.secs()).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seconds.map(S3Time);
        Ok(())
    }
}

fn compressed(text: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if text.len() < COMPRESSED_FROM {
        return Ok(text);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text)?;
    encoder.finish()
}

fn decompressed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body.to_vec());
    }
    let mut text = Vec::new();
    GzDecoder::new(body).take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it has more than 256 MiB"));
    }
    Ok(text)
}

/// Whether the lease that was seen may be taken by this process.
fn claim(seen: &Seen) -> Claim {
    let is_gone = (seen.lease.as_ref())
        .is_some_and(|lease| lease::is_gone(lease.holder.process, lease.process.as_ref()));
    lease::claim(seen, is_gone)
}

/// The state object, leased to this run.
pub struct S3Store {
    object: Object,
    fence: Fence,
    holder: Holder,
    late_until: Option<S3Time>,
    /// [`S3Store::late_until`] on this machine's clock.
    late_here: Option<Instant>,
    inner: tokio::sync::Mutex<Inner>,
}

struct Inner {
    held: Held,
    /// The state's JSON as it is, or is about to be, in the object.
    content: Option<Box<RawValue>>,
    lost: Option<String>,
    released: bool,
}

impl S3Store {
    /// Takes the lease, and reads the state under it. From then on `fence` lets pass only what the lease outlasts.
    ///
    /// # Errors
    /// [`StateError::Locked`] while another run has it; otherwise as [`Object::load`].
    pub async fn take(
        object: Object,
        holder: Holder,
        fence: Fence,
    ) -> Result<(Self, Option<State>), StateError> {
        Self::take_if(object, holder, fence, false).await
    }

    async fn take_if(
        object: Object,
        holder: Holder,
        fence: Fence,
        is_forced: bool,
    ) -> Result<(Self, Option<State>), StateError> {
        let began = Instant::now();
        loop {
            let read = object.read().await?;
            let mut late_until = None;
            if let Some(read) = &read {
                match claim(&read.seen) {
                    Claim::Held { .. } if is_forced => late_until = lease::late_until(&read.seen),
                    Claim::Held { left } => {
                        return Err(StateError::Locked(LockError::Leased {
                            at: object.address(),
                            holder: read.seen.lease.clone().map(|lease| lease.holder),
                            left,
                        }));
                    }
                    Claim::Free { late_until: late, .. } => late_until = late,
                }
            }
            let late_here = (late_until.zip(read.as_ref()))
                .map(|(late, read)| late.since(read.seen.now))
                .filter(|left| !left.is_zero())
                .map(|left| Instant::now() + left);
            let state = match &read {
                Some(read) => object.state(&read.document)?,
                None => None,
            };
            let store = Self {
                fence: fence.clone(),
                holder: holder.clone(),
                late_until: late_until.filter(|_| late_here.is_some()),
                late_here,
                inner: tokio::sync::Mutex::new(Inner {
                    held: Held::new(read.as_ref().map(|read| read.etag.clone())),
                    content: read.and_then(|read| read.document.state),
                    lost: None,
                    released: false,
                }),
                object: object.clone(),
            };
            let taken = {
                let mut inner = store.inner.lock().await;
                store.write(&mut inner, true, began + TAKE_DEADLINE).await
            };
            match taken {
                Ok(()) => return Ok((store, state)),
                // Another run was faster: the next look shows it.
                Err(Failed::Lost(_)) if began.elapsed() < TAKE_DEADLINE => {}
                Err(Failed::Lost(why)) => return Err(StateError::Lost { why }),
                Err(Failed::Silent(error)) => return Err(error),
            }
        }
    }

    /// Takes the lease whoever has it: for a run that cannot end it itself. That run finds out at its next write, before which
    /// its requests may still have an effect.
    ///
    /// # Errors
    /// As [`S3Store::take`], but for [`StateError::Locked`].
    pub async fn take_from(object: Object, holder: Holder) -> Result<Self, StateError> {
        Ok(Self::take_if(object, holder, Fence::open(), true).await?.0)
    }

    /// Writes what is known, until it is written, or another run has written, or `deadline` has passed.
    async fn write(&self, inner: &mut Inner, keeps: bool, deadline: Instant) -> Result<(), Failed> {
        let mut pause = PAUSE;
        loop {
            let length = self.fence.length();
            let put = Put {
                write_id: random_id(),
                sent: now(),
                length,
            };
            let body = self.document(inner, &put, keeps);
            inner.held.put(put);
            let (answer, mut error) = self.object.put(inner.held.etag(), body).await;
            let mut next = inner.held.answered(answer);
            if next == Next::Look {
                match self.object.read().await {
                    Ok(read) => {
                        next = inner
                            .held
                            .looked(read.map_or(Found::Nothing, |read| Found::Object {
                                etag: read.etag,
                                write_id: read.document.write_id,
                                holder: read.seen.lease.map(|lease| lease.holder),
                            }));
                    }
                    Err(StateError::Service { source, .. }) => {
                        error = error.or_else(|| source.downcast::<CallError>().ok().map(|call| *call));
                    }
                    Err(other) => return Err(Failed::Silent(other)),
                }
            }
            match next {
                Next::Done => {
                    self.fence.confirm(inner.held.confirmed());
                    return Ok(());
                }
                Next::Lost(holder) => return Err(Failed::Lost(self.taken_by(holder))),
                Next::Again | Next::Look => {}
            }
            let is_final = (error.as_ref()).is_some_and(|call| {
                matches!(call.class, Class::Refused | Class::Denied | Class::Credentials)
            });
            if is_final || Instant::now() + pause >= deadline {
                return Err(Failed::Silent(match error {
                    Some(call) => self.object.failed("write", call),
                    None => StateError::Lost {
                        why: format!(
                            "the state {} cannot be written: other writes collide",
                            self.object.address()
                        ),
                    },
                }));
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// The same for a run that has the lease: it ends with the lease.
    async fn renew(&self, inner: &mut Inner, keeps: bool) -> Result<(), StateError> {
        if let Some(why) = &inner.lost {
            return Err(StateError::Lost { why: why.clone() });
        }
        let left = lease::left(inner.held.confirmed(), now()).saturating_sub(MARGIN);
        // A run whose lease has ended may take it again, if nobody else has.
        let deadline = Instant::now() + left.max(ATTEMPT);
        let why = match self.write(inner, keeps, deadline).await {
            Ok(()) => return Ok(()),
            Err(Failed::Lost(why)) => why,
            Err(Failed::Silent(error)) => chain(&error),
        };
        inner.lost = Some(why.clone());
        self.fence.lose();
        Err(StateError::Lost { why })
    }

    fn document(&self, inner: &Inner, put: &Put, keeps: bool) -> Vec<u8> {
        let document = Document {
            format: FORMAT,
            stack: self.object.stack.clone(),
            write_id: put.write_id.clone(),
            lease: keeps.then(|| Lease {
                holder: self.holder.clone(),
                process: lease::this(),
                seconds: put.length.as_secs(),
            }),
            late_until: self.late_until,
            state: inner.content.clone(),
        };
        let text = serde_json::to_vec(&document).expect("a state is plain JSON");
        compressed(text).expect("memory can be written")
    }

    fn taken_by(&self, holder: Option<Holder>) -> String {
        let at = self.object.address();
        match holder {
            Some(Holder {
                command,
                host,
                process,
                since,
            }) => format!(
                "the state {at} was taken over by `{command}`, process {process} on {host}, since {since}"
            ),
            None => format!("the state {at} was changed or deleted by something else"),
        }
    }
}

/// Why a write is not done.
enum Failed {
    /// Another run's write came before.
    Lost(String),
    /// S3 does not say that it is done.
    Silent(StateError),
}

impl Store for S3Store {
    fn commit<'a>(&'a self, state: &State) -> LocalBoxFuture<'a, Result<(), StateError>> {
        let content = serde_json::value::to_raw_value(state).expect("a state is plain JSON");
        async move {
            let mut inner = self.inner.lock().await;
            inner.content = Some(content);
            self.renew(&mut inner, true).await
        }
        .boxed_local()
    }

    /// What S3 is asked of anyway holds back what a lost lease does not outlast.
    fn check(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        async move {
            let inner = self.inner.lock().await;
            match &inner.lost {
                Some(why) => Err(StateError::Lost { why: why.clone() }),
                None => Ok(()),
            }
        }
        .boxed_local()
    }

    fn remove(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        async move {
            let mut inner = self.inner.lock().await;
            inner.content = None;
            self.renew(&mut inner, false).await?;
            inner.released = true;
            Ok(())
        }
        .boxed_local()
    }

    fn release(&self) -> LocalBoxFuture<'_, Result<(), StateError>> {
        async move {
            let mut inner = self.inner.lock().await;
            if !inner.released {
                self.renew(&mut inner, false).await?;
                inner.released = true;
            }
            Ok(())
        }
        .boxed_local()
    }

    fn keep(&self) -> LocalBoxFuture<'_, ()> {
        async move {
            loop {
                let due = {
                    let inner = self.inner.lock().await;
                    let (sent, length) = (inner.held.confirmed()).expect("a store has taken its lease");
                    (length / 3).saturating_sub(now().since(sent))
                };
                let is_wanted = tokio::select! {
                    () = sleep(due) => false,
                    () = self.fence.wanted_more() => true,
                };
                let mut inner = self.inner.lock().await;
                if inner.lost.is_some() || inner.released {
                    break;
                }
                let confirmed = inner.held.confirmed();
                let is_due = confirmed.is_none_or(|(sent, length)| now().since(sent) >= length / 3);
                if is_due {
                    self.fence.forget_wanted();
                }
                if is_due || is_wanted {
                    // What fails is seen by all that the fence holds back, and by the next commit.
                    drop(self.renew(&mut inner, true).await);
                }
            }
            // Without the lock, which the next commit needs to see that the lease is lost.
            std::future::pending::<()>().await;
        }
        .boxed_local()
    }

    fn late_until(&self) -> Option<Instant> {
        self.late_here
    }
}

/// 128 random bits in hex.
fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes, as it had for the owner");
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
