#!/usr/bin/env python3
"""What a host sees of AWS: cloud.py CERTIFICATE KEY ANSWERS LOG

The metadata service of an instance, which wants tokens (IMDSv2), and the endpoint of CloudFormation, which writes down
every request that it is sent, and gives the answers that are in a file, as in `500 400:Throttling 200`, the last of them
for ever."""
import http.server
import json
import ssl
import sys
import threading

certificate, key, answers, log = sys.argv[1:]
with open(answers) as file:
    answers = [word.partition(":") for word in file.read().split()]
TOKEN = "a token"
ROLE = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret/+key", "Token": "session/+token=="}
METADATA = {
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/iam/security-credentials/": "the-role\n",
    "/latest/meta-data/iam/security-credentials/the-role": json.dumps(ROLE),
}
asked = []


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        is_right = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200, TOKEN) if is_right else self.answer(404)

    def do_GET(self):
        if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
            return self.answer(401)
        text = METADATA.get(self.path)
        self.answer(404) if text is None else self.answer(200, text)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        asked.append({"path": self.path, "headers": dict(self.headers), "body": body})
        with open(log, "w") as file:
            json.dump(asked, file)
        status, _, code = answers[min(len(asked), len(answers)) - 1]
        self.answer(int(status), code and f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>")


metadata = http.server.ThreadingHTTPServer(("169.254.169.254", 80), Handler)
threading.Thread(target=metadata.serve_forever, daemon=True).start()
endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
endpoint.socket = context.wrap_socket(endpoint.socket, server_side=True)
endpoint.serve_forever()
