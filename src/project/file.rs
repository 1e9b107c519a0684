//! The text of a new `provision.toml`.
//!
//! Must not check what it writes: whoever writes it reads it first as the program would.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Answerer, Project};

/// The name of the configuration file.
pub(crate) const CONFIG: &str = "provision.toml";

/// The configuration of this project.
pub(crate) fn configuration(project: &Project) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a String takes everything");
    line("# What this stack consists of. Change it and run `provision up` again.");
    line("");
    line("[stack]");
    line("# Everything in AWS, and the state file, begins with this name.");
    line(&format!("name = {}", quoted(&project.stack)));
    line(&match &project.region {
        Some(region) => format!("region = {}", quoted(region)),
        None => {
            "# region = \"eu-west-1\"                 # else: AWS_REGION, or the region of the AWS profile"
                .to_owned()
        }
    });
    line("");
    if project.routes.is_empty() {
        line("# The stack's own pool, which issues the tokens. A stack without [routes] has no API.");
        line("[user_pool]");
        line("");
    }
    scopes(project, &mut line);
    for (name, scopes) in project.clients() {
        line(&format!(
            "# A program that calls the API. `provision token {name}` prints an access token for it."
        ));
        line(&format!("[clients.{name}]"));
        line(&format!("scopes = {}", list(scopes)));
        line("");
    }
    let answerer = match &project.answerer {
        Answerer::Function(name, language) => {
            line("# The code that answers.");
            line(&format!("[functions.{name}]"));
            line(&format!("source = {}", quoted(&language.source(name))));
            line(&format!("runtime = {}", quoted(language.runtime())));
            if let Some(handler) = language.handler() {
                line(&format!("handler = {}", quoted(handler)));
            }
            format!("function = \"{name}\"")
        }
        Answerer::Url(name, url) => {
            line(
                "# The service that answers. It gets the caller's client_id in this header, which no caller can forge.",
            );
            line(&format!("[backends.{name}]"));
            line(&format!("url = {}", quoted(url)));
            line("client_id_header = \"X-Client-Id\"");
            format!("backend = \"{name}\"")
        }
        Answerer::Nothing => return text.trim_end().to_owned() + "\n",
    };
    line("");
    api(project, &mut line);
    line(
        "# What answers what. A token with any one of the scopes is let in; every route needs at least one.",
    );
    line("[routes]");
    for (route, scopes) in &project.routes {
        line(&format!(
            "{} = {{ {answerer}, scopes = {} }}",
            quoted(route),
            list(scopes)
        ));
    }
    text
}

fn scopes(project: &Project, line: &mut impl FnMut(&str)) {
    let mut servers: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (full, description) in &project.scopes {
        let (identifier, scope) = full.rsplit_once('/').unwrap_or((&project.stack, full));
        servers.entry(identifier).or_default().insert(scope, description);
    }
    let first = project.scopes.keys().next().map_or("", String::as_str);
    line(&format!(
        "# The scopes that tokens can have. With its identifier the first one is called {}.",
        quoted(first)
    ));
    for (identifier, scopes) in servers {
        line(&format!("[resource_servers.{}.scopes]", key(identifier)));
        for (scope, description) in scopes {
            line(&format!("{} = {}", key(scope), quoted(description)));
        }
        line("");
    }
}

fn api(project: &Project, line: &mut impl FnMut(&str)) {
    if project.title.is_none() && project.description.is_none() {
        return;
    }
    line("[api]");
    for (key, value) in [("name", &project.title), ("description", &project.description)] {
        if let Some(value) = value {
            line(&format!("{key} = {}", quoted(value)));
        }
    }
    line("");
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let texts: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A key as TOML has it.
fn key(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !text.is_empty() && text.chars().all(is_bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // The user sees these and no control character; a bidirectional one would change how the line looks.
            c if c.is_control()
                || ('\u{200e}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c) =>
            {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a String takes everything");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
