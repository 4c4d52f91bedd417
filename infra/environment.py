"""The environment file of a deployed lake, from its stack's outputs:

    aws cloudformation describe-stacks --stack-name lake-platform-dev --query 'Stacks[0].Outputs' > outputs.json
    python -m infra.environment outputs.json > lake.env

`--secret secret.json`, what `aws secretsmanager get-secret-value --secret-id lake-worker-dev` answers, adds the
database's URL, and so a password.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.variables import variable_of


def environment(outputs: list[dict[str, str]]) -> dict[str, str]:
    """The variables that the outputs say, by name."""
    said = {variable_of(output["OutputKey"]): output["OutputValue"] for output in outputs}
    return {name: value for name, value in sorted(said.items()) if name.startswith(("LAKE_", "AWS_"))}


def database_url(secret: dict[str, Any]) -> str:
    """LAKE_DATABASE_URL of a secret with a role's password."""
    user, password = (quote(secret[name], safe="") for name in ("username", "password"))
    return f"postgresql://{user}:{password}@{secret['host']}:{secret['port']}/{secret['dbname']}?sslmode=require"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the environment file of a deployed lake.")
    parser.add_argument("outputs", type=Path, help="the stack's outputs, as describe-stacks says them")
    parser.add_argument("--secret", type=Path, help="the database's secret, as get-secret-value says it")
    options = parser.parse_args()
    found = environment(json.loads(options.outputs.read_text()))
    if options.secret is not None:
        found["LAKE_DATABASE_URL"] = database_url(json.loads(json.loads(options.secret.read_text())["SecretString"]))
    sys.stdout.writelines(f"{name}={value}\n" for name, value in found.items())


if __name__ == "__main__":
    main()
