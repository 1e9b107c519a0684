//! The JSON Schema of `provision.toml`, and whether it says what the reader says.

use std::collections::BTreeSet;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use provision::config::{Chosen, Complete, Config, schema};
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

use crate::config::{FULL, SMALL, bad_files, folder};
use crate::environments::meaning;
use crate::support::Place;

/// The same values in JSON; `None` if the text is not TOML, or has a number that JSON does not have.
fn in_json(text: &str) -> Option<Value> {
    let tree = DeTable::parse(text.strip_prefix('\u{feff}').unwrap_or(text)).ok()?;
    value(&DeValue::Table(tree.into_inner()))
}

fn value(found: &DeValue<'_>) -> Option<Value> {
    Some(match found {
        DeValue::String(text) => json!(text.as_ref()),
        DeValue::Integer(number) => {
            json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => json!(
            number
                .as_str()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())?
        ),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!({ "time": time.to_string() }),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| value(item.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(table) => {
            let entry = |(key, found): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), value(found.get_ref())?))
            };
            Value::Object(table.iter().map(entry).collect::<Option<Map<_, _>>>()?)
        }
    })
}

/// The file with this content. Everything is in one inline table a line: a string of TOML may be written as in JSON.
fn in_toml(content: &Value) -> String {
    let tables = content.as_object().unwrap().iter();
    let lines: Vec<String> = tables
        .map(|(name, value)| format!("{name} = {}", inline(value)))
        .collect();
    lines.join(
        "
",
    )
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", json!(key), inline(value));
            format!(
                "{{ {} }}",
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        plain => plain.to_string(),
    }
}

/// A value of this schema, without what relates one value to another.
fn of(schema: &Value) -> BoxedStrategy<Value> {
    let whole = |name: &str| {
        schema[name]
            .as_u64()
            .map_or(0, |number| usize::try_from(number).unwrap())
    };
    if let Some(all) = schema["enum"].as_array() {
        return proptest::sample::select(all.clone()).boxed();
    }
    if let Some(all) = schema["anyOf"].as_array() {
        return proptest::strategy::Union::new(all.iter().map(of)).boxed();
    }
    match schema["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(|flag| json!(flag)).boxed(),
        Some("integer") => {
            let [least, most] = ["minimum", "maximum"].map(|name| schema[name].as_i64().unwrap());
            prop_oneof![Just(least), Just(most), least..=most]
                .prop_map(|number| json!(number))
                .boxed()
        }
        Some("number") => (1..1_000_u32)
            .prop_map(|number| json!(f64::from(number) / 8.0))
            .boxed(),
        Some("string") => texts(schema["pattern"].as_str().unwrap_or("^[a-z]{1,9}$"))
            .prop_map(|text| json!(text))
            .boxed(),
        Some("array") => {
            let least = whole("minItems");
            let list = proptest::collection::vec(of(&schema["items"]), least..least + 3);
            list.prop_map(|list| json!(list)).boxed()
        }
        Some("object") if schema["properties"].is_object() => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let entries: Vec<_> = (schema["properties"].as_object().unwrap().iter())
                .map(|(key, schema)| {
                    let key = key.clone();
                    let value = of(schema);
                    let value = if required.contains(&json!(key)) {
                        value.prop_map(Some).boxed()
                    } else {
                        proptest::option::weighted(0.4, value).boxed()
                    };
                    value.prop_map(move |value| value.map(|value| (key.clone(), value)))
                })
                .collect();
            entries
                .prop_map(|entries| Value::Object(entries.into_iter().flatten().collect()))
                .boxed()
        }
        Some("object") => {
            let names = texts(schema["propertyNames"]["pattern"].as_str().unwrap());
            let least = whole("minProperties");
            let entries =
                proptest::collection::btree_map(names, of(&schema["additionalProperties"]), least..least + 3);
            entries.prop_map(|entries| json!(entries)).boxed()
        }
        // A policy.
        _ => Just(json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})).boxed(),
    }
}

