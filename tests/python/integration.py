#!/usr/bin/env python3
"""Tests gimlet with an external business server: `integration.py --binary PATH`.

Starts two processes: business_server, and gimlet with the roles connect and logic pointed at it.
gimlet must store none of its users, and must keep working while it is slow, down, or sends invalid
answers. Prints one line per case; the last line is "N passed, N failed"; the exit code is 0 if no
case failed.

Storage is sled in a temporary folder, or MySQL and Redis if GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS
give their addresses (tests/backends/with does).
"""

import argparse
import os
import signal
import sys

sys.dont_write_bytecode = True

import integration_cases  # noqa: E402
from gimclient.cases import CASES  # noqa: E402
from integration_fixture import Backend, BackendFixture, Gimlet  # noqa: E402
from run import Tally, raise_case_timeout  # noqa: E402


def judge(gimlet, backend, chosen, tally):
    if not tally.check("the business server starts", backend.start):
        return
    if not tally.check("gimlet starts without its own users", gimlet.start):
        print(gimlet.log_tail())
        return
    for case in chosen:
        fixture = BackendFixture(gimlet, backend, case.wire or "tcp")
        try:
            tally.check(case.name, lambda case=case, fixture=fixture: case.run(fixture))
        finally:
            fixture.close()
    tally.check("gimlet stops on SIGTERM with code 0", gimlet.stop)
    tally.check("gimlet with its built-in business service has none of these users",
                lambda: integration_cases.assert_users_unknown(gimlet, backend))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the gimlet binary to test")
    parser.add_argument("--only", default="", help="run only cases whose name contains this text")
    given = parser.parse_args()
    binary = os.path.abspath(given.binary)
    if not os.access(binary, os.X_OK):
        parser.error("%s is not an executable file" % binary)
    chosen = [case for case in CASES if given.only in case.name]
    if not chosen:
        parser.error("--only %r matches no case; see integration_cases.py" % given.only)
    signal.signal(signal.SIGALRM, raise_case_timeout)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tally, backend = Tally(), Backend()
    gimlet = Gimlet(binary, backend)
    try:
        judge(gimlet, backend, chosen, tally)
        if tally.failed:
            print("       the end of gimlet's log:")
            print(gimlet.log_tail(40))
    finally:
        gimlet.remove()
        backend.remove()
    print("%d passed, %d failed" % (tally.passed, tally.failed))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
