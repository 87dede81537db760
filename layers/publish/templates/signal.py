#!/usr/bin/env python3
"""Tells CloudFormation that this host is well: dcos-signal REGION DOMAIN STACK RESOURCE

It asks with the credentials of the instance's own role, signed as AWS Signature Version 4 has it. Only Python's own
library is needed, which is where cloud-init is."""
import datetime
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

DONE = "/var/lib/dcos-signalled"
METADATA = "http://169.254.169.254/latest/"

region, domain, stack, resource = sys.argv[1:]
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def metadata(path, method="GET", **headers):
    headers = {"X-aws-ec2-metadata-" + name.replace("_", "-"): value for name, value in headers.items()}
    with direct.open(urllib.request.Request(METADATA + path, headers=headers, method=method), timeout=10) as answer:
        return answer.read().decode()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def keyed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


token = metadata("api/token", "PUT", token_ttl_seconds="60")
instance = metadata("meta-data/instance-id", token=token)
roles = "meta-data/iam/security-credentials/"
role = json.loads(metadata(roles + metadata(roles, token=token).strip(), token=token))

host = "cloudformation." + region + "." + domain
signal = {"Action": "SignalResource", "Version": "2010-05-15", "StackName": stack, "LogicalResourceId": resource}
body = urllib.parse.urlencode({**signal, "Status": "SUCCESS", "UniqueId": instance})
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
headers = {
    "content-type": "application/x-www-form-urlencoded",
    "host": host,
    "x-amz-date": now,
    "x-amz-security-token": role["Token"],
}
names = ";".join(headers)
lines = [name + ":" + value for name, value in headers.items()]
request = "\n".join(["POST", "/", "", *lines, "", names, digest(body)])
scope = [now[:8], region, "cloudformation", "aws4_request"]
key = ("AWS4" + role["SecretAccessKey"]).encode()
for part in scope:
    key = keyed(key, part)
text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), digest(request)])
credential = role["AccessKeyId"] + "/" + "/".join(scope)
signature = keyed(key, text).hex()
headers["authorization"] = (
    "AWS4-HMAC-SHA256 Credential=" + credential + ", SignedHeaders=" + names + ", Signature=" + signature
)
try:
    urllib.request.urlopen(urllib.request.Request("https://" + host + "/", body.encode(), headers), timeout=60).close()
except urllib.error.HTTPError as error:
    said = error.read().decode(errors="replace")
    print(said)
    # A host that replaces another one later: nobody waits for it. Anything else is tried again by its unit.
    if "<Code>ValidationError</Code>" not in said:
        raise
open(DONE, "w").close()
