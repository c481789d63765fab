"""What rings: the producing side of Celery, its queue in a folder, and what a Redis must let us do. Facts:
worker/README.md, "Brokers"."""

QUEUE = "ballast"  # the one of all rings, on whatever broker
