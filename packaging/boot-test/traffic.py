"""What the service talks to: clients that send, and the receiver they send to.

What was acknowledged and what has arrived is written down outside of the machine, where no power cut reaches it.
"""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from machine import Machine

# The machine's name for the loopback interface of this one.
OUTSIDE = "10.0.2.2"


class Receiver:
    """Takes webhooks; remembers whose."""

    def __init__(self):
        self.arrived: set[str] = set()
        self.news = threading.Condition()
        self.open = threading.Event()
        self.open.set()
        self.era = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            """One webhook."""

            def do_POST(self):  # noqa: N802, the name that the library calls
                """Counts it and thanks; one that was left hanging counts for nothing."""
                era = receiver.era
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.open.wait()
                with receiver.news:
                    counts = era == receiver.era
                    if counts:
                        receiver.arrived.add(self.headers["Webhook-Id"])
                        receiver.news.notify_all()
                self.send_response(200 if counts else 503)
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

    def hang(self) -> None:
        """Leaves everybody without an answer from now on."""
        self.open.clear()

    def recover(self) -> None:
        """Answers again."""
        with self.news:
            if not self.open.is_set():
                self.era += 1
                self.open.set()

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
    """Are outside of the machine and send without a pause, each its own notifications, until they are told to stop.

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


# A line for each answer: the id, what curl has to complain about, and the code.
SCRIPT = r"""
for client in 1 2 3 4; do (
    number=0
    until [ -e /run/scripts.stop ]; do
        id=$NAME-$client-$((++number))
        said=$(curl -sS -o /dev/null -w '%{http_code}' --max-time 60 127.0.0.1:8080/send -d \
            '{"id": "'$id'", "type": "HTTPPOST", "endpoint": "'$URL'", "payload": {"body": "hello"}}' 2>&1)
        echo $id $said
    done
) & done
wait
"""


class Scripts:
    """Are inside of the machine and send with curl, as cron's do. Nothing stands between them and the service that
    could refuse a connection in its place.
    """

    def __init__(self, machine: Machine, url: str, name: str):
        self.machine = machine
        machine.put("/run/scripts.sh", SCRIPT)
        machine.check(
            "rm -f /run/scripts.stop; export NAME=" + name + " URL=" + url + ";"
            "setsid bash /run/scripts.sh >/run/scripts.log 2>&1 & echo $! >/run/scripts.pid"
        )
        self.sent = 0

    def wait_for(self, more: int) -> None:
        """Returns when so many more have been answered."""
        self.machine.wait_until(f"lines=$(wc -l </run/scripts.log); echo $lines; (( lines >= {self.sent + more} ))", 60)
        self.sent = int(self.machine.check("wc -l </run/scripts.log"))

    def stop(self) -> tuple[set[str], list[str]]:
        """Ends them; what was acknowledged, and what happened to the others."""
        self.machine.check("touch /run/scripts.stop")
        self.machine.wait_until("! kill -0 $(cat /run/scripts.pid)", 70)
        answers = self.machine.check("cat /run/scripts.log").splitlines()
        refused = [answer for answer in answers if not answer.endswith(" 200")]
        return {answer.split()[0] for answer in answers} - {answer.split()[0] for answer in refused}, refused
