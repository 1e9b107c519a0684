//! `verify`, and the end of an `up`: whether the live API refuses whom it should.
//!
//! Must not print a secret or a token, nor change anything.

mod front;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use futures_util::StreamExt;
use futures_util::future::ready;
use serde::Serialize;

use super::backends;
use super::document::document;
use super::domains;
use super::foreign::{self, Extent};
use super::hints;
use super::invocation::Invocation;
use super::open::{Loaded, Recorded, Session};
use super::outputs::{Outputs, complete};
use super::recorded::{ByKind, Entry};
use super::secret_source::Sources;
use super::stop::stop_signal;
use super::table::table;
use super::token::{choose, fetch, stack_outputs};
use super::ui::{READING, Ui};
use crate::aws::{Aws, hosts};
use crate::cli;
use crate::error::{Failure, Kind, on_one_line};
use crate::foreign::Foreign;
use crate::resource::{Cx, NoOutput, Resource};
use crate::resources::client::Untold;
use crate::resources::{self, Deployment, Path};
use crate::stack;
use crate::state::{Phase, State};
use crate::verify::{
    AT_ONCE, Check, Client, DEADLINE, MOVED_DEADLINE, Patience, Probe, Route, Stage, Tokens, verify,
};

/// How long a door that is open may be one that closes yet, where the stage did not move a moment ago.
const OPEN: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Content<'a> {
    ok: bool,
    probes: &'a [Probe],
    foreign: &'a [Foreign],
    /// Why the secret of a client cannot be read, by the client's name: no token of it was checked or tried.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_proved: &'a BTreeMap<String, String>,
}

/// What the live API answered.
struct Proof {
    probes: Vec<Probe>,
    /// What would help where a token is not to be had.
    hints: BTreeSet<String>,
    /// As in [`Content`].
    not_proved: BTreeMap<String, String>,
}

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Verify, ui: &Rc<Ui>) -> Result<(), Failure> {
    let (stack, mut sources) = Sources::read(invocation)?;
    let loaded = Loaded::load(invocation, &stack, ui).await?;
    let state = &loaded.state;
    let outputs = stack_outputs(state)?;
    for named in &args.secret_from {
        sources.name(&choose(&outputs, named.client.as_deref())?, named.source.clone());
    }
    if let Some(record) = state.steps.iter().find(|record| record.phase != Phase::Ready) {
        return Err(Failure::from(anyhow!(
            "step {} is unfinished, so the stage is not complete",
            record.step
        ))
        .hinted("run `provision up`"));
    }
    let stage = stage(state, &outputs)?;
    let Recorded { state, session } = loaded.open(ui).await?;
    let aws = session.aws_for_a_survey();
    let looking = foreign::look(&aws, &state, Extent::All);
    let mut foreign = ui.show_wait(READING, looking).await?;
    foreign::judge_clients(&aws, &state, &mut foreign).await?;
    let changed = stage_changed(&aws, &state).await?;
    domains::look(&session.cx(ui), &state).await?;
    domains::warn(&session.aws, ui);
    let patience = patience(&state, changed, SystemTime::now());
    let mut proof = prove(&session, &outputs, &sources, &stage, args.call, patience, ui).await?;
    (proof.hints).extend(not_granted(&state, &proof.probes)?);
    (proof.probes).extend(open_methods(&session, &state, &stage, ui).await?);
    let all = routes(&state)?;
    let domain = front::prove(&outputs, &all, args.wait_dns, patience.refused, ui);
    (proof.probes).extend(Box::pin(domain).await?);
    if let Some(why) = front::unasked(&outputs) {
        ui.warn(&why);
    }
    let is_right =
        proof.probes.iter().all(|probe| probe.ok) && foreign.iter().all(|one| one.finding.is_none());
    let ok = is_right && proof.not_proved.is_empty();
    if ui.is_json() {
        let content = Content {
            ok,
            probes: &proof.probes,
            foreign: &foreign,
            not_proved: &proof.not_proved,
        };
        ui.data(&document(&state, &content)?);
    } else {
        ui.data(&(text(&proof.probes) + &foreign::text(&foreign)));
    }
    if ok {
        Ok(())
    } else if is_right {
        Err(incomplete(proof))
    } else {
        Err(failure(proof, &foreign))
    }
}

