# Starts the emulator as the sandbox does, with IAM enforced (AUTH=true), after mending where MiniStack 1.5.33 checks
# otherwise than AWS: an action that it does not know, which resource an action is on, tags and other condition keys, and
# what AWS checks beside the action.
# The last argument is the sandbox's own main.py.
import contextvars
import json
import sys
from urllib.parse import quote, unquote

from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway_v1 as rest
from ministack.services import iam, lambda_svc, tagging, waf

resource_of, context_of = iam_actions.extract_resource_arn, iam_actions.request_tag_context
lambda_action = iam_actions._lambda_action
function = lambda_svc._get_function
may_not_list = contextvars.ContextVar("may_not_list", default=False)
enforce, refuse, tags_of = iam_evaluator.enforce, iam_actions.access_denied_response, tagging.resource_tags
# The request that is being checked; nothing is awaited between the look at it and the check.
request = {}
denied_beside = []


def resource(service, method, path, headers, body, params, region, account):
    arn = resource_of(service, method, path, headers, body, params, region, account)
    target = headers.get("x-amz-target", "").rsplit(".", 1)[-1]
    sent = json.loads(body) if body[:1] == b"{" else {}
    if service == "lambda" and sent.get("FunctionName") and path.endswith("/functions"):
        arn = f"arn:aws:lambda:{region}:{account}:function:{sent['FunctionName']}"
    elif service == "cognito-idp" and sent.get("ResourceArn"):
        arn = sent["ResourceArn"]
    elif service == "iam" and ":role/" in arn:
        # With its path, as it is or as it will be.
        name = arn.rsplit("/", 1)[-1]
        path = params.get("Path") or iam._roles.get(name, {}).get("Path") or "/"
        path = path[0] if isinstance(path, list) else path
        arn = f"{arn.split(':role/')[0]}:role{path}{name}"
    elif service == "lambda" and params.get("Qualifier"):
        # Of a version or an alias.
        (qualifier,) = params["Qualifier"] if isinstance(params["Qualifier"], list) else [params["Qualifier"]]
        arn = f"{arn}:{qualifier}"
    elif service == "wafv2":
        # AWS's list of actions has the web ACL and the stage for each of the three.
        arn = sent["ResourceArn"]
    elif target == "DescribeLogGroups":
        arn = f"arn:aws:logs:{region}:{account}:log-group::log-stream:"
    request.update(service=service, method=method, path=path, sent=sent, arn=arn, region=region, account=account)
    return arn


def action_of_lambda(method, path):
    if method == "DELETE" and path.endswith("/concurrency"):
        return "DeleteFunctionConcurrency"
    return "GetAccountSettings" if path.endswith("/account-settings") else lambda_action(method, path)


def context(service, action, body, params):
    found = context_of(service, action, body, params)
    sent = json.loads(body) if body[:1] == b"{" else {}
    in_request = sent.get("UserPoolTags") or (sent.get("tags") if service == "apigateway" else None) or {}
    for key, value in in_request.items():
        found[f"aws:requesttag/{key}".lower()] = value
    if action == "lambda:AddPermission":
        found["lambda:principal"] = sent["Principal"]
    if service == "iam":
        for name, key in (("PermissionsBoundary", "iam:permissionsboundary"), ("PolicyArn", "iam:policyarn")):
            value = params.get(name)
            if value:
                found[key] = value[0] if isinstance(value, list) else value
    return found


def tags(arn):
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return None
    if parts[2] == "cognito-idp":
        return next(({t["Key"]: t["Value"] for t in found} for known, found in tagging._collect_cognito() if known == arn), None)
    # All below a REST API inherits its tags.
    if parts[2] == "apigateway" and parts[5].startswith("/restapis/"):
        return rest._rest_apis.get(parts[5].split("/")[2], {}).get("tags")
    if parts[2] == "apigateway" and parts[5].startswith("/domainnames/"):
        return rest._domain_names.get(parts[5].split("/")[2], {}).get("tags")
    return tags_of(arn)


