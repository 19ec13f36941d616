#!/usr/bin/env python3
"""Runs the programs of docs/client.md (Python, Node, and a page in a browser) and the examples of
docs/websocket-json.md against a real gimlet, and compares the traced session with the server's answers.

    tests/clients.py --binary target/debug/gimlet

Needs node, and chromium-headless-shell for the page. The tests use each program only through its
input and output, like a user who copied it.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "docs/clients"
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server  # noqa: E402

LINE_SECONDS = 60


class ClientProgram:
    """A client program, controlled by lines of input and output."""

    def __init__(self, name, command, folder):
        self.name, self.lines, self.printed = name, queue.Queue(), []
        self.process = subprocess.Popen(
            command, cwd=folder, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", start_new_session=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def send_line(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for_all(self, *parts):
        """Waits until each of `parts` was in a line, in any order."""
        missing = set(parts)
        while missing:
            line = self.wait_for("")
            missing = {part for part in missing if part not in line}

    def wait_for(self, part):
        """Waits for a line that contains `part`, and returns it."""
        end = time.monotonic() + LINE_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(
                    "%s did not print %r; it printed %r" % (self.name, part, self.printed))
            self.printed.append(line)
            if part in line:
                return line

    def close_input(self):
        """Closes the input; the program must send everything and exit with 0."""
        self.process.stdin.close()
        code = self.process.wait(LINE_SECONDS)
        assert code == 0, "%s exited with %d: %r" % (self.name, code, self.printed)

    def kill(self):
        """Kills the whole process group: Debian's Chromium is a script that starts the browser."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without logging."""

    def log_message(self, *_):
        pass


def at(address):
    return "%s:%d" % address


class Fixture:
    def __init__(self, server, folder):
        self.server, self.folder, self.programs = server, folder, []

    def start(self, name, command):
        program = ClientProgram(name, command, self.folder)
        self.programs.append(program)
        return program

    def addresses(self):
        return ["--tcp", at(self.server.tcp_address), "--grpc", at(self.server.logic.address)]

    def python(self, phone):
        return self.start("python " + phone, [sys.executable, "-u", CLIENTS / "client.py", phone, *self.addresses()])

    def node(self, phone):
        return self.start("node " + phone, ["node", CLIENTS / "client.mjs", phone, *self.addresses()])


def python_and_node_deliver_every_message_once(fixture):
    """Each message arrives once and in order, both ways, after an absence and after a server kill."""
    alice = fixture.python("13800000001")
    alice.wait_for("you are user 1")
    bob = fixture.node("13800000002")
    bob.wait_for("you are user 2")
    alice.send_line("2 hello from Python")
    bob.wait_for("from 1: hello from Python")
    alice.wait_for("stored as #")
    bob.send_line("1 hello from Node: \u4f60\u597d \U0001f600")
    alice.wait_for("from 2: hello from Node: \u4f60\u597d \U0001f600")
    bob.send_line("99999 is there anybody?")
    bob.wait_for("not sent: ")
    # Quit, and start again to get the missed messages.
    bob.close_input()
    for n in range(60):
        alice.send_line("2 missed %d" % n)
    alice.wait_for("missed 59")
    bob = fixture.node("13800000002")
    for n in range(60):
        bob.wait_for("from 1: missed %d" % n)
    bob.wait_for("you are user 2")
    # kill -9, and messages sent during the outage.
    fixture.server.kill()
    alice.send_line("2 during the outage")
    bob.send_line("1 me, too")
    fixture.server.start()
    bob.wait_for("from 1: during the outage")
    alice.wait_for("from 2: me, too")
    for program in (alice, bob):
        program.close_input()
        messages = [line for line in program.printed if re.match(r"#\d+ from [12]: ", line)]
        numbers = [int(line[1:line.index(" ")]) for line in messages]
        assert numbers == sorted(set(numbers)), (
            "%s: not once and in order: %r" % (program.name, messages))


