//! `secret`: shows a client's secret, and exchanges it without an outage.
//!
//! Must not keep a secret, and must not begin to make one before there is a place for it.

mod adopt;

use std::io::{self, IsTerminal};
use std::rc::Rc;

use anyhow::Context;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::configuration;
use super::confirm;
use super::follow_up::quoted;
use super::hand_out::{self, HandOut};
use super::invocation::Invocation;
use super::open::{self, Loaded, Recorded, Session};
use super::rotation::{Secrets, since};
use super::token::{choose, stack_outputs, unreadable};
use super::ui::Ui;
use crate::aws::Aws;
use crate::aws::client_secrets::{self, Kept, Listed};
use crate::aws::ids::{ClientId, PoolId};
use crate::aws::tags::{Tags, tags};
use crate::aws::wait::told_if_slow;
use crate::cli::{RotateAction, SecretAction, To};
use crate::error::Failure;
use crate::oauth::{self, Patience, Token, TokenError, TokenRequest};
use crate::resource::{Class, Cx, class};
use crate::resources::client;
use crate::state::Store;

/// The shape of the document that `rotate status --json` prints.
const FORMAT: u32 = 1;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, action: &SecretAction, ui: &Rc<Ui>) -> Result<(), Failure> {
    match action {
        SecretAction::Show { client, yes, to } => {
            hand_out::check(to)?;
            if to.destination.is_none() && !yes {
                confirm_show(ui)?;
            }
            let client = Client::open(invocation, client.as_deref(), None, ui).await?;
            show(&client, to, ui).await
        }
        SecretAction::Rotate(RotateAction::Begin { client, again, to }) => {
            hand_out::check(to)?;
            let command = Some("secret rotate begin");
            let client = Client::open(invocation, client.as_deref(), command, ui).await?;
            let work = begin(&client, *again, to, ui);
            client.kept(ui, work).await
        }
        SecretAction::Rotate(RotateAction::Finish { client, yes }) => {
            let command = Some("secret rotate finish");
            let client = Client::open(invocation, client.as_deref(), command, ui).await?;
            client.kept(ui, finish(&client, *yes, ui)).await
        }
        SecretAction::Adopt { client, from } => {
            // Before the lock is taken: stdin may take its time.
            let given = adopt::Given::of(from)?;
            let command = Some("secret adopt");
            let client = Client::open(invocation, client.as_deref(), command, ui).await?;
            client.kept(ui, adopt::adopt(&client, given, ui)).await
        }
        SecretAction::Rotate(RotateAction::Status { client }) => {
            let client = Client::open(invocation, client.as_deref(), None, ui).await?;
            status(&client, ui).await
        }
    }
}

/// A client of a stack that is up, and the way to it.
struct Client {
    session: Session,
    name: String,
    id: ClientId,
    pool: PoolId,
    token_url: String,
    /// The name as a word of a command.
    named: String,
    /// The tags of the stack.
    tags: Tags,
    /// The right to change its secrets; `None` for a command that changes none.
    store: Option<Box<dyn Store>>,
}

impl Client {
    /// `changes` is the command that is about to change something.
    async fn open(
        invocation: &Invocation,
        client: Option<&str>,
        changes: Option<&str>,
        ui: &Rc<Ui>,
    ) -> Result<Self, Failure> {
        let stack = configuration::stack_name(invocation)?;
        let mut loaded = Loaded::load(invocation, &stack, ui).await?;
        let mut store = None;
        if let Some(command) = changes {
            let (locked, right) = loaded.lock(command, ui).await?;
            loaded = locked.ok_or_else(|| open::no_state(&stack))?;
            store = Some(right);
        }
        let outputs = stack_outputs(&loaded.state)?;
        let name = choose(&outputs, client)?;
        let Recorded { session, state } = loaded.open(ui).await?;
        Ok(Self {
            session,
            tags: tags(&state.stack, &state.owner),
            id: outputs.clients[&name].client_id.clone(),
            pool: outputs.user_pool_id,
            token_url: outputs.secrets_url,
            named: quoted(name.as_ref()),
            name,
            store,
        })
    }

    fn cx(&self, ui: &Rc<Ui>) -> Cx<Aws> {
        self.session.cx(ui)
    }

