#!/usr/bin/env python3
"""Starts gimlet in the root folder that deploy/image.sh makes for the image, as the image's user.

    tests/image.py --binary target/debug/gimlet

Needs root, for chroot and a mount of /proc, and the Debian package busybox-static. The health check is that
of deploy/Dockerfile.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import free_addresses  # noqa: E402

# Upper bound of everything in the image except the binary.
MOST_BYTES = 12 << 20
# Upper bound of the whole image with a release build.
MOST_BYTES_IN_ALL = 60_000_000
# Exit code of chroot for a program that does not exist.
PROGRAM_NOT_FOUND = 127
START_SECONDS, STOP_SECONDS = 30, 15


def dockerfile():
    return (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")


class Image:
    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="gimlet-image-")
        os.chmod(self.folder, 0o755)
        subprocess.run(["sh", ROOT / "deploy/image.sh", binary, self.folder], check=True)
        # A container has /proc; the control socket of gimlet, for backups, needs it.
        self.proc = pathlib.Path(self.folder) / "proc"
        self.proc.mkdir()
        subprocess.run(["mount", "-t", "proc", "proc", self.proc], check=True)
        names = ("TCP", "WS", "HTTP", "OPS", "INTERNAL", "GRPC")
        self.ports = dict(zip(names, (port for _, port in free_addresses(len(names)))))
        assigned = re.search(r"^ENV (.*)$", dockerfile(), re.M)[1]
        self.environment = dict(it.split("=", 1) for it in shlex.split(assigned))
        self.environment["GIMLET_BUSINESS__CODE_VERIFIER"] = "dev"
        for name, port in self.ports.items():
            self.environment["GIMLET_LISTEN__" + name] = "127.0.0.1:%d" % port

    def command(self, *words):
        user = re.search(r"^USER (\S+)$", dockerfile(), re.M)[1]
        chroot = shutil.which("chroot", path=os.environ["PATH"] + ":/usr/sbin")
        return [chroot, "--userspec=" + user, "--groups=", self.folder, *words]

    def run(self, *words):
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, check=False)

    def is_healthy(self):
        """Runs the health check of the Dockerfile, with the port of this run."""
        check = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", dockerfile(), re.M | re.S)[1]
        return self.run(*json.loads(check.replace("8086", str(self.ports["OPS"])))).returncode == 0

    def bytes_beside_the_binary(self):
        own = pathlib.Path(self.folder) / "usr/local/bin/gimlet"
        top = (path for path in pathlib.Path(self.folder).iterdir() if path.name not in ("proc", "data"))
        files = (path for folder in top for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files if path != own)

    def remove(self):
        subprocess.run(["umount", self.proc], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def gimlet_runs_in_the_image(image):
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile(), re.M)[1])
    assert not image.is_healthy(), "the health check succeeds without a server"
    server = subprocess.Popen(image.command(*entry), env=image.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + START_SECONDS
        while not image.is_healthy():
            assert server.poll() is None, "gimlet exited: %s" % server.stderr.read()
            assert time.monotonic() < end, "gimlet is not healthy after %d s" % START_SECONDS
            time.sleep(0.05)
        body = '{"phone_number": "13800000001", "code": "000000"}'
        address = "http://127.0.0.1:%d/v1/sign-in" % image.ports["HTTP"]
        answer = image.run("wget", "-q", "-O", "-", "--header", "Content-Type: application/json",
                           "--post-data", body, address)
        assert '"user_id":"1"' in answer.stdout, answer
        backup = image.run("gimlet", "backup", "/data/backup")
        assert backup.returncode == 0, backup
        owners = {path.stat().st_uid for path in (pathlib.Path(image.folder) / "data").rglob("*")}
        assert owners == {10001}, owners
        server.send_signal(signal.SIGTERM)
        assert server.wait(STOP_SECONDS) == 0, server.returncode
    finally:
        server.kill()
        server.wait()


def the_programs_of_the_chart_are_in_the_image(image):
    """A hook of a pod whose program is missing fails, and the pod is stopped without its pause."""
    templates = (ROOT / "deploy/helm/gimlet/templates/_helpers.tpl").read_text(encoding="utf-8")
    called = set(re.findall(r'command: \["([^"]+)"', templates))
    assert called, "the search for commands in the chart is broken"
    for program in sorted(called):
        # Not by a shell: that of BusyBox knows all its programs, a container runtime only files.
        lacks = image.run(program, "0").returncode == PROGRAM_NOT_FOUND
        assert not lacks, "the chart calls %s, which the image lacks: see deploy/image.sh" % program


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    image = Image(pathlib.Path(parser.parse_args().binary).resolve())
    try:
        the_programs_of_the_chart_are_in_the_image(image)
        gimlet_runs_in_the_image(image)
        size = image.bytes_beside_the_binary()
        assert size <= MOST_BYTES, "%d bytes beside the binary; %d are allowed" % (size, MOST_BYTES)
        own = (pathlib.Path(image.folder) / "usr/local/bin/gimlet").stat().st_size
        if "release" in image.binary.parts:
            assert size + own <= MOST_BYTES_IN_ALL, "%d bytes; %d are allowed" % (size + own, MOST_BYTES_IN_ALL)
        print("the image: gimlet starts, serves and stops; %.1f MB beside the binary" % (size / 1e6))
    finally:
        image.remove()


if __name__ == "__main__":
    main()
