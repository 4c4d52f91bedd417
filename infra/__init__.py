"""What is needed to run the lake on AWS."""
