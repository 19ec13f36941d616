"""Runs the gimlet binary, with data in a temporary folder and free ports on loopback."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from .deadline import Deadline
from .grpc_client import Channel

START_SECONDS, STOP_SECONDS, POLL_SECONDS = 30, 10, 0.02


class ServerError(Exception):
    """The server did not start, did not stop, or stopped with an error."""


def free_addresses(count):
    """Returns free loopback addresses; all are bound at the same time so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname() for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _end_with_parent():
    """Lets Linux send the server SIGTERM if this process dies without stopping it."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Server:
    def __init__(self, binary, **settings):
        """`settings` are additional environment variables."""
        self.binary, self.settings = binary, settings
        self.folder = tempfile.mkdtemp(prefix="gimlet-python-")
        self.log_path = os.path.join(self.folder, "log")
        (self.tcp_address, self.ws_address, self.http_address, logic, business,
         internal, self.ops_address) = free_addresses(7)
        self.logic, self.business, self.internal = map(Channel, (logic, business, internal))
        self.process = None

    def environment(self):
        own = {key: value for key, value in os.environ.items() if not key.startswith("GIMLET_")}
        write = "{0[0]}:{0[1]}".format
        own.update({
            "GIMLET_DATA_DIR": os.path.join(self.folder, "data"),
            # The control socket of a killed server goes with the folder.
            "XDG_RUNTIME_DIR": self.folder,
            "GIMLET_STORAGE__KIND": "sled",
            "GIMLET_BUSINESS__CODE_VERIFIER": "dev",
            "GIMLET_LISTEN__TCP": write(self.tcp_address),
            "GIMLET_LISTEN__WS": write(self.ws_address),
            "GIMLET_LISTEN__HTTP": write(self.http_address),
            "GIMLET_LISTEN__GRPC": ",".join(write(c.address) for c in (self.logic, self.business)),
            "GIMLET_LISTEN__INTERNAL": write(self.internal.address),
            "GIMLET_LISTEN__OPS": write(self.ops_address),
        })
        own.update(self.settings)
        return own

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary], cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=_end_with_parent)
        deadline = Deadline(START_SECONDS)
        while not self._ready():
            if self.process.poll() is not None:
                raise ServerError("exited while starting, code %d" % self.process.returncode)
            if deadline.passed():
                raise ServerError("not ready within %d s" % START_SECONDS)
            time.sleep(POLL_SECONDS)

    def _ready(self):
        try:
            return self.get(self.ops_address, "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    @staticmethod
    def get(address, path, timeout=10):
        """Sends an HTTP GET and returns (status, body)."""
        url = path if address is None else "http://%s:%d%s" % (address + (path,))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def stop(self):
        """Sends SIGTERM; the server must exit with code 0 in time."""
        self._close_channels()
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is not None:
            raise ServerError("had exited by itself, code %d" % process.returncode)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError("did not stop within %d s of SIGTERM" % STOP_SECONDS) from None
        if process.returncode != 0:
            raise ServerError("stopped with code %d" % process.returncode)

    def kill(self):
        """Sends SIGKILL, so that the process has no chance to clean up."""
        self._close_channels()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _close_channels(self):
        for channel in (self.logic, self.business, self.internal):
            channel.close()

    def log_tail(self, lines=20):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
