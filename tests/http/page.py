#!/usr/bin/env python3
"""Starts gimlet and checks its page /docs in a headless browser (docs_page.mjs).

    tests/http/page.py --binary target/debug/gimlet [--screenshots FOLDER]
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server  # noqa: E402

MOST_SECONDS = 180


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--screenshots")
    arguments = parser.parse_args()
    server = Server(str(pathlib.Path(arguments.binary).resolve()))
    server.start()
    try:
        command = ["node", "--experimental-websocket", str(ROOT / "tests/http/docs_page.mjs"), "http://%s:%d" % server.http_address]
        command += [arguments.screenshots] if arguments.screenshots else []
        subprocess.run(command, check=True, timeout=MOST_SECONDS)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
