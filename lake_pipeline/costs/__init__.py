"""What a dataset costs: prices, requests, time and dollars, estimated before and reckoned after. No Dagster."""
