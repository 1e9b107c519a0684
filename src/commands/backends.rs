//! The back ends that already run: whether they can be used from here, whether their functions are there, and what the
//! owner of a function of another account has to run.
//!
//! Must not change anything.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::follow_up::quoted;
use super::recorded::{self, ByKind};
use super::ui::Ui;
use crate::aws::{Aws, Identity};
use crate::config::{Answerer, Backend, Config, ExistingFunction, UrlBackend};
use crate::engine::plan::Plan;
use crate::engine::status::{Line, StepState};
use crate::error::Failure;
use crate::report::event::Operation;
use crate::resource::{Cx, Result};
use crate::resources::backend_permission::absence;
use crate::resources::{BackendPermission, Route, Stage};
use crate::stack::{self, backend_permission, backends_of_account};
use crate::state::State;
use crate::untrusted::printable;

/// Refuses a function that is not of the region of the API: whether its policy then names the API in the same way is not
/// documented. Refuses a load balancer or a web ACL of another account, which AWS does not use.
pub(super) fn check_place(config: &Config, here: &Identity) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (name, backend) in &config.backends {
        match backend {
            Backend::Lambda(function) => {
                if (&function.partition, &function.region) != (&here.partition, &here.region) {
                    problems.push(format!(
                        "back end {name}: expected a function in region {} of partition {}, where the stack is, got {}",
                        here.region,
                        here.partition,
                        function.arn()
                    ));
                }
            }
            Backend::Url(UrlBackend {
                vpc_link: Some(link), ..
            }) => {
                let place = format!(
                    "arn:{}:elasticloadbalancing:{}:{}:",
                    here.partition, here.region, here.account
                );
                if let Some(target) = (link.target.iter()).find(|target| !target.starts_with(&place)) {
                    problems.push(format!(
                        "back end {name}: expected a target in account {}, region {}, where the stack is, got {target}",
                        here.account, here.region
                    ));
                }
            }
            Backend::Url(_) => {}
        }
    }
    let place = format!("arn:{}:wafv2:{}:{}:", here.partition, here.region, here.account);
    let firewall = config.api.firewall.as_ref();
    if let Some(acl) = firewall.filter(|acl| !acl.starts_with(&place)) {
        problems.push(format!(
            "[api]: firewall: expected a web ACL of account {}, region {}, where the stack is, got {acl}",
            here.account, here.region
        ));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::all_of(problems))
    }
}

/// Warns of back ends that are in the file in vain, or that may not work as expected.
pub(super) fn warn(config: &Config, here: &Identity, ui: &Ui) {
    for warning in warnings(config, here) {
        ui.warn(&warning);
    }
}

fn warnings(config: &Config, here: &Identity) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, backend) in &config.backends {
        let is_used = config
            .routes
            .iter()
            .any(|route| matches!(&route.answerer, Answerer::Backend(backend) if backend == name));
        if !is_used {
            warnings.push(format!("back end {name}: no route names it, so it is not used"));
        }
        let Backend::Url(url) = backend else { continue };
        if url.vpc_link.as_ref().is_some_and(|link| link.target.is_some()) {
            warnings.push(format!(
                "back end {name}: the load balancer gets the path of the request with the stage before it, such as \
                 /{}/…, and not the path of `url`",
                config.api.stage
            ));
        }
        // An emulator calls from this machine.
        if url.vpc_link.is_some() || here.endpoint.is_some() {
            continue;
        }
        if url.is_private() {
            warnings.push(format!(
                "back end {name}: API Gateway does not reach {} over the internet; a back end inside a VPC needs vpc_link",
                url.host()
            ));
        } else if url.is_plain_http() {
            let token = if url.forward_authorization {
                ", with the callers' tokens"
            } else {
                ""
            };
            warnings.push(format!(
                "back end {name}: requests go to {} without encryption{token}; use https",
                url.host()
            ));
        }
    }
    warnings
}

