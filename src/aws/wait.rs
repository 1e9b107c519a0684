//! Repeats a call that AWS will accept later, and polls what AWS is still creating, each with a deadline.
//!
//! Must not repeat a call that may have been executed: the engine decides that.

use std::pin::pin;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::Instant;

use super::clients::Aws;
use super::errors::{call_error, call_error_of_values, is_signature_refusal};
use super::http::{READ_DEADLINE, is_read};
use super::pace::RIGHTS_PATIENCE;
use crate::resource::{CallError, Class, Cx, Result, in_the_way};

/// The longest wait for a role to spread. IAM publishes no figure; Terraform waits 2 minutes for IAM and 15 for a
/// function.
const ROLE_PATIENCE: Duration = Duration::from_mins(10);
/// The longest wait until AWS WAF knows a stage that was created a moment ago. Terraform waits as long.
const FIREWALL_PATIENCE: Duration = Duration::from_mins(10);
/// The longest wait for something that was created a moment ago to be visible.
const VISIBILITY_PATIENCE: Duration = Duration::from_secs(20);
/// The same for IAM and Lambda, which answer "not found" for longer: Terraform waits 2 minutes for IAM.
pub const SLOW_VISIBILITY_PATIENCE: Duration = Duration::from_mins(2);
/// The longest wait for another call on the same resource to end; and for an operation that AWS refuses for its rate,
/// since AWS last accepted one.
const CONFLICT_PATIENCE: Duration = Duration::from_mins(2);
/// The longest wait for a DeleteRestApi: AWS accepts one in 30 s in the whole account, and others may delete stacks as
/// well.
const DELETE_API_PATIENCE: Duration = Duration::from_mins(20);
/// The same for the changes of a domain, whose rate is the same; and for the one before to end, which takes about 15 minutes.
const DOMAIN_PATIENCE: Duration = Duration::from_mins(30);
/// The longest wait for a new API or stage to be visible where a mapping is made. Terraform waits for as long.
const MAPPING_PATIENCE: Duration = Duration::from_secs(30);
/// The pause after the first read of something that AWS is still creating.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The same where it is mostly ready sooner.
const BRIEF_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// The longest pause between two tries. The first is one second, and each further one a second longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause between two tries while a role spreads, because the whole stack waits for that.
const ROLE_PAUSE: Duration = Duration::from_millis(50);
/// A try that took longer sends much code.
const SLOW_TRY: Duration = Duration::from_secs(1);
/// After this time an answer is reported as slow.
const SLOW: Duration = Duration::from_secs(5);
/// How many of the short pauses there are: a role is mostly spread in 10 seconds.
const ROLE_TRIES: usize = 100;

fn patience(error: &CallError) -> Duration {
    match error.code.as_deref() {
        Some("InvalidParameterValueException") => ROLE_PATIENCE,
        Some("WAFUnavailableEntityException") => FIREWALL_PATIENCE,
        Some("NoSuchEntity" | "ResourceNotFoundException")
            if ["iam:", "lambda:"]
                .iter()
                .any(|service| error.operation.starts_with(service)) =>
        {
            SLOW_VISIBILITY_PATIENCE
        }
        Some(
            "NoSuchEntity"
            | "ResourceNotFoundException"
            | "NotFoundException"
            | "ScopeDoesNotExistException"
            | "WAFNonexistentItemException",
        ) => VISIBILITY_PATIENCE,
        Some("TooManyRequestsException") if error.operation == "apigateway:DeleteRestApi" => {
            DELETE_API_PATIENCE
        }
        Some("TooManyRequestsException" | "LimitExceededException" | "ConflictException")
            if error.operation.starts_with("apigateway:") && error.operation.ends_with("DomainName") =>
        {
            DOMAIN_PATIENCE
        }
        Some("BadRequestException") => MAPPING_PATIENCE,
        _ => CONFLICT_PATIENCE,
    }
}

/// Whether the call waits for IAM to spread a role: of this code, `classify` gives only those this class.
fn is_role_spreading(error: &CallError) -> bool {
    error.class == Class::NotReady && error.code.as_deref() == Some("InvalidParameterValueException")
}

/// Whether the call may be allowed in a moment. An explicit denial, such as one by the organization's policy, does not
/// end.
fn is_denied_for_now(error: &CallError) -> bool {
    error.class == Class::Denied && !error.message.contains("with an explicit deny")
}