/// Short texts of this pattern.
fn texts(pattern: &str) -> BoxedStrategy<String> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$');
    let inner = inner.replace(r"\S", "[!-~]").replace(r"[\s\S]", "[ -~]");
    let inner = match inner.split_once("[^") {
        Some((before, class)) => format!("{before}[a-z 0-9{}", &class[class.find(']').unwrap()..]),
        None => inner,
    };
    let inner = [
        "{1,2048}", "{1,1024}", "{1,256}", "{0,256}", "{1,128}", "{0,127}", "{0,510}", "*", "+)",
    ]
    .iter()
    .fold(inner, |inner, long| match *long {
        "*" => inner.replace("]*", "]{0,9}").replace(")*", "){0,2}"),
        "+)" => inner.replace("]+", "]{1,9}").replace(")+", "){1,2}"),
        long => inner.replace(long, "{1,12}"),
    });
    string_regex(&inner).unwrap().boxed()
}

/// Makes the values of a file fit together, as only the reader knows that they must.
fn fitted(mut file: Value, pick: usize) -> Value {
    let object = |value: &mut Value| value.as_object_mut().map(std::mem::take).unwrap_or_default();
    file["stack"]["name"] = json!("orders");
    let stack = file["stack"].as_object_mut().unwrap();
    if stack.contains_key("state") {
        stack.insert(
            "state".to_owned(),
            json!(["states", "s3://team-state/orders"][pick % 2]),
        );
    }
    if let Some(tags) = stack.get_mut("tags") {
        let tags = tags.as_object_mut().unwrap();
        *tags = std::mem::take(tags)
            .into_iter()
            .map(|(key, value)| (format!("t{key}"), value))
            .take(1)
            .collect();
    }
    for pool in ["user_pool", "resource_servers"] {
        if file[pool].is_null() {
            file[pool] = json!({});
        }
    }
    match pick % 5 {
        0 => file["user_pool"] = json!({"id": "eu-west-1_a1B2"}),
        1 => file["user_pool"] = json!({"stack": "pool", "state": "s3://team-state/pool"}),
        _ => {
            let pool = file["user_pool"].as_object_mut().unwrap();
            pool.retain(|key, _| !["id", "stack", "state"].contains(&key.as_str()));
            if let Some(prefix) = pool.get_mut("domain_prefix") {
                *prefix = json!("a");
            }
        }
    }
    if file["resource_servers"].as_object().unwrap().is_empty() {
        file["resource_servers"]["orders"] = json!({"scopes": {"read": "Read orders"}});
    }
    let mut scopes = Vec::new();
    for (identifier, server) in file["resource_servers"].as_object().unwrap() {
        scopes.extend(
            server["scopes"]
                .as_object()
                .unwrap()
                .keys()
                .map(|scope| format!("{identifier}/{scope}")),
        );
    }
    let some = |number: usize| {
        json!(
            scopes
                .iter()
                .cycle()
                .skip(pick)
                .take(number.min(scopes.len()))
                .collect::<BTreeSet<_>>()
        )
    };
    if let Some(clients) = file["clients"].as_object_mut() {
        for client in clients.values_mut() {
            client["scopes"] = some(1 + pick % 3);
            if !client["access_token"].is_null() {
                client["access_token"] = json!(["5m", "300s", "24h", "1d"][pick % 4]);
            }
        }
    }
    let functions = object(&mut file["functions"]);
    let functions: Map<_, _> = (functions.into_iter())
        .map(|(name, function)| (name.to_lowercase(), fitted_function(function, pick)))
        .collect();
    let backends = object(&mut file["backends"]);
    let backends: Map<_, _> = (backends.into_iter())
        .enumerate()
        .map(|(number, (name, backend))| (format!("b-{name:.40}"), fitted_backend(backend, number + pick)))
        .collect();
    let answerer = match (functions.keys().next(), backends.keys().next()) {
        (Some(function), None) => json!({"function": function}),
        (Some(function), Some(_)) if pick.is_multiple_of(2) => json!({"function": function}),
        (_, Some(backend)) => json!({"backend": backend}),
        (None, None) => json!({"backend": "only"}),
    };
    file["routes"] = json!({});
    for route in [
        "GET /",
        "POST /orders",
        "GET /orders/{id}",
        "ANY /a_b-c.d:e/{all+}",
    ]
    .iter()
    .skip(pick % 4)
    {
        file["routes"][route] = answerer.clone();
        file["routes"][route]["scopes"] = some(1 + pick % 2);
    }
    file["functions"] = json!(functions);
    file["backends"] = json!(backends);
    if functions.is_empty() && backends.is_empty() {
        file["backends"]["only"] = json!({"url": "https://shop.example.com"});
    }
    if let Some(domain) = file.pointer_mut("/api/domain").and_then(Value::as_object_mut) {
        fitted_domain(domain);
    }
    if let Some(envs) = file["env"].as_object_mut() {
        for environment in envs.values_mut() {
            environment["stack"] = json!({"region": "eu-west-1"});
        }
    }
    // What was looked for and is not there.
    file.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    file
}