/// When the stack's stage was last changed after it was made, in seconds since 1970; with `aws` for a survey, from its reads.
async fn stage_changed(aws: &Rc<Aws>, state: &State) -> anyhow::Result<Option<i64>> {
    let Some(stage) = served(state)? else {
        return Ok(None);
    };
    let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
    Ok(cx.stage_changed(stage.api.as_str(), &stage.name).await?)
}

/// The stack's stage as it is on record; `None` if the stack has no API.
fn served(state: &State) -> anyhow::Result<Option<resources::Stage>> {
    Ok(state.one::<resources::Stage>()?.map(|stage| stage.desired))
}

/// For `verify`, where the stage was last changed then, if it was. An open door, or a refusal, may be the earlier deployment's
/// for as long after that as AWS may serve it. An emulator serves what is deployed at once.
fn patience(state: &State, changed: Option<i64>, now: SystemTime) -> Patience {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let ago = changed.map(|changed| now.saturating_sub(changed.try_into().unwrap_or_default()));
    let earlier = ago
        .filter(|_| state.endpoint.is_none())
        .map_or(Duration::ZERO, |ago| {
            MOVED_DEADLINE.saturating_sub(Duration::from_secs(ago))
        });
    Patience {
        refused: DEADLINE.max(earlier),
        admitted: OPEN.max(earlier),
    }
}

/// How long the proof of an `up` that begins with this state may take: longer where the stage is there already, as AWS may
/// serve its earlier deployment. An emulator serves what is deployed at once.
pub(super) fn deadline(before: &State) -> Duration {
    let has_stage = (before.steps.iter()).any(|record| record.kind == resources::Stage::NAME);
    if has_stage && before.endpoint.is_none() {
        MOVED_DEADLINE
    } else {
        DEADLINE
    }
}

/// What an `up` that changed something ends with. On a Ctrl-C it stops: nothing is under way that would be lost. A client whose
/// secret cannot be read makes the proof smaller, which is told, and not a failure: the stack is what the file says.
pub(super) async fn after_up(
    session: &Session,
    state: &State,
    sources: &Sources,
    deadline: Duration,
    ui: &Rc<Ui>,
) -> Result<(), Failure> {
    let outputs = complete(state)?;
    let stage = stage(state, &outputs)?;
    // What was deployed before may still answer.
    let patience = Patience {
        refused: deadline,
        admitted: deadline,
    };
    let mut stop = stop_signal()?;
    let proof = tokio::select! {
        proof = prove(session, &outputs, sources, &stage, false, patience, ui) => proof?,
        _ = stop.wait_for(|stop| *stop) => {
            let error = anyhow!("interrupted; the stack is complete and on record, but was not verified");
            return Err(Failure::new(Kind::Interrupted, error).hinted("run `provision verify`"));
        }
    };
    if proof.probes.is_empty() && proof.not_proved.is_empty() {
        // A stack without an API and without clients.
        return Ok(());
    }
    if proof.probes.iter().all(|probe| probe.ok) {
        ui.progress(&format!("verified  {} of {0} probes", proof.probes.len()));
        for line in unproved(&proof).chain(front::unasked(&outputs)) {
            ui.warn(&line);
        }
        if !proof.not_proved.is_empty() {
            ui.hint(
                "to prove the rest, run `provision verify` with --secret-from [CLIENT=]file:PATH, env:NAME, secretsmanager:NAME or ssm:/PATH",
            );
        }
        return Ok(());
    }
    let failure = failure(proof, &[]);
    Err(failure.hinted("the stack is complete and on record; run `provision verify` to look again"))
}

