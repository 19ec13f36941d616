#!/usr/bin/env python3
"""Checks deploy/: the image installs the programs that its build needs, and the commands that install a
service can be repeated.

Crates that build C code need programs that the Rust image does not have. Each such crate that gimlet
depends on is listed below, with the packages it needed when it was built in a root with the image's
packages (debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,wget bookworm). A new one
fails this check until it has been tried there.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Packages of rust:1-slim-bookworm, according to its Dockerfile.
IMAGE = {"ca-certificates", "gcc", "libc6-dev", "wget"}

# Crates whose build script compiles or links C code, and the Debian packages they need.
NATIVE = {
    "aws-lc-sys": {"gcc", "libc6-dev"},
    "tikv-jemalloc-sys": {"gcc", "libc6-dev", "make"},
    # Only constants and types.
    "linux-raw-sys": set(),
}


def crates():
    """Returns the crates of the binary, as cargo resolves them."""
    command = ["cargo", "tree", "--locked", "-p", "gimlet-server", "-e", "normal,build", "--prefix",
               "none", "--format", "{p}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True,
                          env=dict(os.environ, CARGO_TERM_COLOR="never"))
    return {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def installed():
    """Returns the packages that the build stage installs."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    stage = text.split("\nFROM ")[1] if text.startswith("#") else text
    found = re.findall(r"apt-get install ([^&\n]*(?:\\\n[^&\n]*)*)", stage)
    words = " ".join(found).replace("\\", " ").split()
    return {word for word in words if not word.startswith("-")}


def the_image_has_what_the_build_calls_for():
    have, wrong = IMAGE | installed(), []
    for crate in sorted(name for name in crates() if name.endswith("-sys")):
        if crate not in NATIVE:
            wrong.append("%s is not listed: build it in a root with the image's packages, then add to "
                         "%s the packages it needs" % (crate, pathlib.Path(__file__).name))
        for package in sorted(NATIVE.get(crate, set()) - have):
            wrong.append("deploy/Dockerfile does not install %s, which %s needs" % (package, crate))
    return wrong


def installing_again_keeps_the_secrets():
    """Runs the systemd commands of deploy/README.md twice, in a temporary folder as the root."""
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
    print("deploy/: %d mistakes" % len(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
