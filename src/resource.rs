//! The contract of one AWS resource, and what a failed AWS call looks like to everyone who has to react to it.
//!
//! Must not know which resources there are, nor name any SDK: the engine and its tests stand on this alone.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a resource's calls end in; a failed call is a [`CallError`] somewhere in the chain.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// What a running step has at hand: the cloud, and a way to say what it is waiting for.
pub struct Cx<C> {
    cloud: Rc<C>,
    waiting: Rc<dyn Fn(&str)>,
}

impl<C> Cx<C> {
    /// `waiting` is called with a fragment that reads after "waiting for".
    pub fn new(cloud: Rc<C>, waiting: Rc<dyn Fn(&str)>) -> Self {
        Self { cloud, waiting }
    }

    /// The cloud that the calls go to.
    pub fn cloud(&self) -> &C {
        &self.cloud
    }

    /// Tells what this step waits for, as a fragment that reads after "waiting for".
    pub fn waiting(&self, what: &str) {
        (self.waiting)(what);
    }
}

/// What a recorded text must look like.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Goes on after "expected".
    pub what: &'static str,
    /// Whether a text is that.
    pub holds: fn(&str) -> bool,
}

/// The desired state of one AWS resource, and how to reach it.
///
/// One struct has three uses: the difference between the recorded and the desired one is what AWS has to change; the
/// difference between the recorded one and [`Resource::read`] is drift; and that difference, field by field, is what
/// the user sees. So a struct holds normal forms only, and nothing that a reader could take for a secret.
pub trait Resource: Serialize + DeserializeOwned + PartialEq + 'static {
    /// What the calls go through.
    type Cloud: 'static;
    /// What dependents read and `delete` needs. Never a secret.
    type Output: Serialize + DeserializeOwned + 'static;
    /// The kind's name in the state file and in everything printed.
    const KIND: &'static str;
    /// The texts that go into requests and URLs, as `desired.x` or `output.x`, and their shapes. An output that is listed
    /// is an id: no other record of the kind has the same.
    const SHAPES: &'static [(&'static str, Shape)] = &[];
    /// Fields AWS cannot change in place: where one differs, the resource is deleted and made again.
    const FIXED: &'static [&'static str] = &[];
    /// What its users lose for good where it is deleted and made again, as a noun; `None`: nothing, so that it may be
    /// done without being asked for.
    const LOSES: Option<&'static str> = None;
    /// The kind of need whose deletion takes this resource along (a method dies with its REST API).
    const DIES_WITH: Option<&'static str> = None;
    /// The kind of need that AWS does not delete while this resource is there (a pool that has a domain).
    const HOLDS: Option<&'static str> = None;
    /// Where it is no longer declared: whether it is deleted before anything else is changed. So for what is not live
    /// until it is deployed; all else is deleted after everything that used it has moved.
    const REMOVED_FIRST: bool = false;
    /// Whether what an update left of it is retired before the steps that the stack no longer has are deleted: it still
    /// uses them.
    const RETIRES_FIRST: bool = false;
    /// The boolean field that makes AWS refuse to delete it while it is on.
    const PROTECTION: Option<&'static str> = None;
    /// Whether AWS takes several of one name, so that a create never fails because there is one already.
    const SHARES_NAMES: bool = false;
    /// Whether AWS takes two names for one that differ only in case.
    const IGNORES_CASE: bool = false;
    /// Whether AWS's answer to the deletion proves that it is gone, so that nobody has to look.
    const GONE_AT_ONCE: bool = false;

    /// Writes of one lane run one at a time.
    fn lane(&self) -> Option<String> {
        None
    }

    /// What a person would look for in the AWS console: an id or a name.
    fn id(&self, out: &Self::Output) -> String;

    /// Finds what an interrupted run may have made, and changes nothing. It need not be as `self` says: it may be half made,
    /// or somebody else's in something of ours. The caller reads it, and updates it, before it counts as made. A stranger's
    /// resource under our name is a [`Stranger`] error.
    fn find(&self, cx: &Cx<Self::Cloud>) -> impl Future<Output = Result<Option<Self::Output>>>;

    /// Makes it. May be cut off anywhere and called again after `find` saw nothing.
    fn create(&self, cx: &Cx<Self::Cloud>) -> impl Future<Output = Result<Self::Output>>;

    /// The live resource in the same terms as the desired one, managed fields only; `None` if it is gone. A field that is
    /// null, and not so in the record, could not be compared. A stranger's is a [`Stranger`] error where that is seen
    /// without another call.
    fn read(&self, cx: &Cx<Self::Cloud>, out: &Self::Output) -> impl Future<Output = Result<Option<Self>>>;

    /// Whether it lets in anybody. What would put such a resource into service is refused.
    fn is_open(&self) -> bool {
        false
    }

    /// Its output once it is updated to `self`; `None` if only AWS knows.
    fn output_after_update(&self, out: Self::Output) -> Option<Self::Output> {
        Some(out)
    }

    /// Changes in place the fields in which `self` differs from `before`, and nothing else: what others set on it stays.
    /// Where they do not differ it makes sure of all of them only if that costs no call. May be repeated. Nothing to do
    /// for a kind all of whose fields are fixed.
    fn update(
        &self,
        _cx: &Cx<Self::Cloud>,
        _before: &Self,
        out: Self::Output,
    ) -> impl Future<Output = Result<Self::Output>> {
        std::future::ready(Ok(out))
    }

    /// Whether an update from `before` leaves something that has to stay until all that depends on it has moved: then
    /// `retire` is called, once it has.
    fn retires(&self, _before: &Self) -> bool {
        false
    }

    /// Takes away what an update left of earlier states, which nothing uses any more. May be repeated. What it has not
    /// come to dies with a need.
    fn retire(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Switches [`Resource::PROTECTION`] off where it is on, and changes nothing else. Succeeds if it is gone. Nothing to
    /// do for a kind that has none.
    fn unprotect(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Reads, before it is deleted, whether what is live is ours; succeeds if nothing is there. A stranger's is a
    /// [`Stranger`] error. Nothing to do for a kind without tags: it is ours if the need that it lives in is ours.
    fn check_owner(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Succeeds if it is already gone. The caller waits until `read` no longer sees it, unless it is
    /// [`Resource::GONE_AT_ONCE`].
    fn delete(&self, cx: &Cx<Self::Cloud>, out: &Self::Output) -> impl Future<Output = Result<()>>;
}

/// [`Resource`] with JSON for its types: what the engine works with.
pub trait Erased<C> {
    /// [`Resource::KIND`].
    fn kind(&self) -> &'static str;
    /// [`Resource::FIXED`].
    fn fixed(&self) -> &'static [&'static str];
    /// [`Resource::LOSES`].
    fn loses(&self) -> Option<&'static str>;
    /// [`Resource::DIES_WITH`].
    fn dies_with(&self) -> Option<&'static str>;
    /// [`Resource::HOLDS`].
    fn holds(&self) -> Option<&'static str>;
    /// [`Resource::REMOVED_FIRST`].
    fn removed_first(&self) -> bool;
    /// [`Resource::RETIRES_FIRST`].
    fn retires_first(&self) -> bool;
    /// [`Resource::PROTECTION`].
    fn protection(&self) -> Option<&'static str>;
    /// [`Resource::SHARES_NAMES`].
    fn shares_names(&self) -> bool;
    /// [`Resource::IGNORES_CASE`].
    fn ignores_case(&self) -> bool;
    /// [`Resource::GONE_AT_ONCE`].
    fn gone_at_once(&self) -> bool;
    /// [`Resource::lane`].
    fn lane(&self) -> Option<String>;
    /// The resource's own fields.
    fn desired(&self) -> Value;
    /// The ids in a recorded output. Fails on an output of another shape, and on what [`Resource::SHAPES`] does not allow.
    fn checked_ids(&self, out: Option<&Value>) -> Result<Vec<String>>;
    /// [`Resource::id`]; fails on an output of another shape.
    fn id(&self, out: &Value) -> Result<String>;
    /// [`Resource::find`].
    fn find<'a>(&'a self, cx: &'a Cx<C>) -> LocalBoxFuture<'a, Result<Option<Value>>>;
    /// [`Resource::create`].
    fn create<'a>(&'a self, cx: &'a Cx<C>) -> LocalBoxFuture<'a, Result<Value>>;
    /// [`Resource::read`].
    fn read<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<Option<Value>>>;
    /// [`Resource::is_open`] of a live state; fails on one of another shape.
    fn is_open(&self, live: &Value) -> Result<bool>;
    /// [`Resource::output_after_update`]; fails on an output of another shape.
    fn output_after_update(&self, out: &Value) -> Result<Option<Value>>;
    /// [`Resource::update`].
    fn update<'a>(
        &'a self,
        cx: &'a Cx<C>,
        before: &'a Value,
        out: &'a Value,
    ) -> LocalBoxFuture<'a, Result<Value>>;
    /// [`Resource::retires`]; fails on a desired state of another shape.
    fn retires(&self, before: &Value) -> Result<bool>;
    /// [`Resource::retire`].
    fn retire<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>>;
    /// [`Resource::unprotect`].
    fn unprotect<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>>;
    /// [`Resource::check_owner`].
    fn check_owner<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>>;
    /// [`Resource::delete`].
    fn delete<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>>;
}

