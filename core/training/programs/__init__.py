"""What other programs start to train, to measure or to make data ready, in a process that may import torch."""
