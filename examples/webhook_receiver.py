"""Receives CloudEvents, checks their signature (Standard Webhooks) and writes one line for each.

HOOK_SECRET=... python webhook_receiver.py PORT FILE
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
from pathlib import Path

SECRET = os.environ["HOOK_SECRET"].encode()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Accepts what is signed rightly."""

    def do_POST(self) -> None:
        """Check one delivery."""
        body = self.rfile.read(int(self.headers["content-length"]))
        key, sent = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        expected = hmac.new(SECRET, f"{key}.{sent}.".encode() + body, hashlib.sha256).digest()
        signed = "v1," + base64.b64encode(expected).decode()
        if not hmac.compare_digest(signed, self.headers["webhook-signature"]):
            self.send_response(401)
            self.end_headers()
            return
        event = json.loads(body)
        with Path(sys.argv[2]).open("a") as lines:
            lines.write(json.dumps({"type": event["type"], "text": event["data"]["text"]}) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
