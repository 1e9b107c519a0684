# Starts MiniStack 1.5.33, after mending where it answers otherwise than AWS to changes in place.
# The folder is an argument that it does not see: it tells this process from others.
import sys

del sys.argv[1:]

from ministack.app import main
from ministack.services import apigateway_v1 as rest

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
            patch_all(resource, [patch])
    return resource


# What AWS answers for an API or a stage has the tags of the moment; MiniStack's has those of its creation.
def tags_of(arn):
    _, *names = arn.split("/")
    if names[0] == "restapis":
        api = names[1]
        resource = rest._rest_apis[api] if len(names) == 2 else rest._stages_v1[api][names[3]]
        return resource["tags"]
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


# A limit of -1 is none, as Terraform sets it where it is not given; MiniStack lets nothing through.
def take_token(slot, limits):
    off = any(float(limits.get(limit) or 0) < 0 for limit in ("rateLimit", "burstLimit"))
    return off or take(slot, limits)


rest._apply_patch = patch_lists
rest._take_token = take_token
rest._tag_v1_resource = tag_answered
rest._untag_v1_resource = untag_answered

main()
