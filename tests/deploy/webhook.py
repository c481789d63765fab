"""Keeps the first alert that it hears: python webhook.py ADDRESS PORT FILE."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ADDRESS, PORT, FILE = sys.argv[1:]


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        part = Path(f"{FILE}.part")
        part.write_bytes(body)
        part.rename(FILE)
        self.send_response(200)
        self.end_headers()


HTTPServer((ADDRESS, int(PORT)), Webhook).serve_forever()
