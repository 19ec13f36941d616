#!/usr/bin/env python3
"""Runs the programs of docs/client.md against a real gimlet: Python, Node, and the page in a browser;
and compares the traced session of that page with what the server says.

    tests/clients.py --binary target/debug/gimlet

Needs node, and chromium-headless-shell for the page. Each program is a person who talks by its input
and output, as somebody would who copied it.
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

PATIENCE_SECONDS = 60


class Person:
    """A program that is talked to by lines."""

    def __init__(self, name, command, folder):
        self.name, self.lines, self.heard = name, queue.Queue(), []
        self.process = subprocess.Popen(
            command, cwd=folder, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, encoding="utf-8", start_new_session=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def says(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hears(self, part):
        """Waits for a line with this in it."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError("%s should say %r; it said %r" % (self.name, part, self.heard))
            self.heard.append(line)
            if part in line:
                return line

    def leaves(self):
        """Ends its input; the program ends well, with everything sent."""
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_SECONDS)
        assert code == 0, "%s ended with %d: %r" % (self.name, code, self.heard)

    def kill(self):
        """Ends it with all that it started: Debian's Chromium is a script that starts the browser."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_):
        pass


def at(address):
    return "%s:%d" % address


class World:
    def __init__(self, server, folder):
        self.server, self.folder, self.people = server, folder, []

    def start(self, name, command):
        person = Person(name, command, self.folder)
        self.people.append(person)
        return person

    def addresses(self):
        return ["--tcp", at(self.server.tcp_address), "--grpc", at(self.server.logic.address)]

    def python(self, phone):
        return self.start("python " + phone, [sys.executable, "-u", CLIENTS / "client.py", phone, *self.addresses()])

    def node(self, phone):
        return self.start("node " + phone, ["node", CLIENTS / "client.mjs", phone, *self.addresses()])


def python_and_node_talk_through_everything(world):
    """Both ways, over an absence, and over a server that is killed: each message once, in order."""
    alice = world.python("13800000001")
    alice.hears("you are user 1")
    bob = world.node("13800000002")
    bob.hears("you are user 2")
    alice.says("2 hello from Python")
    bob.hears("from 1: hello from Python")
    alice.hears("stored as #")
    bob.says("1 hello from Node: \u4f60\u597d \U0001f600")
    alice.hears("from 2: hello from Node: \u4f60\u597d \U0001f600")
    bob.says("99999 is there anybody?")
    bob.hears("not sent: ")
    # Quit, and come back to what was missed.
    bob.leaves()
    for n in range(60):
        alice.says("2 missed %d" % n)
    alice.hears("missed 59")
    bob = world.node("13800000002")
    for n in range(60):
        bob.hears("from 1: missed %d" % n)
    bob.hears("you are user 2")
    # kill -9, and messages of the outage.
    world.server.kill()
    alice.says("2 during the outage")
    bob.says("1 me, too")
    world.server.start()
    bob.hears("from 1: during the outage")
    alice.hears("from 2: me, too")
    for person in (alice, bob):
        person.leaves()
        came = [line for line in person.heard if re.match(r"#\d+ from [12]: ", line)]
        numbers = [int(line[1:line.index(" ")]) for line in came]
        assert numbers == sorted(set(numbers)), "%s: in order and once: %r" % (person.name, came)


def a_page_talks_to_both(world):
    """The page in a browser without a screen; what it logs is read from the console."""
    browser = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)
    if browser is None:
        raise AssertionError("chromium-headless-shell is not installed")
    carol = world.node("13800000003")
    carol.hears("you are user")
    carol.leaves()
    text = (pathlib.Path(world.folder) / "13800000003.json").read_text(encoding="utf-8")
    user, device = re.findall(r'"(?:user|device)_id":"(\d+)n"', text)
    token = re.search(r'"token":"([^"]+)"', text)[1]
    dave = world.python("13800000004")
    number = dave.hears("you are user").split()[-1]
    handler = functools.partial(Files, directory=CLIENTS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", world.origin_port), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/page.html#ws://%s/ws,%s,%s,%s,%s,hello from a page" % (
            pages.server_port, at(world.server.ws_address), user, device, token, number)
        page = world.start("page", [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--user-data-dir=%s" % (pathlib.Path(world.folder) / "chromium"), "--enable-logging=stderr",
            "--remote-debugging-port=0", url.replace(" ", "%20")])
        page.hears("you are user " + user)
        dave.hears("from %s: hello from a page" % user)
        page.hears("stored as #")
        dave.says(user + " hello from Python")
        page.hears("from %s: hello from Python" % number)
        page.kill()
        pages.shutdown()
    dave.leaves()


def traced():
    """The traced session of the page: [(is request, bytes)]."""
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


# Fields that differ from run to run.
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
    """A frame of the server as (packet, data), without what differs from run to run."""
    packet = pb.Output.FromString(bytes(frame[2:]))
    kinds = {
        pb.PT_SIGN_IN: pb.SignInOutput, pb.PT_SYNC: pb.SyncOutput,
        pb.PT_HEARTBEAT: pb.HeartbeatOutput, pb.PT_SEND: logic.SendMessageResp,
    }
    data = without_volatile(kinds[packet.type].FromString(packet.data))
    packet.data = b""
    return packet, data


def the_traced_session_is_what_the_server_says(world):
    """The requests of the page, with this run's device and token, get the answers of the page."""
    sys.path.insert(0, str(CLIENTS))
    import client

    pb, logic = client.pb, client.logic

    state = client.State(pathlib.Path(world.folder) / "traced.json")
    state.sign_up(at(world.server.logic.address), "13900000001", "000000")
    assert state.user_id == 1, "the trace is of the first user of a server"
    with socket.create_connection(world.server.tcp_address, 20) as link:
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
            assert want == have, "the page says %s, the server %s" % (want, have)


def read(link, count):
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        assert more, "the server closed the connection"
        data += more
    return data


def fims_settings():
    """The settings that docs/protocol.md lists for fim: {variable: value}."""
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    block = text[text.index("## What fim needs"):]
    return dict(re.findall(r"^(GIMLET_\w+)=(\S+)", block[:block.index("## What gimlet adds")], re.M))


class FimsServer(Server):
    """A server with fim's settings, on free ports of every address."""

    def environment(self):
        env = super().environment()
        for variable, value in fims_settings().items():
            free = re.findall(r":(\d+)", env.get(variable, ""))
            env[variable] = re.sub(r":\d+", lambda _: ":" + free.pop(0), value) if free else value
        return env


def fims_settings_serve_fim(world):
    """fim's start-up, from RegisterDevice to a picture, by a server that is not a development run."""
    from gimclient.device import Device
    from gimclient.fixture import Fixture as WireFixture

    world.server.remove()
    world.server = server = FimsServer(world.server.binary)
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


CASES = [fims_settings_serve_fim, the_traced_session_is_what_the_server_says, python_and_node_talk_through_everything,
         a_page_talks_to_both]


def generate(folder):
    """Has the messages generated, with the command of client.py."""
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
            world = World(server, folder)
            try:
                world.origin_port = free_port()
                server.start()
                case(world)
                said = "ok"
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                said = "FAILED: %r\n%s" % (error, world.server.log_tail())
            finally:
                for person in world.people:
                    person.kill()
                world.server.remove()
        print("%s ... %s (%.1f s)" % (case.__name__, said, time.monotonic() - started), flush=True)
    return 1 if failed else 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
