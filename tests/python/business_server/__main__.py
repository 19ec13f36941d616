"""Runs the business server: `python3 -m business_server --listen 127.0.0.1:7000`."""

import argparse
import asyncio
import os
import signal
import sys

import grpc

from .behaviour import NONSENSE, Behaviour
from .service import BusinessInt
from .users import Users

HERE = os.path.dirname(os.path.abspath(__file__))
GRACE_SECONDS = 2


def options():
    parser = argparse.ArgumentParser(prog="business_server", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:7000", help="port 0 takes a free one")
    parser.add_argument("--users", default=os.path.join(HERE, "users.json"),
                        help="a JSON list of users with their tokens")
    parser.add_argument("--slow", type=int, default=0, metavar="MS", help="hold every answer back")
    parser.add_argument("--nonsense", choices=NONSENSE, nargs="?", const="garbage",
                        help="answer what is not an answer")
    parser.add_argument("--refuse-with", type=int, default=10000, metavar="CODE",
                        help="the grpc-status of a wrong token (10000)")
    return parser.parse_args()


def command(line, users, behaviour, service):
    """One line of input: a change of behaviour, `rename ID NAME`, `revoke ID`, or `peers`, which
    asks how many connections have called. Gives the answer."""
    words = line.split()
    if words == ["peers"]:
        return "%d" % len(service.peers)
    if words[:1] == ["rename"] and len(words) > 2:
        users.rename(int(words[1]), " ".join(words[2:]))
    elif words[:1] == ["revoke"] and len(words) == 2:
        users.revoke(int(words[1]))
    elif words:
        behaviour.change(words)
    return "done"


async def obey(users, behaviour, service):
    """Reads commands from standard input, answering each with a line, until it ends."""
    lines, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            print(command(line.decode(), users, behaviour, service), flush=True)
        except (ValueError, KeyError) as error:
            print("not understood: %s" % error, flush=True)


async def main():
    given = options()
    users = Users.from_file(given.users)
    behaviour = Behaviour(given.slow, given.nonsense, given.refuse_with)
    # Not an option: what stands on a command line, every user of the machine can read.
    secret = os.environ.get("BUSINESS_SECRET") or None
    server, service = grpc.aio.server(), BusinessInt(users, behaviour, secret)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port(given.listen)
    await server.start()
    host = given.listen.rpartition(":")[0]
    print("%d users on %s:%d" % (len(users), host, port), flush=True)
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    commands = asyncio.ensure_future(obey(users, behaviour, service))
    await stop.wait()
    commands.cancel()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
