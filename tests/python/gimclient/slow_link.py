"""A TCP proxy that delays the data it forwards."""

import random
import select
import socket
import threading
import time
from collections import deque


class SlowLink:
    """Forwards one TCP connection. Each chunk is delayed by a random time; the order is kept.

    A chunk is the data of one read. Chunks that arrive close together can therefore leave together,
    as on a real network.
    """

    def __init__(self, address, shortest, longest, seed=1):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._server, self._range = address, (shortest, longest)
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with self._listener:
            ready, _, _ = select.select([self._listener], [], [], 10)
            if not ready:
                return
            client, _ = self._listener.accept()
        with client, socket.create_connection(self._server) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._forward({client: server, server: client})

    def _forward(self, other):
        """Forwards in both directions; `other` maps each socket to its peer."""
        on_the_way = {each: deque() for each in other}
        while not self._stop.is_set():
            now = time.monotonic()
            due = [pieces[0][0] for pieces in on_the_way.values() if pieces]
            wait = min([0.1] + [max(0.0, each - now) for each in due])
            for source in select.select(list(other), [], [], wait)[0]:
                try:
                    data = source.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                pieces = on_the_way[other[source]]
                leaves = time.monotonic() + self._random.uniform(*self._range)
                pieces.append((max([leaves] + [each for each, _ in pieces]), data))
            now = time.monotonic()
            for target, pieces in on_the_way.items():
                while pieces and pieces[0][0] <= now:
                    target.sendall(pieces.popleft()[1])

    def close(self):
        self._stop.set()
        self._thread.join()
