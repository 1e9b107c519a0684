use proptest::prelude::*;

use super::*;
use crate::stack::{SEPARATOR, unique};

fn scope(owner: Option<&str>, pools: &[&str], apis: &[&str]) -> Scope {
    Scope {
        partition: "aws".to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
        stack: "orders".to_owned(),
        owner: owner.map(str::to_owned),
        separator: SEPARATOR,
        parts: Parts::ALL,
        shared_pools: BTreeSet::new(),
        pools: pools.iter().map(|&id| id.to_owned()).collect(),
        apis: apis.iter().map(|&id| id.to_owned()).collect(),
        secrets: BTreeSet::new(),
        hand_out: None,
        hand_out_role: None,
        layers: BTreeSet::new(),
        keys: BTreeSet::new(),
        has_network: false,
        has_access_logs: false,
        web_acls: BTreeSet::new(),
        backends: BTreeSet::new(),
        domains: Domains::default(),
        state: None,
        state_key: None,
        roles: Roles::default(),
    }
}

fn statement<'a>(document: &'a Value, sid: &str) -> Option<&'a Value> {
    document["Statement"]
        .as_array()
        .unwrap()
        .iter()
        .find(|statement| statement["Sid"] == sid)
}

fn actions(document: &Value) -> BTreeSet<String> {
    let statements = document["Statement"].as_array().unwrap();
    (statements
        .iter()
        .flat_map(|statement| statement["Action"].as_array().unwrap()))
    .map(|action| action.as_str().unwrap().to_owned())
    .collect()
}

#[test]
fn every_operation_is_there_once_and_what_else_it_needs_belongs_to_one() {
    for table in TABLES.into_iter().chain([ON_ACCOUNT, BY_DOCTOR]) {
        let names: BTreeSet<&str> = table.iter().map(|(operation, ..)| *operation).collect();
        assert_eq!(names.len(), table.len());
    }
    let names: BTreeSet<&str> = operations().collect();
    for (with, ..) in ALSO.into_iter().chain(ALSO_ON_ACCOUNT).flatten() {
        assert!(names.contains(with), "{with}");
    }
}

