//! A JSON Schema of the file, made of the table of keys: editors complete, explain and check the file with it.
//!
//! Must not refuse what the reader takes. What relates one value to another is left to the reader.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, REQUIRED, Section, Takes, Text};

/// The schema of the whole file.
pub fn schema() -> Value {
    let mut schema = table(&keys::FILE, true);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("provision.toml");
    schema
}

/// A table of these keys. One that is not `whole` may lack what is required: it is in an environment.
fn table(section: &Section, whole: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": properties(section, whole),
        "additionalProperties": false,
    });
    if !section.about.is_empty() {
        schema["description"] = json!(plain(section.about));
    }
    let keys = section.keys.iter();
    let required: Vec<&str> = (keys.filter(|key| key.default == REQUIRED))
        .map(|key| key.name)
        .collect();
    if whole && !required.is_empty() {
        schema["required"] = json!(required);
    }
    if whole && !section.one_of.is_empty() {
        let one = |key: &&str| json!({"required": [key]});
        schema["oneOf"] = section.one_of.iter().map(one).collect();
    }
    schema
}

fn properties(section: &Section, whole: bool) -> Map<String, Value> {
    let property = |key: &Key| (key.name.to_owned(), property(key, whole));
    section.keys.iter().map(property).collect()
}

fn property(key: &Key, whole: bool) -> Value {
    let mut schema = takes(&key.takes, whole);
    let parts = [
        plain(key.means),
        described("Default", key.default),
        described("Allowed", key.allowed),
    ];
    let description: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if !key.means.is_empty() {
        schema["description"] = json!(description.join("\n\n"));
    }
    if let Some(default) = default(key) {
        schema["default"] = default;
    }
    schema
}

/// The value that stands for a key that is not there, if there is one.
pub(super) fn default(key: &Key) -> Option<Value> {
    let value = key.default.strip_prefix('`')?;
    let (value, _) = value.split_once('`')?;
    // What is not JSON, such as `<stack>-<owner>`, is made of other values.
    serde_json::from_str(value).ok()
}

fn described(name: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{name}: {}", plain(text))
    }
}

/// Without links: an editor does not know where they lead.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some(start) = rest.find('[') {
        let link = rest[start..].split_once("](").and_then(|(words, target)| {
            let (_, after) = target.split_once(')')?;
            (!words[1..].contains('[')).then_some((&words[1..], after))
        });
        let (words, after) = link.unwrap_or(("[", &rest[start + 1..]));
        text.push_str(&rest[..start]);
        text.push_str(words);
        rest = after;
    }
    text + rest
}

fn takes(takes: &Takes, whole: bool) -> Value {
    match takes {
        Takes::Text(text) => one_text(text),
        Takes::Flag => json!({"type": "boolean"}),
        Takes::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Takes::OneOf(numbers) => json!({"enum": numbers}),
        Takes::AboveZero => json!({"type": "number", "exclusiveMinimum": 0}),
        Takes::Texts(text, least, most) => list(text, *least, *most),
        Takes::DifferentTexts(text, least, most) => {
            let mut schema = list(text, *least, *most);
            schema["uniqueItems"] = json!(true);
            schema
        }
        Takes::Table(section) => table(section, whole),
        Takes::Tables(names, least, most, section) => {
            let mut schema = named(names, *least, *most, &table(section, whole), whole);
            schema["description"] = json!(plain(section.about));
            schema
        }
        Takes::Map(names, least, most, text) => named(names, *least, *most, &one_text(text), whole),
        Takes::Environment => named(
            &keys::VARIABLE,
            0,
            usize::MAX,
            &json!({"anyOf": [
                {"type": "string"},
                table(&keys::FROM_ENV, whole),
            ]}),
            whole,
        ),
        Takes::Policy => json!({"type": ["string", "object", "array"]}),
        Takes::Environments(names) => {
            let mut environment = table(&keys::ENVIRONMENT, false);
            let changeable = keys::FILE.changeable();
            let tables = keys::FILE.keys.iter();
            for key in tables.filter(|key| changeable.contains(&key.name)) {
                environment["properties"][key.name] = property(key, false);
            }
            let mut schema = named(names, 0, usize::MAX, &environment, false);
            schema["description"] = json!(plain(keys::ENVIRONMENT.about));
            schema
        }
    }
}

/// A text. Of a few fixed ones an editor offers each.
fn one_text(text: &Text) -> Value {
    let alternatives = text
        .pattern
        .strip_prefix("^(")
        .and_then(|rest| rest.strip_suffix(")$"));
    let alternatives = alternatives.map(|all| all.split('|').collect::<Vec<_>>());
    let is_plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match alternatives.filter(|all| all.iter().all(is_plain)) {
        Some(all) => json!({"enum": all}),
        None if text.pattern.is_empty() => json!({"type": "string"}),
        None => json!({"type": "string", "pattern": text.pattern}),
    }
}

fn list(text: &Text, least: usize, most: usize) -> Value {
    let mut schema = json!({"type": "array", "items": one_text(text)});
    limit(&mut schema, ["minItems", "maxItems"], least, most);
    schema
}

/// A table of names that the user chooses.
fn named(names: &Text, least: usize, most: usize, each: &Value, whole: bool) -> Value {
    let mut schema = json!({
        "type": "object",
        "propertyNames": {"pattern": names.pattern},
        "additionalProperties": each,
    });
    let least = if whole { least } else { 0 };
    limit(&mut schema, ["minProperties", "maxProperties"], least, most);
    schema
}

fn limit(schema: &mut Value, [at_least, at_most]: [&str; 2], least: usize, most: usize) {
    if least > 0 {
        schema[at_least] = json!(least);
    }
    if most < usize::MAX {
        schema[at_most] = json!(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_the_words_of_a_link() {
        for (markdown, text) in [
            ("a [b c](d.md#e), and [f](g)", "a b c, and f"),
            ("[env.<name>] and [x", "[env.<name>] and [x"),
            ("`[env.x]` ([y](z))", "`[env.x]` (y)"),
            ("", ""),
        ] {
            assert_eq!(plain(markdown), text);
        }
    }
}
