"""The network: where the database and Dagster's tasks are, and who may speak to whom."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3 as s3

from infra.context import Context
from infra.names import Names

UI_PORT = 3000
CODE_PORT = 4000
_POSTGRES = 5432


def balancer_port(context: Context) -> int:
    """Where people meet the UI: HTTPS where there is a certificate."""
    return 443 if context.certificate else 80


@dataclass(frozen=True)
class Network:
    """The VPC and a security group for each kind of thing in it."""

    vpc: ec2.Vpc
    balancer: ec2.SecurityGroup
    tasks: ec2.SecurityGroup
    database: ec2.SecurityGroup


def make_network(stack: cdk.Stack, names: Names, context: Context, reports: s3.Bucket) -> Network:
    """Public subnets for the ways out, private ones for tasks, isolated ones for the database."""
    vpc = ec2.Vpc(
        stack,
        "Network",
        vpc_name=names.of("network"),
        ip_addresses=ec2.IpAddresses.cidr(context.cidr),
        max_azs=context.zones,
        nat_gateways=context.nat_gateways,
        restrict_default_security_group=False,  # it would take a Lambda function; nothing uses that group
        subnet_configuration=[
            ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, map_public_ip_on_launch=False),
            ec2.SubnetConfiguration(name="tasks", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            ec2.SubnetConfiguration(name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
        ],
    )
    # Copies, uploads and downloads go past the NAT gateways, which bill each byte.
    vpc.add_gateway_endpoint("Objects", service=ec2.GatewayVpcEndpointAwsService.S3)
    vpc.add_flow_log("Flows", destination=ec2.FlowLogDestination.to_s3(reports, "flows/"))

    def group(name: str, component: str, *, outbound: bool) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            stack,
            name,
            vpc=vpc,
            security_group_name=names.of(component),
            description=f"{names.of(component)} of the lake",
            allow_all_outbound=outbound,
        )

    network = Network(
        vpc,
        balancer=group("BalancerGroup", "ui", outbound=False),
        tasks=group("TasksGroup", "tasks", outbound=True),
        database=group("DatabaseGroup", "database", outbound=False),
    )
    network.database.connections.allow_from(network.tasks, ec2.Port.tcp(_POSTGRES), "the ledger")
    network.balancer.connections.allow_from(
        ec2.Peer.ipv4(context.cidr), ec2.Port.tcp(balancer_port(context)), "people in the network"
    )
    network.tasks.connections.allow_from(network.balancer, ec2.Port.tcp(UI_PORT), "the UI")
    network.tasks.connections.allow_from(network.tasks, ec2.Port.tcp(CODE_PORT), "the code location")
    return network
