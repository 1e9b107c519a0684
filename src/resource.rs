//! The contract of an AWS resource, and what the program knows of a failed AWS call.
//!
//! Must not know which resources there are, nor name any SDK: the engine and its tests need only this.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The result of a resource's calls. A failed call is a [`CallError`] in the chain of the error.
pub type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// The context of a running step: the cloud, and a way to report what the step waits for.
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

    /// Reports what this step waits for, as a fragment that reads after "waiting for".
    pub fn waiting(&self, what: &str) {
        (self.waiting)(what);
    }
}

/// What a recorded text must look like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Goes on after "expected".
    pub what: &'static str,
    /// Whether a text has the shape.
    pub holds: fn(&str) -> bool,
}

/// What is true of every resource of a kind. The engine knows no more about the kind.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the state file and in everything printed.
    pub name: &'static str,
    /// The texts that go into requests and URLs, as `desired.x` or `output.x`, and their shapes. An output that is listed
    /// is an id: no other record of the kind has the same.
    pub shapes: &'static [(&'static str, Shape)],
    /// The fields that AWS cannot change in place: if one differs, the resource is replaced.
    pub fixed: &'static [&'static str],
    /// Those of them that AWS does change together with another field: the fixed one, and the other.
    pub changed_with: &'static [(&'static str, &'static str)],
    /// What its users lose for good if it is replaced, as a noun. `None`: nothing, so it is replaced without being asked for.
    pub loses: Option<&'static str>,
    /// The kind of need whose deletion deletes this resource as well (a method goes with its REST API).
    pub dies_with: Option<&'static str>,
    /// The kind of need that AWS does not delete while this resource is there (a pool that has a domain).
    pub holds: Option<&'static str>,
    /// Whether it is deleted before anything else is changed once the stack no longer has it: so for what is not live until
    /// it is deployed. Everything else is deleted after all that used it has moved.
    pub removed_first: bool,
    /// Whether what an update left of it is retired before the steps that the stack no longer has are deleted, because it
    /// still uses them.
    pub retires_first: bool,
    /// Whether an update creates another one beside it. So something may have to be retired after a create as well, if
    /// another copy of the state knows one.
    pub creates_another: bool,
    /// The boolean field that makes AWS refuse to delete it while it is on.
    pub protection: Option<&'static str>,
    /// Whether AWS allows several of one name, so that a create never fails because one exists.
    pub shares_names: bool,
    /// Whether AWS takes two names that differ only in case for the same.
    pub ignores_case: bool,
    /// Whether it is deleted after what AWS deletes with another resource and needs it, because that uses it until then.
    pub outlives_users: bool,
    /// Whether AWS's answer to the deletion proves that it is gone, so that the engine need not read it again.
    pub gone_at_once: bool,
    /// Whether its deletion only waits and changes nothing in AWS. If the step is wanted again after an interrupted deletion, it
    /// begins again, and nothing is waited for.
    pub only_waits: bool,
}

impl Kind {
    /// A kind that is changed and deleted without any of these.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            shapes: &[],
            fixed: &[],
            changed_with: &[],
            loses: None,
            dies_with: None,
            holds: None,
            removed_first: false,
            retires_first: false,
            creates_another: false,
            protection: None,
            shares_names: false,
            ignores_case: false,
            outlives_users: false,
            gone_at_once: false,
            only_waits: false,
        }
    }

    /// Whether it is inside a resource of this other kind, by either of the two ways: it is ours if that one is ours.
    pub fn lives_in(&self, other: &str) -> bool {
        self.dies_with == Some(other) || self.holds == Some(other)
    }
}

/// The output of a kind.
pub trait Published: Serialize + DeserializeOwned + 'static {
    /// Stands in for an output that is not known yet. No field has the same value for another `mark`.
    fn placeholder(mark: &str) -> Self;
}

/// The output of a kind whose own fields say everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOutput {}

impl Published for NoOutput {
    fn placeholder(_: &str) -> Self {
        Self {}
    }
}

/// What an update ended in.
#[derive(Clone, Debug)]
pub struct Updated<O> {
    /// The output from now on.
    pub output: O,
    /// Whether the update left something that stays until all that depends on it has moved: then [`Resource::retire`]
    /// follows. If the end of an update is not on record, the next update starts from what is live, and says it again.
    pub retires: bool,
}

impl<O> From<O> for Updated<O> {
    /// Nothing is left to retire.
    fn from(output: O) -> Self {
        Self {
            output,
            retires: false,
        }
    }
}

