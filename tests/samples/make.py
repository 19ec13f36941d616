#!/usr/bin/env python3
"""Makes samples of stored data: a data directory and a dump of a database, written by a binary.

    tests/backends/with tests/samples/make.py --binary GIMLET --name format-1

A sample is made once, by the last build before stored records change, and never again: the point of it is
that nothing later has written it. Tests of storage-sled and storage-mysql open the samples and compare what
they read with said.rs, which repeats `said` below. Needs what tests/python/run.py needs, and mariadb-dump.
"""

import argparse
import gzip
import io
import os
import subprocess
import sys
import tarfile
import urllib.parse

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, os.pardir, "python"))

from gimclient import messages as m  # noqa: E402
from gimclient.server import Server  # noqa: E402
from gimclient.fixture import Fixture  # noqa: E402

DATABASE = "gimlet_sample"
# Milliseconds since 1970: June 2022, and no whole second.
SENT = 1_656_000_000_001


def said(fixture):
    """Sends short and long messages to one and to many, with and without mentions."""
    alice, bob, carol, dave = fixture.users(4)
    assert [it.user_id for it in (alice, bob, carol, dave)] == [1, 2, 3, 4]
    sends = iter(range(SENT, SENT + 99))

    def send(sender, to, content, **other):
        fields = dict(message_type=m.CUSTOM, message_content=content, send_time=next(sends))
        fields.update(other)
        sender.send(to, **fields)

    send(alice, bob, b"to one", to_user_ids=[2, 3])
    send(bob, alice, b"", message_type=-7)
    send(alice, bob, b"long " * 900)
    group = fixture.group(alice, bob, carol, name="four")
    alice.call("LogicExt.AddGroupMembers", group_id=group, user_ids=[dave.user_id])
    for sender, content in ((bob, b"to many"), (carol, b"long to many " * 350)):
        send(sender, group, content, receiver_type=m.TO_GROUP, to_user_ids=[1])


def run(server):
    """Starts the server, sends the messages, and stops the server in order."""
    server.start()
    fixture = Fixture(server)
    try:
        said(fixture)
    finally:
        fixture.close()
    server.stop()


def data_directory(binary, to):
    """Archives the data directory, without times, owners and the disk space that it reserves."""
    server = Server(binary)
    try:
        run(server)
        folder = os.path.join(server.folder, "data")

        def plain(entry):
            if os.path.basename(entry.name) in ("LOCK", "RESERVE"):
                return None
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return entry

        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(folder, arcname=".", filter=plain)
    finally:
        server.remove()
    with open(to, "wb") as file:
        file.write(gzip.compress(archive.getvalue(), mtime=0))


def database(binary, to):
    """Dumps the database as statements."""
    mysql = urllib.parse.urlsplit(os.environ["GIMLET_TEST_MYSQL"])
    client = ["--user=" + (mysql.username or ""), "--password=" + (mysql.password or ""),
              "--host=" + mysql.hostname, "--port=%d" % mysql.port]
    order = ["mariadb"] + client + ["--execute"]
    subprocess.run(order + ["CREATE DATABASE " + DATABASE], check=True)
    settings = {
        "GIMLET_STORAGE__KIND": "mysql",
        "GIMLET_STORAGE__MYSQL_URL": mysql._replace(path="/" + DATABASE).geturl(),
        "GIMLET_STORAGE__REDIS_URL": os.environ["GIMLET_TEST_REDIS"],
        "GIMLET_STORAGE__REDIS_PREFIX": DATABASE + ":",
    }
    server = Server(binary, **settings)
    try:
        run(server)
        with open(to, "wb") as file:
            subprocess.run(["mariadb-dump"] + client + [
                "--compact", "--hex-blob", "--skip-extended-insert", "--order-by-primary", DATABASE,
            ], check=True, stdout=file)
    finally:
        server.remove()
        subprocess.run(order + ["DROP DATABASE " + DATABASE], check=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--name", required=True)
    given = arguments.parse_args()
    binary, folder = os.path.abspath(given.binary), os.path.join(HERE, given.name)
    os.makedirs(folder)
    data_directory(binary, os.path.join(folder, "data.tar.gz"))
    database(binary, os.path.join(folder, "mysql.sql"))


if __name__ == "__main__":
    main()
