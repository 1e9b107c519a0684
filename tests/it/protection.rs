//! A user pool with deletion protection: nothing of the stack is deleted unless the user asks for it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::proxy::{Act, Moment, Request};
use crate::support::{Run, World};
use serde_json::{Value, json};

const PROTECTED: &str = "[user_pool]\ndeletion_protection = true\n";
const OPEN: &str = "[user_pool]\ndeletion_protection = false\n";

/// The sample stack with this section in its file, up.
fn sample(pool: &str) -> World {
    let sample = include_str!("../../provision.toml");
    let world = World::of(
        &format!("{sample}\n{pool}"),
        include_str!("../../lambda/index.mjs"),
    );
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world
}

impl World {
    /// Fails unless the command is refused, names the pool and both solutions, and changes nothing.
    fn assert_refused(&self, args: &[&str]) -> Run {
        let run = self.run(args).code(2);
        let id = self.pool()["Id"].as_str().unwrap().to_owned();
        for said in [
            "user-pool: ".to_owned(),
            format!("AWS does not delete {id} while its deletion_protection is on"),
            "hint: pass --unprotect".to_owned(),
            "set `deletion_protection = false` in [user_pool] and run `provision up` first".to_owned(),
        ] {
            assert!(run.stderr.contains(&said), "{args:?}: {said}: {}", run.stderr);
        }
        assert_eq!(self.writes(), Vec::<String>::new(), "{args:?}");
        self.emulator.assert_whole("after what was refused");
        run
    }

    /// The live pool.
    fn pool(&self) -> Value {
        let pools = self.emulator.cognito("ListUserPools", &json!({"MaxResults": 60}));
        let id = json!({"UserPoolId": pools["UserPools"][0]["Id"]});
        self.emulator.cognito("DescribeUserPool", &id)["UserPool"].take()
    }

    /// Someone else changes these fields of the pool and no other.
    fn set(&self, fields: &Value) {
        let mut pool = self.pool();
        let mut update = json!({"UserPoolId": pool["Id"], "PoolName": pool["Name"]});
        for key in [
            "AdminCreateUserConfig",
            "UserPoolTags",
            "UserPoolTier",
            "DeletionProtection",
            "MfaConfiguration",
        ] {
            update[key] = pool[key].take();
        }
        for (key, value) in fields.as_object().unwrap() {
            update[key] = value.clone();
        }
        self.emulator.cognito("UpdateUserPool", &update);
    }
}

#[test]
fn a_protected_pool_and_all_around_it_stay_until_it_is_asked_for() {
    let world = sample(PROTECTED);
    world.assert_refused(&["down", "--yes"]);
    let replace = ["--replace", "user-pool"];
    world.assert_refused(&[&["up", "--yes"], &replace[..]].concat());
    let plan = world.assert_refused(&[&["plan"], &replace[..]].concat());
    assert!(plan.stdout.contains("! refused user-pool"), "{}", plan.stdout);
    let plan = world
        .run(&[&["plan", "--json"], &replace[..]].concat())
        .code(2)
        .json();
    let step = |plan: &Value| {
        let steps = plan["steps"].as_array().unwrap().clone();
        steps
            .into_iter()
            .find(|step| step["step"] == "user-pool")
            .unwrap()
    };
    assert_eq!(step(&plan)["action"], "refused");
    assert_eq!(step(&plan)["protection"], "deletion_protection");

    // As the file has it again after the replacement.
    let before = world.pool();
    let unprotect = [&replace[..], &["--unprotect"]].concat();
    let plan = world
        .run(&[&["plan", "--json"], &unprotect[..]].concat())
        .ok()
        .json();
    assert_eq!(step(&plan)["action"], "replace");
    assert_eq!(world.writes(), Vec::<String>::new());
    world
        .run(&[&["up", "--yes", "--no-verify"], &unprotect[..]].concat())
        .ok();
    world.emulator.assert_whole("after the replacement");
    assert_ne!(world.pool()["Id"], before["Id"]);
    assert_eq!(world.pool()["DeletionProtection"], "ACTIVE");
    world.proxy.take();
    world.assert_refused(&["down", "--yes"]);

    world.run(&["down", "--yes", "--unprotect"]).ok();
    let writes = world.writes();
    let at = |operation: &str| writes.iter().position(|write| write == operation).unwrap();
    assert_eq!(at("UpdateUserPool") + 1, at("DeleteUserPool"), "{writes:?}");
    world.emulator.assert_nothing("after down");
}

