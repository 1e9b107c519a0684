//! `client list`: what each client may call, and how old its secrets are.
//!
//! Must not change anything.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::super::configuration;
use super::super::document::document;
use super::super::follow_up::quoted;
use super::super::invocation::Invocation;
use super::super::open::{Loaded, Recorded};
use super::super::operations::open_to;
use super::super::recorded::{ByKind, Entry};
use super::super::rotation::Secrets;
use super::super::table::table;
use super::super::ui::Ui;
use super::super::verify::routes;
use crate::aws::ids::ClientId;
use crate::aws::{Aws, client_secrets};
use crate::error::{Failure, Kind};
use crate::resource::Cx;
use crate::resources::Client;
use crate::verify::Route;

/// How many lists are asked for at the same time. Cognito answers five a second of a pool.
const AT_ONCE: usize = 5;

/// For how many clients a hint says what to do.
const HINTS: usize = 5;

/// One client. Nothing of it is secret.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// `None` until Cognito has answered.
    client_id: Option<ClientId>,
    scopes: Vec<String>,
    /// Those that accept a token of the client.
    routes: Vec<String>,
    access_token_seconds: i32,
    /// `none`, `under_way` or `unclear`.
    rotation: &'static str,
    secrets: Vec<Secret>,
}

/// One secret of a client.
#[derive(Debug, Serialize)]
struct Secret {
    #[serde(rename = "secret_id")]
    id: String,
    /// `None` if Cognito does not tell.
    created: Option<String>,
    /// `None` if Cognito does not tell when it was created.
    age_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    clients: &'a [Line],
}

/// Runs it. `limit` is the age that no secret may exceed.
pub(super) async fn run(
    invocation: &Invocation,
    limit: Option<Duration>,
    ui: &Rc<Ui>,
) -> Result<(), Failure> {
    let stack = configuration::stack_name(invocation)?;
    let loaded = Loaded::load(invocation, &stack, ui).await?;
    let Recorded { state, session } = loaded.open(ui).await?;
    let (routes, clients) = (routes(&state)?, state.all::<Client>()?);
    let (cx, now) = (session.cx(ui), Timestamp::now());
    let (all, done) = (clients.len(), Cell::new(0));
    let reading = futures_util::stream::iter(clients)
        .map(async |client| {
            let line = line(&cx, client, &routes, now).await;
            done.set(done.get() + 1);
            line
        })
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>();
    let lines = ui
        .show("listing the secrets", || Some((done.get(), all)), reading)
        .await?;
    if ui.is_json() {
        ui.data(&document(&state, &Content { clients: &lines })?);
    } else {
        ui.data(&text(&lines));
    }
    limit.map_or(Ok(()), |limit| too_old(&lines, limit))
}

async fn line(cx: &Cx<Aws>, client: Entry<Client>, routes: &[Route], now: Timestamp) -> anyhow::Result<Line> {
    let client_id = client.output.map(|output| output.client_id);
    let client = client.desired;
    let listed = match &client_id {
        Some(id) => client_secrets::list(cx, &client.pool, id)
            .await
            .with_context(|| format!("cannot list the secrets of client {}", client.name))?,
        None => Vec::new(),
    };
    let secrets = Secrets::of(listed);
    let open = open_to(routes, &client.scopes);
    Ok(Line {
        routes: open
            .iter()
            .map(|route| format!("{} {}", route.verb, route.path))
            .collect(),
        name: client.name,
        client_id,
        scopes: client.scopes.into_iter().collect(),
        access_token_seconds: client.access_token_seconds,
        rotation: secrets.rotation(),
        secrets: (secrets.all().into_iter())
            .map(|secret| Secret {
                id: secret.id.clone(),
                created: secret.created.map(|created| created.to_string()),
                age_seconds: secret.created.map(|created| age(now, created)),
            })
            .collect(),
    })
}

/// In seconds. The clocks of this machine and of AWS may differ a little.
fn age(now: Timestamp, created: Timestamp) -> u64 {
    u64::try_from(now.as_second() - created.as_second()).unwrap_or_default()
}

