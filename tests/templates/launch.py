#!/usr/bin/env python3
"""Launches a cluster from templates of CloudFormation at a stand-in for AWS: launch.py DIRECTORY REGION MASTERS

Prints what is then there as JSON. Of some things the stand-in knows nothing, and they are done here as AWS does them:
instances of a stack may have a launch template, its network interfaces groups, and its load balancers a type."""
import ast
import base64
import json
import os
import sys

os.environ.update(AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any")

import boto3
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.elbv2.models import FakeLoadBalancer, elbv2_backends
from moto.server import ThreadedMotoServer

directory, region, masters = sys.argv[1], sys.argv[2], int(sys.argv[3])
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()


def client(service):
    return boto3.client(service, endpoint_url=f"http://{host}:{port}", region_name=region)


ec2, stacks, groups, balancers, iam = map(client, ["ec2", "cloudformation", "autoscaling", "elbv2", "iam"])


def instance_of_stack(cls, resource_name, cloudformation_json, account_id, region_name, **_):
    given = cloudformation_json["Properties"]
    unknown = given.keys() - {"LaunchTemplate", "NetworkInterfaces", "Tags"}
    assert not unknown, unknown
    interfaces = [{**each, "DeviceIndex": int(each["DeviceIndex"])} for each in given["NetworkInterfaces"]]
    template = {**given["LaunchTemplate"], "Version": str(given["LaunchTemplate"]["Version"])}
    made = ec2.run_instances(MinCount=1, MaxCount=1, LaunchTemplate=template, NetworkInterfaces=interfaces)
    instance = ec2_backends[account_id][region_name].get_instance(made["Instances"][0]["InstanceId"])
    for tag in given["Tags"]:
        instance.add_tag(tag["Key"], tag["Value"])
    return instance


def balancer_of_stack(cls, resource_name, cloudformation_json, account_id, region_name, **_):
    given = cloudformation_json["Properties"]
    made = balancers.create_load_balancer(
        Name=resource_name[-32:].strip("-"),
        **{key: given[key] for key in ["Type", "Scheme", "Subnets", "SecurityGroups", "Tags"]},
    )
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    balancers.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=given["LoadBalancerAttributes"])
    return elbv2_backends[account_id][region_name].load_balancers[arn]


create_interface = NetworkInterface.create_from_cloudformation_json


def interface_of_stack(cls, resource_name, cloudformation_json, *rest, **more):
    # It reads them by the name that they have in instances.
    given = cloudformation_json["Properties"]
    given["SecurityGroups"] = given["GroupSet"]
    return create_interface(resource_name, cloudformation_json, *rest, **more)


Instance.create_from_cloudformation_json = classmethod(instance_of_stack)
NetworkInterface.create_from_cloudformation_json = classmethod(interface_of_stack)
FakeLoadBalancer.create_from_cloudformation_json = classmethod(balancer_of_stack)


def launch(name, file, **parameters):
    with open(os.path.join(directory, file)) as template:
        body = template.read()
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    stacks.create_stack(StackName=name, TemplateBody=body, Parameters=given, Capabilities=["CAPABILITY_IAM"])
    stack = stacks.describe_stacks(StackName=name)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return {"id": stack["StackId"], "status": stack["StackStatus"], "outputs": outputs}


vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnets = [
    ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{at}.0/24", AvailabilityZone=region + "abc"[at])["Subnet"]["SubnetId"]
    for at in range(3)
]
places = [subnets[at % 3] for at in range(masters)]
addresses = [f"10.0.{at % 3}.{10 + at}" for at in range(masters)]
found = {"stacks": {}}
found["stacks"]["masters"] = launch(
    "masters",
    f"masters-{masters}.yaml",
    Vpc=vpc,
    MasterSubnets=",".join(places),
    MasterAddresses=",".join(addresses),
    LoadBalancerSubnets=",".join(subnets),
    AdminLocation="198.51.100.0/24",
)
outputs = found["stacks"]["masters"]["outputs"]
common = {"Subnets": ",".join(subnets), "HostCount": "2"}
found["stacks"]["private"] = launch(
    "private", "private-agents.yaml", SecurityGroup=outputs["PrivateAgentSecurityGroup"], **common
)
found["stacks"]["public"] = launch(
    "public",
    "public-agents.yaml",
    SecurityGroup=outputs["PublicAgentSecurityGroup"],
    Vpc=vpc,
    LoadBalancerSubnets=",".join(subnets),
    **common,
)

found["policies"] = {}
for role in iam.list_roles()["Roles"]:
    own = {"RoleName": role["RoleName"]}
    policies = [iam.get_role_policy(**own, PolicyName=name) for name in iam.list_role_policies(**own)["PolicyNames"]]
    assert not iam.list_attached_role_policies(**own)["AttachedPolicies"]
    # Documents come back as Python writes them.
    documents = [ast.literal_eval(policy["PolicyDocument"]) for policy in policies]
    found["policies"][role["RoleName"].split("-")[0]] = [document["Statement"] for document in documents]

names = {}
for group in ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]:
    names[group["GroupId"]] = group["Description"]
found["rules"] = []
for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]:
    if rule["GroupId"] in names and not rule["IsEgress"]:
        other = rule.get("ReferencedGroupInfo", {}).get("GroupId")
        source = names[other] if other else rule["CidrIpv4"]
        ports = (rule.get("FromPort", -1), rule.get("ToPort", -1))
        found["rules"].append([names[rule["GroupId"]], source, rule["IpProtocol"], *ports])

found["instances"] = []
for reservation in ec2.describe_instances()["Reservations"]:
    for instance in reservation["Instances"]:
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        stack = next((name for name in found["stacks"] if tags["Name"].startswith(name)), None)
        asked = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
        found["instances"].append({
            "stack": stack,
            "image": instance["ImageId"],
            "type": instance["InstanceType"],
            "address": instance["PrivateIpAddress"],
            "groups": sorted({
                names[group["GroupId"]]
                for each in [instance, *instance["NetworkInterfaces"]]
                for group in each.get("SecurityGroups", each.get("Groups"))
            }),
                        "tags": tags,
            "user_data": base64.b64decode(asked["UserData"].get("Value", "")).decode(),
        })

found["templates"] = []
for template in ec2.describe_launch_templates()["LaunchTemplates"]:
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    data["UserData"] = base64.b64decode(data["UserData"]).decode()
    found["templates"].append(data)
found["groups"] = groups.describe_auto_scaling_groups()["AutoScalingGroups"]
found["balancers"] = balancers.describe_load_balancers()["LoadBalancers"]
found["targets"] = [
    {**group, "targets": len(balancers.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"])}
    for group in balancers.describe_target_groups()["TargetGroups"]
]
json.dump(found, sys.stdout, default=str)
server.stop()