#[test]
fn before_the_first_up_names_and_tags_narrow() {
    let document = document(&scope(None, &[], &[]), &[Task::Up].into());
    let role = "arn:aws:iam::123456789012:role/orders_????????_*";
    assert_eq!(statement(&document, "Role").unwrap()["Resource"], json!([role]));
    let pass = statement(&document, "RoleForLambda").unwrap();
    assert_eq!(pass["Action"], json!(["iam:PassRole"]));
    assert_eq!(pass["Resource"], json!([role]));
    assert_eq!(
        pass["Condition"],
        json!({"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
    );
    let pool = statement(&document, "Pool").unwrap();
    assert_eq!(
        pool["Resource"],
        json!(["arn:aws:cognito-idp:eu-west-1:123456789012:userpool/*"])
    );
    assert_eq!(
        pool["Condition"],
        json!({"StringEquals": {"aws:ResourceTag/provision:stack": "orders"}})
    );
    assert_eq!(
        statement(&document, "ApiTags").unwrap()["Resource"],
        json!([
            "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Frestapis%2F*"
        ])
    );
}

#[test]
fn what_a_role_may_get_is_only_what_the_configuration_gives_it() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/service/orders_1a2b3c4d_*";
    const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/boundary";
    const READ: &str = "arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess";
    const THEIRS: &str = "arn:aws:iam::123456789012:role/made-elsewhere";
    let mut scope = scope(Some("1a2b3c4d"), &[], &[]);
    let plain = document(&scope, &[Task::Up].into());
    for sid in [
        "BoundedRole",
        "UnboundedRole",
        "RoleWithPolicy",
        "ForeignRole",
        "ForeignRoleForLambda",
    ] {
        assert_eq!(statement(&plain, sid), None);
    }
    assert!(actions(&plain).contains("iam:CreateRole"));

    scope.roles.paths = ["/service/".to_owned()].into();
    scope.roles.boundary = Some(BOUNDARY.to_owned());
    scope.roles.policies = [READ.to_owned()].into();
    scope.roles.foreign = [THEIRS.to_owned()].into();
    let up = document(&scope, &[Task::Up].into());
    let bounded = statement(&up, "BoundedRole").unwrap();
    assert_eq!(
        bounded["Action"],
        json!(["iam:CreateRole", "iam:PutRolePermissionsBoundary"])
    );
    assert_eq!(bounded["Resource"], json!([ROLE]));
    assert_eq!(
        bounded["Condition"],
        json!({"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}})
    );
    // The only way to make a role.
    let makes = |statement: &&Value| {
        let actions = statement["Action"].as_array().unwrap();
        actions.contains(&json!("iam:CreateRole"))
    };
    assert_eq!(
        up["Statement"].as_array().unwrap().iter().filter(makes).count(),
        1
    );
    let attach = statement(&up, "RoleWithPolicy").unwrap();
    assert_eq!(
        attach["Action"],
        json!(["iam:AttachRolePolicy", "iam:DetachRolePolicy"])
    );
    assert_eq!(
        attach["Condition"],
        json!({"StringEquals": {"iam:PolicyARN": READ}})
    );
    let theirs = statement(&up, "ForeignRole").unwrap();
    assert_eq!(
        (&theirs["Action"], &theirs["Resource"]),
        (&json!(["iam:GetRole"]), &json!([THEIRS]))
    );
    let pass = statement(&up, "ForeignRoleForLambda").unwrap();
    assert_eq!(
        (&pass["Action"], &pass["Resource"]),
        (&json!(["iam:PassRole"]), &json!([THEIRS]))
    );
    assert!(!actions(&up).contains("iam:DeleteRolePermissionsBoundary"));

    let down = document(&scope, &[Task::Down].into());
    assert_eq!(
        statement(&down, "RoleWithPolicy").unwrap()["Action"],
        json!(["iam:DetachRolePolicy"])
    );
    assert_eq!(statement(&down, "ForeignRoleForLambda"), None);

    scope.roles.boundary = None;
    scope.roles.lose_boundary = true;
    let up = document(&scope, &[Task::Up].into());
    assert_eq!(
        statement(&up, "UnboundedRole").unwrap()["Action"],
        json!(["iam:DeleteRolePermissionsBoundary"])
    );
    assert!(!actions(&up).contains("iam:PutRolePermissionsBoundary"));
}

#[test]
fn a_web_acl_of_the_configuration_can_be_put_on_the_stage_and_no_other() {
    const ACL: &str = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/shop/1234abcd";
    let mut scope = scope(Some("1a2b3c4d"), &[], &["a1"]);
    let all = document(&scope, &[Task::Up, Task::Status, Task::Down].into());
    assert!(actions(&all).iter().all(|action| !action.starts_with("wafv2:")));
    assert!(!actions(&all).contains("apigateway:SetWebACL"));

    scope.web_acls = [ACL.to_owned()].into();
    for (task, expected, stages) in [
        (
            Task::Up,
            &["AssociateWebACL", "DisassociateWebACL", "GetWebACLForResource"][..],
            "*",
        ),
        (Task::Down, &["DisassociateWebACL", "GetWebACLForResource"], "a1"),
        (Task::Status, &["GetWebACLForResource"], "a1"),
    ] {
        let document = document(&scope, &[task].into());
        let firewall = statement(&document, "Firewall").unwrap();
        let expected: Vec<String> = expected.iter().map(|name| format!("wafv2:{name}")).collect();
        assert_eq!(firewall["Action"], json!(expected));
        let stage = format!("arn:aws:apigateway:eu-west-1::/restapis/{stages}/stages/*");
        assert_eq!(firewall["Resource"], json!([ACL, stage]));
        let sets = statement(&document, "FirewalledApiOnRecord").map(|set| &set["Action"]);
        assert_eq!(sets.is_some(), task != Task::Status);
        assert!(sets.is_none_or(|actions| *actions == json!(["apigateway:SetWebACL"])));
    }
}

#[test]
fn who_lets_apis_log_may_make_one_role_and_who_runs_a_stack_may_not() {
    let mut scope = scope(Some("1a2b3c4d"), &[], &["a1"]);
    let plain = document(&scope, &[Task::Up].into());
    assert_eq!(statement(&plain, "Settings"), None);
    let lambda = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders_1a2b3c4d_*";
    assert_eq!(
        statement(&plain, "LogGroup").unwrap()["Resource"],
        json!([lambda])
    );

    scope.has_access_logs = true;
    let account = "arn:aws:apigateway:eu-west-1::/account";
    let up = document(&scope, &[Task::Up].into());
    assert_eq!(
        statement(&up, "Settings").unwrap(),
        &json!({"Sid": "Settings", "Effect": "Allow", "Action": ["apigateway:GET"], "Resource": [account]})
    );
    let access = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/apigateway/orders_1a2b3c4d_access";
    for task in [Task::Up, Task::Down, Task::Logs] {
        let groups = document(&scope, &[task].into());
        assert_eq!(
            statement(&groups, "LogGroup").unwrap()["Resource"],
            json!([lambda, access])
        );
    }

    let role = "arn:aws:iam::123456789012:role/provision-api-gateway-logs";
    let enable = document(&scope, &[Task::AccountLogs].into());
    let allowed = |sid: &str| {
        let statement = statement(&enable, sid).unwrap();
        (
            statement["Action"].clone(),
            statement["Resource"].clone(),
            statement["Condition"].clone(),
        )
    };
    assert_eq!(enable["Statement"].as_array().unwrap().len(), 4);
    assert_eq!(
        allowed("SharedSettings"),
        (
            json!(["apigateway:GET", "apigateway:PATCH"]),
            json!([account]),
            Value::Null
        )
    );
    assert_eq!(
        allowed("LogRole"),
        (
            json!(["iam:CreateRole", "iam:GetRole", "iam:TagRole"]),
            json!([role]),
            Value::Null
        )
    );
    let policy = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs";
    assert_eq!(
        allowed("LogRoleWithPolicy"),
        (
            json!(["iam:AttachRolePolicy"]),
            json!([role]),
            json!({"StringEquals": {"iam:PolicyARN": policy}})
        )
    );
    assert_eq!(
        allowed("LogRoleForApi"),
        (
            json!(["iam:PassRole"]),
            json!([role]),
            json!({"StringEquals": {"iam:PassedToService": "apigateway.amazonaws.com"}})
        )
    );
}

#[test]
fn doctor_may_read_and_change_nothing_whatever_the_stack_has() {
    for parts in [Parts::ALL, Parts::NONE] {
        let mut scope = scope(None, &[], &[]);
        scope.parts = parts;
        let policy = document(&scope, &[Task::Doctor].into());
        let expected = [
            "apigateway:GET",
            "cognito-idp:ListUserPools",
            "iam:GetAccountSummary",
            "iam:GetRole",
            "iam:SimulatePrincipalPolicy",
            "lambda:GetAccountSettings",
        ];
        assert_eq!(actions(&policy), expected.map(str::to_owned).into());
        let simulate = statement(&policy, "Principals").unwrap();
        assert_eq!(
            simulate["Resource"],
            json!([
                "arn:aws:iam::123456789012:role/*",
                "arn:aws:iam::123456789012:user/*"
            ])
        );
        scope.state = Some(("states".to_owned(), "orders.json".to_owned()));
        let policy = document(&scope, &[Task::Doctor].into());
        assert!(actions(&policy).contains("s3:GetObject") && !actions(&policy).contains("s3:PutObject"));
    }
}

#[test]
fn the_secrets_that_the_configuration_names_can_be_read_and_no_others() {
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-a1B2c3";
    let mut scope = scope(None, &[], &[]);
    for task in [Task::Up, Task::Token] {
        assert_eq!(statement(&document(&scope, &[task].into()), "NamedSecret"), None);
    }
    let places = [
        "secretsmanager:orders/app",
        &format!("secretsmanager:{arn}"),
        "ssm:/orders/app",
    ];
    scope.secrets = places.into_iter().map(|place| place.parse().unwrap()).collect();
    for task in [Task::Up, Task::Token] {
        let document = document(&scope, &[task].into());
        let read = statement(&document, "NamedSecret").unwrap();
        assert_eq!(read["Action"], json!(["secretsmanager:GetSecretValue"]));
        let named = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/app-??????";
        assert_eq!(read["Resource"], json!([arn, named]));
        let read = statement(&document, "NamedParameter").unwrap();
        assert_eq!(read["Action"], json!(["ssm:GetParameter"]));
        let named = "arn:aws:ssm:eu-west-1:123456789012:parameter/orders/app";
        assert_eq!(read["Resource"], json!([named]));
    }
    for task in [Task::Status, Task::Down, Task::Logs, Task::Secret] {
        let document = document(&scope, &[task].into());
        assert_eq!(statement(&document, "NamedSecret"), None);
        assert_eq!(statement(&document, "NamedParameter"), None);
    }
}

#[test]
fn where_secrets_are_written_to_only_secret_may_write_or_a_role_in_its_place() {
    let mut scope = scope(None, &[], &[]);
    let write = |scope: &Scope, sid: &str| {
        let document = document(scope, &[Task::Secret].into());
        let statement = statement(&document, sid);
        statement.map(|statement| (statement["Action"].clone(), statement["Resource"].clone()))
    };
    let sids = ["HandOutSecret", "HandOutParameter", "HandOutRole"];
    let written = |scope: &Scope| sids.map(|sid| write(scope, sid));
    assert_eq!(written(&scope), [None, None, None]);
    scope.hand_out = "secretsmanager:app".parse().ok();
    let secret = (
        json!(["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]),
        json!(["arn:aws:secretsmanager:eu-west-1:123456789012:secret:app-??????"]),
    );
    assert_eq!(written(&scope), [Some(secret), None, None]);
    scope.hand_out = "ssm:/orders/app".parse().ok();
    let parameter = (
        json!([
            "ssm:AddTagsToResource",
            "ssm:GetParameter",
            "ssm:ListTagsForResource",
            "ssm:PutParameter"
        ]),
        json!(["arn:aws:ssm:eu-west-1:123456789012:parameter/orders/app"]),
    );
    assert_eq!(written(&scope), [None, Some(parameter), None]);
    let others = document(&scope, &[Task::Up, Task::Status, Task::Down, Task::Token].into());
    assert!(sids.into_iter().all(|sid| statement(&others, sid).is_none()));
    let arn = "arn:aws:iam::444455556666:role/secrets";
    scope.hand_out_role = Some(arn.to_owned());
    let role = (json!(["sts:AssumeRole"]), json!([arn]));
    assert_eq!(written(&scope), [None, None, Some(role)]);
}

#[test]
fn of_the_functions_of_back_ends_only_the_policy_is_changed_and_only_for_api_gateway() {
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:legacy:live";
    let mut scope = scope(None, &[], &[]);
    for sid in ["Backend", "BackendForApi"] {
        assert_eq!(statement(&document(&scope, &[Task::Up].into()), sid), None);
    }
    scope.backends = [arn.to_owned()].into();
    for (task, expected) in [
        (
            Task::Up,
            &[
                "lambda:GetFunctionConfiguration",
                "lambda:GetPolicy",
                "lambda:RemovePermission",
            ][..],
        ),
        (
            Task::Status,
            &["lambda:GetFunctionConfiguration", "lambda:GetPolicy"],
        ),
        (Task::Down, &["lambda:GetPolicy", "lambda:RemovePermission"]),
    ] {
        let document = document(&scope, &[task].into());
        let reads = statement(&document, "Backend").unwrap();
        assert_eq!(
            (&reads["Action"], &reads["Resource"]),
            (&json!(expected), &json!([arn]))
        );
        let adds = statement(&document, "BackendForApi");
        assert_eq!(adds.is_some(), task == Task::Up);
        if let Some(adds) = adds {
            assert_eq!(adds["Action"], json!(["lambda:AddPermission"]));
            assert_eq!(
                adds["Condition"]["StringEquals"],
                json!({"lambda:Principal": "apigateway.amazonaws.com"})
            );
        }
    }
}

#[test]
fn what_is_on_record_is_named_and_only_up_may_make_another() {
    let scope = scope(Some("1a2b3c4d"), &["eu-west-1_A"], &["a1"]);
    for (tasks, others) in [(&[Task::Down][..], false), (&[Task::Up, Task::Down], true)] {
        let document = document(&scope, &tasks.iter().copied().collect());
        let api = statement(&document, "ApiOnRecord").unwrap();
        assert_eq!(
            api["Resource"],
            json!([
                "arn:aws:apigateway:eu-west-1::/restapis/a1",
                "arn:aws:apigateway:eu-west-1::/restapis/a1/*"
            ])
        );
        assert!(api.get("Condition").is_none());
        assert_eq!(
            statement(&document, "PoolOnRecord").unwrap()["Resource"],
            json!(["arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_A"])
        );
        assert_eq!(statement(&document, "Pool").is_some(), others);
        assert_eq!(statement(&document, "Api").is_some(), others);
        assert_eq!(
            statement(&document, "Role").unwrap()["Resource"],
            json!(["arn:aws:iam::123456789012:role/orders_1a2b3c4d_*"])
        );
    }
    let up = document(&scope, &[Task::Up].into());
    assert_eq!(
        statement(&up, "NewApi").unwrap()["Condition"]["StringEquals"],
        json!({"aws:RequestTag/provision:stack": "orders", "aws:RequestTag/provision:owner": "1a2b3c4d"})
    );
}

/// Whether IAM takes the text for one of the pattern: `*` is any text, `?` any character, and case is the same.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => matches(rest, text) || !text.is_empty() && matches(pattern, &text[1..]),
        ([b'?', rest @ ..], [_, text @ ..]) => matches(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one.eq_ignore_ascii_case(other) && matches(rest, text),
        _ => false,
    }
}

/// The patterns of roles, functions and log groups in the policy of a stack.
fn patterns(stack: &str, owner: Option<&str>) -> Vec<String> {
    let scope = Scope {
        stack: stack.to_owned(),
        ..scope(owner, &[], &[])
    };
    let document = document(&scope, &[Task::Up].into());
    let of = |sid: &str| {
        let pattern = statement(&document, sid).unwrap()["Resource"][0]
            .as_str()
            .unwrap();
        pattern.rsplit(['/', ':']).next().unwrap().to_owned()
    };
    vec![of("Role"), of("Function"), of("LogGroup")]
}

fn of_another(mine: &str, other: &str, owner: &str, function: &str) {
    let name = unique(other, SEPARATOR, owner, function);
    for own in [None, Some("1a2b3c4d")] {
        for pattern in patterns(mine, own) {
            assert!(
                !matches(pattern.as_bytes(), name.as_bytes()),
                "{pattern} matches {name}"
            );
        }
    }
}

#[test]
fn the_policy_of_a_stack_has_its_own_names() {
    let name = unique("user", SEPARATOR, "1a2b3c4d", "Stock_2");
    for owner in [None, Some("1a2b3c4d")] {
        for pattern in patterns("user", owner) {
            assert!(
                matches(pattern.as_bytes(), name.to_uppercase().as_bytes()),
                "{pattern}"
            );
        }
    }
    assert!(
        matches(b"user-????????-*", b"user-api-prod-1a2b3c4d-user"),
        "as names once were"
    );
    of_another("user", "user-api-prod", "1a2b3c4d", "user");
}

proptest! {
    #[test]
    fn no_pattern_of_one_stack_matches_a_name_of_another(
        mine in "[a-z][a-z0-9-]{1,12}",
        rest in "[a-z0-9-]{1,17}",
        unrelated in "[a-z][a-z0-9-]{1,29}",
        owner in "[0-9a-f]{8}",
        function in "[a-zA-Z0-9_-]{1,20}",
    ) {
        // Mostly one begins as the other, which is where they could meet.
        let longer = format!("{mine}{rest}");
        of_another(&mine, &longer, &owner, &function);
        of_another(&longer, &mine, &owner, &function);
        if unrelated != mine {
            of_another(&mine, &unrelated, &owner, &function);
        }
    }
}

#[test]
fn status_changes_nothing_and_down_makes_nothing() {
    let of = |task: Task| actions(&document(&scope(None, &[], &[]), &[task].into()));
    let reads = ["Get", "List", "Describe", "GET"];
    for action in of(Task::Status) {
        let name = action.split_once(':').unwrap().1;
        assert!(reads.iter().any(|verb| name.starts_with(verb)), "{action}");
    }
    for action in of(Task::Down) {
        assert!(!action.contains("Create") && !action.contains("POST"), "{action}");
    }
    assert!(of(Task::Up).is_superset(&of(Task::Down)));
    assert!(of(Task::Up).is_superset(&of(Task::Status)));
    assert_eq!(
        of(Task::Token).into_iter().collect::<Vec<_>>(),
        ["cognito-idp:DescribeUserPoolClient"]
    );
    assert_eq!(
        of(Task::Secret).into_iter().collect::<Vec<_>>(),
        [
            "cognito-idp:AddUserPoolClientSecret",
            "cognito-idp:DeleteUserPoolClientSecret",
            "cognito-idp:DescribeUserPoolClient",
            "cognito-idp:ListUserPoolClientSecrets",
        ]
    );
    assert_eq!(
        of(Task::Logs).into_iter().collect::<Vec<_>>(),
        ["logs:FilterLogEvents"]
    );
}

#[test]
fn a_managed_policy_has_room_for_it() {
    let all = [
        Task::Up,
        Task::Status,
        Task::Down,
        Task::Token,
        Task::Logs,
        Task::Secret,
    ];
    let mut scope = scope(Some("1a2b3c4d"), &["ap-southeast-1_ABCDEFGHI"], &["a1b2c3d4e5"]);
    scope.region = "ap-southeast-1".to_owned();
    scope.stack = "a-name-of-thirty-characters-30".to_owned();
    let text = document(&scope, &all.into()).to_string();
    // IAM's quota, without blanks.
    assert!(text.len() < 6144, "{}", text.len());
}

#[test]
fn a_state_that_is_encrypted_with_a_key_needs_that_key_and_only_through_s3() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd";
    let mut scope = scope(None, &[], &[]);
    scope.state = Some(("team-state".to_owned(), "provision/orders.json".to_owned()));
    assert_eq!(statement(&document(&scope, &[Task::Up].into()), "StateKey"), None);
    scope.state_key = Some(key.to_owned());
    let through = json!({"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}});
    for (task, actions) in [
        (Task::Up, json!(["kms:Decrypt", "kms:GenerateDataKey"])),
        (Task::Status, json!(["kms:Decrypt"])),
    ] {
        let document = document(&scope, &[task].into());
        let statement = statement(&document, "StateKey").unwrap();
        assert_eq!(statement["Action"], actions);
        assert_eq!(statement["Resource"], json!([key]));
        assert_eq!(statement["Condition"], through);
    }
}

#[test]
fn layers_keys_and_networks_are_only_in_the_policy_of_a_stack_that_has_them() {
    let none = scope(None, &[], &[]);
    let layer = "arn:aws:lambda:eu-west-1:123456789012:layer:otel:7";
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let all = Scope {
        layers: [layer.to_owned()].into(),
        keys: [key.to_owned()].into(),
        has_network: true,
        ..scope(None, &[], &[])
    };
    let (up, status, down) = ([Task::Up].into(), [Task::Status].into(), [Task::Down].into());
    for sid in ["Layer", "Key", "Network"] {
        assert_eq!(statement(&document(&none, &up), sid), None);
    }
    let document = |tasks| document(&all, tasks);
    for (tasks, sid, actions, on) in [
        (&up, "Layer", json!(["lambda:GetLayerVersion"]), layer),
        (
            &up,
            "Key",
            json!(["kms:CreateGrant", "kms:Decrypt", "kms:Encrypt"]),
            key,
        ),
        (
            &up,
            "Network",
            json!([
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
                "lambda:ListFunctions"
            ]),
            "*",
        ),
        (
            &down,
            "Network",
            json!(["ec2:DescribeNetworkInterfaces", "lambda:ListFunctions"]),
            "*",
        ),
        (&status, "Key", json!(["kms:Decrypt"]), key),
    ] {
        let document = document(tasks);
        let found = statement(&document, sid).unwrap();
        assert_eq!((&found["Action"], &found["Resource"]), (&actions, &json!([on])));
    }
    for sid in ["Layer", "Network"] {
        assert_eq!(statement(&document(&status), sid), None);
    }
}

#[test]
fn of_a_domain_only_what_the_stack_makes_may_be_changed_and_only_its_own_name() {
    let mut scope = scope(Some("1a2b3c4d"), &[], &[]);
    let sids = |document: &Value| -> Vec<String> {
        let statements = document["Statement"].as_array().unwrap().iter();
        let sids = statements.map(|statement| statement["Sid"].as_str().unwrap().to_owned());
        sids.filter(|sid| {
            ["Domain", "Mapping", "MutualTls", "Truststore"]
                .iter()
                .any(|word| sid.contains(word))
        })
        .collect()
    };
    assert_eq!(sids(&document(&scope, &[Task::Up].into())), [""; 0]);

    // Somebody else's: our mappings, and nothing of the domain.
    scope.domains.named = ["api.example.com".to_owned()].into();
    let up = document(&scope, &[Task::Up].into());
    assert_eq!(sids(&up), ["Domain", "Mappings", "Mapping"]);
    assert_eq!(
        statement(&up, "Domain").unwrap(),
        &json!({
            "Sid": "Domain", "Effect": "Allow", "Action": ["apigateway:GET"],
            "Resource": ["arn:aws:apigateway:eu-west-1::/domainnames/api.example.com"],
        })
    );
    assert_eq!(
        statement(&up, "Mapping").unwrap()["Resource"],
        json!(["arn:aws:apigateway:eu-west-1::/domainnames/api.example.com/basepathmappings/*"])
    );

    // Nobody's yet: whoever makes it first, only with our tags.
    scope.domains.made = scope.domains.named.clone();
    scope.domains.truststores = ["s3://bucket/clients.pem".to_owned()].into();
    let up = document(&scope, &[Task::Up].into());
    let ours = json!({"StringEquals": {
        "aws:ResourceTag/provision:stack": "orders", "aws:ResourceTag/provision:owner": "1a2b3c4d",
    }});
    let own = statement(&up, "OwnDomain").unwrap();
    assert_eq!(own["Action"], json!(["apigateway:DELETE", "apigateway:PATCH"]));
    assert_eq!(own["Condition"], ours);
    let new = statement(&up, "NewDomain").unwrap();
    assert_eq!(
        new["Resource"],
        json!(["arn:aws:apigateway:eu-west-1::/domainnames"])
    );
    assert_eq!(
        statement(&up, "Truststore").unwrap()["Resource"],
        json!(["arn:aws:s3:::bucket/clients.pem"])
    );
    assert_eq!(
        statement(&up, "DomainTags").unwrap()["Resource"],
        json!([
            "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Fdomainnames%2Fapi.example.com",
            "arn:aws:apigateway:eu-west-1::/tags/arn%3Aaws%3Aapigateway%3Aeu-west-1%3A%3A%2Fdomainnames%2F?"
        ])
    );

    // A token is sent there only if the API answers nowhere else.
    for called in [false, true] {
        scope.domains.are_called = called;
        let call = document(&scope, &[Task::Token, Task::Call].into());
        let asked = statement(&call, "CalledMapping");
        assert_eq!(asked.is_some(), called);
        assert!(asked.is_none_or(|asked| asked["Action"] == json!(["apigateway:GET"])));
        assert_eq!(
            statement(&document(&scope, &[Task::Token].into()), "CalledMapping"),
            None
        );
    }

    // On record: also where it is gone, and has no tags.
    scope.domains.recorded = scope.domains.named.clone();
    let down = document(&scope, &[Task::Down].into());
    let own = statement(&down, "OwnDomainOnRecord").unwrap();
    assert_eq!(own["Action"], json!(["apigateway:DELETE"]));
    assert_eq!(own.get("Condition"), None);
    assert_eq!(statement(&down, "OwnDomain"), None);
}