def beside(action):
    sent, arn, path = request["sent"], request["arn"], request["path"]
    if action in ("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration") and sent.get("Role"):
        yield "iam:PassRole", "iam", sent["Role"], {"iam:PassedToService": "lambda.amazonaws.com"}
    if action in ("lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"):
        for layer in sent.get("Layers") or []:
            yield "lambda:GetLayerVersion", "lambda", layer, {}
        if sent.get("KMSKeyArn"):
            yield "kms:CreateGrant", "kms", sent["KMSKeyArn"], {}
            yield "kms:Encrypt", "kms", sent["KMSKeyArn"], {}
        if (sent.get("VpcConfig") or {}).get("SubnetIds"):
            for name in ("DescribeSubnets", "DescribeSecurityGroups", "DescribeVpcs"):
                yield f"ec2:{name}", "ec2", "*", {}
    tagging_actions = {
        "iam:CreateRole": "iam:TagRole",
        "logs:CreateLogGroup": "logs:TagResource",
        "lambda:CreateFunction": "lambda:TagResource",
    }
    if action == "ssm:PutParameter" and sent.get("Tags"):
        yield "ssm:AddTagsToResource", "ssm", arn, {}
    if action in tagging_actions:
        yield tagging_actions[action], action.split(":")[0], arn, {}
    if action == "cognito-idp:CreateUserPool" and sent.get("UserPoolTags"):
        # Reports differ on which of the two it is.
        asked = {f"aws:RequestTag/{key}": value for key, value in sent["UserPoolTags"].items()}
        yield "cognito-idp:TagResource", "cognito-idp", "*", asked
        had = {f"aws:ResourceTag/{key}": value for key, value in sent["UserPoolTags"].items()}
        new = f"arn:aws:cognito-idp:{request['region']}:{request['account']}:userpool/new"
        yield "cognito-idp:TagResource", "cognito-idp", new, had
    if action == "cognito-idp:UpdateUserPool" and "UserPoolTags" in sent:
        yield "cognito-idp:TagResource", "cognito-idp", arn, {}
        yield "cognito-idp:UntagResource", "cognito-idp", arn, {}
    if request["service"] == "apigateway" and path.startswith("/tags/"):
        # Of a stage as well, which inherits the API's tags.
        tagged = unquote(path.removeprefix("/tags/"))
        yield "apigateway:PATCH", "apigateway", tagged, {}
    if action == "apigateway:POST" and sent.get("tags"):
        # The name of a domain is known before it is made. Whether AWS checks it is not known, so both are checked.
        for name in ("*", sent.get("domainName", "*")):
            made = quote(f"{api_gateway()}{unquote(path)}/{name}", safe="*")
            yield "apigateway:PUT", "apigateway", f"{api_gateway()}/tags/{made}", {}
    if request["service"] == "apigateway" and path.startswith("/domainnames"):
        yield from beside_domain(action)
    # API Gateway assumes the role: "iam:PassRole" (AWS's guide to CloudWatch logs of APIs).
    for patch in sent.get("patchOperations", []) if path == "/account" else []:
        yield "iam:PassRole", "iam", patch["value"], {"iam:PassedToService": "apigateway.amazonaws.com"}
    # AWS's guide to custom domains of user pools: the user that makes one needs it, and CloudFront takes no ARN there.
    if action in ("cognito-idp:CreateUserPoolDomain", "cognito-idp:UpdateUserPoolDomain") and sent.get("CustomDomainConfig"):
        yield "cloudfront:UpdateDistribution", "cloudfront", "*", {}
    if request["service"] == "wafv2":
        acl = sent.get("WebACLArn") or waf._associations.get(arn)
        if acl:
            yield action, "wafv2", acl, {}
        # AWS's guide to the rights of AWS WAF: to change what protects a stage.
        if action != "wafv2:GetWebACLForResource":
            yield "apigateway:SetWebACL", "apigateway", arn, {}


def api_gateway():
    return f"arn:aws:apigateway:{request['region']}::"


# What API Gateway checks beside the action on a domain, by its guides to custom domains and to mutual TLS.
def beside_domain(action):
    sent = request["sent"]
    mutual = sent.get("mutualTlsAuthentication") or {}
    for patch in sent.get("patchOperations", []):
        if patch["path"].startswith("/mutualTlsAuthentication/"):
            mutual = mutual | {patch["path"].rsplit("/", 1)[-1]: patch.get("value")}
    name = sent.get("domainName") or request["path"].split("/")[2]
    if action == "apigateway:POST" and "domainName" in sent:
        role = f"arn:aws:iam::{request['account']}:role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway"
        yield "iam:CreateServiceLinkedRole", "iam", role, {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"}
    if mutual.get("truststoreUri") == "":
        yield "apigateway:RemoveCertificateFromDomain", "apigateway", f"{api_gateway()}/domainnames/{name}", {}
    elif mutual:
        yield "apigateway:AddCertificateToDomain", "apigateway", f"{api_gateway()}/domainnames/{name}", {}
    if mutual.get("truststoreUri"):
        # With the rights of the caller, whose request is signed for API Gateway.
        file = f"arn:aws:s3:::{mutual['truststoreUri'].removeprefix('s3://')}"
        yield "s3:GetObject", "apigateway", file, {}
        if mutual.get("truststoreVersion"):
            yield "s3:GetObjectVersion", "apigateway", file, {}


def check(key, action, service, region, resource_arn="*", service_context=None):
    denied_beside.clear()
    denied = enforce(key, action, service, region, resource_arn=resource_arn, service_context=service_context)
    if denied or request.get("arn") != resource_arn:
        return denied
    if action == "lambda:GetFunction":
        # The answer leaves out what this one may not read.
        may_not_list.set(enforce(key, "lambda:ListTags", service, region, resource_arn=resource_arn) is not None)
    for other, of, arn, keys in beside(action):
        denied = enforce(key, other, of, region, resource_arn=arn, service_context=keys)
        if denied:
            denied_beside.append(other)
            return denied
    return None


def get_function(*args):
    status, headers, body = function(*args)
    found = json.loads(body)
    if "Tags" in found and may_not_list.get():
        del found["Tags"]
        message = "User is not authorized to perform: lambda:ListTags on this function"
        found["TagsError"] = {"ErrorCode": "AccessDeniedException", "Message": message}
        body = json.dumps(found).encode()
    return status, headers, body


def answer(service, action, *rest, **more):
    return refuse(service, denied_beside[0] if denied_beside else action, *rest, **more)


# A web ACL that a stage is to have is there: others make it.
waf._resolve_local_web_acl = lambda arn: ({"ARN": arn}, None)
iam_actions._lambda_action = action_of_lambda
lambda_svc._get_function = get_function
iam_actions.extract_resource_arn, iam_actions.request_tag_context = resource, context
iam_evaluator.enforce, iam_actions.access_denied_response, tagging.resource_tags = check, answer, tags

# A namespace of its own: it has the same names.
exec(compile(open(sys.argv[-1]).read(), "main.py", "exec"), {"__name__": "__main__"})
