"""Holds recorded requests against AWS's published service models, as botocore carries them.

usage: python validate_requests.py REQUESTS.json

Every request is taken apart as its service's protocol puts it together, and each member is checked: is it known, are the
required ones there, type, length, range, pattern, enum. Exit code 1 if anything is not valid; one line each.
"""

import base64
import json
import re
import sys
from urllib.parse import parse_qs, unquote, urlsplit

from botocore.loaders import Loader
from botocore.model import ServiceModel

TARGETS = {
    "AWSCognitoIdentityProviderService": "cognito-idp",
    "Logs_20140328": "logs",
    "secretsmanager": "secretsmanager",
}
QUERY = {"2010-05-08": "iam", "2011-06-15": "sts"}
# Java's character classes in the models' patterns, in Python's words.
CLASSES = {r"\p{L}": r"a-zA-Z\u00aa-\uffff", r"\p{M}": "", r"\p{S}": r"$+<=>^`|~", r"\p{N}": "0-9",
           r"\p{P}": r"!-/:-@\[-`{-~", r"\p{Z}": " ", r"\p{ASCII}": r"\x00-\x7f", r"\p{Alnum}": "0-9a-zA-Z"}

# Newer than the botocore that the emulator brings along; the SDK's own types have it.
NEWER = {"cognito-idp:CreateUserPool.IssuerConfiguration"}

models = {}


def model(service):
    if service not in models:
        models[service] = ServiceModel(Loader().load_service_model(service, "service-2"))
    return models[service]


def pattern(text):
    for java, python in CLASSES.items():
        text = text.replace(java, python)
    return re.compile(text)


def check(shape, value, place, wrong):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            wrong.append(f"{place}: not a structure")
            return
        for name in shape.required_members:
            if name not in value:
                wrong.append(f"{place}.{name}: required and not there")
        for name, member in value.items():
            if name in shape.members:
                check(shape.members[name], member, f"{place}.{name}", wrong)
            elif f"{place}.{name}" not in NEWER:
                wrong.append(f"{place}.{name}: not known")
        return
    if kind in ("list", "map"):
        if not isinstance(value, list if kind == "list" else dict):
            wrong.append(f"{place}: not a {kind}")
            return
        bounds(shape, len(value), place, "entries", wrong)
        if kind == "list":
            for index, member in enumerate(value):
                check(shape.member, member, f"{place}[{index}]", wrong)
        else:
            for key, member in value.items():
                check(shape.key, key, f"{place} key", wrong)
                check(shape.value, member, f"{place}.{key}", wrong)
        return
    if kind == "string":
        if not isinstance(value, str):
            wrong.append(f"{place}: not a string")
            return
        bounds(shape, len(value), place, "characters", wrong)
        if shape.enum and value not in shape.enum:
            wrong.append(f"{place}: {value!r} is not one of {shape.enum}")
        expected = shape.metadata.get("pattern")
        if expected and not pattern(expected).fullmatch(value):
            wrong.append(f"{place}: {value!r} does not match {expected}")
        return
    if kind in ("integer", "long"):
        if isinstance(value, bool) or not isinstance(value, int):
            wrong.append(f"{place}: not a number")
        else:
            bounds(shape, value, place, "", wrong)
        return
    if kind == "boolean":
        if not isinstance(value, bool):
            wrong.append(f"{place}: not a boolean")
        return
    if kind == "blob":
        if not isinstance(value, str):
            wrong.append(f"{place}: not base64")
        return
    wrong.append(f"{place}: this check does not know the type {kind}")


def bounds(shape, size, place, unit, wrong):
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low or high is not None and size > high:
        wrong.append(f"{place}: {size} {unit} is not within {low} and {high}".replace("  ", " "))


def scalar(shape, text):
    """A member that came as text: in a path, a query string or a form."""
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def form(shape, fields, prefix):
    """The query protocol: `Tags.member.1.Key`."""
    if shape.type_name == "structure":
        names = {field[len(prefix):].split(".")[0] for field in fields if field.startswith(prefix)}
        return {
            name: form(shape.members[name], fields, f"{prefix}{name}.") if name in shape.members else "?"
            for name in names
        }
    if shape.type_name == "list":
        prefix += "member."
        numbers = sorted({int(f[len(prefix):].split(".")[0]) for f in fields if f.startswith(prefix)})
        return [form(shape.member, fields, f"{prefix}{number}.") for number in numbers]
    return scalar(shape, fields[prefix.rstrip(".")])


def rest(request, body):
    """The operation whose method and path fit, with its members put back together."""
    parts = urlsplit(request["path"])
    service = "lambda" if re.match(r"/20\d\d-\d\d-\d\d/", parts.path) else "apigateway"
    for name in model(service).operation_names:
        operation = model(service).operation_model(name)
        template, _, fixed = operation.http["requestUri"].partition("?")
        labels = re.findall(r"{(\w+)\+?}", template)
        fits = re.fullmatch(re.sub(r"{\w+\+}", "(.+)", re.sub(r"{\w+}", "([^/]+)", template)), parts.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if operation.http["method"] != request["method"] or not fits:
            continue
        if any(key.partition("=")[0] not in query for key in filter(None, fixed.split("&"))):
            continue
        shape = operation.input_shape
        params = json.loads(body) if body else {}
        locations = {
            member.serialization.get("name", key): key for key, member in shape.members.items()
        }
        params = {locations.get(key, key): value for key, value in params.items()}
        for label, text in zip(labels, fits.groups()):
            key = locations[label]
            params[key] = scalar(shape.members[key], unquote(text))
        for label, texts in query.items():
            if label in fixed:
                continue
            key = locations.get(label, label)
            member = shape.members.get(key)
            params[key] = texts if member and member.type_name == "list" else scalar(member, texts[0]) if member else texts[0]
        return service, operation, params
    return service, None, None


def take_apart(request):
    body = base64.b64decode(request["body"])
    target = request["headers"].get("x-amz-target")
    if target:
        prefix, name = target.split(".")
        service = TARGETS[prefix]
        return service, model(service).operation_model(name), json.loads(body or b"{}")
    if request["headers"].get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields = {key: values[0] for key, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        service = QUERY[fields.pop("Version")]
        operation = model(service).operation_model(fields.pop("Action"))
        return service, operation, form(operation.input_shape, fields, "") if fields else {}
    return rest(request, body)


def main():
    with open(sys.argv[1]) as file:
        requests = json.load(file)
    wrong, operations = [], set()
    for request in requests:
        service, operation, params = take_apart(request)
        if operation is None:
            wrong.append(f"{service}: {request['method']} {request['path']} is no operation")
            continue
        operations.add(f"{service}:{operation.name}")
        if operation.input_shape is not None:
            check(operation.input_shape, params, f"{service}:{operation.name}", wrong)
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(1)
    print(f"{len(requests)} requests of {len(operations)} operations are valid")


main()