impl<R: Resource> Erased<R::Cloud> for R {
    fn kind(&self) -> &'static str {
        R::KIND
    }

    fn fixed(&self) -> &'static [&'static str] {
        R::FIXED
    }

    fn loses(&self) -> Option<&'static str> {
        R::LOSES
    }

    fn dies_with(&self) -> Option<&'static str> {
        R::DIES_WITH
    }

    fn holds(&self) -> Option<&'static str> {
        R::HOLDS
    }

    fn removed_first(&self) -> bool {
        R::REMOVED_FIRST
    }

    fn retires_first(&self) -> bool {
        R::RETIRES_FIRST
    }

    fn protection(&self) -> Option<&'static str> {
        R::PROTECTION
    }

    fn shares_names(&self) -> bool {
        R::SHARES_NAMES
    }

    fn ignores_case(&self) -> bool {
        R::IGNORES_CASE
    }

    fn gone_at_once(&self) -> bool {
        R::GONE_AT_ONCE
    }

    fn lane(&self) -> Option<String> {
        Resource::lane(self)
    }

    fn desired(&self) -> Value {
        json(self)
    }

    fn checked_ids(&self, out: Option<&Value>) -> Result<Vec<String>> {
        out.map(output::<R>).transpose()?;
        let desired = json(self);
        let mut ids = Vec::new();
        for (field, shape) in R::SHAPES {
            let (part, name) = field.split_once('.').expect("a shape names desired or output");
            let record = if part == "desired" { Some(&desired) } else { out };
            let value = record.map_or(&Value::Null, |record| &record[name]);
            let texts = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            for text in texts.iter().filter_map(Value::as_str) {
                ensure!(
                    (shape.holds)(text),
                    "{field}: expected {}, got {text:?}",
                    shape.what
                );
                if part == "output" {
                    ids.push(text.to_owned());
                }
            }
        }
        Ok(ids)
    }

    fn id(&self, out: &Value) -> Result<String> {
        Ok(Resource::id(self, &output::<R>(out)?))
    }

    fn find<'a>(&'a self, cx: &'a Cx<R::Cloud>) -> LocalBoxFuture<'a, Result<Option<Value>>> {
        Box::pin(async move { Ok(Resource::find(self, cx).await?.map(|out| json(&out))) })
    }

    fn create<'a>(&'a self, cx: &'a Cx<R::Cloud>) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move { Ok(json(&Resource::create(self, cx).await?)) })
    }

    fn read<'a>(&'a self, cx: &'a Cx<R::Cloud>, out: &'a Value) -> LocalBoxFuture<'a, Result<Option<Value>>> {
        Box::pin(async move {
            let live = Resource::read(self, cx, &output::<R>(out)?).await?;
            Ok(live.map(|live| json(&live)))
        })
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx<R::Cloud>,
        before: &'a Value,
        out: &'a Value,
    ) -> LocalBoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let before = earlier::<R>(before)?;
            Ok(json(
                &Resource::update(self, cx, &before, output::<R>(out)?).await?,
            ))
        })
    }

    fn is_open(&self, live: &Value) -> Result<bool> {
        Ok(Resource::is_open(&earlier::<R>(live)?))
    }

    fn output_after_update(&self, out: &Value) -> Result<Option<Value>> {
        Ok(Resource::output_after_update(self, output::<R>(out)?).map(|out| json(&out)))
    }

    fn retires(&self, before: &Value) -> Result<bool> {
        Ok(Resource::retires(self, &earlier::<R>(before)?))
    }

    fn retire<'a>(&'a self, cx: &'a Cx<R::Cloud>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { Resource::retire(self, cx, &output::<R>(out)?).await })
    }

    fn unprotect<'a>(&'a self, cx: &'a Cx<R::Cloud>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { Resource::unprotect(self, cx, &output::<R>(out)?).await })
    }

    fn check_owner<'a>(&'a self, cx: &'a Cx<R::Cloud>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { Resource::check_owner(self, cx, &output::<R>(out)?).await })
    }

    fn delete<'a>(&'a self, cx: &'a Cx<R::Cloud>, out: &'a Value) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move { Resource::delete(self, cx, &output::<R>(out)?).await })
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a resource's fields and outputs are plain JSON")
}

