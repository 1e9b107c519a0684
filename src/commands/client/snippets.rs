//! Programs that get a token and call a route, ready to run.
//!
//! Must not have a secret in them: each reads it from the environment variable `CLIENT_SECRET`.

/// What the programs call, and as whom.
pub(super) struct Target<'a> {
    pub token_url: &'a str,
    pub client_id: &'a str,
    pub base_url: &'a str,
    /// A method and a path that the client may call; `None` if there is none, and the programs print the token.
    pub call: Option<(&'a str, String)>,
}

/// A program in one language.
pub(super) struct Snippet {
    /// Of the language.
    pub name: &'static str,
    /// The language, as Markdown calls it.
    pub language: &'static str,
    pub needs: &'static str,
    pub text: String,
}

/// The name of a language, what Markdown calls it, what the program needs, and the program.
const PROGRAMS: [[&str; 4]; 6] = [
    [
        "curl",
        "sh",
        "A POSIX shell and curl.",
        include_str!("snippets/curl.txt"),
    ],
    [
        "Python",
        "python",
        "Python 3.8 or newer.",
        include_str!("snippets/python.txt"),
    ],
    [
        "JavaScript",
        "js",
        "Node.js 18 or newer; save it as .mjs.",
        include_str!("snippets/javascript.txt"),
    ],
    [
        "Java",
        "java",
        "Java 11 or newer; save it as Call.java.",
        include_str!("snippets/java.txt"),
    ],
    ["Go", "go", "Go 1.16 or newer.", include_str!("snippets/go.txt")],
    [
        "Rust",
        "rust",
        "The crates reqwest, with the features blocking and json, and serde_json.",
        include_str!("snippets/rust.txt"),
    ],
];

/// A program for each language.
pub(super) fn snippets(target: &Target<'_>) -> Vec<Snippet> {
    let snippet = |[name, language, needs, text]: [&'static str; 4]| Snippet {
        name,
        language,
        needs,
        text: target.filled(text, literal(language)),
    };
    PROGRAMS.map(snippet).into()
}

/// How a language writes a text.
fn literal(language: &str) -> fn(&str) -> String {
    match language {
        "sh" => |text| format!("'{}'", text.replace('\'', r"'\''")),
        // The other languages have the escapes of JSON for what can be in a URL.
        _ => |text| serde_json::Value::from(text).to_string(),
    }
}

impl Target<'_> {
    /// The program with its values.
    fn filled(&self, program: &str, literal: fn(&str) -> String) -> String {
        let (method, path) = self.call.clone().unwrap_or_default();
        let values = [
            ("@TOKEN_URL@", literal(self.token_url)),
            ("@CLIENT_ID@", literal(self.client_id)),
            ("@BASE_URL@", literal(self.base_url)),
            ("@METHOD@", literal(method)),
            ("@PATH@", literal(&path)),
        ];
        // Lines for one of two cases.
        let (wanted, other) = if self.call.is_some() {
            ("CALL|", "ELSE|")
        } else {
            ("ELSE|", "CALL|")
        };
        let lines = program.lines().filter(|line| !line.starts_with(other));
        let lines = lines.map(|line| {
            let line = line.strip_prefix(wanted).unwrap_or(line).to_owned();
            (values.iter()).fold(line, |line, (name, value)| line.replace(name, value))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(call: Option<(&str, &str)>) -> Vec<Snippet> {
        snippets(&Target {
            token_url: "https://orders.auth.eu-west-1.amazoncognito.com/oauth2/token",
            client_id: "c1",
            base_url: "https://a1.execute-api.eu-west-1.amazonaws.com/it's \"a\\b",
            call: call.map(|(method, path)| (method, path.to_owned())),
        })
    }

    #[test]
    fn every_value_is_in_its_place() {
        for (call, last) in [(Some(("GET", "/orders/1")), "/orders/1"), (None, "token")] {
            let snippets = all(call);
            assert_eq!(snippets.len(), 6);
            for snippet in snippets {
                let text = &snippet.text;
                assert!(!text.contains('@') && !text.contains("CALL|"), "{text}");
                for word in ["CLIENT_SECRET", "c1", "amazoncognito.com/oauth2/token", last] {
                    assert!(text.contains(word), "{}: {word}", snippet.name);
                }
            }
        }
    }

    #[test]
    fn a_quote_in_a_value_does_not_end_it() {
        let snippets = all(Some(("GET", "/")));
        assert!(
            snippets[0].text.contains(r#"com/it'\''s "a\b'"#),
            "{}",
            snippets[0].text
        );
        for snippet in &snippets[1..] {
            assert!(snippet.text.contains(r#"com/it's \"a\\b""#), "{}", snippet.text);
        }
    }
}
