"""Whom the lake tells: a topic that people hear by e-mail, and a bus of manifests' events."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from infra.context import Context
from infra.names import Names


@dataclass(frozen=True)
class Notices:
    """The topic, the key that it is encrypted with, and the bus."""

    topic: sns.Topic
    key: kms.Key
    bus: events.EventBus


def make_notices(stack: cdk.Stack, names: Names, context: Context) -> Notices:
    """CloudWatch may not use AWS's own key for SNS, so the topic has one of the account."""
    key = kms.Key(
        stack,
        "TopicKey",
        alias=f"alias/{names.of('alerts')}",
        description="Encrypts the topic of the lake's alerts",
        enable_key_rotation=True,
        removal_policy=cdk.RemovalPolicy.DESTROY,  # of messages that were sent, nothing is kept
    )
    alarms = iam.ServicePrincipal(
        "cloudwatch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
    )
    key.grant(alarms, "kms:GenerateDataKey", "kms:Decrypt")
    topic = sns.Topic(stack, "Alerts", topic_name=names.of("alerts"), master_key=key, enforce_ssl=True)
    topic.grant_publish(alarms)
    topic.add_subscription(subscriptions.EmailSubscription(context.email))
    return Notices(topic, key, events.EventBus(stack, "Events", event_bus_name=names.of("events")))