/// Fetches one token a client and probes with them.
async fn prove(
    session: &Session,
    outputs: &Outputs,
    sources: &Sources,
    stage: &Stage,
    call: bool,
    patience: Patience,
    ui: &Rc<Ui>,
) -> Result<Proof, Failure> {
    if !stage.routes.is_empty() {
        domains::check_called(&session.cx(ui), outputs).await?;
    }
    let http = &front::http(outputs).await?;
    let fetching = stage.clients.keys().map(|name| async move {
        // No scope is asked for: the token then has all that the client can have, which no other may exceed.
        let token = fetch(session, http, outputs, name, sources.of(name), &[], ui).await;
        (name.clone(), token.map(|token| token.access_token))
    });
    let hints = RefCell::new(BTreeSet::new());
    let not_proved = RefCell::new(BTreeMap::new());
    let tokens = futures_util::stream::iter(fetching)
        .buffer_unordered(AT_ONCE)
        .filter_map(|(name, token)| {
            let told = token.map_err(|mut failure| {
                hints::add(&mut failure);
                let untold = failure.error.as_ref().is_some_and(anyhow::Error::is::<Untold>);
                hints.borrow_mut().extend(failure.hints);
                let why = failure.error.as_ref().map(on_one_line);
                (untold, why.unwrap_or_default())
            });
            ready(match told {
                Ok(token) => Some((name, Ok(token))),
                Err((true, why)) => {
                    not_proved.borrow_mut().insert(name, why);
                    None
                }
                Err((false, why)) => Some((name, Err(why))),
            })
        })
        .collect::<Tokens>();
    let done = Cell::new(None);
    let count = |number, all| done.set(Some((number, all)));
    let tell = |line: &str| ui.progress(line);
    let probing = verify(http, stage, tokens, call, patience, &tell, &count);
    let probes = ui.show("probing the API", || done.get(), probing).await;
    Ok(Proof {
        probes,
        hints: hints.into_inner(),
        not_proved: not_proved.into_inner(),
    })
}

/// The commands that the owners of functions in other accounts have to run, of the routes that answer as if none was run:
/// without the permission API Gateway answers 500.
fn not_granted(state: &State, probes: &[Probe]) -> anyhow::Result<BTreeSet<String>> {
    let grants = backends::grants(state)?;
    let without =
        (probes.iter()).filter(|probe| probe.check == Check::RightToken && probe.got.starts_with("500 "));
    let steps = without.filter_map(|probe| Some(stack::route(probe.route.as_deref()?)));
    let commands = steps.filter_map(|step| grants.get(&step));
    Ok(commands
        .map(|command| {
            format!("a function of another account was not invoked: ask its owner to run `{command}`")
        })
        .collect())
}

/// A line for each client whose secret cannot be read.
fn unproved(proof: &Proof) -> impl Iterator<Item = String> {
    (proof.not_proved.iter())
        .map(|(client, why)| format!("not proved: no token of client {client} was checked or tried: {why}"))
}

/// A failed probe for every method that asks for no token in what the stage serves now, whoever deployed it. The routes
/// of the stack are left out: they were asked.
async fn open_methods(
    session: &Session,
    state: &State,
    stage: &Stage,
    ui: &Rc<Ui>,
) -> Result<Vec<Probe>, Failure> {
    let Some(served) = served(state)? else {
        return Ok(Vec::new());
    };
    let cx = session.cx(ui);
    let read = async {
        let Some(live) = served.read(&cx, &NoOutput {}).await? else {
            return Ok(None);
        };
        let deployment = Deployment {
            api: live.api,
            description: String::new(),
            open_methods: BTreeSet::new(),
        };
        let output = resources::deployment::Output { id: live.deployment };
        deployment.read(&cx, &output).await
    };
    let deployed: anyhow::Result<Option<Deployment>> = read.await;
    let deployed = deployed.context("cannot read what the stage serves")?;
    let is_route = |method: &String| {
        let mut routes = stage.routes.iter();
        routes.any(|route| *method == format!("{} {}", route.verb, route.path))
    };
    let open = deployed.map(|deployed| deployed.open_methods).unwrap_or_default();
    let open = open.into_iter().filter(|method| !is_route(method));
    Ok(open
        .map(|method| Probe {
            check: Check::OpenMethod,
            route: Some(method),
            client: None,
            expected: "no such method".to_owned(),
            got: "a method that is open to everybody".to_owned(),
            likely: Some("someone deployed it: run `provision up`, which replaces the deployment"),
            ok: false,
        })
        .collect())
}

