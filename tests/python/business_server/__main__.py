"""Runs the business server: `python3 -m business_server --listen 127.0.0.1:7000`."""

import argparse
import asyncio
import os
import signal
import sys

import grpc

from .behaviour import INVALID_ANSWERS, Behaviour
from .service import BusinessInt
from .users import Users

HERE = os.path.dirname(os.path.abspath(__file__))
GRACE_SECONDS = 2


def options():
    parser = argparse.ArgumentParser(prog="business_server", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:7000",
                        help="address to listen on; port 0 selects a free port")
    parser.add_argument("--users", default=os.path.join(HERE, "users.json"),
                        help="a JSON list of users with their tokens")
    parser.add_argument("--slow", type=int, default=0, metavar="MS",
                        help="delay every answer by MS milliseconds")
    parser.add_argument("--invalid", choices=INVALID_ANSWERS, nargs="?", const="garbage",
                        help="send invalid answers of this kind")
    parser.add_argument("--refuse-with", type=int, default=10000, metavar="CODE",
                        help="grpc-status for a wrong token (default: 10000)")
    return parser.parse_args()


def command(line, users, behaviour, service):
    """Runs one line of input and returns its answer: a change of behaviour, `rename ID NAME`,
    `revoke ID`, or `peers`, which returns the number of connections that have called."""
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


async def run_commands(users, behaviour, service):
    """Reads commands from standard input until it ends, and answers each with a line."""
    lines, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        try:
            print(command(line.decode(), users, behaviour, service), flush=True)
        except (ValueError, KeyError) as error:
            print("invalid command: %s" % error, flush=True)


async def main():
    given = options()
    users = Users.from_file(given.users)
    behaviour = Behaviour(given.slow, given.invalid, given.refuse_with)
    # Not an option, because every user of the machine can read command lines.
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
    commands = asyncio.ensure_future(run_commands(users, behaviour, service))
    await stop.wait()
    commands.cancel()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