#[test]
fn what_is_live_counts_and_a_run_that_replaces_nothing_leaves_the_protection() {
    let world = sample(OPEN);
    world.set(&json!({"DeletionProtection": "ACTIVE"}));
    world.assert_refused(&["down", "--yes"]);
    world.assert_refused(&["up", "--yes", "--replace", "user-pool"]);
    world.run(&["up", "--no-repair", "--unprotect"]).ok();
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.pool()["DeletionProtection"], "ACTIVE");

    // The other way out: the file says so, and `up` repairs what someone else did.
    world.run(&["up", "--no-verify"]).ok();
    world.proxy.take();
    world.run(&["down", "--yes"]).ok();
    let requests = world.proxy.take();
    let operations: Vec<String> = requests.iter().map(Request::operation).collect();
    assert!(
        !operations.contains(&"UpdateUserPool".to_owned()),
        "{operations:?}"
    );
    let deletes = requests
        .iter()
        .filter(|request| request.is_write() && request.service() != "sts");
    assert_eq!(deletes.count(), 7, "{operations:?}");
    world.emulator.assert_nothing("after down");
}

#[test]
fn a_pool_that_is_not_deleted_after_all_has_lost_nothing_but_its_protection_and_any_run_goes_on() {
    for next in [
        &["down", "--yes"][..],
        &["down", "--yes", "--unprotect"],
        &["up", "--yes", "--no-verify"],
    ] {
        let world = sample(PROTECTED);
        world.set(&json!({
            "MfaConfiguration": "OPTIONAL",
            "AutoVerifiedAttributes": ["email"],
            "Policies": {"PasswordPolicy": {
                "MinimumLength": 20, "RequireUppercase": true, "RequireLowercase": false, "RequireNumbers": true,
                "RequireSymbols": true, "TemporaryPasswordValidityDays": 3,
            }},
            "SmsAuthenticationMessage": "sign in with {####}",
        }));
        let before = world.pool();
        assert_eq!(before["Policies"]["PasswordPolicy"]["MinimumLength"], 20);
        assert_eq!(before["DeletionProtection"], "ACTIVE");
        let refuse = AtomicBool::new(true);
        world.proxy.rule(move |request, moment| {
            let is_delete = moment == Moment::Before && request.operation() == "DeleteUserPool";
            if is_delete && refuse.swap(false, Ordering::SeqCst) {
                let body = r#"{"__type": "InvalidParameterException", "message": "not now"}"#;
                Act::Answer(
                    400,
                    vec![("content-type", "application/x-amz-json-1.1")],
                    body.to_owned(),
                )
            } else {
                Act::Pass
            }
        });
        let run = world.run(&["down", "--yes", "--unprotect"]).code(1);
        assert!(run.stderr.contains("step user-pool failed"), "{}", run.stderr);
        assert!(
            run.stderr
                .contains("run `provision down --yes --unprotect` again"),
            "{}",
            run.stderr
        );
        let after = world.pool();
        assert_eq!(after["DeletionProtection"], "INACTIVE");
        // The emulator keeps what an update leaves out; Cognito resets it.
        let requests = world.proxy.take();
        let mut updates = requests
            .iter()
            .filter(|request| request.operation() == "UpdateUserPool");
        let sent: Value = serde_json::from_slice(&updates.next().unwrap().body).unwrap();
        assert_eq!(updates.count(), 0);
        assert_eq!(sent["DeletionProtection"], "INACTIVE");
        assert_eq!(
            (&after["Id"], &sent["PoolName"]),
            (&before["Id"], &before["Name"])
        );
        for field in [
            "MfaConfiguration",
            "AutoVerifiedAttributes",
            "Policies",
            "SmsAuthenticationMessage",
            "UserPoolTags",
            "UserPoolTier",
            "AdminCreateUserConfig",
        ] {
            assert_eq!(after[field], before[field], "{field}");
            assert_eq!(sent[field], before[field], "{field}");
        }
        world.run(next).ok();
        if next[0] == "up" {
            world.emulator.assert_whole("after up");
            assert_ne!(world.pool()["Id"], before["Id"]);
            assert_eq!(world.pool()["DeletionProtection"], "ACTIVE");
        } else {
            world.emulator.assert_nothing("after down");
        }
    }
}