/// The desired state of one AWS resource, and how to reach it.
///
/// One struct has three uses: the difference between the recorded and the desired one is what AWS has to change; the
/// difference between the recorded one and [`Resource::read`] is drift; and that difference, field by field, is what
/// the user sees. So a struct holds normal forms only, and nothing that a reader could take for a secret.
pub trait Resource: Serialize + DeserializeOwned + PartialEq + 'static {
    /// What the calls are made with.
    type Cloud: 'static;
    /// What dependents read and `delete` needs. Never a secret.
    type Output: Published;
    /// The description of the kind.
    const KIND: &'static Kind;
    /// The name of [`Resource::KIND`], for patterns.
    const NAME: &'static str = Self::KIND.name;

    /// Writes of one lane run one at a time.
    fn lane(&self) -> Option<String> {
        None
    }

    /// What a person would look for in the AWS console: an id or a name.
    fn id(&self, out: &Self::Output) -> String;

    /// Finds what an interrupted run may have created, and changes nothing. It may differ from `self`: an interrupted
    /// create may have stopped halfway, or someone else may have created it inside something of ours. The caller reads
    /// it and updates it before it counts as created. A stranger's resource under our name is a [`Stranger`] error.
    fn find(&self, cx: &Cx<Self::Cloud>) -> impl Future<Output = Result<Option<Self::Output>>>;

    /// Finds all that could be it, for a stack whose record is lost. Where names are not unique there may be several.
    fn find_lost(&self, cx: &Cx<Self::Cloud>) -> impl Future<Output = Result<Vec<Self::Output>>> {
        async { Ok(self.find(cx).await?.into_iter().collect()) }
    }

    /// Creates it. May be interrupted anywhere, and called again if `find` then finds nothing.
    fn create(&self, cx: &Cx<Self::Cloud>) -> impl Future<Output = Result<Self::Output>>;

    /// The live resource in the form of the desired one, managed fields only; `None` if it is gone. A field that is
    /// null here but not in the record cannot be compared. A resource of someone else is a [`Stranger`] error, if the
    /// answer shows that without another call.
    fn read(&self, cx: &Cx<Self::Cloud>, out: &Self::Output) -> impl Future<Output = Result<Option<Self>>>;

    /// Whether it is open to everyone. A step that would put such a resource into service is refused.
    fn is_open(&self) -> bool {
        false
    }

    /// Its output, if that is known before it is created: of what only goes on record.
    fn known_output(&self) -> Option<Self::Output> {
        None
    }

    /// Its output once it is updated to `self`; `None` if only AWS knows.
    fn output_after_update(&self, out: Self::Output) -> Option<Self::Output> {
        Some(out)
    }

    /// Changes in place the fields in which `self` differs from `before`, and nothing else: what others set stays. If
    /// no field differs, it makes no call just to be sure. May be repeated. A kind whose fields are all fixed has
    /// nothing to do.
    fn update(
        &self,
        _cx: &Cx<Self::Cloud>,
        _before: &Self,
        out: Self::Output,
    ) -> impl Future<Output = Result<Updated<Self::Output>>> {
        std::future::ready(Ok(out.into()))
    }

    /// Deletes what updates left of earlier states and nothing uses any more. May be repeated. What it did not delete
    /// when the stack is deleted, AWS deletes together with a need of this resource.
    fn retire(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Turns [`Kind::protection`] off if it is on, and changes nothing else. Succeeds if the resource is gone. A kind
    /// without protection has nothing to do.
    fn unprotect(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Checks before a deletion that the live resource is ours; succeeds if it is gone. A resource of someone else is a
    /// [`Stranger`] error. A kind without tags has nothing to do: it is ours if the need that it is inside is ours.
    fn check_owner(&self, _cx: &Cx<Self::Cloud>, _out: &Self::Output) -> impl Future<Output = Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Succeeds if it is already gone. The caller waits until `read` no longer sees it, unless it is
    /// [`Kind::gone_at_once`].
    fn delete(&self, cx: &Cx<Self::Cloud>, out: &Self::Output) -> impl Future<Output = Result<()>>;
}

/// [`Resource`] with JSON in place of its types, for the engine.
pub trait Erased<C> {
    /// [`Resource::KIND`].
    fn kind(&self) -> &'static Kind;
    /// [`Resource::lane`].
    fn lane(&self) -> Option<String>;
    /// The resource's own fields.
    fn desired(&self) -> Value;
    /// The ids in a recorded output. Fails on an output of another shape, and on what [`Kind::shapes`] does not allow.
    fn checked_ids(&self, out: Option<&Value>) -> Result<Vec<String>>;
    /// [`Resource::id`]; fails on an output of another shape.
    fn id(&self, out: &Value) -> Result<String>;
    /// [`Resource::find`].
    fn find<'a>(&'a self, cx: &'a Cx<C>) -> LocalBoxFuture<'a, Result<Option<Value>>>;
    /// [`Resource::find_lost`].
    fn find_lost<'a>(&'a self, cx: &'a Cx<C>) -> LocalBoxFuture<'a, Result<Vec<Value>>>;
    /// [`Resource::create`].
    fn create<'a>(&'a self, cx: &'a Cx<C>) -> LocalBoxFuture<'a, Result<Value>>;
    /// [`Resource::read`].
    fn read<'a>(&'a self, cx: &'a Cx<C>, out: &'a Value) -> LocalBoxFuture<'a, Result<Option<Value>>>;
    /// [`Resource::is_open`] of a live state; fails on one of another shape.
    fn is_open(&self, live: &Value) -> Result<bool>;
    /// [`Resource::known_output`].
    fn known_output(&self) -> Option<Value>;
    /// [`Resource::output_after_update`]; fails on an output of another shape.
    fn output_after_update(&self, out: &Value) -> Result<Option<Value>>;
    /// [`Resource::update`].
    fn update<'a>(
        &'a self,
        cx: &'a Cx<C>,
        before: &'a Value,
        out: &'a Value,
    ) -> LocalBoxFuture<'a, Result<Updated<Value>>>;
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
    fn kind(&self) -> &'static Kind {
        R::KIND
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
        for (field, shape) in R::KIND.shapes {
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

    fn find_lost<'a>(&'a self, cx: &'a Cx<R::Cloud>) -> LocalBoxFuture<'a, Result<Vec<Value>>> {
        Box::pin(async move { Ok(Resource::find_lost(self, cx).await?.iter().map(json).collect()) })
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
    ) -> LocalBoxFuture<'a, Result<Updated<Value>>> {
        Box::pin(async move {
            let before = earlier::<R>(before)?;
            let updated = Resource::update(self, cx, &before, output::<R>(out)?).await?;
            Ok(Updated {
                output: json(&updated.output),
                retires: updated.retires,
            })
        })
    }

    fn is_open(&self, live: &Value) -> Result<bool> {
        Ok(Resource::is_open(&earlier::<R>(live)?))
    }

    fn known_output(&self) -> Option<Value> {
        Resource::known_output(self).map(|out| json(&out))
    }

    fn output_after_update(&self, out: &Value) -> Result<Option<Value>> {
        Ok(Resource::output_after_update(self, output::<R>(out)?).map(|out| json(&out)))
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

/// One kind of a closed list, and how to make a resource of it from a record.
pub struct Listed<C> {
    kind: &'static Kind,
    revive: fn(&Value) -> Result<Rc<dyn Erased<C>>>,
}

impl<C> Listed<C> {
    /// Of this kind.
    pub const fn new<R: Resource<Cloud = C>>() -> Self {
        Self {
            kind: R::KIND,
            revive: |desired| Ok(Rc::new(earlier::<R>(desired)?)),
        }
    }
}

/// The closed list of the kinds that a record can be of.
pub struct Kinds<C: 'static>(pub &'static [Listed<C>]);

