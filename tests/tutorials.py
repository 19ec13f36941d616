#!/usr/bin/env python3
"""Runs the commands and programs of docs/tutorials against a real gimlet, as a reader would.

    tests/tutorials.py --binary target/debug/gimlet [--site site]

The addresses of a page are replaced by those of a server on free ports. The page's first block of commands
ends with `gimlet`: its variables are the settings of the server. Needs curl, jq, node, php and go, and for
the web page the packages of site/ (playwright-core) and a headless Chromium.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "docs/tutorials"
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server, free_addresses  # noqa: E402

PROGRAM_SECONDS, WAIT_SECONDS = 120, 60
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page, language):
    """Returns the blocks of a page in one language."""
    text = (TUTORIALS / page).read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def settings_of(block, folder):
    """Runs a block of commands in a folder with a function in the place of gimlet; returns its GIMLET_ variables."""
    shell = "gimlet() { env | grep ^GIMLET_; }\n" + block
    done = subprocess.run(["bash", "-euc", shell], cwd=folder, capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"]})
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found, "the block sets nothing: %s" % block
    return found


class Reader:
    """A folder with the files that a reader of a page saves, and a server that the page starts."""

    def __init__(self, binary, page, extra=()):
        self.folder = tempfile.mkdtemp(prefix="gimlet-tutorial-")
        first = blocks(page, "sh")[:1]
        self.settings = settings_of(first[0], self.folder) if first else {}
        self.replaced = [*extra]
        self.server = Server(binary, **{name: self.here(value) for name, value in self.settings.items()})
        self.server.start()
        self.replaced.append(("http://127.0.0.1:8085", "http://%s:%d" % self.server.http_address))
        self.environment = dict(os.environ, **self.server.settings)

    def here(self, text):
        """Returns a text of the page with the addresses of this run."""
        for before, after in self.replaced:
            text = text.replace(before, after)
        return text

    def save(self, name, text):
        (pathlib.Path(self.folder) / name).write_text(self.here(text), encoding="utf-8")

    def run(self, *command):
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
                              timeout=PROGRAM_SECONDS, check=False)
        assert done.returncode == 0, "%s exited with %d: %s%s" % (
            command[0], done.returncode, done.stdout, done.stderr)
        return done.stdout

    def close(self):
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def same(expected, printed):
    """Tells whether an output is the one of the page, in which "…" stands for any text."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, printed.strip()) is not None


def backend(binary):
    """The commands print what the page says, and the four programs print the same."""
    reader = Reader(binary, "backend.md")
    try:
        message, inbox, program = blocks("backend.md", "text")
        commands = "set -euo pipefail\n" + "echo ==\n".join(blocks("backend.md", "sh")[1:])
        outputs = reader.run("bash", "-c", reader.here(commands)).split("==\n")
        # The blocks: names, users, a message of the backend and its repeat, one of Bob, the inbox, a group.
        assert same(message, outputs[2]), outputs
        assert '"seq":"1"' in outputs[3], "the first entry of Bob's own inbox: %r" % outputs
        assert same(inbox, outputs[4]), outputs
        repeat = "set -euo pipefail\n" + "\n".join(blocks("backend.md", "sh")[1:4])
        again = reader.run("bash", "-c", reader.here(repeat))
        assert '"repeated":true,"seq":"1"' in again, again
        for language, file, command in (("js", "backend.mjs", ["node"]), ("python", "backend.py", [sys.executable]),
                                        ("go", "backend.go", ["go", "run"]), ("php", "backend.php", ["php"])):
            (text,) = blocks("backend.md", language)
            reader.save(file, text)
            printed = reader.run(*command, file)
            assert same(program, printed), "%s printed %r" % (file, printed)
    finally:
        reader.close()


def backend_refusals(binary):
    """Each program reports a refusal with the server's text, and does not repeat it."""
    reader = Reader(binary, "backend.md")
    reader.environment["GIMLET_HTTP__API_KEYS"] = "0" * 64
    try:
        for language, file, command in (("js", "b.mjs", ["node"]), ("python", "b.py", [sys.executable]),
                                        ("go", "b.go", ["go", "run"]), ("php", "b.php", ["php"])):
            reader.save(file, blocks("backend.md", language)[0])
            done = subprocess.run([*command, file], cwd=reader.folder, env=reader.environment, text=True,
                                  capture_output=True, timeout=PROGRAM_SECONDS, check=False)
            told = done.stdout + done.stderr
            assert done.returncode != 0 and "API key" in told, "%s: %s" % (file, told)
    finally:
        reader.close()