    async fn secrets(&self, cx: &Cx<Aws>) -> Result<Secrets, Failure> {
        let listed = client_secrets::list(cx, &self.pool, &self.id)
            .await
            .with_context(|| format!("cannot list the secrets of client {}", self.name));
        Ok(Secrets::of(listed?))
    }

    /// The ARN of the secret of Secrets Manager that Cognito publishes this client's in, and rotates it in.
    async fn published(&self, cx: &Cx<Aws>) -> Result<Option<String>, Failure> {
        let kept = client_secrets::kept(cx, &self.pool, &self.id).await;
        let kept = kept.with_context(|| format!("cannot look at client {}", self.name));
        match kept? {
            Some(Kept::Published(arn)) => Ok(Some(arn)),
            Some(Kept::Told(_) | Kept::Untold) | None => Ok(None),
        }
    }

    /// Fails where Cognito rotates this client's secret itself: it would delete one of two at a time of its own.
    async fn check_unpublished(&self, cx: &Cx<Aws>) -> Result<(), Failure> {
        let Some(arn) = self.published(cx).await? else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "Cognito keeps the secret of client {} in secret {arn} of Secrets Manager and rotates it there itself; nothing \
             was changed",
            self.name
        ))
        .hinted(format!("to rotate it now: aws secretsmanager rotate-secret --secret-id {arn}")))
    }

    /// One request for a token with this secret.
    async fn ask(&self, http: &reqwest::Client, secret: &SecretString) -> Result<Token, TokenError> {
        let request = TokenRequest {
            token_url: &self.token_url,
            client_id: self.id.as_str(),
            client_secret: secret,
            scopes: &[],
        };
        oauth::token(http, &request).await
    }

    /// Waits until the token endpoint accepts a secret that was just added.
    async fn accepted(&self, secret: &SecretString, ui: &Rc<Ui>) -> anyhow::Result<()> {
        let http = oauth::http_client(&self.token_url)?;
        let say = |line: &str| ui.progress(&format!("waiting for the new secret: {line}"));
        let asked = oauth::until_ready(Patience::NEW_SECRET, &say, async || self.ask(&http, secret).await);
        told_if_slow(asked, || ui.progress("waiting for the token endpoint")).await?;
        Ok(())
    }

    /// Before each change: two runs at once could delete the secret that is in use.
    async fn check_lock(&self) -> Result<(), Failure> {
        match &self.store {
            Some(store) => store.check().await.map_err(open::state_failure),
            None => Ok(()),
        }
    }

    /// Does `work` while nobody else changes the stack.
    async fn kept(&self, ui: &Ui, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        match &self.store {
            Some(store) => open::kept(&**store, ui, work).await,
            None => work.await,
        }
    }

    async fn delete(&self, cx: &Cx<Aws>, secret: &Listed) -> Result<(), Failure> {
        self.check_lock().await?;
        let deleted = client_secrets::delete(cx, &self.pool, &self.id, &secret.id).await;
        Ok(deleted.with_context(|| format!("cannot delete secret {} of client {}", secret.id, self.name))?)
    }

    fn whose(&self) -> hand_out::Of<'_> {
        hand_out::Of {
            session: &self.session,
            tags: &self.tags,
            client: &self.name,
        }
    }

    fn document(&self, secret: Option<&str>) -> Value {
        json!({"client": self.name, "client_id": self.id, "secret_id": secret})
    }

    /// There are no secrets, or two of which neither is known to be the older: nothing is guessed.
    fn unclear(&self, secrets: &[Listed]) -> Failure {
        if secrets.is_empty() {
            return Failure::usage(format!("Cognito lists no secret of client {}", self.name))
                .hinted("`provision status` shows whether the client still exists");
        }
        let ids: Vec<&str> = secrets.iter().map(|secret| secret.id.as_str()).collect();
        Failure::usage(format!(
            "client {} has the secrets {}, but it is not known which one is older; nothing was changed",
            self.name,
            ids.join(" and ")
        ))
        .hinted(format!(
            "delete the one that must not stay: aws cognito-idp delete-user-pool-client-secret \
             --user-pool-id {} --client-id {} --client-secret-id ID",
            self.pool, self.id
        ))
    }
}

