//! `client sheet`: what another team is sent to call the API as a client.
//!
//! Must not ask AWS, nor have a secret.

use serde::Serialize;

use super::super::document::document;
use super::super::follow_up::quoted;
use super::super::invocation::Invocation;
use super::super::open::Loaded;
use super::super::operations::{METHODS, methods, open_to, variable};
use super::super::outputs::for_others;
use super::super::recorded::ByKind;
use super::super::secret_source::Sources;
use super::super::token::choose;
use super::super::ui::Ui;
use super::super::verify::routes;
use super::blocks::{Block, code, codes, html, markdown, words};
use super::snippets::{Target, snippets};
use crate::aws::ids::ClientId;
use crate::cli::{SecretSource, SheetFormat};
use crate::config::parts;
use crate::error::Failure;
use crate::resources::{Client, RestApi};
use crate::secret_place::SecretPlace;
use crate::state::State;
use crate::verify::Route;

/// Runs it.
pub(super) async fn run(
    invocation: &Invocation,
    client: Option<&str>,
    format: Option<SheetFormat>,
    ui: &Ui,
) -> Result<(), Failure> {
    if ui.is_json() && format.is_some() {
        return Err(Failure::usage("--json cannot be used with --format"));
    }
    let (stack, sources) = Sources::read(invocation)?;
    let Loaded { state, .. } = Loaded::load(invocation, &stack, ui).await?;
    let outputs = for_others(&state, ui)?;
    let name = choose(&outputs, client)?;
    let client_id = outputs.clients[&name].client_id.clone();
    let sheet = Sheet::recorded(&state, name, client_id, (outputs.token_url, outputs.api_url))?;
    if ui.is_json() {
        ui.data(&document(&state, &sheet)?);
        return Ok(());
    }
    let place = Place {
        secret: match sources.of(&sheet.client) {
            Some(SecretSource::Place(place)) => Some(place),
            _ => None,
        },
        account: &state.account,
        region: &state.region,
        stack: &state.stack,
    };
    let blocks = sheet.blocks(&place, &routes(&state)?);
    ui.data(&match format {
        Some(SheetFormat::Html) => html(&blocks),
        Some(SheetFormat::Markdown) | None => markdown(&blocks),
    });
    Ok(())
}

/// What the other team is told of the client.
#[derive(Debug, Serialize)]
struct Sheet {
    api: String,
    client: String,
    client_id: ClientId,
    token_url: String,
    /// `None`: the stack has no API, and the scopes are of others'.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_url: Option<String>,
    scopes: Vec<String>,
    access_token_seconds: i32,
    /// Those that accept a token of the client.
    routes: Vec<Open>,
}

/// A route that the client may call.
#[derive(Debug, Serialize)]
struct Open {
    /// Such as `GET`, or `ANY`.
    method: String,
    path: String,
    /// The scopes of the client that the route accepts; any one of them is enough.
    scopes: Vec<String>,
}

/// Where the client's secret is, and who knows more.
struct Place<'a> {
    /// `None`: the sheet's reader is told it in another way.
    secret: Option<&'a SecretPlace>,
    account: &'a str,
    region: &'a str,
    stack: &'a str,
}

impl Sheet {
    fn recorded(
        state: &State,
        client: String,
        client_id: ClientId,
        (token_url, api_url): (String, Option<String>),
    ) -> anyhow::Result<Self> {
        let api = state.one::<RestApi>()?.map(|api| api.desired.name);
        let about = state.all::<Client>()?.into_iter().map(|client| client.desired);
        let mut about = about.filter(|about| about.name == client);
        let about = about.next().expect("the outputs have this client");
        let routes = routes(state)?;
        let open = open_to(&routes, &about.scopes).into_iter();
        let open = open.map(|route| Open {
            method: route.verb.clone(),
            path: route.path.clone(),
            scopes: route.scopes.intersection(&about.scopes).cloned().collect(),
        });
        Ok(Self {
            api: api.unwrap_or_else(|| state.stack.clone()),
            client,
            client_id,
            token_url,
            api_url,
            routes: open.collect(),
            access_token_seconds: about.access_token_seconds,
            scopes: about.scopes.into_iter().collect(),
        })
    }

