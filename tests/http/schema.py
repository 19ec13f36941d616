#!/usr/bin/env python3
"""Calls every operation of the HTTP API with generated requests (schemathesis), as a user and as a backend. No
answer may be a server error, and each must fit docs/openapi.json.

    tests/http/schema.py --binary target/debug/gimlet --seconds 120

Each round draws other requests; the seed of a round that failed is printed. The seeds begin with the same number,
so that a change is not refused for a fault that was there before it: look for those with another `--seed`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server  # noqa: E402

KEY = "0123456789abcdef0123456789abcdef"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance")
# The first never ends, the next ones end what later requests need, and a server whose files are in a folder answers
# the last two with 501.
LEFT_OUT = ["followInbox", "signOut", "banUser", "revokeToken", "revokeJwts", "presignFile", "completeFile"]


def call(server, path, body, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    url = "http://%s:%d%s" % (*server.http_address, path)
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def push_settings(binary, folder):
    """Makes the keys of the push services: without them registrations are answered 501. Nothing is sent to them,
    because no network is reached."""
    made = subprocess.run([binary, "push", "keys"], check=True, capture_output=True, text=True)
    rsa = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA"], check=True, capture_output=True, text=True)
    account = {
        "type": "service_account", "project_id": "p", "private_key_id": "k", "client_email": "e",
        "private_key": rsa.stdout, "token_uri": "https://127.0.0.1:9/token",
    }
    key, file = folder / "key.pem", folder / "account.json"
    key.write_text(made.stdout)
    file.write_text(json.dumps(account))
    nowhere = "https://127.0.0.1:9"
    return {
        "APNS__KEY": str(key), "APNS__KEY_ID": "K", "APNS__TEAM_ID": "T", "APNS__TOPICS": "com.example",
        "APNS__URL": nowhere, "APNS__SANDBOX_URL": nowhere, "FCM__SERVICE_ACCOUNT": str(file), "FCM__URL": nowhere,
        "WEBPUSH__KEY": str(key), "WEBPUSH__CONTACT": "mailto:a@example.com", "WEBPUSH__HOSTS": "127.0.0.1",
    }


def prepared(server):
    """Makes two users with a group, so that small ids exist. Returns the token of the first."""
    alice, bob = (
        call(server, "/v1/sign-in", {"phone_number": phone, "code": "000000"})
        for phone in ("13800000001", "13800000002"))
    call(server, "/v1/groups", {"name": "us", "member_ids": [bob["user_id"]]}, alice["token"])
    return alice["token"], alice["user_id"]


def run_round(server, seed, headers):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "docs/openapi.json"),
        "--url", "http://%s:%d" % server.http_address, "--checks", CHECKS, "--max-examples", "20",
        "--seed", str(seed), "--request-timeout", "40", "--no-color",
    ]
    for name in LEFT_OUT:
        command += ["--exclude-operation-id", name]
    for header in headers:
        command += ["--header", header]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit("seed %d, %r:\n%s\n%s" % (seed, headers, done.stdout, done.stderr))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    keys = tempfile.TemporaryDirectory(prefix="gimlet-schema-")
    push = push_settings(binary, pathlib.Path(keys.name))
    push = {"GIMLET_PUSH__" + name: value for name, value in push.items()}
    server = Server(binary, GIMLET_HTTP__API_KEYS=KEY, **push)
    server.start()
    try:
        token, user = prepared(server)
        callers = (
            ("Authorization: Bearer " + token,),
            ("Authorization: Bearer " + KEY,),
            ("Authorization: Bearer " + KEY, "Gimlet-User: " + user),
            (),
        )
        end, rounds = time.monotonic() + arguments.seconds, 0
        while time.monotonic() < end:
            run_round(server, arguments.seed + rounds, callers[rounds % len(callers)])
            rounds += 1
        print("%d rounds without a server error or a wrong answer" % rounds)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