/// 1 s, 2 s, … up to [`LONGEST_PAUSE`].
fn pauses() -> impl Iterator<Item = Duration> {
    (1..).map(|seconds| LONGEST_PAUSE.min(Duration::from_secs(seconds)))
}

/// The pause after this many tries. The last one took `took` and ended in this error.
fn pause_after(error: &CallError, tries: usize, took: Duration) -> Duration {
    let longer = || pauses().nth(tries - 1).expect("pauses never end");
    match error.code.as_deref() {
        // Each try sends a large zip: at most half of the time is spent sending.
        Some("InvalidParameterValueException") if took > SLOW_TRY => took.max(longer()),
        Some("InvalidParameterValueException") if tries <= ROLE_TRIES => ROLE_PAUSE,
        _ => longer(),
    }
}

impl Cx<Aws> {
    /// Makes one AWS call. It waits, and reports that, while AWS says that it will accept the call later, or denies it
    /// in the first minute ([`Rights`](super::pace::Rights)). A read whose denial is not an error is made with
    /// [`once`], which does not wait.
    ///
    /// `operation` is `service:Operation`; `send` builds and sends the request.
    ///
    /// # Errors
    /// [`CallError`], once the call is refused for good or AWS's "later" has lasted too long.
    pub async fn call<T, E, F>(&self, operation: &str, send: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        // On the heap: the SDK makes futures of many kilobytes.
        let attempt = || {
            let sent = Box::pin(send());
            told_if_slow(once(operation, sent), || {
                (self.cloud().waits)(&format!("the answer to {operation}"));
            })
        };
        self.patiently(operation, attempt, |error| Some(error)).await
    }

    /// As [`Cx::call`], for a call with values that must not be shown: neither what it reports while it waits nor its
    /// error has the service's message.
    ///
    /// # Errors
    /// As [`Cx::call`].
    pub async fn call_with_values<T, E, F>(
        &self,
        operation: &str,
        send: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let attempt = || async {
            let sent = Box::pin(send()).await;
            sent.map_err(|error| call_error_of_values(operation, &error))
        };
        self.patiently(operation, attempt, |error| Some(error)).await
    }

    /// As [`Cx::call`], for a call whose request is made from what AWS returned before it. All of `attempt` is
    /// repeated, so that a change that someone else made meanwhile is not undone. The call itself, `operation`, is made
    /// with [`once`].
    ///
    /// # Errors
    /// As `attempt`, once it is refused for good or AWS's "later" has lasted too long.
    pub async fn repeat<T, F>(&self, operation: &str, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.patiently(operation, attempt, |error| {
            // What someone else put there does not disappear by itself.
            let call = error.chain().find_map(|cause| cause.downcast_ref());
            call.filter(|_| in_the_way(error).is_none())
        })
        .await
    }

    /// `call` finds the failed call in an error.
    async fn patiently<T, E, F>(
        &self,
        operation: &str,
        attempt: impl Fn() -> F,
        call: fn(&E) -> Option<&CallError>,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let began = Instant::now();
        let pace = self.cloud().paces.of(operation);
        let mut is_signed_again = false;
        // Held while this call alone asks whether roles have spread.
        let mut asking = None;
        for tries in 1.. {
            pace.turn().await;
            let sent = Instant::now();
            let failed = match attempt().await {
                Ok(answer) => {
                    pace.accepted(sent);
                    if asking.is_some() {
                        self.cloud().paces.spreading.has_spread();
                    }
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let Some(error) = call(&failed) else {
                return Err(failed);
            };
            // A throttled call was not executed.
            let is_throttled = error.class == Class::Throttle;
            let since = if is_throttled {
                pace.refused(sent, error.retry_after);
                pace.last_accepted(began)
            } else {
                pace.accepted(sent);
                began
            };
            // Nothing was executed, and from the answer the SDK knows AWS's clock.
            if is_signature_refusal(error.code.as_deref()) && !is_signed_again {
                is_signed_again = true;
                continue;
            }
            if is_denied_for_now(error) {
                let (left, is_first) = self.cloud().paces.rights.left();
                if left.is_zero() {
                    return Err(failed);
                }
                if is_first {
                    self.tell_denied(error);
                }
                tokio::time::sleep(left.min(pause_after(error, tries, sent.elapsed()))).await;
                continue;
            }
            let later = is_throttled || error.class == Class::NotReady;
            if !later || since.elapsed() >= patience(error) {
                return Err(failed);
            }
            self.waiting(&to_be_accepted(error));
            if is_throttled {
                continue;
            }
            let took = sent.elapsed();
            if is_role_spreading(error) && asking.is_none() {
                asking = self.cloud().paces.spreading.turn().await;
                if asking.is_none() {
                    continue;
                }
            }
            tokio::time::sleep(pause_after(error, tries, took)).await;
        }
        unreachable!("tries never end")
    }

    /// Reports it once in a run, and for the step, if the call belongs to one.
    fn tell_denied(&self, error: &CallError) {
        self.waiting(&to_be_accepted(error));
        (self.cloud().waits)(&format!(
            "new permissions to take effect: AWS denies {}, and this run repeats denied calls for {} seconds",
            error.operation,
            RIGHTS_PATIENCE.as_secs()
        ));
    }

    /// Asks until `ready` has an answer. `what` reads after "waiting for".
    ///
    /// # Errors
    /// `ready` failed, or had none within `deadline`.
    pub async fn wait_for<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        self.ask(what, deadline, &[FIRST_PAUSE], &mut ready).await
    }

    /// As [`Cx::wait_for`], for what is mostly ready in a part of a second, and somebody waits for it.
    ///
    /// # Errors
    /// As [`Cx::wait_for`].
    pub async fn wait_briefly_for<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        self.ask(what, deadline, &BRIEF_PAUSES, &mut ready).await
    }