    fn blocks(&self, place: &Place<'_>, routes: &[Route]) -> Vec<Block> {
        let mut blocks = vec![
            Block::Title(match self.api_url {
                Some(_) => vec![
                    words("How to call "),
                    code(&self.api),
                    words(" as client "),
                    code(&self.client),
                ],
                None => vec![words("How to get tokens as client "), code(&self.client)],
            }),
            self.facts(),
            Block::Heading("Routes"),
        ];
        blocks.extend(self.routes(routes));
        blocks.push(Block::Heading("The secret"));
        blocks.extend(place.blocks());
        blocks.push(Block::Heading("Tokens"));
        blocks.extend(self.tokens());
        blocks.push(Block::Heading("If it does not work"));
        blocks.push(answers());
        let target = Target {
            token_url: &self.token_url,
            client_id: self.client_id.as_str(),
            base_url: self.api_url.as_deref().unwrap_or("URL of the API"),
            call: example(routes, &self.routes),
        };
        for snippet in snippets(&target) {
            blocks.push(Block::Heading(snippet.name));
            blocks.push(Block::Paragraph(vec![words(format!("Needs: {}", snippet.needs))]));
            blocks.push(Block::Code(snippet.language, snippet.text));
        }
        blocks
    }

    fn facts(&self) -> Block {
        let row = |name: &str, value| [vec![words(name)], value];
        let mut rows = vec![
            row("Token URL", vec![code(&self.token_url)]),
            row("Client id", vec![code(self.client_id.as_str())]),
            row("Client secret", vec![words("not in this sheet, see below")]),
            row("Scopes", codes(&self.scopes)),
        ];
        rows.extend(self.api_url.iter().map(|url| row("Base URL", vec![code(url)])));
        rows.push(row(
            "Token lifetime",
            vec![words(format!("{} seconds", self.access_token_seconds))],
        ));
        Block::Table(["What", "Value"], rows)
    }

    fn routes(&self, routes: &[Route]) -> Vec<Block> {
        if self.api_url.is_none() {
            return vec![Block::Paragraph(vec![words(
                "The scopes are of the APIs of other stacks: who runs these says where they are and which routes accept which scope.",
            )])];
        }
        if self.routes.is_empty() {
            return vec![Block::Paragraph(vec![words(
                "No route of this API accepts a scope of the client.",
            )])];
        }
        let rows = self.routes.iter().map(|open| {
            let mut name = vec![code(format!("{} {}", open.method, open.path))];
            let route = routes
                .iter()
                .find(|route| route.verb == open.method && route.path == open.path);
            let answered = route.map_or_else(Vec::new, |route| methods(route, routes));
            if open.method == "ANY" && answered.len() < METHODS.len() {
                let others = METHODS.iter().filter(|method| !answered.contains(method));
                let others: Vec<&str> = others.copied().collect();
                name.push(words(format!(" (not {})", others.join(", "))));
            }
            [name, codes(&open.scopes)]
        });
        let rows = rows.collect();
        vec![
            Block::Paragraph(vec![
                words(
                    "A path is below the base URL. A token needs one of the scopes of a route. A variable such as ",
                ),
                code("{id}"),
                words(" takes one part of a path, and one such as "),
                code("{rest+}"),
                words(" all that follows."),
            ]),
            Block::Table(["Route", "Scopes"], rows),
        ]
    }

