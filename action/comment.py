"""Keeps one comment on a pull request up to date: comment.py FILE

The first line of the file, `<!-- provision plan: STACK -->`, marks the comment. The comment of the author that begins with this line
is changed; where there is none, it is made. Comments of others are left alone, whatever they begin with.

GITHUB_TOKEN, GITHUB_API_URL, GITHUB_REPOSITORY, PULL_REQUEST, AUTHOR: the token, where, which pull request, and whom the token belongs to.
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

# GitHub takes no longer one.
LONGEST = 65_536
PAGE = 100
PAGES = 50
TRIES = 3


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token would go along."""

    def redirect_request(self, *_):
        return None


def fail(why):
    sys.exit(f"error: {why}")


def ask(verb, path, content=None):
    """What GitHub answers. A read is repeated, a write is not: it may have happened."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=verb,
        data=None if content is None else json.dumps(content).encode(),
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "User-Agent": "provision",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    opener = urllib.request.build_opener(Stays)
    for left in reversed(range(TRIES if verb == "GET" else 1)):
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if left and error.code >= 500:
                time.sleep(1)
                continue
            hint = "; the job needs `permissions: pull-requests: write`" if error.code in (401, 403, 404) else ""
            fail(f"cannot comment on the pull request: GitHub answered {error.code} to {verb}{hint}")
        except OSError as error:
            if left:
                time.sleep(1)
                continue
            fail(f"cannot comment on the pull request: no answer from GitHub to {verb}: {error}")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        body = file.read()
    number = os.environ["PULL_REQUEST"]
    if not re.fullmatch(r"[0-9]+", number):
        fail("PULL_REQUEST is not a number")
    marker = body.split("\n", 1)[0].rstrip()
    if not re.fullmatch(r"<!-- provision plan: \S+ -->", marker):
        fail("the first line of the file does not mark a plan")
    if len(body) > LONGEST:
        fail(f"the comment has {len(body)} characters, and GitHub takes {LONGEST}")
    for page in range(1, PAGES + 1):
        comments = ask("GET", f"issues/{number}/comments?per_page={PAGE}&page={page}")
        for comment in comments:
            is_ours = (comment.get("user") or {}).get("login") == os.environ["AUTHOR"]
            lines = (comment.get("body") or "").splitlines() or [""]
            if is_ours and lines[0].rstrip() == marker:
                ask("PATCH", f"issues/comments/{int(comment['id'])}", {"body": body})
                print("changed the comment on the pull request")
                return
        if len(comments) < PAGE:
            break
    else:
        fail(f"the pull request has more than {PAGE * PAGES} comments")
    ask("POST", f"issues/{number}/comments", {"body": body})
    print("made a comment on the pull request")


main()
