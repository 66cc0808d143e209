"""An S3 server for tests, and a proxy before it that can be out of order."""

import contextlib
import http.client
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from tests.nodes import free_port

CODES = {403: "AccessDenied", 501: "NotImplemented", 503: "SlowDown"}


class Moto:
    """moto's server, in a process of its own."""

    def __init__(self):
        self.port = free_port()
        line = [sys.executable, "-c", f"from moto.server import main; main(['-p', '{self.port}'])"]
        self.process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def make_bucket(port: int, name: str = "lab") -> None:
    """A bucket in the server at a port of this machine."""
    import boto3

    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.session.Session(**keys).client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=name)


class Proxy(http.server.ThreadingHTTPServer):
    """Hands requests on to a server, if `trouble` is empty.

    `trouble(method, path)` returns a status to answer with instead of the server, or "lose": the
    server does what it is asked, and its answer gets lost; or "ignore": it does not see conditions.
    """

    daemon_threads = True

    def __init__(self, port: int):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.trouble: Callable[[str, str], int | str | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *arguments) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        self.server.seen.append((self.command, self.path))
        trouble = self.server.trouble(self.command, self.path)
        if isinstance(trouble, int):
            text = (
                f"<Error><Code>{CODES[trouble]}</Code><Message>as the test wants</Message></Error>"
            )
            self._send(trouble, [], text.encode())
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
        if trouble == "ignore":
            headers = {k: v for k, v in headers.items() if not k.lower().startswith("if-")}
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        behind.request(self.command, self.path, body, headers)
        response = behind.getresponse()
        content = response.read()
        behind.close()
        if trouble == "lose":
            self.close_connection = True
            return
        self._send(response.status, response.getheaders(), content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        kept = ("connection", "transfer-encoding", "content-length")
        for name, value in headers:
            if name.lower() not in kept:
                self.send_header(name, value)
        length = dict((k.lower(), v) for k, v in headers).get("content-length", str(len(content)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            if self.command != "HEAD":
                self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer
