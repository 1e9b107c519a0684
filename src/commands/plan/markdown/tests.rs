use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::sample::{field, no_changes, planned, sample};
use super::*;
use crate::foreign::Kind;
use crate::rights::What;

fn rights(policy: &str) -> Rights {
    let right = |policy: &str| Right {
        step: "role-attachment:orders".to_owned(),
        what: What::Policy {
            policy: policy.to_owned(),
        },
    };
    Rights {
        granted: vec![right(policy)],
        denied: vec![right("old")],
    }
}

fn foreign(name: &str) -> Foreign {
    Foreign {
        step: "pool-domain".to_owned(),
        kind: Kind::Client,
        id: "1".to_owned(),
        name: name.to_owned(),
        finding: None,
        paths: Vec::new(),
    }
}

#[test]
fn what_is_dangerous_comes_first_and_all_of_it_is_folded() {
    let comment = markdown(
        "orders",
        &no_changes(),
        &sample(),
        &rights("wide"),
        &[foreign("theirs")],
    );
    insta::assert_snapshot!(comment, @r"
    <!-- provision plan: orders -->
    ### Plan of `orders`: 1 to create, 2 to update, 1 to replace, 1 to delete

    **Rights that this plan grants** (1)

    - `role-attachment:orders: all that policy wide allows`

    **Deleted** (1)

    - `route:GET /old`

    **Replaced: deleted, then created** (1)

    - `pool-domain`: `AWS cannot change prefix in place`

    **Deleted with them, and of others** (1)

    - `client theirs in pool-domain`

    **Rights that this plan denies** (1)

    - `role-attachment:orders: all that policy old allows`

    <details><summary>Every change, field by field</summary>

    ```diff
    ~ update  function:orders
          environment.A: sha256:a → sha256:x
          environment.B: sha256:b → none
          environment.D: none → sha256:d
          memory_mb: 512 → 128  (changed by somebody else)
    ± replace pool-domain  (AWS cannot change prefix in place)
          prefix: a → b\u{1b}[2J
    + create  client:billing
          name: billing
          pool: known after user-pool
          scopes: [orders/read, orders/write]
    ~ update  stage
          deployment: d1 → known after deployment and 1 more
    - delete  route:GET /old
    = 1 unchanged
    plan: 1 to create, 2 to update, 1 to replace, 1 to delete
    ```

    </details>
    ");
}

#[test]
fn what_was_asked_for_is_shown() {
    let mut changes = no_changes();
    changes.replace = vec!["user-pool".to_owned(), "a`b".to_owned()];
    (changes.no_repair, changes.unprotect, changes.allow_foreign) = (true, true, true);
    changes.breaking.yes_break = vec!["all".to_owned()];
    let comment = markdown("orders", &changes, &sample(), &Rights::default(), &[]);
    let asked = "**Asked for** (6)\n\n- `--replace user-pool`\n- ``--replace a`b``\n- `--no-repair`\n- `--unprotect`\n- `--allow-foreign`\n- `--yes-break all`\n";
    assert!(comment.contains(asked), "{comment}");
}

#[test]
fn nothing_to_do_is_one_line() {
    let plan = Plan {
        steps: vec![planned("stage", Operation::Unchanged, None, Vec::new())],
    };
    assert_eq!(
        markdown(
            "orders",
            &no_changes(),
            &plan,
            &Rights::default(),
            &[foreign("theirs")]
        ),
        "<!-- provision plan: orders -->\n`orders`: nothing to do, 1 unchanged\n"
    );
}

#[test]
fn the_values_of_an_environment_are_not_even_there_as_hashes() {
    let (before, after) = (json!({"A": "sha256:aaaa"}), json!({"A": "sha256:bbbb"}));
    let mut function = planned(
        "function:orders",
        Operation::Update,
        None,
        vec![field("environment", before, after)],
    );
    function.kind = "function".to_owned();
    let plan = Plan {
        steps: vec![function],
    };
    let comment = markdown("orders", &no_changes(), &plan, &Rights::default(), &[]);
    assert!(
        comment.contains("environment.A: (old value) → (new value)"),
        "{comment}"
    );
    assert!(!comment.contains("sha256"), "{comment}");
}

/// The comment without what is in code, which nothing gives a meaning.
fn outside_code(comment: &str) -> String {
    let mut outside = String::new();
    let mut fence: Option<String> = None;
    for line in comment.lines() {
        let run: String = line.chars().take_while(|character| *character == '`').collect();
        match &fence {
            Some(begun) => {
                if line == begun {
                    fence = None;
                }
                continue;
            }
            None if run.len() >= 3 && line == format!("{run}diff") => {
                fence = Some(run);
                continue;
            }
            None => {}
        }
        // As CommonMark: a run of backticks begins code that the next run of the same length ends.
        let mut rest = line;
        while let Some(start) = rest.find('`') {
            outside.push_str(&rest[..start]);
            let length = rest[start..]
                .chars()
                .take_while(|character| *character == '`')
                .count();
            let code = &rest[start + length..];
            let mut at = 0;
            let end = loop {
                let next = code[at..].find('`').expect("every code ends") + at;
                let run = code[next..]
                    .chars()
                    .take_while(|character| *character == '`')
                    .count();
                if run == length {
                    break next + run;
                }
                at = next + run;
            };
            rest = &code[end..];
        }
        outside.push_str(rest);
        outside.push('\n');
    }
    assert_eq!(fence, None, "the fence is closed");
    outside
}

fn assert_harmless(comment: &str) {
    assert!(comment.len() <= MOST, "{}", comment.len());
    let outside = outside_code(comment);
    let ours = [
        "<!-- provision plan: orders -->",
        "<details><summary>Every change, field by field</summary>",
        "</details>",
    ];
    let mut rest = outside.clone();
    for tag in ours {
        assert_eq!(outside.matches(tag).count(), 1, "{tag}: {outside}");
        rest = rest.replace(tag, "");
    }
    assert!(outside.trim_end().ends_with("</details>"), "{outside}");
    let is_plain = |character: char| character.is_ascii_alphanumeric() || " \n*():,-#…".contains(character);
    assert!(rest.chars().all(is_plain), "{rest:?}");
}

fn of_names(name: &str, value: &Value) -> String {
    let steps = [
        Operation::Create,
        Operation::Delete,
        Operation::Replace,
        Operation::Update,
        Operation::NotOurs,
        Operation::Refused,
    ];
    let fields = || {
        vec![
            field(name, json!(name), value.clone()),
            field("map", json!({}), json!({ name: name })),
        ]
    };
    let steps = steps.map(|action| planned(name, action, Some(name), fields()));
    let mut mine = foreign(name);
    mine.step = name.to_owned();
    mine.finding = Some(name.to_owned());
    markdown(
        "orders",
        &no_changes(),
        &Plan {
            steps: steps.to_vec(),
        },
        &rights(name),
        &[mine],
    )
}

#[test]
fn a_name_is_text_whatever_is_in_it() {
    for name in [
        "`",
        "``",
        "``` ",
        "```\n</details>",
        "a`b``c",
        "<script>",
        "</details>",
        "-->",
        "@everyone",
        "|",
        "#1",
        "\n\n# title",
        "\r\n",
        "\u{2028}x",
        "[a](javascript:1)",
        "![](https://example.com/a.png)",
        "&lt;",
        "",
        " ",
        "\\`",
        "https://example.com",
        "~~~",
        "    code",
        "\u{202e}",
        "*a*",
        "$x$",
    ] {
        assert_harmless(&of_names(name, &json!(name)));
    }
}

#[test]
fn a_long_plan_is_cut_in_the_details_and_says_so() {
    let mut plan = sample();
    for number in 0..1_000 {
        let name = format!("route:GET /{number}/{}", "x".repeat(100));
        for action in [
            Operation::Create,
            Operation::Delete,
            Operation::Replace,
            Operation::Refused,
        ] {
            plan.steps
                .push(planned(&name, action, Some(&"why".repeat(300)), Vec::new()));
        }
    }
    let mut rights = rights("wide");
    for number in 0..1_000 {
        let more = self::rights(&format!("policy {number} {}", "`".repeat(400)));
        rights.granted.extend(more.granted);
        rights.denied.extend(more.denied);
    }
    let comment = markdown("orders", &no_changes(), &plan, &rights, &[]);
    assert_harmless(&comment);
    assert!(comment.len() > MOST - 3_000, "{}", comment.len());
    for said in [
        "more that are not shown here",
        "more lines: run provision plan to see them",
    ] {
        assert!(comment.contains(said), "{said}");
    }
}

proptest! {
    #[test]
    fn random_names_are_text(name in r"[`<>@|\\\n\r a&#!\[\]()*~_$-]{0,40}") {
        assert_harmless(&of_names(&name, &json!([name, name])));
    }
}
