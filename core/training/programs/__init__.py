"""What other programs start to train or to make data ready, in a process that may import torch."""