def a_page_exchanges_messages(fixture):
    """Runs the page in a headless browser and reads its log from the console."""
    browser = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)
    if browser is None:
        raise AssertionError("chromium-headless-shell is not installed")
    carol = fixture.node("13800000003")
    carol.wait_for("you are user")
    carol.close_input()
    text = (pathlib.Path(fixture.folder) / "13800000003.json").read_text(encoding="utf-8")
    user, device = re.findall(r'"(?:user|device)_id":"(\d+)n"', text)
    token = re.search(r'"token":"([^"]+)"', text)[1]
    dave = fixture.python("13800000004")
    number = dave.wait_for("you are user").split()[-1]
    handler = functools.partial(Files, directory=CLIENTS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", fixture.origin_port), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/page.html#ws://%s/ws,%s,%s,%s,%s,hello from a page" % (
            pages.server_port, at(fixture.server.ws_address), user, device, token, number)
        page = fixture.start("page", [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--user-data-dir=%s" % (pathlib.Path(fixture.folder) / "chromium"), "--enable-logging=stderr",
            "--remote-debugging-port=0", url.replace(" ", "%20")])
        page.wait_for("you are user " + user)
        dave.wait_for("from %s: hello from a page" % user)
        page.wait_for("stored as #")
        dave.send_line(user + " hello from Python")
        page.wait_for("from %s: hello from Python" % number)
        page.kill()
        pages.shutdown()
    dave.close_input()


def traced():
    """Returns the traced session of docs/client.md: [(is request, bytes)]."""
    text = (ROOT / "docs/client.md").read_text(encoding="utf-8")
    block = text[text.index("## A session, traced"):]
    block = block[block.index("```text") + 7:]
    steps = []
    for line in block[:block.index("```")].splitlines():
        if line.startswith(("\u2192", "\u2190")):
            steps.append((line[0] == "\u2192", bytearray()))
        elif line.strip():
            steps[-1][1].extend(bytes.fromhex(line))
    return steps


# Fields whose values differ between runs.
VOLATILE = {"epoch", "message_id", "send_time", "receive_time", "token", "device_id"}


def without_volatile(message):
    for field, value in message.ListFields():
        if field.name in VOLATILE:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for each in value if hasattr(value, "append") else [value]:
                without_volatile(each)
    return message


def readable(frame, pb, logic):
    """Returns a frame of the server as (packet, data), without the volatile fields."""
    packet = pb.Output.FromString(bytes(frame[2:]))
    kinds = {
        pb.PT_SIGN_IN: pb.SignInOutput, pb.PT_SYNC: pb.SyncOutput,
        pb.PT_HEARTBEAT: pb.HeartbeatOutput, pb.PT_SEND: logic.SendMessageResp,
    }
    data = without_volatile(kinds[packet.type].FromString(packet.data))
    packet.data = b""
    return packet, data


def the_traced_session_matches_the_server(fixture):
    """Sends the traced requests with this run's device and token and compares the answers."""
    sys.path.insert(0, str(CLIENTS))
    import client

    pb, logic = client.pb, client.logic

    state = client.State(pathlib.Path(fixture.folder) / "traced.json")
    state.sign_up(at(fixture.server.logic.address), "13900000001", "000000")
    assert state.user_id == 1, "the trace needs the first user of a server"
    with socket.create_connection(fixture.server.tcp_address, 20) as link:
        for is_request, frame in traced():
            if is_request:
                packet = pb.Input.FromString(bytes(frame[2:]))
                if packet.type == pb.PT_SIGN_IN:
                    sign_in = pb.SignInInput.FromString(packet.data)
                    sign_in.device_id, sign_in.token = state.device_id, state.token
                    packet.data = sign_in.SerializeToString()
                body = packet.SerializeToString()
                link.sendall(len(body).to_bytes(2, "big") + body)
                continue
            length = read(link, 2)
            got = length + read(link, int.from_bytes(length, "big"))
            want, have = readable(frame, pb, logic), readable(got, pb, logic)
            assert want == have, "docs/client.md has %s, the server sent %s" % (want, have)


def code_blocks(page, language):
    """Returns the code of a page of docs in this language, with the addresses of the server."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```%s\n(.*?)^```" % language, text, re.M | re.S)


def the_examples_of_websocket_json_talk(fixture):
    """Runs the examples of docs/websocket-json.md, and its packets by hand."""
    def example(language, name):
        [code] = code_blocks("websocket-json.md", language)
        code = code.replace("127.0.0.1:8085", at(fixture.server.http_address))
        code = code.replace("127.0.0.1:8081", at(fixture.server.ws_address))
        path = pathlib.Path(fixture.folder) / name
        path.write_text(code, encoding="utf-8")
        return path

    ask_for_friendship(fixture.server, "13800000003", "13800000002")
    ask_for_friendship(fixture.server, "13800000002", "13800000003")
    script = fixture.start("JavaScript", ["node", "--experimental-websocket", example("js", "example.mjs")])
    # The answer and the message of one's own are two packets, in either order.
    script.wait_for_all("from system: friend_requested", "hi from JavaScript", "stored as #")
    python = fixture.start("Python", [sys.executable, "-u", example("python", "example.py")])
    python.wait_for_all("from system: friend_requested", "stored as #")
    assert python.process.wait(LINE_SECONDS) == 0, python.printed
    by_hand(fixture.server)


def ask_for_friendship(server, phone, friend_phone):
    """Puts an entry of the system into the friend's inbox."""
    def call(path, body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        url = "http://%s/v1/%s" % (at(server.http_address), path)
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=LINE_SECONDS) as answer:
            return json.loads(answer.read() or b"{}")

    user, friend = (call("sign-in", {"phone_number": number, "code": "000000"}) for number in (phone, friend_phone))
    call("friends", {"user_id": friend["user_id"]}, user["token"])


def by_hand(server):
    """Sends the packets of the page's dialogue, and compares the answers field by field."""
    from gimclient.device import Device
    from gimclient.ws import WsLink

    alice, bob = (Device(server, phone) for phone in ("13800000001", "13800000002"))
    [dialogue] = [it for it in code_blocks("websocket-json.md", "text") if "\u2192 {" in it]
    link, answers = WsLink(server.ws_address, protocol="gimlet.json.v1"), 0
    for line in dialogue.splitlines():
        packet = line[2:].replace("1.5561.N0Yx\u2026", "%d.%d.%s" % (alice.user_id, alice.device_id, alice.token))
        if line.startswith("\u2192"):
            link.send(packet.replace('"2"', '"%d"' % bob.user_id).encode("utf-8"))
            continue
        if '"type":"message"' in packet:
            bob.send(alice, "hi, alice")
            while (answer := json.loads(link.receive()))["type"] != "message":
                pass
            assert answer["message"]["content"]["text"] == "hi, alice", answer
        else:
            answer, written = json.loads(link.receive()), json.loads(packet)
            assert answer.keys() == written.keys(), (answer, written)
            assert answer["type"] == written["type"], (answer, written)
        answers += 1
    assert answers == 4, dialogue
    link.close()


def read(link, count):
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        assert more, "the server closed the connection"
        data += more
    return data


def fims_settings():
    """Returns the settings that docs/protocol.md lists for fim: {variable: value}."""
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    block = text[text.index("## What fim needs"):]
    return dict(re.findall(r"^(GIMLET_\w+)=(\S+)", block[:block.index("## What gimlet adds")], re.M))


class FimsServer(Server):
    """A server with fim's settings, with free ports on all addresses."""

    def environment(self):
        env = super().environment()
        for variable, value in fims_settings().items():
            free = re.findall(r":(\d+)", env.get(variable, ""))
            env[variable] = re.sub(r":\d+", lambda _: ":" + free.pop(0), value) if free else value
        return env


def fims_settings_serve_fim(fixture):
    """fim's start, from RegisterDevice to a picture, works on a server that is not a development run."""
    from gimclient.device import Device
    from gimclient.fixture import Fixture as WireFixture

    fixture.server.remove()
    fixture.server = server = FimsServer(fixture.server.binary)
    server.start()
    settings = fims_settings()
    code = settings["GIMLET_BUSINESS__CODE_VERIFIER"].partition(":")[2]
    wire = WireFixture(server)
    alice, bob = (Device(server, phone, code) for phone in ("13800000001", "13800000002"))
    alice.call("LogicExt.AddFriend", friend_id=bob.user_id)
    bob.call("LogicExt.AgreeAddFriend", user_id=alice.user_id)
    session = wire.online(bob, "tcp")
    alice.send(bob, "hello")
    session.expect_words("hello")
    session.ack(2)
    body = (b'--B\r\nContent-Disposition: form-data; name="file"; filename="avatar.png"\r\n\r\n'
            b"\x89PNG\r\n\x1a\n" + b"7" * 100 + b"\r\n--B--\r\n")
    request = urllib.request.Request(
        "http://%s/upload" % at(server.http_address), body,
        {"Content-Type": "multipart/form-data; boundary=B"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as answer:
        url = json.load(answer)["data"]["url"]
    assert url.startswith(settings["GIMLET_HTTP__PUBLIC_URL"] + "/file/"), url
    alice.call("BusinessExt.UpdateUser", avatar_url=url)
    wire.close()


CASES = [fims_settings_serve_fim, the_traced_session_matches_the_server, python_and_node_deliver_every_message_once,
         a_page_exchanges_messages, the_examples_of_websocket_json_talk]


def generate(folder):
    """Generates the messages with the command of client.py."""
    text = (CLIENTS / "client.py").read_text(encoding="utf-8")
    files = re.findall(r"pb/\w+\.ext\.proto", text)
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ROOT / "proto/proto",
               "--python_out=" + folder, "--grpc_python_out=" + folder, *files]
    subprocess.run(command, check=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    sys.path.insert(0, folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gimlet-pb-") as folder:
        generate(folder)
        return run(args)


def run(args):
    failed = 0
    for case in CASES:
        if args.only not in case.__name__:
            continue
        started = time.monotonic()
        server = Server(os.path.abspath(args.binary))
        with tempfile.TemporaryDirectory(prefix="gimlet-clients-") as folder:
            fixture = Fixture(server, folder)
            try:
                fixture.origin_port = free_port()
                server.start()
                case(fixture)
                said = "ok"
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                said = "FAILED: %r\n%s" % (error, fixture.server.log_tail())
            finally:
                for program in fixture.programs:
                    program.kill()
                fixture.server.remove()
        print("%s ... %s (%.1f s)" % (case.__name__, said, time.monotonic() - started), flush=True)
    return 1 if failed else 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