    fn tokens(&self) -> Vec<Block> {
        vec![
            Block::Paragraph(vec![
                words(
                    "Get a token with the client id and the secret, keep it in memory, and use it for every call until it expires: ",
                ),
                code("expires_in"),
                words(format!(
                    " of the answer says when, at present {} seconds after it was issued. Get the next one a minute before that. Do not get a \
                     token for every call: Cognito bills each token request (about 2.25 USD per thousand in November 2026), and limits how \
                     many it answers in a second.",
                    self.access_token_seconds
                )),
            ]),
            Block::Paragraph(vec![
                words("Send the token with every call in the header "),
                code("Authorization: Bearer TOKEN"),
                words(". If the request for a token names no scope, the token has all scopes of the client."),
            ]),
        ]
    }
}

/// In which place of which service of AWS the secret is, and the command that reads it.
fn kept(
    (kind, name): (&str, &str),
    (service, account, region): (&str, &str, &str),
    command: String,
) -> Vec<Block> {
    vec![
        Block::Paragraph(vec![
            words(format!("It is in the {kind} ")),
            code(name),
            words(format!(" of AWS {service}, account ")),
            code(account),
            words(", region "),
            code(region),
            words(". Whoever may read it gets it with:"),
        ]),
        Block::Code("sh", command),
    ]
}

impl Place<'_> {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks = match self.secret {
            Some(SecretPlace::SecretsManager(secret)) => {
                // The parts of an ARN.
                let part = |place: usize| secret.split(':').nth(place);
                let (region, account) = (part(3).unwrap_or(self.region), part(4).unwrap_or(self.account));
                let command = format!(
                    "aws secretsmanager get-secret-value --secret-id {} --region {region} --query SecretString --output text",
                    quoted(secret.as_ref())
                );
                kept(("secret", secret), ("Secrets Manager", account, region), command)
            }
            Some(SecretPlace::Parameter(parameter)) => {
                let region = self.region;
                let command = format!(
                    "aws ssm get-parameter --name {} --with-decryption --region {region} --query Parameter.Value --output text",
                    quoted(parameter.as_ref())
                );
                kept(
                    ("parameter", parameter),
                    ("Systems Manager", self.account, region),
                    command,
                )
            }
            None => vec![Block::Paragraph(vec![
                words("You get it separately from the team that runs the stack "),
                code(self.stack),
                words("."),
            ])],
        };
        blocks.push(Block::Paragraph(vec![
            words("Keep it where your programs keep secrets, never in code or in a repository. The programs below read it from the environment variable "),
            code("CLIENT_SECRET"),
            words(". When it is replaced, the old and the new one work side by side until your programs use the new one."),
        ]));
        blocks
    }
}

/// What an answer means, for whom it surprises.
fn answers() -> Block {
    let row = |from, answer: &str, meaning: &str| [vec![words(from), code(answer)], vec![words(meaning)]];
    Block::Table(
        ["Answer", "Meaning"],
        vec![
            row(
                "token URL: ",
                "invalid_client",
                "The client id or the secret is wrong. A new secret may take three minutes until it works.",
            ),
            row(
                "API: ",
                "401",
                "The token is missing, has expired, or has no scope of the route.",
            ),
            row(
                "API: ",
                "403 Missing Authentication Token",
                "There is no such route: check the method and the path.",
            ),
            row("API: ", "429", "Too many requests: wait, then try again."),
        ],
    )
}