    async fn ask<T, F>(
        &self,
        what: &str,
        deadline: Duration,
        first: &[Duration],
        ready: &mut impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let began = Instant::now();
        for pause in first.iter().copied().chain(pauses()) {
            if let Some(answer) = ready().await? {
                return Ok(answer);
            }
            anyhow::ensure!(
                began.elapsed() < deadline,
                "waited {} seconds for {what} in vain",
                deadline.as_secs()
            );
            self.waiting(what);
            tokio::time::sleep(pause).await;
        }
        unreachable!("pauses never end")
    }
}

/// Reads after "waiting for".
fn to_be_accepted(error: &CallError) -> String {
    let code = error.code.as_deref().unwrap_or_default();
    let is_cognito = error.operation.starts_with("cognito-idp:");
    let shared = if is_cognito && error.class == Class::Throttle {
        "; whatever uses this account's user pools shares the rate"
    } else {
        ""
    };
    format!(
        "{} to be accepted ({code}: {}{shared})",
        error.operation, error.message
    )
}

/// Waits for `asked`, and calls `tell` once if that takes more than five seconds.
pub async fn told_if_slow<T>(asked: impl Future<Output = T>, tell: impl FnOnce()) -> T {
    let mut asked = pin!(asked);
    if let Ok(answer) = tokio::time::timeout(SLOW, &mut asked).await {
        return answer;
    }
    tell();
    asked.await
}

/// The answer of one AWS call, which is not repeated. `operation` is `service:Operation`. A read gives up after a minute.
///
/// # Errors
/// The call failed.
pub async fn once<T, E>(
    operation: &str,
    sent: impl Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CallError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let name = operation.split_once(':').map_or(operation, |(_, name)| name);
    if !is_read(name) {
        return sent.await.map_err(|error| call_error(operation, &error));
    }
    match tokio::time::timeout(READ_DEADLINE, sent).await {
        Ok(answer) => answer.map_err(|error| call_error(operation, &error)),
        Err(_) => Err(CallError {
            operation: operation.to_owned(),
            code: None,
            message: format!("no usable answer within {} seconds", READ_DEADLINE.as_secs()),
            request_id: None,
            retry_after: None,
            class: Class::Ambiguous,
        }),
    }
}

