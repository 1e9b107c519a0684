//! `status`: how every step stands.
//!
//! Must not change anything.

use serde::Serialize;

use super::backends;
use super::document::document;
use super::domains;
use super::foreign::{self, Extent};
use super::invocation::Invocation;
use super::open::Declared;
use super::outputs::{Outputs, outputs};
use super::table::table;
use super::ui::{READING, Ui};
use crate::engine::status::{Drifted, Line, StepState, status};
use crate::error::{Failure, Kind};
use crate::foreign::Foreign;
use crate::resources;

#[derive(Serialize)]
struct Content<'a> {
    outputs: Option<Outputs>,
    resources: &'a [Line],
    foreign: &'a [Foreign],
}

/// Runs it.
pub(super) async fn run(invocation: &Invocation, ui: &Ui) -> Result<(), Failure> {
    let declared = Declared::open(invocation, None, ui).await?;
    let Declared { state, session, .. } = &declared;
    let aws = session.aws_for_a_survey();
    let reading = async {
        tokio::try_join!(
            status(&aws, resources::KINDS, state),
            foreign::look(&aws, state, Extent::All)
        )
    };
    let (mut lines, foreign) = ui.show_wait(READING, reading).await?;
    domains::warn(&session.aws, ui);
    backends::tell_absent(&aws, state, &lines, ui).await?;
    // A run that stopped early has not begun these.
    for step in declared
        .stack()
        .steps()
        .iter()
        .filter(|step| state.record(&step.name).is_none())
    {
        lines.push(Line {
            step: step.name.clone(),
            kind: step.kind.name.to_owned(),
            id: None,
            state: StepState::Missing,
            drifted: Vec::new(),
            not_compared: Vec::new(),
        });
    }
    if ui.is_json() {
        let content = Content {
            outputs: outputs(state)?,
            resources: &lines,
            foreign: &foreign,
        };
        ui.data(&document(state, &content)?);
    } else {
        ui.data(&(text(&lines) + &foreign::text(&foreign)));
    }
    let mut failure = Failure::silent(Kind::Differs);
    for problem in &declared.roles.problems {
        ui.warn(problem);
        failure = failure.hinted("have the role mended by whoever made it: the function cannot run as it");
    }
    for problem in &declared.shared_pool.problems {
        ui.warn(problem);
        failure = failure.hinted("run `provision plan` to see what to do about the shared user pool");
    }
    if lines.iter().any(|line| line.state != StepState::Ok) {
        failure = failure.hinted("run `provision plan` to see what `provision up` would change back");
    }
    if foreign.iter().any(|one| one.finding.is_some()) {
        failure = failure.hinted("delete what is foreign yourself: `up` changes only what is on record");
    }
    if failure.hints.is_empty() {
        Ok(())
    } else {
        Err(failure)
    }
}

fn fields(drifted: &[Drifted]) -> String {
    let names: Vec<&str> = drifted.iter().map(|drifted| drifted.field.as_str()).collect();
    names.join(", ")
}

fn text(lines: &[Line]) -> String {
    let row = |line: &Line| {
        let state = match line.state {
            StepState::Ok => "ok".to_owned(),
            StepState::Missing => "missing".to_owned(),
            StepState::NotOurs => "not ours".to_owned(),
            StepState::Drifted => format!("drifted: {}", fields(&line.drifted)),
            StepState::Unfinished => "unfinished".to_owned(),
        };
        let state = match &line.not_compared[..] {
            [] => state,
            fields => format!("{state}  (not compared: {})", fields.join(", ")),
        };
        let id = line.id.clone().unwrap_or_else(|| "-".to_owned());
        [line.step.clone(), id, state]
    };
    let rows: Vec<[String; 3]> = lines.iter().map(row).collect();
    table(["STEP", "ID", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_names_what_drifted() {
        let line = |step: &str, id: Option<&str>, state, drifted: &[&str]| Line {
            step: step.to_owned(),
            kind: "kind".to_owned(),
            id: id.map(str::to_owned),
            state,
            drifted: (drifted.iter())
                .map(|&field| Drifted {
                    field: field.to_owned(),
                    recorded: 1.into(),
                    live: 2.into(),
                })
                .collect(),
            not_compared: Vec::new(),
        };
        let mut lines = [
            line("user-pool", Some("eu-west-1_abc"), StepState::Ok, &[]),
            line(
                "route:GET /user",
                Some("p1/GET"),
                StepState::Drifted,
                &["authorizer", "scopes"],
            ),
            line("stage", None, StepState::Missing, &[]),
            line("log-group:user", Some("/aws/lambda/user"), StepState::Ok, &[]),
        ];
        lines[3].not_compared = vec!["tags".to_owned()];
        insta::assert_snapshot!(text(&lines), @r"
        STEP             ID                STATE
        user-pool        eu-west-1_abc     ok
        route:GET /user  p1/GET            drifted: authorizer, scopes
        stage            -                 missing
        log-group:user   /aws/lambda/user  ok  (not compared: tags)
        ");
    }
}
