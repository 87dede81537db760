#!/usr/bin/env python3
"""Checks a signed request by AWS's own library: signature.py REGION SECRET REQUEST, which is JSON"""
import json
import re
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

region, secret, request = sys.argv[1:]
request = json.loads(request)
headers = {name.lower(): value for name, value in request["headers"].items()}
given = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\w+)/.*, SignedHeaders=(.*), Signature=(\w+)", headers["authorization"])
signed = {name: headers[name] for name in given[2].split(";")}
assert {"host", "x-amz-date", "x-amz-security-token"} <= signed.keys(), signed
auth = SigV4Auth(Credentials(given[1], secret), "cloudformation", region)
right = AWSRequest("POST", "https://" + headers["host"] + request["path"], headers=signed, data=request["body"])
right.context["timestamp"] = headers["x-amz-date"]
text = auth.string_to_sign(right, auth.canonical_request(right))
assert auth.signature(text, right) == given[3], text