/// What is to be proved of the stage, as it is on record.
fn stage(state: &State, outputs: &Outputs) -> anyhow::Result<Stage> {
    Ok(Stage {
        api_url: outputs.called().unwrap_or_default().to_owned(),
        issuer: outputs.issuer.clone(),
        jwks_url: match &state.endpoint {
            None => hosts::jwks_url(&outputs.issuer),
            // The emulator serves every host at its one address.
            Some(endpoint) => hosts::jwks_url(&format!("{endpoint}/{}", outputs.user_pool_id)),
        },
        routes: match front::unasked(outputs) {
            Some(_) => Vec::new(),
            None => routes(state)?,
        },
        clients: clients(state)?,
    })
}

/// The routes, as they are on record.
pub(super) fn routes(state: &State) -> anyhow::Result<Vec<Route>> {
    // By the id of a path: its parent and its part. The root has neither.
    let paths: HashMap<_, _> = (state.all::<Path>()?.into_iter())
        .filter_map(|path| Some((path.output?.id, (path.desired.parent, path.desired.part))))
        .collect();
    let routes = state.all::<resources::Route>()?.into_iter();
    let routes = routes.map(|Entry { desired: route, .. }| {
        let up = std::iter::successors(paths.get(&route.path), |(parent, _)| paths.get(parent));
        // Not for ever, should a record name itself as its parent.
        let mut parts: Vec<&str> = up.map(|(_, part)| part.as_str()).take(paths.len()).collect();
        parts.reverse();
        let is_backend = backends::is_of_backend(state, &route);
        Route {
            verb: route.verb,
            path: format!("/{}", parts.join("/")),
            is_backend,
            scopes: route.scopes,
        }
    });
    Ok(routes.collect())
}

fn clients(state: &State) -> anyhow::Result<BTreeMap<String, Client>> {
    let clients = state.all::<resources::Client>()?.into_iter();
    let clients = clients.filter_map(|Entry { desired, output, .. }| {
        let client = Client {
            client_id: output?.client_id.to_string(),
            scopes: desired.scopes,
            access_token_seconds: desired.access_token_seconds.into(),
        };
        Some((desired.name, client))
    });
    Ok(clients.collect())
}

/// What a probe asked, for people.
fn asked(probe: &Probe) -> String {
    let route = probe.route.as_deref().unwrap_or("-");
    let client = probe.client.as_deref().unwrap_or("-");
    match probe.check {
        Check::Token => format!("the token of client {client}"),
        Check::NoRoute => format!("{route}, which is not a route"),
        Check::NoToken => format!("route {route} without a token"),
        Check::WrongToken => format!("route {route} with a token that nobody signed"),
        Check::ForeignToken => {
            format!("route {route} with the token of client {client}, which has no scope of it")
        }
        Check::RightToken => format!("route {route} with the token of client {client}"),
        Check::OpenMethod => format!("{route}, which the stage serves and is not a route of the stack"),
        Check::Dns => format!("the record of {route} in DNS"),
        Check::Domain => format!("the domain {route}"),
        Check::NoCertificate => format!("the domain {route} without a client certificate"),
        Check::OldTls => format!("the domain {route} with an old TLS version"),
        Check::DefaultEndpoint => format!("AWS's own host name, {route}"),
    }
}