fn earlier<R: Resource>(before: &Value) -> Result<R> {
    serde_json::from_value(before.clone())
        .with_context(|| format!("the recorded state of this {} is of another shape", R::KIND))
}

fn output<R: Resource>(out: &Value) -> Result<R::Output> {
    serde_json::from_value(out.clone())
        .with_context(|| format!("the recorded output of this {} is of another shape", R::KIND))
}

/// What a failed AWS call means to the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The resource is not there.
    Gone,
    /// The name is in use.
    Taken,
    /// A call on the same resource is still under way, or something it needs is not there yet: the same call will be
    /// accepted later.
    NotReady,
    /// Refused for its rate; not executed.
    Throttle,
    /// May have been executed: no answer, a cut connection, a 5xx.
    Ambiguous,
    /// The credentials do not allow it.
    Denied,
    /// The credentials are missing, expired or unknown.
    Credentials,
    /// Anything else; the same call would be refused again.
    Refused,
}

/// A failed AWS call: which, why in the service's own words, and what it means.
#[derive(Clone, Debug)]
pub struct CallError {
    /// `service:Operation`, such as `cognito-idp:CreateUserPool`.
    pub operation: String,
    /// The service's error code; `None` where no answer came.
    pub code: Option<String>,
    /// The service's message, or what happened to the connection.
    pub message: String,
    /// AWS's id of the request, for its support.
    pub request_id: Option<String>,
    /// What it means.
    pub class: Class,
    /// How long the service asks to wait before the next call of this operation (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

/// The class of the failed call in this chain; `None` if no call failed.
pub fn class(error: &anyhow::Error) -> Option<Class> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<CallError>())
        .map(|call| call.class)
}

/// A resource that has our name but is not ours: it is never adopted, changed or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Stranger {
    /// What it is and what it is called: `IAM role user-api-1a2b3c4d-user`.
    pub what: String,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} exists and is not of this stack: it is left as it is",
            self.what
        )
    }
}

impl std::error::Error for Stranger {}

/// Something of somebody else's that keeps AWS from a deletion for as long as it is there.
#[derive(Clone, Debug)]
pub struct InTheWay {
    /// What AWS does not do, and because of what.
    pub what: String,
    /// The command that takes it away.
    pub command: String,
    /// The deletion that AWS refused for it.
    pub refusal: CallError,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for InTheWay {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}

/// What this chain says is in the way of a deletion.
pub fn in_the_way(error: &anyhow::Error) -> Option<&InTheWay> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The stranger's resource of which this chain says that it is in the way.
pub fn stranger(error: &anyhow::Error) -> Option<&Stranger> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether this chain says that a stranger's resource is in the way.
pub fn is_stranger(error: &anyhow::Error) -> bool {
    stranger(error).is_some()
}
