"""What became of manifests, told to who listens: alerts by SNS, events on a bus, metrics in CloudWatch."""
