//! A plan as a comment on a pull request: what is dangerous first, everything else folded.
//!
//! Must not let a name or a value be anything but text: whoever opens a pull request chooses them.

use super::super::foreign::goes_along;
use super::text::{counts, text};
use super::values::without_fingerprints;
use crate::cli::Changes;
use crate::engine::plan::{Plan, Planned};
use crate::foreign::Foreign;
use crate::report::event::Operation;
use crate::rights::{Right, Rights};
use crate::untrusted::message;

/// The most bytes: GitHub takes 65,536 characters.
const MOST: usize = 65_000;
/// The most bytes of the list of what is granted, and of any other list before the details, of which there are seven.
const GRANTED: usize = 20_000;
const LIST: usize = 5_000;

/// The comment about this plan. It begins with a line that is not shown and that names the stack, so that a later comment can
/// replace it.
pub(crate) fn markdown(
    stack: &str,
    changes: &Changes,
    plan: &Plan,
    rights: &Rights,
    foreign: &[Foreign],
) -> String {
    let mut comment = format!("<!-- provision plan: {stack} -->\n");
    if plan.is_empty() {
        let same = plan.steps.len();
        return comment + &format!("{}: nothing to do, {same} unchanged\n", code(stack));
    }
    comment.extend(["### Plan of ", &code(stack), ": ", &counts(plan), "\n"]);
    let options: Vec<String> = options(changes).iter().map(|option| code(option)).collect();
    comment.push_str(&list("Asked for", &options, LIST));
    let with = |action| plan.with(action).map(step).collect::<Vec<_>>();
    let right = |right: &Right| code(&right.line());
    let lines = |all: Vec<&Foreign>| all.into_iter().map(|one| code(&one.line())).collect();
    let findings = foreign.iter().filter(|one| one.finding.is_some()).collect();
    let refused = [with(Operation::Refused), with(Operation::NotOurs)].concat();
    for (title, items, most) in [
        ("Refused, so nothing can be done", refused, LIST),
        (
            "Rights that this plan grants",
            rights.granted.iter().map(right).collect(),
            GRANTED,
        ),
        ("Deleted", with(Operation::Delete), LIST),
        ("Replaced: deleted, then created", with(Operation::Replace), LIST),
        (
            "Deleted with them, and of others",
            lines(goes_along(plan, foreign)),
            LIST,
        ),
        ("Opened by others", lines(findings), LIST),
        (
            "Rights that this plan denies",
            rights.denied.iter().map(right).collect(),
            LIST,
        ),
    ] {
        comment.push_str(&list(title, &items, most));
    }
    let plan = without_fingerprints(plan);
    let text = text(&plan, true);
    let lines: Vec<&str> = text.lines().collect();
    comment.push_str("\n<details><summary>Every change, field by field</summary>\n\n");
    let fence = "`".repeat(3.max(longest_run(&text) + 1));
    let end = format!("{fence}\n\n</details>\n");
    comment.extend([&fence, "diff\n"]);
    let cut_off = |left: usize| format!("… {left} more lines: run provision plan to see them\n");
    let room = MOST - end.len() - cut_off(usize::MAX).len();
    for (index, line) in lines.iter().enumerate() {
        if comment.len() + line.len() >= room {
            comment.push_str(&cut_off(lines.len() - index));
            break;
        }
        comment.push_str(line);
        comment.push('\n');
    }
    comment + &end
}

/// What was typed that changes more than the configuration says.
fn options(changes: &Changes) -> Vec<String> {
    let with_value = |option: &str, values: &[String]| -> Vec<String> {
        values.iter().map(|value| format!("{option} {value}")).collect()
    };
    let flags = [
        (changes.no_repair, "--no-repair"),
        (changes.unprotect, "--unprotect"),
        (changes.allow_foreign, "--allow-foreign"),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    [
        with_value("--replace", &changes.replace),
        flags.map(|(_, flag)| flag.to_owned()).collect(),
        with_value("--yes-break", &changes.breaking.yes_break),
    ]
    .concat()
}

fn step(planned: &Planned) -> String {
    match &planned.why {
        Some(why) => format!("{}: {}", code(&planned.step), code(why)),
        None => code(&planned.step),
    }
}

/// Nothing where there are no items.
fn list(title: &str, items: &[String], most: usize) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut list = format!("\n**{title}** ({})\n\n", items.len());
    let begin = list.len();
    for (index, item) in items.iter().enumerate() {
        if list.len() - begin + item.len() > most {
            let more = items.len() - index;
            return list + &format!("- **and {more} more that are not shown here: run `provision plan`**\n");
        }
        list.extend(["- ", item, "\n"]);
    }
    list
}

/// A text that is shown as it is: in code nothing has a meaning, neither a tag nor a mention.
fn code(text: &str) -> String {
    let text = message(text);
    let fence = "`".repeat(longest_run(&text) + 1);
    // A backtick at either end would be taken for one of the fence. One space at both ends is not shown.
    let is_bare = !text.is_empty() && !text.starts_with('`') && !text.ends_with('`');
    let space = if is_bare { "" } else { " " };
    [&fence, space, &text, space, &fence].concat()
}

/// The most backticks one after another.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