/// Nothing is wrong, and not all was asked.
fn incomplete(proof: Proof) -> Failure {
    let mut failure = Failure::from(anyhow!(
        "not everything was proved: {} of {0} probes passed",
        proof.probes.len()
    ));
    failure.details = unproved(&proof).collect();
    proof.hints.into_iter().fold(failure, Failure::hinted)
}

fn failure(proof: Proof, foreign: &[Foreign]) -> Failure {
    let probes = &proof.probes;
    let wrong: Vec<&Probe> = probes.iter().filter(|probe| !probe.ok).collect();
    let opened: Vec<String> = (foreign.iter())
        .filter(|one| one.finding.is_some())
        .map(|one| format!("foreign: {}", one.line()))
        .collect();
    let also = match opened.len() {
        0 => String::new(),
        number => format!(", and what others have put there breaks its promises: {number} findings"),
    };
    let message = format!(
        "the live API is not as it should be: {} of {} probes failed{also}",
        wrong.len(),
        probes.len()
    );
    let mut failure = Failure::from(anyhow!(message));
    failure.details = (wrong.iter())
        .map(|probe| {
            let likely = probe.likely.map(|why| format!("; likely: {why}"));
            format!(
                "{}: expected {}, got {}{}",
                asked(probe),
                probe.expected,
                probe.got,
                likely.unwrap_or_default()
            )
        })
        .collect();
    failure.details.extend(opened);
    failure.details.extend(unproved(&proof));
    let failure = proof.hints.into_iter().fold(failure, Failure::hinted);
    failure.hinted("run `provision plan` to see what others changed, and `provision up` to change it back")
}

fn text(probes: &[Probe]) -> String {
    let row = |probe: &Probe| {
        let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
        [
            named(&probe.route),
            named(&probe.client),
            probe.got.clone(),
            if probe.ok { "ok" } else { "WRONG" }.to_owned(),
        ]
    };
    let rows: Vec<[String; 4]> = probes.iter().map(row).collect();
    table(["ROUTE", "TOKEN OF", "GOT", "RESULT"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(endpoint: Option<&str>, kinds: &[&str]) -> State {
        let record =
            |kind: &&str| json!({"step": kind, "phase": "ready", "kind": kind, "desired": {}, "needs": []});
        let records: Vec<_> = kinds.iter().map(record).collect();
        serde_json::from_value(json!({
            "format": crate::state::FORMAT, "stack": "user-api", "account": "123456789012", "region": "eu-west-1",
            "partition": "aws", "owner": "1a2b3c4d", "serial": 1, "endpoint": endpoint, "steps": records,
        }))
        .unwrap()
    }

    const LOCAL: Option<&str> = Some("http://127.0.0.1:4566");

    #[test]
    fn the_proof_of_an_up_waits_three_minutes_where_aws_may_serve_the_earlier_deployment() {
        for (endpoint, kinds, seconds) in [
            (None, &["rest-api", "stage"][..], 180),
            (None, &["rest-api"], 60),
            (LOCAL, &["rest-api", "stage"], 60),
        ] {
            assert_eq!(
                deadline(&state(endpoint, kinds)).as_secs(),
                seconds,
                "{endpoint:?} {kinds:?}"
            );
        }
    }

    #[test]
    fn verify_waits_for_as_long_as_aws_may_serve_the_earlier_deployment() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (endpoint, changed, refused, admitted) in [
            (None, None, 60, 10),
            (None, Some(0), 180, 180),
            (None, Some(30), 150, 150),
            (None, Some(150), 60, 30),
            (None, Some(175), 60, 10),
            (None, Some(100_000), 60, 10),
            // This machine's clock is behind AWS's.
            (None, Some(-100), 180, 180),
            (LOCAL, Some(0), 60, 10),
        ] {
            let changed = changed.map(|ago| 1_700_000_000 - ago);
            let patience = patience(&state(endpoint, &["stage"]), changed, now);
            assert_eq!(
                (patience.refused.as_secs(), patience.admitted.as_secs()),
                (refused, admitted),
                "{endpoint:?} {changed:?}"
            );
        }
    }
}
