# Starts MiniStack 1.5.33, after mending where it answers otherwise than AWS to changes in place, and where it has no answer
# yet: a client's second secret. A stage serves the API as it was deployed, not as it is.
# The folder is an argument that it does not see: it tells this process from others.
import copy
import json
import secrets
import sys
import time
from contextvars import ContextVar
from urllib.parse import unquote

del sys.argv[1:]

from ministack.app import main
from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import apigateway_v1 as rest
from ministack.services import cognito
from ministack.services import lambda_svc as functions

patch_all, take = rest._apply_patch, rest._take_token
tag, untag = rest._tag_v1_resource, rest._untag_v1_resource


# AWS adds one value to a list, removes one, and replaces the one at an index (`/authorizationScopes`, `/providerARNs`,
# `/endpointConfiguration/types/0`); MiniStack puts the value, or nothing, in the place of the list.
def patch_lists(resource, patches):
    for patch in patches:
        *outer, last = patch.get("path", "").lstrip("/").split("/")
        place, value = resource, patch.get("value")
        for key in outer:
            place = place.get(key) if isinstance(place, dict) else None
        values = place.get(last) if isinstance(place, dict) else None
        if isinstance(values, list) and patch.get("op") in ("add", "remove"):
            others = [other for other in values if other != value]
            place[last] = others + [value] if patch["op"] == "add" else others
        elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
            place[int(last)] = value
        else:
            patch_all(resource, [patch | {"value": typed(outer, last, value)}])
    return resource


# A patch has only texts; of some AWS makes a number or a boolean, and answers that.
def typed(outer, last, value):
    if last in ("authorizerResultTtlInSeconds", "timeoutInMillis") and str(value).isdigit():
        return int(value)
    if (last in ("apiKeyRequired", "disableExecuteApiEndpoint") or outer == ["requestParameters"]) and value in ("true", "false"):
        return value == "true"
    return value


# A stage serves the snapshot that its deployment took: the paths, methods, integrations and authorizers of that moment.
# MiniStack serves the API as it is now. It keeps (and stores) each deployment's gateway responses: the snapshot is put
# beside them.
served = ContextVar("served", default={})
deploy, execute, summarize = rest._create_deployment, rest._execute_in_scope, rest._build_api_summary


class Deployable(AccountRegionScopedDict):
    def get(self, api, default=None):
        return served.get()[self.name] if served.get() else super().get(api, default)


def deployable(name):
    store = Deployable()
    store.name = name
    return store


def deploy_snapshot(api, request):
    answer = deploy(api, request)
    if answer[0] == 201:
        *_, deployed = rest._deployed_gateway_responses[api].values()
        stores = {"resources": rest._resources, "authorizers": rest._authorizers_v1}
        deployed["snapshot"] = {name: copy.deepcopy(store.get(api, {})) for name, store in stores.items()}
    return answer


async def execute_snapshot(request, api, stage, *call):
    deployment = rest._stages_v1.get(api, {}).get(stage, {}).get("deploymentId")
    deployed = rest._deployed_gateway_responses.get(api, {}).get(deployment, {})
    token = served.set(deployed.get("snapshot", {}))
    try:
        return await execute(request, api, stage, *call)
    finally:
        served.reset(token)


# AWS's summary of a deployment has the type of each method's authorization.
def summarize_authorization(api):
    summary = summarize(api)
    for resource in rest._resources.get(api, {}).values():
        for verb, method in resource.get("resourceMethods", {}).items():
            summary[resource["path"]][verb]["authorizationType"] = method.get("authorizationType", "NONE")
    return summary


# What AWS answers for an API or a stage has the tags of the moment; MiniStack's has those of its creation.
def tags_of(arn):
    _, *names = arn.split("/")
    if names[0] == "restapis":
        api = names[1]
        resource = rest._rest_apis[api] if len(names) == 2 else rest._stages_v1[api][names[3]]
        return resource["tags"]
    if names[0] == "domainnames":
        return rest._domain_names[names[1]]["tags"]
    return {}


def tag_answered(arn, request):
    answer = tag(arn, request)
    if answer[0] == 204:
        tags_of(arn).update(request.get("tags", {}))
    return answer


def untag_answered(arn, keys):
    answer = untag(arn, keys)
    if answer[0] == 204:
        for key in keys:
            tags_of(arn).pop(key, None)
    return answer


# A URL gets the headers that are mapped, each in place of the caller's: a constant, or a claim of the token that the
# authorizer has checked. MiniStack maps parts of the path only, sends all of the caller's headers, and keeps the verb.
claims = ContextVar("claims", default={})
authorize, call_url, put_integration = rest._authorize_request_v1, rest._invoke_http_proxy_v1, rest._put_integration


async def authorize_and_keep(*request):
    refused, context = await authorize(*request)
    claims.set((context or {}).get("claims") or {})
    return refused, context


async def call_url_mapped(integration, path, method, headers, *others):
    mapped = {}
    for to, source in integration.get("requestParameters", {}).items():
        value = source[1:-1] if source.startswith("'") else claims.get().get(source.removeprefix("context.authorizer.claims."))
        if to.startswith("integration.request.header.") and value is not None:
            mapped[to.removeprefix("integration.request.header.").lower()] = value
    kept = {name: value for name, value in headers.items() if name.lower() not in mapped}
    verb = integration["httpMethod"]
    return await call_url(integration, path, method if verb == "ANY" else verb, kept | mapped, *others)


# MiniStack forgets how the URL is reached.
def put_integration_whole(api, resource, verb, request):
    answer = put_integration(api, resource, verb, request)
    if answer[0] == 201:
        put = rest._resources[api][resource]["resourceMethods"][verb]["methodIntegration"]
        put.update({key: request[key] for key in ("connectionId", "integrationTarget", "tlsConfig") if key in request})
    return answer