fn confirm_show(ui: &Ui) -> Result<(), Failure> {
    let (nothing, otherwise) = (
        "nothing was shown",
        "pass --yes to print the secret, or --to file:PATH",
    );
    if !io::stdout().is_terminal() {
        return Err(confirm::unasked(nothing, otherwise));
    }
    confirm::confirm(ui, "Show the secret on this terminal?", nothing, otherwise)
}

/// What to do without a secret that works.
const DEAD: &str = "after a rotation Cognito may not show the valid secret: use the one that `secret rotate begin` handed out; \
                    if it is lost, `secret rotate begin` creates another";

async fn show(client: &Client, to: &To, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = client.cx(ui);
    let secrets = client.secrets(&cx).await?;
    let secret = match &secrets {
        Secrets::One(secret) => Some(secret.id.as_str()),
        Secrets::Two { .. } | Secrets::Unclear(_) => {
            ui.warn(&format!(
                "client {} has more than one secret; it is not known which of them Cognito shows",
                client.name
            ));
            None
        }
    };
    let out = HandOut::open(to, &client.whose(), ui).await?;
    let value = client::secret(&cx, &client.pool, &client.id)
        .await
        .map_err(|error| {
            if error.is::<client::Untold>() {
                let what = format!("cannot read the secret of client {}", client.name);
                return Failure::from(error.context(what)).hinted(DEAD);
            }
            unreadable(error, &client.name, None)
        })?;
    let http = oauth::http_client(&client.token_url)?;
    if let Err(error) = client.ask(&http, &value).await
        && error.is_invalid_client()
    {
        let what = format!(
            "Cognito shows a secret of client {} that gets no token; nothing was shown",
            client.name
        );
        return Err(Failure::from(anyhow::Error::new(error).context(what))
            .hinted(
                "a client or a secret that was created a moment ago gets one within 3 minutes: try again then",
            )
            .hinted(DEAD));
    }
    out.hand(ui, &value, client.document(secret)).await
}

/// What the proof costs that a secret works.
const BILLED: &str = " (proved with one token, which Cognito bills)";

async fn begin(client: &Client, again: bool, to: &To, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = client.cx(ui);
    let secrets = client.secrets(&cx).await?;
    client.check_unpublished(&cx).await?;
    let lost = match secrets {
        Secrets::One(_) => None,
        Secrets::Two { new, .. } if again => Some(new),
        Secrets::Two { new, .. } => {
            return Err(Failure::usage(format!(
                "a rotation of client {} is under way since {}; nothing was created",
                client.name,
                since(&new)
            ))
            .hinted(format!(
                "once the new secret is in use: `provision secret rotate finish {}`",
                client.named
            ))
            .hinted("if it never arrived, the same command with --again replaces it"));
        }
        Secrets::Unclear(secrets) => return Err(client.unclear(&secrets)),
    };
    // Nothing is deleted or made before there is a place for what is made.
    let out = HandOut::open(to, &client.whose(), ui).await?;
    if let Some(lost) = lost {
        client.delete(&cx, &lost).await?;
        ui.progress(&format!("deleted secret {} of {}", lost.id, since(&lost)));
    }
    client.check_lock().await?;
    let added = client_secrets::add(&cx, &client.pool, &client.id)
        .await
        .with_context(|| format!("cannot create a second secret for client {}", client.name))
        .map_err(|error| match class(&error) {
            // Without an answer, or without a secret in it.
            Some(Class::Ambiguous) | None => Failure::from(error)
                .hinted(format!(
                    "there may be a second secret that nobody knows: `provision secret rotate status {}`",
                    client.named
                ))
                .hinted(
                    "if there is, the same command with --again replaces it; the older one keeps working",
                ),
            Some(_) => error.into(),
        })?;
    out.hand(ui, &added.value, client.document(Some(&added.id)))
        .await
        .map_err(|mut failure| {
            let what = format!(
                "secret {} of client {} was created but not handed out",
                added.id, client.name
            );
            failure.error = failure.error.map(|error| error.context(what));
            failure.hinted("the same command with --again replaces it; the older one keeps working")
        })?;
    client.accepted(&added.value, ui).await.map_err(|error| {
        let what = format!(
            "secret {} of client {} was created and handed out, but the token endpoint has not accepted it yet",
            added.id, client.name
        );
        Failure::from(error.context(what))
            .hinted("the older secret keeps working; once the new one gets a token, use it and run `finish`")
            .hinted(format!(
                "to try it, run `provision token {}` with --secret-from file:PATH",
                client.named
            ))
            .hinted("if it never gets one, the same command with --again replaces it")
    })?;
    ui.progress(&format!(
        "client {} has two secrets, and both work{BILLED}",
        client.name
    ));
    ui.progress(&format!(
        "once the new one is in use: `provision secret rotate finish {}`",
        client.named
    ));
    Ok(())
}