fn fitted_function(mut function: Value, pick: usize) -> Value {
    function["source"] = json!(["code", "admin.zip"][pick % 2]);
    function["handler"] = json!("index.handler");
    if !function["timeout"].is_null() {
        function["timeout"] = json!(["1s", "29s", "15m"][pick % 3]);
    }
    let function = function.as_object_mut().unwrap();
    function.retain(|_, value| !value.is_null());
    if function.contains_key("role") {
        function.remove("policy");
        function.remove("managed_policies");
    }
    for key in ["layers", "managed_policies"] {
        if let Some(list) = function.get_mut(key).and_then(Value::as_array_mut) {
            list.truncate(1);
        }
    }
    json!(function)
}

fn fitted_domain(domain: &mut Map<String, Value>) {
    if domain.contains_key("truststore") {
        domain.insert("minimum_tls".to_owned(), json!("1.2"));
    } else {
        domain.remove("truststore_version");
        domain.remove("ownership_certificate");
    }
    if !domain.contains_key("certificate") {
        domain.retain(|key, _| ["name", "base_path", "close_default_endpoint"].contains(&key.as_str()));
    }
}

fn fitted_backend(mut backend: Value, pick: usize) -> Value {
    let backend = backend.as_object_mut().unwrap();
    if pick.is_multiple_of(2) {
        let function = format!("arn:aws:lambda:eu-west-1:123456789012:function:f{pick}:live");
        return json!({"lambda": function});
    }
    backend.remove("lambda");
    backend.insert(
        "url".to_owned(),
        json!(["https://a.example", "http://10.0.0.1:8080/v1/"][pick / 2 % 2]),
    );
    if backend.contains_key("timeout") {
        backend.insert("timeout".to_owned(), json!(["50ms", "29s"][pick / 2 % 2]));
    }
    if let Some(header) = backend.get_mut("client_id_header") {
        *header = json!(format!(
            "Q-{}",
            header.as_str().unwrap().chars().take(60).collect::<String>()
        ));
    }
    if !backend.contains_key("vpc_link") {
        backend.remove("target");
    }
    json!(backend)
}

