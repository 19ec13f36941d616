"""A receiver of webhooks that trusts nobody: it verifies signatures as Standard Webhooks says, with nothing
of gimlet's code, and prints each event before it accepts it, so that a kill loses no accepted event.

It fails at times on purpose, after it has printed the events: gimlet must send them again.

    event ID RECEIVER TEXT     an event of a genuine request
    forged                     a request whose signature is wrong
"""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
# Every so many requests one is answered with 500, and one with a closed connection; 0 is never.
FAIL_EVERY = int(os.environ.get("FAIL_EVERY", "0"))
# A fault that a judge must find: "loss" leaves an event out.
PLANTED = os.environ.get("PLANTED", "")

lock = threading.Lock()
requests = 0


def is_genuine(headers, body):
    message, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message or not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    right = hmac.new(KEY, b"%s.%s.%s" % (message.encode(), at.encode(), body), hashlib.sha256).digest()
    for signature in headers.get("webhook-signature", "").split(" "):
        version, _, value = signature.partition(",")
        try:
            if version == "v1" and hmac.compare_digest(base64.b64decode(value, validate=True), right):
                return True
        except ValueError:
            continue
    return False


def write(lines):
    data = "".join(line + "\n" for line in lines).encode()
    while data:
        data = data[os.write(1, data):]


def line_of(event):
    message = event["data"]["message"]
    receiver = message["receiver"]
    name = receiver["type"] + receiver.get("user_id", receiver.get("group_id", ""))
    return f"event {event['id']} {name} {message['content'].get('text', '-')}"


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global requests, PLANTED
        body = self.rfile.read(int(self.headers["content-length"]))
        genuine = is_genuine(self.headers, body)
        with lock:
            requests += 1
            number = requests
            lines = [line_of(event) for event in json.loads(body)["events"]] if genuine else ["forged"]
            if PLANTED == "loss" and genuine and number > 10:
                lines.pop()
                PLANTED = ""
            write(lines)
        if FAIL_EVERY and number % FAIL_EVERY == 1:
            self.close_connection = True
            return
        status = 500 if FAIL_EVERY and number % FAIL_EVERY == 2 else 204
        self.send_response(status if genuine else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # gimlet was killed in the middle of a request


server = Server(("127.0.0.1", int(os.environ["PORT"])), Receiver)
write(["listening"])
server.serve_forever()
