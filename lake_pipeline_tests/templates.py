"""The synthesized templates, read as CloudFormation would: with references put in, as far as names say them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake_pipeline_tests.aws_calls import ACCOUNT

# The property that is a resource's name, and its ARN with that name put in.
_NAMED = {
    "AWS::S3::Bucket": ("BucketName", "arn:aws:s3:::{}"),
    "AWS::SQS::Queue": ("QueueName", "arn:aws:sqs:{region}:{account}:{}"),
    "AWS::SNS::Topic": ("TopicName", "arn:aws:sns:{region}:{account}:{}"),
    "AWS::IAM::Role": ("RoleName", "arn:aws:iam::{account}:role/{}"),
    "AWS::KMS::Key": ("Description", "arn:aws:kms:{region}:{account}:key/{}"),
}


@dataclass(frozen=True)
class Template:
    """One stack's. Resources are by their logical ids, as written; `resolved` puts references in."""

    document: dict[str, Any]
    region: str

    @classmethod
    def read(cls, path: Path, region: str) -> Template:
        return cls(json.loads(path.read_text()), region)

    def all(self, type_: str) -> dict[str, dict[str, Any]]:
        """Properties of the resources of a type, resolved, by logical id."""
        return {
            name: self.resolved(resource.get("Properties", {}))
            for name, resource in self.document["Resources"].items()
            if resource["Type"] == type_
        }

    def one(self, type_: str) -> dict[str, Any]:
        """The properties of the only resource of a type."""
        (found,) = self.all(type_).values()
        return found

    def named(self, type_: str, name: str) -> dict[str, Any]:
        """The properties of the resource of a type that has this name."""
        (found,) = (item for item in self.all(type_).values() if name in item.values())
        return found

    @property
    def outputs(self) -> list[dict[str, str]]:
        """As describe-stacks says them; those that the other stack takes are none of ours."""
        return [
            {"OutputKey": name, "OutputValue": self.resolved(output["Value"])}
            for name, output in self.document["Outputs"].items()
            if "Export" not in output
        ]

    def policy(self, role: str) -> list[dict[str, Any]]:
        """The statements of a role, its own and those of policies that are attached to it."""
        return list(self._statements(role))

    def _statements(self, role: str) -> Iterator[dict[str, Any]]:
        for policy in self.named("AWS::IAM::Role", role).get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
        for policy in self.all("AWS::IAM::Policy").values():
            if role in policy["Roles"]:
                yield from policy["PolicyDocument"]["Statement"]

    def resolved(self, value: Any) -> Any:
        """The value with names in place of references; what only AWS knows stays a name of ours in <…>."""
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Ref":
                return self._reference(argument)
            if function == "Fn::GetAtt":
                return self._attribute(*argument)
            if function == "Fn::Join":
                return argument[0].join(self.resolved(item) for item in argument[1])
            if function.startswith("Fn::"):
                return f"<{json.dumps(argument)}>"
        return {name: self.resolved(item) for name, item in value.items()}

    def _reference(self, name: str) -> str:
        known = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": self.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in known:
            return known[name]
        resource = self.document["Resources"][name]
        if resource["Type"] == "AWS::SNS::Topic":
            return self._attribute(name, "Arn")
        return self._name(name) or f"<{name}>"

    def _attribute(self, name: str, attribute: str) -> str:
        named = self._name(name)
        if named is None or not attribute.endswith("Arn"):
            return f"<{name}.{attribute}>"
        pattern = _NAMED[self.document["Resources"][name]["Type"]][1]
        return pattern.format(named, region=self.region, account=ACCOUNT)

    def _name(self, name: str) -> str | None:
        resource = self.document["Resources"][name]
        if resource["Type"] not in _NAMED:
            return None
        return str(self.resolved(resource["Properties"][_NAMED[resource["Type"]][0]]))
