//! Every kind that changes in place, changed in the real emulator: what is read afterwards is what was wanted.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::rc::Rc;

use crate::support::{self, Place};
use provision::aws::clients::{Access, identify, load};
use provision::aws::tags::{self, Tags};
use provision::aws::{Aws, policy};
use provision::package::Package;
use provision::resource::{Cx, Resource};
use provision::resources::function::{Code, Variables, fingerprint};
use provision::resources::stage::Throttle;
use provision::resources::{Authorizer, Deployment, Function, LogGroup, Path, RestApi, Role, Route, Stage};
use secrecy::SecretString;
use serde_json::{json, to_value};

async fn cloud(endpoint: String) -> Cx<Aws> {
    let access = Access {
        sandbox: Some(support::token(&endpoint).into()),
        endpoint: Some(endpoint),
        ..Access::default()
    };
    let config = load(&access).await.unwrap();
    let identity = identify(&config, None).await.unwrap();
    let aws = Aws::new(&config, &identity, None);
    Cx::new(Rc::new(aws), Rc::new(|_| {}))
}

/// Makes `before` and changes it to `after`: each is what is then live, and of the earlier tags none is left.
async fn make_and_change<R>(cx: &Cx<Aws>, before: &R, after: &R) -> R::Output
where
    R: Resource<Cloud = Aws> + Debug,
{
    let out = before.create(cx).await.unwrap();
    let live = before.read(cx, &out).await.unwrap().unwrap();
    assert_eq!(live, *before);
    let out = after.update(cx, &live, out).await.unwrap();
    assert_eq!(after.read(cx, &out).await.unwrap().as_ref(), Some(after));
    // A read tells only of the tags that its resource wants.
    let left = to_value(before.read(cx, &out).await.unwrap()).unwrap();
    assert!(left["tags"].get("before").is_none(), "{left}");
    out
}