/// Refuses a plan that lets the API invoke a function which is not there, with all such functions. Nothing else was changed
/// yet.
pub(super) async fn refuse_absent(aws: &Rc<Aws>, config: &Config, plan: &Plan) -> Result<(), Failure> {
    let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
    let mut problems = Vec::new();
    for (name, function) in backends_of_account(config, &aws.account) {
        let step = backend_permission(name);
        let is_made = [Operation::Create, Operation::Replace, Operation::Resume]
            .into_iter()
            .any(|made| plan.with(made).any(|planned| planned.step == step));
        if is_made && let Some(why) = absence(&cx, &function.name, function.qualifier.as_deref()).await? {
            problems.push(format!(
                "back end {name}: {} not found: {}",
                function.arn(),
                printable(&why)
            ));
        }
    }
    let Some(last) = problems.last_mut() else {
        return Ok(());
    };
    last.push_str("; nothing was changed");
    let failure = Failure::all_of(problems);
    Err(failure.hinted(
        "compare `lambda` in [backends] with `aws lambda list-functions` and `aws lambda list-aliases`",
    ))
}

/// Says of each permission that is not there whether its function is: if it is not, `up` cannot put the permission back.
pub(super) async fn tell_absent(
    aws: &Rc<Aws>,
    state: &State,
    lines: &[Line],
    ui: &Ui,
) -> Result<(), Failure> {
    let cx = Cx::new(aws.clone(), Rc::new(|_| ()));
    for permission in state.all::<BackendPermission>()? {
        let is_missing =
            (lines.iter()).any(|line| line.step == permission.step && line.state == StepState::Missing);
        if !is_missing {
            continue;
        }
        let function = &permission.desired;
        let qualifier = Some(function.qualifier.as_str()).filter(|qualifier| !qualifier.is_empty());
        if let Some(why) = absence(&cx, &function.function, qualifier).await? {
            ui.warn(&format!(
                "{}: the function that it is for is gone: {}: its routes answer 500 until its owner makes it again, or \
                 another back end is in the configuration",
                permission.step,
                printable(&why)
            ));
        }
    }
    Ok(())
}

/// The ARN of the function that a permission on record is for.
pub(super) fn arn(state: &State, permission: &BackendPermission) -> String {
    let qualifier = Some(permission.qualifier.clone()).filter(|qualifier| !qualifier.is_empty());
    ExistingFunction {
        partition: state.partition.clone(),
        region: state.region.clone(),
        account: state.account.clone(),
        name: permission.function.clone(),
        qualifier,
    }
    .arn()
}

/// By the step of each route whose function is of another account: the command with which that function's owner lets the API
/// invoke it.
///
/// # Errors
/// A record is of another shape.
pub(super) fn grants(state: &State) -> Result<BTreeMap<String, String>> {
    let Some(stage) = state.one::<Stage>()? else {
        return Ok(BTreeMap::new());
    };
    let stage = stage.desired.name;
    let routes = state.all::<Route>()?.into_iter();
    Ok(routes
        .filter_map(|route| {
            let function =
                function_in(&route.desired.uri).filter(|function| function.account != state.account)?;
            Some((
                route.step,
                grant(state, &function, route.desired.api.as_str(), &stage),
            ))
        })
        .collect())
}

/// Whether a back end answers the route, and not a function of the stack.
pub(super) fn is_of_backend(state: &State, route: &Route) -> bool {
    let ours = stack::unique(&state.stack, recorded::separator(state), &state.owner, "");
    let is_ours =
        |function: ExistingFunction| function.account == state.account && function.name.starts_with(&ours);
    !function_in(&route.uri).is_some_and(is_ours)
}

/// Each command of [`grants`] once.
pub(super) fn commands(grants: &BTreeMap<String, String>) -> Vec<String> {
    let mut commands: Vec<String> = grants.values().cloned().collect();
    commands.sort();
    commands.dedup();
    commands
}

/// The function that the URI of an integration names.
fn function_in(uri: &str) -> Option<ExistingFunction> {
    let (_, function) = uri.split_once("/functions/")?;
    function.strip_suffix("/invocations")?.parse().ok()
}

