"""PostgreSQL for the ledger and for Dagster."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager

from infra.acknowledged import acknowledge_database, acknowledge_secret
from infra.context import Context
from infra.names import Names
from infra.network import Network

_DATABASE = "lake"
# What a password in a URL would have to be quoted for, and what RDS takes in none.
_NOT_IN_A_URL = " %+`#$&*()|[]{}:;<>?!'/@\"\\^=,"


def make_database(stack: cdk.Stack, names: Names, context: Context, network: Network) -> rds.DatabaseInstance:
    """Private and encrypted, with a password that Secrets Manager makes and keeps."""
    engine = rds.DatabaseInstanceEngine.postgres(version=rds.PostgresEngineVersion.of("18.6", "18"))
    database = rds.DatabaseInstance(
        stack,
        "Database",
        instance_identifier=names.of("database"),
        database_name=_DATABASE,
        engine=engine,
        instance_type=ec2.InstanceType(context.database_class),
        parameter_group=rds.ParameterGroup(
            stack,
            "DatabaseParameters",
            engine=engine,
            description="The ledger: connections over TLS only",
            parameters={"rds.force_ssl": "1"},
        ),
        vpc=network.vpc,
        vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
        security_groups=[network.database],
        publicly_accessible=False,
        credentials=rds.Credentials.from_generated_secret(
            "lake", secret_name=names.of("database"), exclude_characters=_NOT_IN_A_URL
        ),
        storage_encrypted=True,
        storage_type=rds.StorageType.GP3,
        allocated_storage=context.database_storage,
        max_allocated_storage=4 * context.database_storage,
        multi_az=context.database_standby,
        # With backups, AWS keeps the log too, and restores to any second of these days.
        backup_retention=cdk.Duration.days(context.backup_days),
        delete_automated_backups=False,
        copy_tags_to_snapshot=True,
        auto_minor_version_upgrade=True,
        cloudwatch_logs_exports=["postgresql"],
        deletion_protection=context.protected,
        removal_policy=cdk.RemovalPolicy.RETAIN,
    )
    acknowledge_database(database, context)
    return database


def make_worker(stack: cdk.Stack, names: Names, database: rds.DatabaseInstance) -> secretsmanager.ISecret:
    """The secret of the role that Dagster works as, which owns nothing; `lake migrate --worker` makes that role."""
    secret = rds.DatabaseSecret(
        stack,
        "Worker",
        username="lake_worker",
        dbname=_DATABASE,
        secret_name=names.of("worker"),
        exclude_characters=_NOT_IN_A_URL,
    )
    acknowledge_secret(secret)
    return secret.attach(database)  # which puts host and port into it
