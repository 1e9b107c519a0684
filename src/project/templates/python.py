"""Answers every route that names this function. API Gateway has already checked the token and its scope."""

import json


def handler(event, context):
    route = f"{event['httpMethod']} {event['path']}"
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    client_id = (authorizer.get("claims") or {}).get("client_id")
    # Never the event itself: it has the caller's token.
    print(json.dumps({"route": route, "client_id": client_id}))
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"message": f"{route} works", "client_id": client_id}),
    }