fn grant(state: &State, function: &ExistingFunction, api: &str, stage: &str) -> String {
    let State {
        partition,
        region,
        account,
        ..
    } = state;
    let source = format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/*");
    let statement = stack::unique(&state.stack, recorded::separator(state), &state.owner, "api");
    let unqualified = function.unqualified_arn();
    let mut words = vec!["aws", "lambda", "add-permission", "--region", &function.region];
    words.extend(["--function-name", &unqualified]);
    words.extend(
        function
            .qualifier
            .iter()
            .flat_map(|qualifier| ["--qualifier", qualifier.as_str()]),
    );
    words.extend(["--statement-id", &statement, "--action", "lambda:InvokeFunction"]);
    words.extend(["--principal", "apigateway.amazonaws.com"]);
    words.extend(["--source-arn", &source, "--source-account", account]);
    let words: Vec<String> = words.iter().map(|word| quoted(word.as_ref())).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(backends: &str) -> Config {
        let text = format!(
            "[stack]\nname = \"orders\"\n[resource_servers.o.scopes]\nread = \"r\"\n{backends}\n[routes]\n\
             \"GET /a\" = {{ backend = \"used\", scopes = [\"o/read\"] }}"
        );
        Config::read(&text, Path::new("")).unwrap()
    }

    fn here(endpoint: Option<&str>) -> Identity {
        Identity {
            account: "111122223333".to_owned(),
            partition: "aws".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: endpoint.map(str::to_owned),
        }
    }

    fn url(more: &str) -> Config {
        config(&format!("[backends.used]\n{more}"))
    }

    #[test]
    fn what_may_not_work_is_warned_of_once() {
        let target = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/a/1";
        for (config, expected) in [
            (url("url = \"https://shop.example.com\""), &[][..]),
            (
                url("url = \"http://shop.example.com\""),
                &["requests go to shop.example.com without encryption; use https"],
            ),
            (
                url("url = \"http://shop.example.com\"\nforward_authorization = true"),
                &["without encryption, with the callers' tokens; use https"],
            ),
            (
                url("url = \"http://10.0.0.1\""),
                &["API Gateway does not reach 10.0.0.1 over the internet"],
            ),
            (url("url = \"http://10.0.0.1\"\nvpc_link = \"a1\""), &[]),
            (
                url(&format!(
                    "url = \"https://a.internal\"\nvpc_link = \"a1\"\ntarget = \"{target}\""
                )),
                &["such as /prod/…, and not the path of `url`"],
            ),
            (
                config(
                    "[backends.used]\nurl = \"https://a.example\"\n[backends.idle]\nurl = \"https://b.example\"",
                ),
                &["back end idle: no route names it"],
            ),
        ] {
            let found = warnings(&config, &here(None));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found}");
            }
        }
        let local = url("url = \"http://127.0.0.1:8080\"");
        assert_eq!(warnings(&local, &here(Some("http://127.0.0.1:4566"))), [""; 0]);
    }

    #[test]
    fn a_function_or_a_load_balancer_elsewhere_is_refused() {
        let lambda = |place: &str| url(&format!("lambda = \"arn:{place}:function:legacy\""));
        for (config, fits) in [
            (lambda("aws:lambda:eu-west-1:111122223333"), true),
            (lambda("aws:lambda:eu-west-1:999999999999"), true),
            (lambda("aws:lambda:eu-central-1:111122223333"), false),
            (lambda("aws-us-gov:lambda:eu-west-1:111122223333"), false),
            (
                url("url = \"https://a.internal\"\nvpc_link = \"a1\"\n\
                     target = \"arn:aws:elasticloadbalancing:eu-west-1:999999999999:loadbalancer/app/a/1\""),
                false,
            ),
        ] {
            assert_eq!(
                check_place(&config, &here(None)).is_ok(),
                fits,
                "{:?}",
                config.backends
            );
        }
    }

    #[test]
    fn the_function_in_a_uri_is_the_one_that_the_configuration_names() {
        let arn = "arn:aws:lambda:eu-west-1:999999999999:function:legacy:live";
        let uri = format!("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arn}/invocations");
        assert_eq!(function_in(&uri).unwrap().arn(), arn);
        assert_eq!(
            function_in("https://shop.example.com/functions/a/invocations"),
            None
        );
    }
}
