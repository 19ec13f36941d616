#!/usr/bin/env python3
"""Checks that the image of deploy/Dockerfile has the programs that its build calls for.

Crates that build C code call for programs which the Rust image does not have. Each such crate that
gimlet depends on stands below, with what it called for when it was built in a root of the image's
packages (debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,wget bookworm). A new one fails this
check until somebody has tried it there.
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What rust:1-slim-bookworm has, as its own Dockerfile says.
IMAGE = {"ca-certificates", "gcc", "libc6-dev", "wget"}

# Crates with a build script that compiles or links C code, and Debian's packages that they need.
NATIVE = {
    "aws-lc-sys": {"gcc", "libc6-dev"},
    "tikv-jemalloc-sys": {"gcc", "libc6-dev", "make"},
    # Constants and types only.
    "linux-raw-sys": set(),
}


def crates():
    """The crates of the binary, as cargo resolves them."""
    command = ["cargo", "tree", "--locked", "-p", "gimlet-server", "-e", "normal,build", "--prefix",
               "none", "--format", "{p}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True,
                          env=dict(os.environ, CARGO_TERM_COLOR="never"))
    return {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def installed():
    """The packages that the build stage installs."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    stage = text.split("\nFROM ")[1] if text.startswith("#") else text
    found = re.findall(r"apt-get install ([^&\n]*(?:\\\n[^&\n]*)*)", stage)
    words = " ".join(found).replace("\\", " ").split()
    return {word for word in words if not word.startswith("-")}


def main():
    have, wrong = IMAGE | installed(), []
    for crate in sorted(name for name in crates() if name.endswith("-sys")):
        if crate not in NATIVE:
            wrong.append("%s is new: build it in a root of the image's packages, then say in %s what "
                         "it needs" % (crate, pathlib.Path(__file__).name))
        for package in sorted(NATIVE.get(crate, set()) - have):
            wrong.append("deploy/Dockerfile does not install %s, which %s needs" % (package, crate))
    for line in wrong:
        print(line)
    print("%d mistakes in deploy/Dockerfile" % len(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
