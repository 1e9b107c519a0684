//! `call`: the API, with a fresh access token.
//!
//! Must not print the token.

use std::rc::Rc;

use super::domains;
use super::invocation::Invocation;
use super::open::{Loaded, Recorded};
use super::secret_source::Sources;
use super::token::{choose, fetch, stack_outputs};
use super::ui::Ui;
use crate::api::{self, Request};
use crate::aws::wait::told_if_slow;
use crate::cli;
use crate::error::{Failure, Hint, Kind};
use crate::oauth;

/// Runs it.
pub(super) async fn run(invocation: &Invocation, args: &cli::Call, ui: &Rc<Ui>) -> Result<(), Failure> {
    let (stack, sources) = Sources::read(invocation)?;
    let loaded = Loaded::load(invocation, &stack, ui).await?;
    let outputs = stack_outputs(&loaded.state)?;
    outputs.api(&stack)?;
    let api = outputs.called().unwrap_or_default();
    let name = choose(&outputs, args.client.as_deref())?;
    let source = args.secret_from.as_ref().or_else(|| sources.of(&name));
    let body = match args.data.as_deref().map(|data| (data, data.strip_prefix('@'))) {
        None => None,
        Some((_, Some(file))) => {
            let body = fs_err::read(file).map_err(|error| Failure::new(Kind::Usage, error));
            Some(body.hint("-d @FILE sends the content of FILE")?)
        }
        Some((text, None)) => Some(text.as_bytes().to_vec()),
    };
    let Recorded { session, .. } = loaded.open(ui).await?;
    let http = oauth::http_client(api)?;
    domains::check_called(&session.cx(ui), &outputs).await?;
    let token = fetch(&session, &http, &outputs, &name, source, &args.scopes, ui).await?;
    let request = Request {
        method: args.method.clone(),
        url: &format!("{api}{}", args.path),
        token: Some(&token.access_token),
        headers: &args.headers,
        body,
    };
    let asked = api::call(&http, request);
    let mut response = told_if_slow(asked, || ui.progress("waiting for the API's answer")).await?;
    let status = format!("{} {}", response.status, response.reason);
    if args.include {
        ui.data(&status);
        for (name, value) in &response.headers {
            ui.data(&format!("{name}: {value}"));
        }
        ui.data("");
    } else {
        ui.progress(&status);
    }
    let mut beginning = Vec::new();
    let mut last = None;
    while let Some(chunk) = response.chunk().await? {
        ui.body(&chunk);
        if ui.stdout_result().is_err() {
            break;
        }
        let room = api::BEGINNING.saturating_sub(beginning.len());
        beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
        last = chunk.last().copied().or(last);
    }
    ui.end_body();
    if last != Some(b'\n') {
        ui.bytes(b"\n");
    }
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    let failure = Failure::from(anyhow::anyhow!("{} {} answered {status}", args.method, args.path));
    Err(match api::explain(response.status, &beginning) {
        Some(explanation) => failure.hinted(explanation),
        None => failure,
    })
}
