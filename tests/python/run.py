#!/usr/bin/env python3
"""Tests a gimlet binary from outside: `python3 run.py --binary PATH`.

Each topic has its own server with an empty data folder. Prints one line per case; the last line is
"N passed, N failed"; the exit code is 0 if no case failed.
"""

import argparse
import importlib
import itertools
import os
import pkgutil
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True

import topics  # noqa: E402
from gimclient.cases import CASES  # noqa: E402
from gimclient.deadline import Deadline  # noqa: E402
from gimclient.server import Server  # noqa: E402
from gimclient.fixture import Fixture  # noqa: E402

CASE_SECONDS = 60
RUN_SECONDS = 900
HERE = os.path.dirname(os.path.abspath(__file__))


class CaseTimeout(BaseException):
    """A case took longer than CASE_SECONDS."""


def raise_case_timeout(_signal, _frame):
    raise CaseTimeout("the case took longer than %d s" % CASE_SECONDS)


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self._run = Deadline(RUN_SECONDS)

    def check(self, name, action):
        """Runs one action as a case and prints its line; returns whether it passed."""
        began = time.monotonic()
        signal.alarm(CASE_SECONDS)
        try:
            if self._run.passed():
                raise CaseTimeout("not run: all cases together took longer than %d s" % RUN_SECONDS)
            action()
        except (Exception, CaseTimeout) as error:  # a case may fail in any way
            signal.alarm(0)
            self.failed += 1
            print("FAIL %s" % name)
            print(explain(error), flush=True)
            return False
        finally:
            signal.alarm(0)
        self.passed += 1
        print("ok   %s (%.2f s)" % (name, time.monotonic() - began), flush=True)
        return True


def explain(error):
    """Returns the failing lines of this folder and the error."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(HERE)]
    lines = ["       %s:%d  %s" % (os.path.relpath(f.filename, HERE), f.lineno, f.line)
             for f in frames[2:]]
    return "\n".join(lines + ["       %s: %s" % (type(error).__name__, str(error)[:1500])])


def run_topic(binary, topic, cases, tally):
    server = Server(binary)
    try:
        if not tally.check("%s: the server starts" % topic, server.start):
            print(server.log_tail())
            return
        failed_before = tally.failed
        for case in cases:
            fixture = Fixture(server, case.wire or "tcp")
            try:
                tally.check(case.name, lambda case=case, fixture=fixture: case.run(fixture))
            finally:
                fixture.close()
        stopped = tally.check("%s: the server stops on SIGTERM with code 0" % topic, server.stop)
        if not stopped or tally.failed > failed_before:
            print("       the end of the server's log:")
            print(server.log_tail(), flush=True)
    finally:
        server.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the gimlet binary to test")
    parser.add_argument("--only", default="", help="run only cases whose name contains this text")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    if not os.access(binary, os.X_OK):
        parser.error("%s is not an executable file" % binary)
    signal.signal(signal.SIGALRM, raise_case_timeout)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for found in pkgutil.iter_modules(topics.__path__):
        importlib.import_module("topics." + found.name)
    chosen = [case for case in CASES if options.only in case.name]
    if not chosen:
        parser.error("--only %r matches no case; see the case names in topics/" % options.only)
    tally = Tally()
    for topic, cases in itertools.groupby(chosen, key=lambda case: case.topic):
        run_topic(binary, topic, list(cases), tally)
    print("%d passed, %d failed" % (tally.passed, tally.failed))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