async fn finish(client: &Client, yes: bool, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = client.cx(ui);
    let secrets = client.secrets(&cx).await?;
    client.check_unpublished(&cx).await?;
    let (deleted, stays) = match secrets {
        Secrets::One(secret) => {
            ui.progress(&format!(
                "client {} has one secret, created {}: no rotation is under way, nothing to do",
                client.name,
                since(&secret)
            ));
            (None, secret)
        }
        Secrets::Two { old, new } => {
            confirm_finish(client, &old, &new, yes, ui)?;
            client.delete(&cx, &old).await?;
            ui.progress(&format!("deleted secret {} of {}", old.id, since(&old)));
            (Some(old.id), new)
        }
        Secrets::Unclear(secrets) => return Err(client.unclear(&secrets)),
    };
    if ui.is_json() {
        let mut document = client.document(Some(&stays.id));
        document["deleted"] = json!(deleted);
        ui.data(&serde_json::to_string_pretty(&document)?);
    }
    Ok(())
}

fn confirm_finish(client: &Client, old: &Listed, new: &Listed, yes: bool, ui: &Ui) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let question = format!(
        "Delete the secret of client {} created {}? Programs that do not use the one created {} get no more tokens.",
        client.name,
        since(old),
        since(new)
    );
    confirm::confirm(
        ui,
        &question,
        "nothing was deleted",
        "pass --yes to delete without a question",
    )
}

async fn status(client: &Client, ui: &Rc<Ui>) -> Result<(), Failure> {
    let cx = client.cx(ui);
    let secrets = client.secrets(&cx).await?;
    let published = client.published(&cx).await?;
    let which: &[&str] = match &secrets {
        Secrets::One(_) => &["only"],
        Secrets::Two { .. } => &["old", "new"],
        Secrets::Unclear(_) => &[],
    };
    let which = which.iter().copied().chain(std::iter::repeat("unclear"));
    let rows: Vec<(&Listed, &str)> = secrets.all().into_iter().zip(which).collect();
    if ui.is_json() {
        let rows: Vec<Value> = (rows.iter())
            .map(|(secret, which)| {
                let created = secret.created.map(|created| created.to_string());
                json!({"secret_id": secret.id, "created": created, "which": which})
            })
            .collect();
        let document = json!({
            "format": FORMAT, "client": client.name, "client_id": client.id, "rotation": secrets.rotation(),
            "secrets": rows,
        });
        ui.data(&serde_json::to_string_pretty(&document)?);
    } else {
        for (secret, which) in &rows {
            ui.data(&format!("{which:<7}  {:<20}  {}", since(secret), secret.id));
        }
    }
    if let Some(arn) = published {
        ui.warn(&format!(
            "Cognito keeps the secret of client {} in secret {arn} of Secrets Manager and rotates it there itself",
            client.name
        ));
        return Ok(());
    }
    match &secrets {
        Secrets::One(_) => ui.progress(&format!(
            "no rotation is under way; to begin one: `provision secret rotate begin {}`",
            client.named
        )),
        Secrets::Two { new, .. } => {
            ui.progress(&format!(
                "a rotation is under way since {}; both secrets work",
                since(new)
            ));
            ui.progress(&format!(
                "once the new one is in use: `provision secret rotate finish {}`",
                client.named
            ));
            ui.progress(&format!(
                "if it never arrived: `provision secret rotate begin {} --again`",
                client.named
            ));
        }
        Secrets::Unclear(secrets) if secrets.is_empty() => {
            ui.warn(&format!("Cognito lists no secret of client {}", client.name));
        }
        Secrets::Unclear(_) => {
            ui.warn("it is not known which of them is older, so begin and finish refuse");
        }
    }
    Ok(())
}