# AWS refuses a domain and a mapping that exist, and changes both in place; MiniStack overwrites them, and has no PATCH of them.
handle, make_domain, make_mapping = rest.handle_request, rest._create_domain_name, rest._create_base_path_mapping


async def handle_patches(method, path, headers, body, query):
    kind, *names = unquote(path).strip("/").split("/")
    if method != "PATCH" or kind != "domainnames":
        return await handle(method, path, headers, body, query)
    resource = rest._domain_names[names[0]] if len(names) == 1 else rest._base_path_mappings[names[0]][names[2]]
    return rest._v1_response(patch_lists(resource, json.loads(body)["patchOperations"]))


def make_new_domain(request):
    if request["domainName"] in rest._domain_names:
        return rest._v1_error("BadRequestException", "The domain name you provided already exists.", 400)
    return make_domain(request)


def make_new_mapping(domain, request):
    if request.get("basePath", "(none)") in rest._base_path_mappings.get(domain, {}):
        return rest._v1_error("ConflictException", "Base path already exists for this domain name", 409)
    return make_mapping(domain, request)


# A limit of -1 is none, as Terraform sets it where it is not given; MiniStack lets nothing through.
def take_token(slot, limits):
    off = any(float(limits.get(limit) or 0) < 0 for limit in ("rateLimit", "burstLimit"))
    return off or take(slot, limits)


# A client has one secret or two; MiniStack knows of one. The pool keeps the list, oldest first, and the client the oldest,
# which DescribeUserPoolClient answers (which one AWS answers is not documented).
dispatch, authenticate = cognito._dispatch_idp, cognito._authenticate_client


def list_secrets(client, kept, request):
    return {"ClientSecrets": [{k: v for k, v in secret.items() if k != "ClientSecretValue"} for secret in kept]}


def add_secret(client, kept, request):
    if len(kept) == 2:
        return error_response_json("LimitExceededException", "The client has two secrets already.", 400)
    now = round(time.time(), 3)
    added = {
        "ClientSecretId": f"{client['ClientId']}--{int(now * 1000)}",
        "ClientSecretValue": request.get("ClientSecret") or secrets.token_hex(26),
        "ClientSecretCreateDate": now,
    }
    kept.append(added)
    # A value that the caller chose is not answered.
    told = {name: value for name, value in added.items() if name != "ClientSecretValue" or "ClientSecret" not in request}
    return {"ClientSecretDescriptor": told}


def delete_secret(client, kept, request):
    left = [secret for secret in kept if secret["ClientSecretId"] != request.get("ClientSecretId")]
    if len(left) == len(kept):
        return error_response_json("ResourceNotFoundException", "The client has no such secret.", 400)
    if not left:
        return error_response_json("InvalidParameterException", "The last secret cannot be deleted.", 400)
    kept[:] = left
    client["ClientSecret"] = kept[0]["ClientSecretValue"]
    return {}


secret_calls = {
    "ListUserPoolClientSecrets": list_secrets,
    "AddUserPoolClientSecret": add_secret,
    "DeleteUserPoolClientSecret": delete_secret,
}


async def dispatch_secrets(action, request):
    if action not in secret_calls:
        return await dispatch(action, request)
    pool, error = cognito._resolve_pool(request.get("UserPoolId"))
    client = pool["_clients"].get(request.get("ClientId")) if pool else None
    if not client:
        return error or error_response_json("ResourceNotFoundException", "There is no such client.", 400)
    first = {
        "ClientSecretId": f"{client['ClientId']}--{int(client['CreationDate'] * 1000)}",
        "ClientSecretValue": client["ClientSecret"],
        "ClientSecretCreateDate": client["CreationDate"],
    }
    kept = pool.setdefault("_client_secrets", {}).setdefault(client["ClientId"], [first])
    answer = secret_calls[action](client, kept, request)
    return json_response(answer) if isinstance(answer, dict) else answer


# Any of a client's secrets is as good as the one that MiniStack compares with.
def authenticate_with_any(headers, form):
    name, given = authenticate(headers, form)
    _, pool, client = cognito._find_pool_by_client_id(name)
    kept = pool.get("_client_secrets", {}).get(name, []) if pool else []
    if any(secret["ClientSecretValue"] == given for secret in kept):
        return name, client["ClientSecret"]
    return name, given


# MiniStack lets an update of a function take half a second, which stands for nothing: `up --watch` waits for it after every save.
settle = functions._schedule_state_transition


def settle_update(name, delay):
    config = (functions._functions.get(name) or {}).get("config", {})
    settle(name, 0.1 if config.get("StateReasonCode") == "Updating" else delay)


functions._schedule_state_transition = settle_update
cognito._dispatch_idp = dispatch_secrets
cognito._authenticate_client = authenticate_with_any
rest._apply_patch = patch_lists
rest._resources, rest._authorizers_v1 = deployable("resources"), deployable("authorizers")
rest._create_deployment, rest._execute_in_scope = deploy_snapshot, execute_snapshot
rest._build_api_summary = summarize_authorization
rest._take_token = take_token
rest._authorize_request_v1, rest._invoke_http_proxy_v1 = authorize_and_keep, call_url_mapped
rest._put_integration = put_integration_whole
rest._tag_v1_resource = tag_answered
rest._untag_v1_resource = untag_answered
rest.handle_request, rest._create_domain_name, rest._create_base_path_mapping = (
    handle_patches,
    make_new_domain,
    make_new_mapping,
)

main()