def migration(binary):
    """The calls that carry users, friends and groups over can be made as the page says."""
    reader = Reader(binary, "backend.md")
    try:
        page = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
        import_users, make_group = [body for kind, body in BLOCK.findall(page) if kind == "sh"]
        commands = ["set -euo pipefail", import_users,
                    "admin=1", """member=$(api http://127.0.0.1:8085/v1/users/import --json \\
                    '{"users": [{"phone_number": "13800000042"}]}' | jq -r '.users[0].user_id')""", make_group,
                    'api -H "Gimlet-User: $admin" http://127.0.0.1:8085/v1/friends',
                    'api -H "Gimlet-User: $member" "http://127.0.0.1:8085/v1/groups/$group/members"']
        printed = reader.run("bash", "-c", reader.here("\n".join(commands)))
        assert '"is_new":true' in printed and '"nickname":"Ada"' in printed, printed
    finally:
        reader.close()


class Phone:
    """The program of the page, killed as a phone's system does."""

    def __init__(self, reader, number, peer):
        self.reader, self.number, self.peer = reader, number, peer
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "phone.py", self.number, self.peer], cwd=self.reader.folder,
            env=self.reader.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lines = iter(self.process.stdout.readline, "")
        assert any(line == "ready\n" for line in lines), "%s did not start" % self.number
        # Nobody reads the rest; the database is what counts.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def write(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()

    def rows(self, query):
        database = sqlite3.connect("%s/phone-%s.db" % (self.reader.folder, self.number))
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def texts(self):
        return [text for (text,) in self.rows("SELECT text FROM message ORDER BY seq")]


def wait_until(condition, what):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "not within %d s: %s" % (WAIT_SECONDS, what())
        time.sleep(0.05)


def phone(binary):
    """Every line arrives once and in order, after a kill of a phone in the middle of a send, and of the server."""
    reader = Reader(binary, "phone.md")
    alice, bob = Phone(reader, "13800000021", "13800000022"), Phone(reader, "13800000022", "13800000021")
    try:
        reader.save("phone.py", blocks("phone.md", "python")[0])
        alice.start()
        bob.start()
        lines = ["line %d" % n for n in range(30)]
        for at, line in enumerate(lines):
            alice.write(line)
            if at == 5:
                bob.kill()
            if at == 10:
                reader.server.kill()
            if at == 15:
                # A line counts from when it is in the database, so wait for that before the kill.
                kept = lines[:16]
                known = lambda: alice.texts() + [it for (it,) in alice.rows("SELECT text FROM outgoing ORDER BY rowid")]
                wait_until(lambda: known() == kept, known)
                alice.kill()
                reader.server.start()
                alice.start()
            if at == 25:
                bob.start()
        for one in (alice, bob):
            wait_until(lambda one=one: len(one.texts()) >= len(lines), one.texts)
            assert one.texts() == lines, "%s has %r" % (one.number, one.texts())
    finally:
        for one in (alice, bob):
            if one.process and one.process.poll() is None:
                one.kill()
        reader.close()


def web_page(binary, site):
    """Two people talk in a browser; the server is killed, pages are reloaded, and each message is there once."""
    ((_, port),) = free_addresses(1)
    reader = Reader(binary, "web-page.md", [("127.0.0.1:8000", "127.0.0.1:%d" % port),
                                            ("listen(8000,", "listen(%d," % port)])
    own = None
    try:
        reader.save("server.mjs", blocks("web-page.md", "js")[0])
        reader.save("chat.html", blocks("web-page.md", "html")[0])
        own = subprocess.Popen(["node", "server.mjs"], cwd=reader.folder, env=reader.environment)
        wait_until(lambda: is_open(port), lambda: "server.mjs listens")
        test = subprocess.Popen(["node", site / "tutorial.mjs", "http://127.0.0.1:%d" % port],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for line in test.stdout:
            if line.strip() == "kill":
                reader.server.kill()
            elif line.strip() == "start":
                reader.server.start()
            else:
                continue
            test.stdin.write("done\n")
            test.stdin.flush()
        assert test.wait(WAIT_SECONDS) == 0, "the page failed: see above"
    finally:
        if own:
            own.kill()
            own.wait()
        reader.close()


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", help="run only this story")
    arguments = parser.parse_args()
    binary = str(pathlib.Path(arguments.binary).resolve())
    site = ROOT / "site"
    stories = {"backend": backend, "backend_refusals": backend_refusals, "migration": migration, "phone": phone,
               "web_page": lambda it: web_page(it, site)}
    for name, story in stories.items():
        if arguments.only in (None, name):
            begun = time.monotonic()
            story(binary)
            print("%s: passed in %.1f s" % (name, time.monotonic() - begun), flush=True)


if __name__ == "__main__":
    main()
