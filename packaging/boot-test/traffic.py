"""What the service talks to, outside of the machine: clients that send, and the receiver they send to.

What was acknowledged and what has arrived is written down here, where no power cut of the machine reaches it.
"""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The machine's name for the loopback interface of this one.
OUTSIDE = "10.0.2.2"


class Receiver:
    """Takes webhooks; remembers whose."""

    def __init__(self):
        self.arrived: set[str] = set()
        self.news = threading.Condition()
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """One webhook."""

            def do_POST(self):  # noqa: N802, the name that the library calls
                """Counts it and thanks, when the receiver is open."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.open.wait()
                with receiver.news:
                    receiver.arrived.add(self.headers["Webhook-Id"])
                    receiver.news.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            """As patient with the machine's end as with its beginning."""

            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                """A machine whose power was cut doesn't say goodbye."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://{OUTSIDE}:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def missing(self, ids: set[str], seconds: float) -> set[str]:
        """Those that haven't arrived in that time."""
        with self.news:
            self.news.wait_for(lambda: ids <= self.arrived, seconds)
            return ids - self.arrived


def call(port: int, path: str, body: dict, seconds: float = 15) -> tuple[int, bytes]:
    """One call to the service: code and body. A connection of its own, as from a cron script."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("POST", path, json.dumps(body), {"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Clients:
    """Send without a pause, each its own notifications, until they are told to stop.

    `acknowledged` has what got a 200. `refused` says of the others what happened instead.
    """

    def __init__(self, port: int, url: str, name: str, count: int = 8):
        self.port, self.url, self.name = port, url, name
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self.news = threading.Condition()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(n,), daemon=True) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def wait_for(self, more: int, seconds: float) -> bool:
        """Whether so many more were acknowledged in that time."""
        with self.news:
            goal = len(self.acknowledged) + more
            return self.news.wait_for(lambda: len(self.acknowledged) >= goal, seconds)

    def stop(self) -> set[str]:
        """Ends them; what was acknowledged in all."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return self.acknowledged

    def _send(self, client: int) -> None:
        number = 0
        while not self.stopped.is_set():
            number += 1
            identity = f"{self.name}-{client}-{number:05}"
            payload = {"body": f"{identity} of a night"}
            body = {"id": identity, "type": "HTTPPOST", "endpoint": self.url, "payload": payload}
            try:
                code, text = call(self.port, "/send", body)
            except (OSError, http.client.HTTPException) as error:
                code, text = 0, repr(error).encode()
            with self.news:
                if code == 200:
                    self.acknowledged.add(identity)
                else:
                    self.refused.append(f"{identity}: {code} {text.decode(errors='replace').strip()}")
                self.news.notify_all()
            # Nobody hammers on a door that is closed.
            time.sleep(0.005 if code == 200 else 0.1)
