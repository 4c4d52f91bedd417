"""AWS on this machine, for development and tests: production code meets it by `AWS_ENDPOINT_URL` alone."""