/// `None` if the call failed because the resource does not exist.
pub fn unless_gone<T>(answer: Result<T, CallError>) -> std::result::Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.class == Class::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use aws_sdk_iam::Client as Sdk;
    use aws_smithy_mocks::Rule;
    use futures_util::future::join_all;

    use super::super::pace::{Paces, Rights};
    use super::super::quotas;
    use super::super::test_support::{World, always, iam, iam_ok, iam_refused, on};
    use super::*;

    const REASON: &str = "User: u is not authorized to perform: iam:DeleteRole on resource: r because no identity-based \
                          policy allows the iam:DeleteRole action";

    fn denied(reason: &str) -> HttpResponse {
        iam_refused(403, "AccessDenied", reason)
    }

    /// The rights of AWS, and all that was told.
    struct OfAws {
        _world: World,
        cx: Cx<Aws>,
        steps: Rc<RefCell<Vec<String>>>,
        run: Rc<RefCell<Vec<String>>>,
    }

    fn of_aws(rules: impl IntoIterator<Item = Rule>) -> OfAws {
        let world = iam(rules);
        let lines = || Rc::new(RefCell::new(Vec::new()));
        let (steps, run) = (lines(), lines());
        let listener = |lines: &Rc<RefCell<Vec<String>>>| -> Rc<dyn Fn(&str)> {
            let lines = lines.clone();
            Rc::new(move |what| lines.borrow_mut().push(what.to_owned()))
        };
        let aws = Aws {
            paces: Rc::new(Paces::new(Rights::new(true))),
            waits: listener(&run),
            ..world.cloud().for_a_survey()
        };
        OfAws {
            cx: Cx::new(Rc::new(aws), listener(&steps)),
            _world: world,
            steps,
            run,
        }
    }

    async fn delete(cx: &Cx<Aws>) -> Result<(), CallError> {
        let delete = || cx.cloud().iam.delete_role().role_name("r").send();
        cx.call("iam:DeleteRole", delete).await.map(drop)
    }

    /// What a call that was made now comes to, and after how many seconds.
    async fn timed(cx: &Cx<Aws>) -> (Option<Class>, u64) {
        let began = Instant::now();
        let ended = delete(cx).await;
        (ended.err().map(|error| error.class), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_denied_until_a_policy_has_spread_succeeds_and_is_told_once() {
        let began = Instant::now();
        let aws = of_aws([always!(
            Sdk::delete_role,
            if began.elapsed() < Duration::from_secs(30) {
                denied(REASON)
            } else {
                iam_ok("DeleteRole", "")
            }
        )]);
        assert_eq!(timed(&aws.cx).await, (None, 30));
        let step = format!("iam:DeleteRole to be accepted (AccessDenied: {REASON})");
        assert_eq!(*aws.steps.borrow(), [step]);
        assert_eq!(
            *aws.run.borrow(),
            [
                "new permissions to take effect: AWS denies iam:DeleteRole, and this run repeats denied calls for 60 seconds"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_denied_for_ever_share_one_minute_of_the_run() {
        let aws = of_aws([always!(Sdk::delete_role, denied(REASON))]);
        let late = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            timed(&aws.cx).await
        };
        let (ends, late) = tokio::join!(join_all((0..32).map(|_| timed(&aws.cx))), late);
        assert!(
            ends.iter().all(|end| *end == (Some(Class::Denied), 60)),
            "{ends:?}"
        );
        assert_eq!(late, (Some(Class::Denied), 20), "it shares what is left");
        assert_eq!(
            timed(&aws.cx).await,
            (Some(Class::Denied), 0),
            "the minute is over"
        );
        assert_eq!((aws.steps.borrow().len(), aws.run.borrow().len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_made_of_several_shares_the_minute_as_well() {
        let aws = of_aws([always!(Sdk::delete_role, denied(REASON))]);
        let began = Instant::now();
        let ended = aws
            .cx
            .repeat("iam:UpdateRole", || async { Ok(delete(&aws.cx).await?) })
            .await;
        let error = ended.unwrap_err();
        assert!(error.to_string().contains(REASON), "{error:#}");
        assert_eq!(began.elapsed(), RIGHTS_PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_are_not_accepted_and_a_denial_in_words_are_final_at_once() {
        let refused = |code, reason| iam_refused(403, code, reason);
        let in_words = "User: u is not authorized to perform: iam:DeleteRole on resource: r with an explicit deny in a service \
                        control policy";
        for (code, reason, class) in [
            ("ExpiredToken", "expired", Class::Credentials),
            ("InvalidClientTokenId", "invalid", Class::Credentials),
            ("AccessDenied", in_words, Class::Denied),
        ] {
            let aws = of_aws([always!(Sdk::delete_role, refused(code, reason))]);
            assert_eq!(timed(&aws.cx).await, (Some(class), 0), "{code}");
            assert_eq!((aws.steps.borrow().len(), aws.run.borrow().len()), (0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_rights_hold_at_once_a_denied_call_is_final_at_once() {
        let world = iam([always!(Sdk::delete_role, denied(REASON))]);
        assert_eq!(timed(&world).await, (Some(Class::Denied), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_whose_denial_is_no_error_neither_waits_nor_begins_the_minute() {
        let aws = of_aws([
            on!(Sdk::get_account_summary, denied(REASON)),
            always!(Sdk::delete_role, denied(REASON)),
        ]);
        let began = Instant::now();
        quotas::roles(&aws.cx).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(timed(&aws.cx).await, (Some(Class::Denied), 60));
    }
}