/// The call that the programs make: a GET if there is one, and without a variable if there is one. What stands for a variable is
/// made up.
fn example<'a>(routes: &'a [Route], open: &[Open]) -> Option<(&'a str, String)> {
    let is_open = |route: &&Route| {
        open.iter()
            .any(|open| open.method == route.verb && open.path == route.path)
    };
    let mut calls: Vec<(&str, &str)> = (routes.iter())
        .filter(is_open)
        .flat_map(|route| {
            let methods = methods(route, routes).into_iter();
            methods.map(|method| (method, route.path.as_str()))
        })
        .collect();
    // Not every program expects an answer without a body.
    calls.retain(|(method, _)| *method != "HEAD");
    calls.sort_by_key(|(method, path)| (*method != "GET", path.contains('{')));
    let (method, path) = calls.into_iter().next()?;
    let parts = parts(path).map(|part| if variable(part).is_some() { "1" } else { part });
    Some((method, format!("/{}", parts.collect::<Vec<_>>().join("/"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(names: &[(&str, &str)]) -> Vec<Route> {
        let route = |(name, scope): &(&str, &str)| {
            let (verb, path) = name.split_once(' ').unwrap();
            Route {
                verb: verb.to_owned(),
                path: path.to_owned(),
                scopes: [(*scope).to_owned()].into(),
                is_backend: false,
            }
        };
        names.iter().map(route).collect()
    }

    fn sheet(routes: &[Route], scope: &str) -> Sheet {
        let open = open_to(routes, &[scope.to_owned()].into()).into_iter();
        let open = open.map(|route| Open {
            method: route.verb.clone(),
            path: route.path.clone(),
            scopes: route.scopes.iter().cloned().collect(),
        });
        Sheet {
            api: "Orders <API>".to_owned(),
            client: "the app".to_owned(),
            client_id: "c1".into(),
            token_url: "https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token".to_owned(),
            api_url: Some("https://a1.execute-api.eu-west-1.amazonaws.com/prod".to_owned()),
            scopes: vec![scope.to_owned()],
            access_token_seconds: 3600,
            routes: open.collect(),
        }
    }

    fn text(secret: Option<&SecretPlace>) -> String {
        let routes = routes(&[
            ("ANY /orders", "orders/all"),
            ("GET /orders", "orders/read"),
            ("DELETE /orders/{id}", "orders/all"),
        ]);
        let place = Place {
            secret,
            account: "123456789012",
            region: "eu-west-1",
            stack: "orders",
        };
        let blocks = sheet(&routes, "orders/all").blocks(&place, &routes);
        markdown(&blocks)
    }

    #[test]
    fn the_sheet_has_all_that_a_team_needs() {
        insta::assert_snapshot!(text(None));
    }

    #[test]
    fn where_the_secret_is_is_told_and_not_the_secret() {
        let arn = "arn:aws:secretsmanager:us-east-1:444455556666:secret:orders/app-AbCdEf";
        let get = "aws secretsmanager get-secret-value";
        let own = "account `123456789012`, region `eu-west-1`";
        for (place, told, command) in [
            (
                "secretsmanager:orders/app",
                own,
                format!("{get} --secret-id orders/app --region eu-west-1 --query SecretString --output text"),
            ),
            (
                &format!("secretsmanager:{arn}"),
                "account `444455556666`, region `us-east-1`",
                format!("{get} --secret-id {arn} --region us-east-1 --query SecretString --output text"),
            ),
            (
                "ssm:/orders/app",
                own,
                "aws ssm get-parameter --name /orders/app --with-decryption --region eu-west-1 --query Parameter.Value \
                 --output text"
                    .to_owned(),
            ),
        ] {
            let text = text(Some(&place.parse().unwrap()));
            assert!(text.contains(&command) && text.contains(told), "{text}");
            assert!(!text.contains("separately"), "{text}");
        }
    }

    #[test]
    fn the_programs_call_what_the_client_may_call() {
        let call = |names: &[(&str, &str)]| {
            let routes = routes(names);
            let open = sheet(&routes, "o/a").routes;
            example(&routes, &open).map(|(method, path)| format!("{method} {path}"))
        };
        for (names, expected) in [
            (&[("POST /a", "o/a"), ("GET /b", "o/a")][..], Some("GET /b")),
            (&[("GET /a/{id}/c", "o/a"), ("GET /b", "o/a")], Some("GET /b")),
            (&[("ANY /a/{rest+}", "o/a")], Some("GET /a/1")),
            (&[("ANY /a", "o/a"), ("GET /a", "o/b")], Some("PUT /a")),
            (&[("POST /", "o/a")], Some("POST /")),
            (&[("GET /a", "o/b")], None),
            (&[("HEAD /a", "o/a")], None),
        ] {
            assert_eq!(call(names).as_deref(), expected, "{names:?}");
        }
    }
}
