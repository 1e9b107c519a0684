# Decides who is let in to the emulator. Runs before main.py, in the same process, and stands between the server and MiniStack.
# A request needs the token of the sandbox's folder as its access key id, except where AWS asks for no AWS credentials.
import hmac
import json
import os
import re
import sys

from ministack import app as ministack
from ministack.core import lambda_runtime


# A function may call the emulator, as it may call AWS. This comes before MiniStack's services take the original.
def let_functions_in(token):
    credentials = lambda_runtime.execution_credentials
    lambda_runtime.execution_credentials = lambda config: {**credentials(config), "AWS_ACCESS_KEY_ID": token.decode()}


def guarded(let_in, token, port):
    from ministack.services import cognito, sts

    own_host = f"127.0.0.1:{port}".encode()
    # Exactly the paths that MiniStack's router takes for a call of an API, whatever the headers; any other path reaches
    # its services. WebSocket connections are managed below an API's path, but with AWS credentials.
    api_path = re.compile(r"/restapis/[^/]+/[^/]+/_user_request_(/(?!@connections/).*)?", re.DOTALL)
    keys_path = re.compile(r"/([^/]+)/\.well-known/(jwks\.json|openid-configuration)")

    def values(headers, name):
        return [value for key, value in headers if key.lower() == name]

    # What anyone may ask of AWS.
    def is_open(method, path):
        keys = keys_path.fullmatch(path)
        return (
            (method, path) == ("POST", "/oauth2/token")
            or api_path.fullmatch(path)
            # Where there is no such pool, MiniStack's router would go by the headers.
            or (method == "GET" and keys and cognito._get_pool_unscoped(keys[1]) is not None)
        )

    def has_token(headers):
        signed = values(headers, b"authorization")
        key = re.match(rb"AWS4-HMAC-SHA256 +Credential=([^/]+)/", signed[0]) if len(signed) == 1 else None
        # Who has assumed a role had the token.
        return bool(key) and (hmac.compare_digest(key[1], token) or key[1].decode("latin-1") in sts._sessions)

    async def answer(send, status, headers, body=b""):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # As AWS does, so that its tools show the message.
    async def refuse(send, headers, code, message):
        if any(b"x-www-form-urlencoded" in value for value in values(headers, b"content-type")):
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        else:
            body = json.dumps({"__type": code, "message": message})
        await answer(send, 403, [(b"x-amzn-errortype", code.encode())], body.encode())

    async def front(scope, receive, send):
        if scope["type"] == "lifespan":
            return await let_in(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close"})
        headers, path = scope["headers"], scope["path"]
        # A web page says where it comes from; its host name may be made to point to this machine.
        if values(headers, b"host") != [own_host] or values(headers, b"origin"):
            return await refuse(send, headers, "AccessDenied", "the sandbox does not answer web pages or other host names")
        challenge = values(headers, b"x-provision-challenge")
        if path == "/_provision/proof" and len(challenge) == 1:
            # A client that has the token learns that no stranger has taken the port, before it sends the token.
            proof = hmac.digest(token, own_host + b" " + challenge[0], "sha256").hex()
            return await answer(send, 204, [(b"x-provision-proof", proof.encode())])
        if not is_open(scope["method"], path) and not has_token(headers):
            message = "the sandbox needs its own access key: run `provision sandbox status` to see it"
            return await refuse(send, headers, "InvalidClientTokenId", message)

        async def send_without_cors(event):
            # An API answers what its function says.
            if event["type"] == "http.response.start" and not api_path.fullmatch(path):
                kept = [header for header in event["headers"] if not header[0].lower().startswith(b"access-control-")]
                event = {**event, "headers": kept}
            await send(event)

        await let_in(scope, receive, send_without_cors)

    return front


def stand_in_front():
    with open(os.path.join(sys.argv[1], "token"), "rb") as file:
        token = file.read()
    let_functions_in(token)
    ministack.app = guarded(ministack.app, token, os.environ["GATEWAY_PORT"])


stand_in_front()