impl<C> Clone for Kinds<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Kinds<C> {}

impl<C> Kinds<C> {
    /// The kind of this name.
    pub fn kind(self, name: &str) -> Option<&'static Kind> {
        self.listed(name).map(|listed| listed.kind)
    }

    /// A resource from its record, so that `down` needs no configuration.
    ///
    /// # Errors
    /// No such kind, or the recorded desired state is of another shape.
    pub fn revive(self, kind: &str, desired: &Value) -> Result<Rc<dyn Erased<C>>> {
        let listed = self.listed(kind);
        let listed = listed.with_context(|| format!("no kind of resource is called {kind}"))?;
        (listed.revive)(desired)
    }

    fn listed(self, name: &str) -> Option<&'static Listed<C>> {
        self.0.iter().find(|listed| listed.kind.name == name)
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a resource's fields and outputs are plain JSON")
}

fn earlier<R: Resource>(before: &Value) -> Result<R> {
    serde_json::from_value(before.clone())
        .with_context(|| format!("the recorded {} is of another shape", R::NAME))
}

fn output<R: Resource>(out: &Value) -> Result<R::Output> {
    serde_json::from_value(out.clone())
        .with_context(|| format!("the recorded output of this {} is of another shape", R::NAME))
}

/// What a failed AWS call means to its caller.
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
    /// The service's error code; `None` if there was no answer.
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

/// Something of someone else that keeps AWS from a deletion while it exists.
#[derive(Clone, Debug)]
pub struct InTheWay {
    /// What AWS does not delete, and why.
    pub what: String,
    /// The command that deletes it.
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

/// What is in the way of a deletion, if this chain of errors has it.
pub fn in_the_way(error: &anyhow::Error) -> Option<&InTheWay> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The resource of someone else that is in the way, if this chain of errors has it.
pub fn stranger(error: &anyhow::Error) -> Option<&Stranger> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether a resource of someone else is in the way.
pub fn is_stranger(error: &anyhow::Error) -> bool {
    stranger(error).is_some()
}
