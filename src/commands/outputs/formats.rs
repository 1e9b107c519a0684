//! The outputs as the variables of a shell or of Terraform.
//!
//! Must not print.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::follow_up::quoted;
use super::Outputs;
use crate::error::Failure;
use crate::untrusted::printable;

/// One `NAME=value` on a line, quoted for a shell where the value needs it.
///
/// # Errors
/// The names of two clients are the same as the name of a variable.
pub(super) fn env(outputs: &Outputs) -> Result<String, Failure> {
    let mut of_clients = BTreeMap::new();
    for (client, about) in &outputs.clients {
        let name = variable(client);
        if let Some((other, _)) = of_clients.insert(name.clone(), (client, &about.client_id)) {
            return Err(Failure::usage(format!(
                "clients {other} and {client} would both be the variable {name}"
            ))
            .hinted("use --format json"));
        }
    }
    let texts = outputs.texts().map(|(name, value)| (name.to_uppercase(), value));
    let clients = of_clients.into_iter().map(|(name, (_, id))| (name, id.as_str()));
    let lines = texts.chain(clients);
    let lines = lines.map(|(name, value)| format!("{name}={}", quoted(value.as_ref())));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// `CLIENT_ID_THE_APP` of the client `the app`.
fn variable(client: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    };
    format!("CLIENT_ID_{}", client.chars().map(plain).collect::<String>())
}

/// The contents of a `.tfvars` file. `clients` is a map of objects.
pub(super) fn tfvars(outputs: &Outputs) -> String {
    let mut text = String::new();
    for (name, value) in outputs.texts() {
        writeln!(text, "{name} = {}", hcl(value)).expect("a string takes all that is written to it");
    }
    text += "clients = {\n";
    for (client, about) in &outputs.clients {
        writeln!(
            text,
            "  {} = {{ client_id = {} }}",
            hcl(client),
            hcl(about.client_id.as_str())
        )
        .expect("a string takes all that is written to it");
    }
    text + "}"
}

/// A string of Terraform's language, in which `${` and `%{` would begin a template.
fn hcl(text: &str) -> String {
    let mut quoted = String::from('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            '$' | '%' if rest.peek() == Some(&'{') => quoted.extend([c, c]),
            c if printable(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8() => quoted.push(c),
            c => write!(quoted, "\\U{:08x}", u32::from(c)).expect("a string takes all that is written to it"),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::ClientOutputs;
    use super::*;

    fn outputs(clients: &[&str]) -> Outputs {
        let client = |(at, name): (usize, &&str)| {
            let client_id = format!("id{at}").as_str().into();
            ((*name).to_owned(), ClientOutputs { client_id })
        };
        Outputs {
            api_url: Some("https://a1.execute-api.eu-west-1.amazonaws.com/prod".to_owned()),
            token_url: "https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token".to_owned(),
            issuer: "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc".to_owned(),
            user_pool_id: "eu-west-1_abc".into(),
            region: "eu-west-1".to_owned(),
            own_domain: None,
            secrets_url: String::new(),
            stage_url: None,
            is_local: false,
            front: None,
            dns: Vec::new(),
            clients: clients.iter().enumerate().map(client).collect(),
            to_be_run: Vec::new(),
        }
    }

    #[test]
    fn a_shell_reads_every_variable() {
        let mut outputs = outputs(&["app", "the app.2"]);
        outputs.api_url = Some("http://127.0.0.1:1/it's $HOME".to_owned());
        insta::assert_snapshot!(env(&outputs).unwrap(), @r"
        API_URL='http://127.0.0.1:1/it'\''s $HOME'
        TOKEN_URL=https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token
        ISSUER=https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc
        USER_POOL_ID=eu-west-1_abc
        REGION=eu-west-1
        CLIENT_ID_APP=id0
        CLIENT_ID_THE_APP_2=id1
        ");
    }

    #[test]
    fn two_clients_are_never_one_variable() {
        let failure = env(&outputs(&["the app", "the.app"])).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert_eq!(
            failure.error.unwrap().to_string(),
            "clients the app and the.app would both be the variable CLIENT_ID_THE_APP"
        );
    }

    #[test]
    fn terraform_gets_one_map_of_clients() {
        insta::assert_snapshot!(tfvars(&outputs(&["app", "é the\tapp"])), @r#"
        api_url = "https://a1.execute-api.eu-west-1.amazonaws.com/prod"
        token_url = "https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token"
        issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"
        user_pool_id = "eu-west-1_abc"
        region = "eu-west-1"
        clients = {
          "app" = { client_id = "id0" }
          "é the\tapp" = { client_id = "id1" }
        }
        "#);
        assert_eq!(
            hcl("a\"b\\${x}%{y}$z%\u{9b}"),
            r#""a\"b\\$${x}%%{y}$z%\U0000009b""#
        );
    }
}
