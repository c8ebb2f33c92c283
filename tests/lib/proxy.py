# SPDX-License-Identifier: MPL-2.0
"""What may lie between a client and a server: it passes bytes on, until it
forgets a connection without a word to either side."""

import selectors
import socket
import threading
import time

CHUNK = 1 << 16


class _Pair:
    """A connection on both sides."""

    def __init__(self, client, server, is_dead):
        self.client, self.server = client, server
        self.is_dead = is_dead  # nothing arrives any more, either way
        self.is_deaf = False  # no answer arrives any more


class Proxy:
    """Listens on `endpoint` for a server on tcp, until it is closed."""

    def __init__(self, target):
        host, port = target.removeprefix("tcp://").split(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.swallowed = 0  # bytes of the client
        self.delay = 0.0  # of what the server says
        self._dead_to_come = 0
        self._pairs = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def forget(self, answers_only=False, to_come=0):
        """Nothing passes over the connections of now, or no answer does; nor
        over so many that will come."""
        with self._lock:
            self._dead_to_come = to_come
            for pair in self._pairs:
                pair.is_deaf = True
                pair.is_dead = pair.is_dead or not answers_only

    def close(self):
        self._stop.set()
        self._thread.join()
        self._selector.close()
        self._listener.close()
        for pair in self._pairs:
            pair.client.close()
            pair.server.close()

    def _run(self):
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.data is None:
                        self._accept()
                    else:
                        self._pass(key.fileobj, key.data)

    def _accept(self):
        client, _ = self._listener.accept()
        server = socket.create_connection(self._target)
        pair = _Pair(client, server, self._dead_to_come > 0)
        self._dead_to_come = max(self._dead_to_come - 1, 0)
        self._pairs.append(pair)
        self.connections += 1
        for end in (client, server):
            self._selector.register(end, selectors.EVENT_READ, pair)

    def _pass(self, end, pair):
        is_answer = end is pair.server
        try:
            data = end.recv(CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            self._ended(end, pair)
        elif pair.is_dead or (is_answer and pair.is_deaf):
            self.swallowed += 0 if is_answer else len(data)
        else:
            if is_answer:
                time.sleep(self.delay)
            try:
                (pair.client if is_answer else pair.server).sendall(data)
            except ConnectionError:
                pass  # its end is noticed where it is read

    def _ended(self, end, pair):
        """A connection that was forgotten ends on one side alone."""
        self._selector.unregister(end)
        if not pair.is_dead and not pair.is_deaf:
            other = pair.client if end is pair.server else pair.server
            try:
                other.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended as well
