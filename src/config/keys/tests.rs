//! The table says what the reader takes, and the reference and the schema in docs/ are made of it.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use regex::Regex;

use super::*;
use crate::config::reference::reference;
use crate::config::schema::{default, schema};

/// Set it to write what is made of the table.
const WRITE: &str = "PROVISION_WRITE";

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)
}

/// Fails unless the file in docs/ is `made`, or writes it.
fn is_made(file: &str, is: &str, made: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs_err::write(docs(file), made).unwrap();
        return;
    }
    let place = is.lines().zip(made.lines()).position(|(is, made)| is != made);
    assert!(
        is == made,
        "docs/{file} is not what src/config/keys says, from line {:?} on: {WRITE}=1 cargo test --lib config::keys writes it",
        place.map(|line| line + 1)
    );
}

#[test]
fn the_reference_is_made_of_the_table() {
    let page = fs_err::read_to_string(docs("configuration.md")).unwrap();
    let (before, rest) = page
        .split_once("| key | means |")
        .expect("the page has the table");
    let (_, after) = rest.split_once("\n\n").expect("a paragraph follows");
    is_made(
        "configuration.md",
        &page,
        &format!("{before}{}\n{after}", reference()),
    );
}

#[test]
fn the_schema_in_the_docs_is_made_of_the_table() {
    let is = fs_err::read_to_string(docs("provision.schema.json")).unwrap_or_default();
    let made = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    is_made("provision.schema.json", &is, &made);
}

/// All texts that the table knows a rule for, with where they are.
fn texts(section: &'static Section, name: &str, found: &mut Vec<(String, &'static Text)>) {
    for key in section.keys {
        let name = format!("{name}.{}", key.name);
        match &key.takes {
            Takes::Text(text) | Takes::Texts(text, ..) | Takes::DifferentTexts(text, ..) => {
                found.push((name, text));
            }
            Takes::Table(section) => texts(section, &name, found),
            Takes::Tables(names, _, _, section) => {
                found.push((format!("{name} (a name)"), names));
                texts(section, &name, found);
            }
            Takes::Map(names, _, _, text) => {
                found.push((format!("{name} (a name)"), names));
                found.push((name, text));
            }
            Takes::Environment => {
                found.push((format!("{name} (a name)"), &VARIABLE));
                texts(&FROM_ENV, &name, found);
            }
            Takes::Environments(names) => {
                found.push((format!("{name} (a name)"), names));
                texts(&ENVIRONMENT, &name, found);
            }
            Takes::Flag | Takes::Integer(..) | Takes::OneOf(_) | Takes::AboveZero | Takes::Policy => {}
        }
    }
}

/// A text of the pattern, and often one that a slip has made of it.
fn near(pattern: &str) -> impl Strategy<Value = String> + use<> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$');
    let inner = inner.replace(r"\S", "[!-~]").replace(r"[\s\S]", "[ -~]");
    // Of the length of a whole name too the rules know more.
    let inner = inner.replace(")+", "){1,2}");
    // Of Unicode the rules know more than the patterns.
    let inner = match inner.split_once("[^\\x00") {
        Some((before, class)) => format!("{before}[ -~&&[^\\x00{}", class.replacen(']', "]]", 1)),
        None => inner,
    };
    let text = string_regex(&inner).expect("the pattern is simple");
    let slip = prop::option::of((any::<usize>(), prop::char::range(' ', '~'), any::<bool>()));
    (text, slip).prop_map(|(mut text, slip)| {
        if let Some((at, letter, is_added)) = slip {
            let at = at % (text.len() + 1);
            if is_added || at == text.len() {
                text.insert(at, letter);
            } else {
                text.remove(at);
            }
        }
        text
    })
}

#[test]
fn a_pattern_says_what_the_rule_of_the_reader_says() {
    let mut found = Vec::new();
    texts(&FILE, "", &mut found);
    assert!(found.len() > 40);
    let mut runner = TestRunner::new(Config::with_cases(300));
    for (name, text) in found {
        let Some(rule) = text.rule else { continue };
        let pattern = Regex::new(text.pattern).unwrap();
        let agreement = runner.run(&near(text.pattern), |text| {
            prop_assert_eq!(pattern.is_match(&text), (rule.holds)(&text));
            Ok(())
        });
        assert!(agreement.is_ok(), "{name}: {agreement:?}");
    }
}

#[test]
fn a_text_that_a_rule_takes_is_never_refused_by_its_pattern() {
    let mut found = Vec::new();
    texts(&FILE, "", &mut found);
    let patterns: Vec<_> = (found.iter())
        .filter_map(|(name, text)| Some((name, text.rule?, Regex::new(text.pattern).unwrap())))
        .collect();
    let mut runner = TestRunner::new(Config::with_cases(2_000));
    let agreement = runner.run(&r"[\PC\n\t]{0,12}", |text| {
        for (name, rule, pattern) in &patterns {
            prop_assert!(!(rule.holds)(&text) || pattern.is_match(&text), "{name}");
        }
        Ok(())
    });
    agreement.unwrap();
}

#[test]
fn a_default_is_a_value_that_the_key_takes() {
    let mut defaults = 0;
    let sections = [
        &STACK,
        &USER_POOL,
        &CLIENT,
        &FUNCTION,
        &BACKEND,
        &API,
        &API_DOMAIN,
    ];
    for key in sections.iter().flat_map(|section| section.keys) {
        let Some(value) = default(key) else { continue };
        defaults += 1;
        let is_taken = match &key.takes {
            Takes::Text(text) => Regex::new(text.pattern)
                .unwrap()
                .is_match(value.as_str().unwrap()),
            Takes::Flag => value.is_boolean(),
            Takes::Integer(least, most) => {
                (i64::from(*least)..=i64::from(*most)).contains(&value.as_i64().unwrap())
            }
            Takes::OneOf(numbers) => numbers.iter().any(|number| value == *number),
            _ => false,
        };
        assert!(is_taken, "{}: {value}", key.name);
    }
    assert!(defaults > 10);
}