/// Fails if a secret is older than `limit`, or not known to be younger.
fn too_old(lines: &[Line], limit: Duration) -> Result<(), Failure> {
    let is_old = |secret: &Secret| secret.age_seconds.is_none_or(|age| age > limit.as_secs());
    let old: Vec<&Line> = (lines.iter())
        .filter(|line| line.secrets.iter().any(is_old))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = old.iter().map(|line| line.name.as_str()).collect();
    let error = anyhow!(
        "{} of {} clients have a secret that is older than {}: {}",
        old.len(),
        lines.len(),
        short(limit.as_secs()),
        names.join(", ")
    );
    let mut failure = Failure::new(Kind::Differs, error);
    for line in old.iter().take(HINTS) {
        let name = quoted(line.name.as_ref());
        failure = failure.hinted(if line.rotation == "under_way" {
            format!("once the new secret is in use: `provision secret rotate finish {name}`")
        } else {
            format!("to replace it: `provision secret rotate begin {name}`")
        });
    }
    Err(failure)
}

/// `90d`, `5h`, `30m` or `20s`: the largest unit that there is one of.
fn short(seconds: u64) -> String {
    let units = [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm')];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit);
    let (unit, letter) = unit.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// For people.
fn text(lines: &[Line]) -> String {
    let rows: Vec<[String; 7]> = lines
        .iter()
        .map(|line| {
            let ages = line
                .secrets
                .iter()
                .map(|secret| secret.age_seconds.map_or_else(|| "not known".to_owned(), short));
            let ages: Vec<String> = ages.collect();
            let or_none = |texts: &[String]| {
                if texts.is_empty() {
                    "-".to_owned()
                } else {
                    texts.join(", ")
                }
            };
            [
                line.name.clone(),
                line.client_id
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), ToString::to_string),
                short(u64::try_from(line.access_token_seconds).unwrap_or_default()),
                or_none(&ages),
                line.rotation.replace('_', " "),
                or_none(&line.scopes),
                or_none(&line.routes),
            ]
        })
        .collect();
    let titles = [
        "CLIENT",
        "CLIENT ID",
        "TOKEN",
        "SECRET AGE",
        "ROTATION",
        "SCOPES",
        "ROUTES",
    ];
    table(titles, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, ages: &[Option<u64>], rotation: &'static str) -> Line {
        let secret = |age: &Option<u64>| Secret {
            id: "s".to_owned(),
            created: None,
            age_seconds: *age,
        };
        Line {
            name: name.to_owned(),
            client_id: Some("c1".into()),
            scopes: vec!["orders/read".to_owned(), "orders/write".to_owned()],
            routes: vec!["GET /orders".to_owned()],
            access_token_seconds: 3600,
            rotation,
            secrets: ages.iter().map(secret).collect(),
        }
    }

    #[test]
    fn the_table_lines_up() {
        let mut lines = [
            line("app", &[Some(90 * 86400 + 5)], "none"),
            line("the batch", &[Some(7200), Some(59)], "under_way"),
            line("new", &[], "unclear"),
        ];
        lines[2].client_id = None;
        lines[2].routes.clear();
        insta::assert_snapshot!(text(&lines), @r"
        CLIENT     CLIENT ID  TOKEN  SECRET AGE  ROTATION   SCOPES                     ROUTES
        app        c1         1h     90d         none       orders/read, orders/write  GET /orders
        the batch  c1         1h     2h, 59s     under way  orders/read, orders/write  GET /orders
        new        -          1h     -           unclear    orders/read, orders/write  -
        ");
    }

    #[test]
    fn a_secret_that_is_too_old_or_of_unknown_age_is_told_with_what_to_do() {
        let day = Duration::from_hours(24);
        let lines = [
            line("young", &[Some(86400)], "none"),
            line("old", &[Some(86401)], "none"),
            line("the batch", &[Some(86401), Some(5)], "under_way"),
            line("unknown", &[None], "none"),
            line("new", &[], "unclear"),
        ];
        let failure = too_old(&lines, day).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 3);
        assert_eq!(
            failure.error.unwrap().to_string(),
            "3 of 5 clients have a secret that is older than 1d: old, the batch, unknown"
        );
        assert_eq!(
            failure.hints,
            [
                "to replace it: `provision secret rotate begin old`",
                "once the new secret is in use: `provision secret rotate finish 'the batch'`",
                "to replace it: `provision secret rotate begin unknown`"
            ]
        );
        too_old(&lines[..1], day).unwrap();
    }

    #[test]
    fn an_age_is_never_negative() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-28T10:00:00Z");
        assert_eq!(age(now, at("2026-11-27T10:00:00Z")), 86400);
        assert_eq!(age(now, at("2026-11-28T10:00:03Z")), 0);
        assert_eq!(
            [0, 59, 60, 3599, 3600, 86399, 86400].map(short),
            ["0s", "59s", "1m", "59m", "1h", "23h", "1d"]
        );
    }
}
