#!/usr/bin/env python3
"""Checks what deploy/ says: that the image has the programs which its build calls for, and that the
commands which install a service can be run again.

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
import tempfile

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


def the_image_has_what_the_build_calls_for():
    have, wrong = IMAGE | installed(), []
    for crate in sorted(name for name in crates() if name.endswith("-sys")):
        if crate not in NATIVE:
            wrong.append("%s is new: build it in a root of the image's packages, then say in %s what "
                         "it needs" % (crate, pathlib.Path(__file__).name))
        for package in sorted(NATIVE.get(crate, set()) - have):
            wrong.append("deploy/Dockerfile does not install %s, which %s needs" % (package, crate))
    return wrong


def installing_again_keeps_the_secrets():
    """Runs the commands for systemd of deploy/README.md twice, in a folder instead of the machine."""
    text = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    block = text[text.index("## systemd"):]
    block = re.search(r"```sh\n(.*?)```", block, re.S)[1]
    with tempfile.TemporaryDirectory(prefix="gimlet-deploy-") as folder:
        for name in ("etc/systemd/system", "usr/local/bin", "bin"):
            os.makedirs(os.path.join(folder, name))
        for stub, does in (("sudo", 'exec "$@"'), ("cargo", "exit 0"), ("systemctl", "exit 0")):
            path = pathlib.Path(folder) / "bin" / stub
            path.write_text("#!/bin/sh\n%s\n" % does, encoding="utf-8")
            path.chmod(0o755)
        script = re.sub(r"(?<![\w.])/(etc|usr)/", lambda m: "%s/%s/" % (folder, m[1]), block)
        script = script.replace("target/release/gimlet", "/bin/true")
        env = dict(os.environ, PATH="%s/bin:%s" % (folder, os.environ["PATH"]))
        secrets = pathlib.Path(folder) / "etc/gimlet.env"
        for attempt in ("first", "second"):
            done = subprocess.run(["sh", "-ec", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                return ["the %s installation failed: %s" % (attempt, done.stderr)]
            if attempt == "first":
                before = secrets.read_text(encoding="utf-8") + "GIMLET_CLUSTER__SECRET=hush\n"
                secrets.write_text(before, encoding="utf-8")
        if secrets.read_text(encoding="utf-8") != before:
            return ["installing again changes /etc/gimlet.env: %r" % secrets.read_text(encoding="utf-8")]
        if secrets.stat().st_mode & 0o077:
            return ["/etc/gimlet.env can be read by others"]
    return []


def main():
    wrong = the_image_has_what_the_build_calls_for() + installing_again_keeps_the_secrets()
    for line in wrong:
        print(line)
    print("%d mistakes in deploy/" % len(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
