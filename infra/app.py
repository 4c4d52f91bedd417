"""The CDK app: two stacks for each environment of cdk.json. `make synth` runs it; so does the `cdk` command."""

from __future__ import annotations

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.context import ROOT, Context, context_of
from infra.data import make_data
from infra.folders import Folders
from infra.names import Names
from infra.platform import make_platform
from lake_pipeline.declarations import load_datasets


def add_environment(app: cdk.App, env: str, context: Context) -> None:
    """The stacks lake-data-{env} and lake-platform-{env}."""
    names = Names(env)
    datasets = load_datasets(ROOT / context.datasets)
    folders = Folders.of(datasets.values())
    data_stack, platform_stack = (
        cdk.Stack(
            app,
            names.of(component),
            env=cdk.Environment(region=context.region),
            # No assets, so nothing to bootstrap: `aws cloudformation deploy` does for these templates.
            synthesizer=cdk.BootstraplessSynthesizer(),
            termination_protection=component == "data" or context.protected,
            description=f"lake_pipeline, {env}: {description}",
        )
        for component, description in (("data", "what is kept"), ("platform", "what can be made again"))
    )
    data = make_data(data_stack, names, context, folders)
    make_platform(platform_stack, names, context, folders, data, sorted(datasets))
    platform_stack.add_stack_dependency(data_stack)
    cdk.Tags.of(data_stack).add("lake", env)
    cdk.Tags.of(platform_stack).add("lake", env)


def main() -> None:
    app = cdk.App(analytics_reporting=False)
    environments = app.node.get_context("environments")
    for env in environments:
        add_environment(app, env, context_of(environments, env))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


if __name__ == "__main__":
    main()
