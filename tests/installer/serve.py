#!/usr/bin/env python3
"""Serves a directory on the loopback: serve.py DIRECTORY PORT LOG [no-ranges] [cut=BYTES]

no-ranges   like servers that know no ranges
cut=BYTES   no answer brings more than that, then the connection breaks: clients have to go on

LOG gets `PATH FIRST-BYTE` for each request. What a request finds in the directory is read when it comes.
"""
import http.server
import os
import sys

directory, port, log = sys.argv[1:4]
options = sys.argv[4:]
ranges = "no-ranges" not in options
cut = next((int(option[4:]) for option in options if option.startswith("cut=")), None)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = os.path.join(directory, self.path.lstrip("/"))
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            content = file.read()
        wanted = self.headers.get("Range", "")
        first = int(wanted[len("bytes="):].rstrip("-")) if ranges and wanted else 0
        with open(log, "a") as requests:
            print(self.path, first, file=requests)
        if first and first >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if ranges and wanted else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if ranges and wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[first:][:cut])

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