/// Those of the stack, and one of this name.
fn tags(name: &str) -> Tags {
    let mut tags = tags::tags("user-api", "1a2b3c4d");
    tags.insert(name.to_owned(), "1".to_owned());
    tags
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn function(role: &str, code: &[u8], environment: &[(&str, &str)]) -> Function {
    let package = Package::from_files(&[("index.mjs", code)]).unwrap();
    let name = "user-api-1a2b3c4d-user";
    let fingerprints = environment
        .iter()
        .map(|&(variable, value)| (variable.to_owned(), fingerprint(name, variable, value)));
    let variables = environment
        .iter()
        .map(|&(variable, value)| (variable.to_owned(), SecretString::from(value)));
    Function {
        name: name.to_owned(),
        role: role.to_owned(),
        role_id: Some("AROA1".to_owned()),
        runtime: "nodejs20.x".to_owned(),
        handler: "index.old".to_owned(),
        architecture: "x86_64".to_owned(),
        memory_mb: 128,
        timeout_seconds: 3,
        code_sha256: package.sha256.clone(),
        code_size: i64::try_from(package.zip.len()).unwrap(),
        environment: Some(fingerprints.collect()),
        tags: tags("before"),
        code: Code(Rc::new(package.zip)),
        variables: Variables(Rc::new(variables.collect())),
    }
}

#[tokio::test]
async fn functions_and_log_groups() {
    let place = Place::new();
    let cx = cloud(place.emulator()).await;
    let role = Role {
        name: "user-api-1a2b3c4d-user".to_owned(),
        trust: policy::normal(json!({"Version": "2012-10-17", "Statement": []})),
        tags: tags("before"),
    };
    let role = role.create(&cx).await.unwrap().arn;

    let before = function(&role, b"export const old = 1;", &[("KEPT", "1"), ("GONE", "2")]);
    let after = Function {
        runtime: "nodejs22.x".to_owned(),
        handler: "index.handler".to_owned(),
        architecture: "arm64".to_owned(),
        memory_mb: 256,
        timeout_seconds: 10,
        tags: tags("after"),
        ..function(
            &role,
            b"export const handler = 1;",
            &[("KEPT", "1"), ("ADDED", "3")],
        )
    };
    let out = make_and_change(&cx, &before, &after).await;
    let bare = Function {
        tags: tags("after"),
        ..function(&role, b"export const old = 1;", &[])
    };
    bare.update(&cx, &after, out.clone()).await.unwrap();
    assert_eq!(
        bare.read(&cx, &out).await.unwrap(),
        Some(bare),
        "no variable is left"
    );

    let before = LogGroup {
        name: "/aws/lambda/user-api".to_owned(),
        retention_days: Some(14),
        tags: Some(tags("before")),
    };
    let after = LogGroup {
        retention_days: Some(30),
        tags: Some(tags("after")),
        ..before.clone()
    };
    let out = before.create(&cx).await.unwrap();
    after.update(&cx, &before, out.clone()).await.unwrap();
    let live = after.read(&cx, &out).await.unwrap().unwrap();
    assert_eq!(live.retention_days, Some(30));
    let logs = &cx.cloud().logs;
    let groups = logs.describe_log_groups().send().await.unwrap();
    let arn = groups.log_groups()[0].arn().unwrap().trim_end_matches(":*");
    let live_tags = || async {
        let answer = logs
            .list_tags_for_resource()
            .resource_arn(arn)
            .send()
            .await
            .unwrap();
        answer.tags.unwrap().into_iter().collect::<Tags>()
    };
    assert_eq!(live_tags().await, tags("after"));
    // With the tags as `read` leaves them.
    before.update(&cx, &live, out).await.unwrap();
    let mut both = tags("before");
    both.extend(tags("after"));
    assert_eq!(live_tags().await, both, "what is not known to be ours stays");
}

#[tokio::test]
async fn all_of_a_rest_api() {
    let place = Place::new();
    let cx = cloud(place.emulator()).await;
    let before = RestApi {
        name: "old".to_owned(),
        description: "old".to_owned(),
        endpoint: "EDGE".to_owned(),
        tags: tags("before"),
    };
    let after = RestApi {
        name: "user-api".to_owned(),
        description: "made by provision".to_owned(),
        endpoint: "REGIONAL".to_owned(),
        tags: tags("after"),
    };
    let api = make_and_change(&cx, &before, &after).await;

    let before = Authorizer {
        api: api.id.clone(),
        name: "old".to_owned(),
        pool_arns: set(&["arn:a", "arn:b"]),
        identity_source: "method.request.header.Old".to_owned(),
        result_ttl_seconds: 300,
        other_type: None,
        validation: None,
    };
    let after = Authorizer {
        name: "cognito".to_owned(),
        pool_arns: set(&["arn:b", "arn:c"]),
        identity_source: "method.request.header.Authorization".to_owned(),
        result_ttl_seconds: 0,
        ..before.clone()
    };
    let authorizer = make_and_change(&cx, &before, &after).await;

    let path = Path {
        api: api.id.clone(),
        parent: api.root,
        part: "user".to_owned(),
    };
    let path = path.create(&cx).await.unwrap();
    let uri = |function: &str| {
        format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations")
    };
    let before = Route {
        api: api.id.clone(),
        path: path.id.clone(),
        verb: "GET".to_owned(),
        authorizer: "old".to_owned(),
        scopes: set(&["s/a", "s/b"]),
        uri: uri("arn:aws:lambda:us-east-1:000000000000:function:old"),
        api_key_required: false,
    };
    let after = Route {
        authorizer: authorizer.id,
        scopes: set(&["s/b", "s/c"]),
        uri: uri("arn:aws:lambda:us-east-1:000000000000:function:new"),
        ..before.clone()
    };
    let route = make_and_change(&cx, &before, &after).await;
    // Opened to everybody, and answered by nobody.
    let gateway = &cx.cloud().apigateway;
    let method = || (api.id.clone(), path.id.clone(), "GET");
    let (id, resource, verb) = method();
    let open = gateway
        .delete_method()
        .rest_api_id(id)
        .resource_id(resource)
        .http_method(verb);
    open.send().await.unwrap();
    let (id, resource, verb) = method();
    let open = gateway
        .put_method()
        .rest_api_id(id)
        .resource_id(resource)
        .http_method(verb);
    open.authorization_type("NONE").send().await.unwrap();
    let live = after.read(&cx, &route).await.unwrap().unwrap();
    after.update(&cx, &live, route.clone()).await.unwrap();
    assert_eq!(after.read(&cx, &route).await.unwrap(), Some(after));

    let earlier = Deployment {
        api: api.id.clone(),
        description: "provision 1".to_owned(),
        open_methods: BTreeSet::new(),
    };
    let deployment = Deployment {
        description: "provision 2".to_owned(),
        ..earlier.clone()
    };
    let first = earlier.create(&cx).await.unwrap();
    let second = make_and_change(&cx, &earlier, &deployment).await;
    let before = Stage {
        api: api.id.clone(),
        name: "prod".to_owned(),
        deployment: first.id,
        throttle: Throttle {
            rate: Some(12.5),
            burst: Some(20),
        },
        tags: tags("before"),
    };
    let after = Stage {
        deployment: second.id.clone(),
        throttle: Throttle {
            rate: Some(100.0),
            burst: Some(5),
        },
        tags: tags("after"),
        ..before.clone()
    };
    let out = make_and_change(&cx, &before, &after).await;
    let unlimited = Stage {
        throttle: Throttle::default(),
        ..after.clone()
    };
    unlimited.update(&cx, &after, out.clone()).await.unwrap();
    assert_eq!(unlimited.read(&cx, &out).await.unwrap(), Some(unlimited));

    // Nothing serves the first ones any more.
    let foreign = gateway
        .create_deployment()
        .rest_api_id(&api.id)
        .description("by hand")
        .send()
        .await
        .unwrap();
    deployment.retire(&cx, &second).await.unwrap();
    let left = gateway
        .get_deployments()
        .rest_api_id(&api.id)
        .send()
        .await
        .unwrap();
    let left: BTreeSet<_> = left
        .items()
        .iter()
        .filter_map(|deployment| deployment.id())
        .collect();
    assert_eq!(left, BTreeSet::from([second.id.as_str(), foreign.id().unwrap()]));
}