/// Of each document whether it is of the schema, as somebody else's validator says.
fn are_valid(documents: &[Value]) -> Vec<bool> {
    let python = std::env::var("PROVISION_READERS").expect("PROVISION_READERS: the path of a python");
    let script = "import json, sys; from jsonschema import Draft7Validator as V
schema, documents = json.load(open(sys.argv[1]))
V.check_schema(schema)
print(json.dumps([V(schema).is_valid(document) for document in documents]))";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), json!([schema(), documents]).to_string()).unwrap();
    let run = Command::new(python)
        .args(["-c", script])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

fn is_read(text: &str, folder: &tempfile::TempDir) -> Result<(), Vec<String>> {
    let config = Config::read(text, folder.path());
    config
        .map(drop)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Random files that are right in themselves.
fn random_files(number: u32) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    let files = (of(&schema()), any::<usize>()).prop_map(|(file, pick)| fitted(file, pick % 840));
    (0..number)
        .map(|_| files.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[test]
fn the_reader_takes_what_is_of_the_schema_and_its_complete_form_means_the_same() {
    let folder = folder();
    let mut keys = BTreeSet::new();
    for file in random_files(300) {
        let text = in_toml(&file);
        assert_eq!(in_json(&text).as_ref(), Some(&file), "{text}");
        let config = Config::read(&text, folder.path());
        let config = config.unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let printed = Complete::of(&text, &config, Chosen::default(), None).toml("x");
        let again = Config::read(&printed, folder.path());
        let again = again.unwrap_or_else(|problems| panic!("{problems:?}\n{printed}"));
        assert_eq!(meaning(&config), meaning(&again), "{text}\n{printed}");
        for section in file.as_object().unwrap().values().filter_map(Value::as_object) {
            keys.extend(section.keys().cloned());
        }
    }
    assert!(keys.len() > 30, "they have every key: {keys:?}");
}

/// The file with something that no schema would let pass; `None` if there is nothing to change in this way.
fn broken(file: &Value, way: usize) -> Option<Value> {
    let mut file = file.clone();
    let wrong = json!([{"a": 1}]);
    match way % 6 {
        0 => file["unknown"] = json!(1),
        1 => file["stack"]["unknown"] = json!(1),
        2 => file["user_pool"]["tier"] = json!("tier"),
        3 => file["stack"]["region"] = wrong,
        4 => file["functions"].as_object_mut()?.values_mut().next()?["memory_mb"] = json!(10_241),
        _ => file["routes"].as_object_mut()?.values_mut().next()?["scopes"] = json!([]),
    }
    Some(file)
}

#[test]
#[ignore = "needs PROVISION_READERS, a python with tests/it/support/readers.txt: .ci/run has it"]
fn reader_and_schema_say_the_same_of_good_and_bad_files() {
    let folder = folder();
    let mut good = random_files(1_000);
    for text in [FULL, SMALL, include_str!("../../provision.toml")] {
        good.push(in_json(text).unwrap());
    }
    for (file, is_valid) in good.iter().zip(are_valid(&good)) {
        assert!(is_valid, "{file:#}");
    }
    for file in &good[..1_000] {
        let text = in_toml(file);
        assert_eq!(is_read(&text, &folder), Ok(()), "{text}");
    }
    let broken: Vec<Value> = (good.iter().take(1_000).enumerate())
        .filter_map(|(way, file)| broken(file, way))
        .collect();
    assert!(broken.len() > 800);
    for (file, is_valid) in broken.iter().zip(are_valid(&broken)) {
        assert!(!is_valid && is_read(&in_toml(file), &folder).is_err(), "{file:#}");
    }

    // What is not TOML has no schema. The rest is refused, or only the reader can know it: values that must fit together, ranges of
    // durations, and what is outside the file.
    let parsed: Vec<(&str, Value)> = (bad_files().into_iter())
        .filter_map(|(name, text)| Some((name, in_json(&text)?)))
        .collect();
    let documents: Vec<Value> = parsed.iter().map(|(_, file)| file.clone()).collect();
    let verdicts = are_valid(&documents);
    let left: Vec<&str> = (parsed.iter().zip(&verdicts))
        .filter_map(|((name, _), is_valid)| is_valid.then_some(*name))
        .collect();
    let refused = verdicts.iter().filter(|is_valid| !**is_valid).count();
    insta::assert_snapshot!(
        "left_to_the_reader",
        format!("refused by the schema: {refused}\n{}", left.join("\n"))
    );
}

#[test]
fn the_schema_and_the_reference_are_printed() {
    let place = Place::new();
    assert_eq!(place.run(&["schema"]).ok().json(), schema());
    let page = include_str!("../../docs/configuration.md");
    let table = place.run(&["schema", "--format", "markdown"]).ok().stdout;
    assert!(page.contains(table.trim_end()));
}
