"""The stack that holds data: deleting it leaves buckets, database and images where they are."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_rds as rds
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager

from infra.buckets import make_reports, make_store
from infra.context import Context
from infra.database import make_database, make_worker
from infra.folders import Folders
from infra.names import Names
from infra.network import Network, make_network
from infra.queues import Queues, make_queues

_IMAGES = 20


@dataclass(frozen=True)
class Data:
    """What the other stack needs of this one."""

    reports: s3.Bucket
    store: s3.Bucket
    queues: Queues
    network: Network
    database: rds.DatabaseInstance
    worker: secretsmanager.ISecret
    images: ecr.Repository


def make_data(stack: cdk.Stack, names: Names, context: Context, folders: Folders) -> Data:
    """Buckets, queues, network, database and the repository of images."""
    reports = make_reports(stack, names)
    queues = make_queues(stack, names)
    network = make_network(stack, names, context, reports)
    database = make_database(stack, names, context, network)
    return Data(
        reports=reports,
        store=make_store(stack, names, context, folders, reports, queues.arrivals),
        queues=queues,
        network=network,
        database=database,
        worker=make_worker(stack, names, database),
        images=ecr.Repository(
            stack,
            "Images",
            repository_name=names.of("images"),
            image_scan_on_push=True,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=_IMAGES)],
            removal_policy=cdk.RemovalPolicy.RETAIN,
        ),
    )
