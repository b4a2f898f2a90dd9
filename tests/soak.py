#!/usr/bin/env python3
"""Runs the program under a steady load and prints what it holds: tests/soak.py PROGRAM [MINUTES] [RATE].

Notifications are sent to it, and by it to a receiver here, which refuses some for good. What is finished is removed
after two minutes. Memory, file, descriptors and threads of the program must not grow: ten samples show them. It ends
with 1 if a request fails, or if not everything is delivered at the end.
"""

import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SAMPLES = 10
KEEP = "2m"


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    delivered = 0
    lock = threading.Lock()

    def do_POST(self):
        number = int(self.rfile.read(int(self.headers["Content-Length"])).split(b" ")[0])
        with Receiver.lock:
            Receiver.delivered += 1
        # Some are refused for good, so that there are failed ones as well.
        body = b"" if number % 100 else b"gone"
        self.send_response(200 if number % 100 else 410)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Program:
    def __init__(self, path, folder):
        self.folder = pathlib.Path(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        variables = {
            "NOTIFY_DSN": str(self.folder / "notify.db"),
            "NOTIFY_HTTP_BIND": f"127.0.0.1:{self.port}",
            "NOTIFY_KEEP_SUCCESS": KEEP,
            "NOTIFY_KEEP_FAILED": KEEP,
            "NOTIFY_LOG": "warn,notify_api::sender=off",
            "MALLOC_ARENA_MAX": "1",
        }
        self.process = subprocess.Popen([path], env=variables, stderr=open(self.folder / "log", "w"))

    def post(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    def sample(self):
        process = pathlib.Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        size = lambda name: os.path.getsize(self.folder / name) / 2**20
        return {
            "RSS KiB": int(status["VmRSS"].split()[0]),
            "threads": int(status["Threads"]),
            "descriptors": len(os.listdir(process / "fd")),
            "database MiB": round(size("notify.db"), 2),
            "journal MiB": round(size("notify.db-wal"), 2),
            "pending": int(self.metric("notify_pending")),
        }


def main():
    path = os.path.abspath(sys.argv[1])
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 30
    rate = float(sys.argv[3]) if len(sys.argv) > 3 else 50
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{receiver.server_port}/"
    with tempfile.TemporaryDirectory(dir=".") as folder:
        program = Program(path, folder)
        try:
            return soak(program, endpoint, minutes * 60, rate)
        finally:
            program.process.send_signal(signal.SIGTERM)
            print("exit code", program.process.wait(60))
            print(open(pathlib.Path(folder) / "log").read()[-2000:], end="")


def soak(program, endpoint, seconds, rate):
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", program.port), 1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    begun, sent, failed, header = time.monotonic(), 0, 0, False
    for number in range(1, SAMPLES + 1):
        while sent < seconds * rate * number / SAMPLES:
            time.sleep(max(0, begun + sent / rate - time.monotonic()))
            sent += 1
            text = f"{sent} " + "x" * 300
            status, body = program.post("/send", {"type": "HTTPPOST", "endpoint": endpoint, "payload": {"body": text}})
            if status != 200:
                failed += 1
                print("/send:", status, body, file=sys.stderr)
        sample = {"minute": round((time.monotonic() - begun) / 60, 1), "sent": sent} | program.sample()
        if not header:
            print(" | ".join(sample))
            header = True
        print(" | ".join(str(value).rjust(len(name)) for name, value in sample.items()), flush=True)
    deadline = time.monotonic() + 60
    while Receiver.delivered < sent - failed and time.monotonic() < deadline:
        time.sleep(0.1)
    print(f"{sent} sent, {failed} refused, {Receiver.delivered} arrived")
    return 0 if failed == 0 and Receiver.delivered == sent else 1


sys.exit(main())
