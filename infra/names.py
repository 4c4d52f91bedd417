"""What everything in the account is called: lake-{component}-{env}."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """The names of one environment, such as `dev`."""

    env: str

    def of(self, component: str) -> str:
        """The name of a component, such as lake-arrivals-dev."""
        return f"lake-{component}-{self.env}"

    def bucket(self, component: str, account: str) -> str:
        """A bucket's name, which no other account of the world may have: with the account behind it."""
        return f"{self.of(component)}-{account}"

    @property
    def database(self) -> str:
        """The Glue database; Athena takes no hyphens."""
        return f"lake_{self.env}"

    @property
    def domain(self) -> str:
        """Where the tasks find each other, within the network."""
        return f"lake-{self.env}.internal"
