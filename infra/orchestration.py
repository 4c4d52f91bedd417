"""Dagster on ECS Fargate, all of one image: webserver, daemon, code location, and a task for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_servicediscovery as discovery

from infra import policies
from infra.acknowledged import acknowledge_task, acknowledge_wildcards
from infra.context import TASK_DISK, Context
from infra.data import Data
from infra.names import Names
from infra.network import CODE_PORT, UI_PORT, balancer_port

# The container that dagster.yaml's run launcher gives its command to.
RUN_CONTAINER = "run"
_MIGRATE = "migrate"
CODE = "code"
_WORKSPACE = "/opt/lake/workspace.yaml"
# The longest that ECS lets a task go on after SIGTERM; LAKE_GRACE_SECONDS is 20 of it.
_STOP_SECONDS = 120
# Variables -> the fields of the worker's secret, and of the owner's; the image's entrypoint makes URLs of them.
_WORKER_FIELDS = {
    "DATABASE_USER": "username",
    "DATABASE_PASSWORD": "password",
    "DATABASE_HOST": "host",
    "DATABASE_PORT": "port",
    "DATABASE_NAME": "dbname",
}
_OWNER_FIELDS = {"DATABASE_OWNER": "username", "DATABASE_OWNER_PASSWORD": "password"}


@dataclass(frozen=True)
class Tasks:
    """What every task is made of."""

    stack: cdk.Stack
    names: Names
    context: Context
    data: Data
    role: iam.Role
    execution: iam.Role
    log_group: logs.LogGroup
    environment: Mapping[str, str]

    def define(self, component: str, command: list[str], port: int | None = None) -> ecs.FargateTaskDefinition:
        """A task definition, named after the component, as its container is.

        Before a service's container another one migrates, and is alone in having the owner's password.
        """
        definition = ecs.FargateTaskDefinition(
            self.stack,
            f"{component.title()}Task",
            family=self.names.of(component),
            cpu=self.context.task_cpu,
            memory_limit_mib=self.context.task_memory,
            ephemeral_storage_gib=TASK_DISK,
            task_role=self.role,
            execution_role=self.execution,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.X86_64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )
        worker, owner = _secrets(self.data.worker, _WORKER_FIELDS), _secrets(self.data.database.secret, _OWNER_FIELDS)
        container = self._add(definition, component, command, worker, port)
        if component != RUN_CONTAINER:
            migrating = self._add(definition, _MIGRATE, ["lake", "migrate", "--worker"], worker | owner)
            container.add_container_dependencies(
                ecs.ContainerDependency(container=migrating, condition=ecs.ContainerDependencyCondition.SUCCESS)
            )
        acknowledge_task(definition)
        return definition

    def _add(
        self,
        definition: ecs.FargateTaskDefinition,
        name: str,
        command: list[str],
        secrets: Mapping[str, ecs.Secret],
        port: int | None = None,
    ) -> ecs.ContainerDefinition:
        return definition.add_container(
            name,
            container_name=name,
            essential=name != _MIGRATE,  # its end does not end the task
            image=ecs.ContainerImage.from_ecr_repository(self.data.images, self.context.image_tag),
            command=command,
            environment=dict(self.environment),
            secrets=secrets,
            logging=ecs.LogDrivers.aws_logs(stream_prefix=name, log_group=self.log_group),
            port_mappings=[ecs.PortMapping(container_port=port)] if port is not None else None,
            stop_timeout=cdk.Duration.seconds(_STOP_SECONDS),
        )

    def serve(
        self, component: str, cluster: ecs.Cluster, definition: ecs.FargateTaskDefinition, *, alone: bool = False
    ) -> ecs.FargateService:
        """One task of the definition, kept running; `alone`: the old one ends before the new one begins."""
        return ecs.FargateService(
            self.stack,
            f"{component.title()}Service",
            service_name=self.names.of(component),
            cluster=cluster,
            task_definition=definition,
            desired_count=1,
            min_healthy_percent=0 if alone else 100,
            max_healthy_percent=100 if alone else 200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            security_groups=[self.data.network.tasks],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
            cloud_map_options=ecs.CloudMapOptions(name=CODE) if component == CODE else None,
        )


def make_dagster(
    stack: cdk.Stack,
    names: Names,
    context: Context,
    data: Data,
    role: iam.Role,
    variables: Mapping[str, str],
    at: policies.Places,
) -> dict[str, str]:
    """The cluster with its three services, and the balancer in front of the UI; the variables, and LAKE_UI_URL."""
    balancer = _balancer(stack, names, context, data)
    scheme = "https" if context.certificate else "http"
    variables = {**variables, "LAKE_UI_URL": f"{scheme}://{balancer.load_balancer_dns_name}"}
    cluster = ecs.Cluster(
        stack,
        "Cluster",
        cluster_name=names.of("dagster"),
        vpc=data.network.vpc,
        container_insights_v2=ecs.ContainerInsights.ENABLED,
        default_cloud_map_namespace=ecs.CloudMapNamespaceOptions(
            name=names.domain, type=discovery.NamespaceType.DNS_PRIVATE
        ),
    )
    log_group = logs.LogGroup(
        stack,
        "Logs",
        log_group_name=names.of("dagster"),
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )
    execution = iam.Role(
        stack,
        "ExecutionRole",
        role_name=names.of("execution"),
        assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
    )
    family = names.of(RUN_CONTAINER)
    environment = {**variables, "DAGSTER_RUN_TASK": family, "DAGSTER_CODE_HOST": f"{CODE}.{names.domain}"}
    tasks = Tasks(stack, names, context, data, role, execution, log_group, environment)
    launching = policies.launching(
        at, names.of("dagster"), family, names.of("dagster"), [role.role_arn, execution.role_arn]
    )
    for statement in launching:
        role.add_to_policy(iam.PolicyStatement.from_json(statement))
    acknowledge_wildcards(role, launching)
    acknowledge_wildcards(execution, [{"Action": ["ecr:GetAuthorizationToken"], "Resource": ["*"]}])  # CDK's statement

    tasks.define(RUN_CONTAINER, ["dagster", "--version"])  # the launcher says what each run's command is
    grpc = ["dagster", "api", "grpc", "--module-name", "lake_pipeline.definitions"]
    code = tasks.define(CODE, [*grpc, "--host", "0.0.0.0", "--port", str(CODE_PORT)], CODE_PORT)
    daemon = tasks.define("daemon", ["dagster-daemon", "run", "--workspace", _WORKSPACE])
    web = ["dagster-webserver", "--host", "0.0.0.0", "--port", str(UI_PORT), "--workspace", _WORKSPACE]
    webserver = tasks.define("webserver", web, UI_PORT)
    tasks.serve(CODE, cluster, code)
    tasks.serve("daemon", cluster, daemon, alone=True)  # two daemons would tick twice
    _listen(balancer, context, tasks.serve("webserver", cluster, webserver))
    return variables


def _secrets(secret: secretsmanager.ISecret | None, fields: Mapping[str, str]) -> dict[str, ecs.Secret]:
    """A container's variables of a secret's fields."""
    assert secret is not None
    return {name: ecs.Secret.from_secrets_manager(secret, field) for name, field in fields.items()}


def _balancer(stack: cdk.Stack, names: Names, context: Context, data: Data) -> elbv2.ApplicationLoadBalancer:
    """A balancer that the network alone reaches: Dagster's UI does not ask who comes."""
    network = data.network
    balancer = elbv2.ApplicationLoadBalancer(
        stack,
        "Balancer",
        load_balancer_name=names.of("ui"),
        vpc=network.vpc,
        internet_facing=False,
        security_group=network.balancer,
        vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
        drop_invalid_header_fields=True,
        deletion_protection=context.protected,
    )
    balancer.log_access_logs(data.reports, "ui")
    return balancer


def _listen(balancer: elbv2.ApplicationLoadBalancer, context: Context, service: ecs.FargateService) -> None:
    """Hand requests over to the UI's task."""
    secure = context.certificate is not None
    listener = balancer.add_listener(
        "Listener",
        port=balancer_port(context),
        protocol=elbv2.ApplicationProtocol.HTTPS if secure else elbv2.ApplicationProtocol.HTTP,
        certificates=[elbv2.ListenerCertificate.from_arn(context.certificate)] if context.certificate else None,
        ssl_policy=elbv2.SslPolicy.RECOMMENDED_TLS if secure else None,
        open=False,
    )
    listener.add_targets(
        "Webserver",
        port=UI_PORT,
        protocol=elbv2.ApplicationProtocol.HTTP,
        targets=[service],
        health_check=elbv2.HealthCheck(path="/server_info"),
        deregistration_delay=cdk.Duration.seconds(30),
    )
