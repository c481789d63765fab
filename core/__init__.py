"""The vocabulary that every room speaks, and its three wings: training, analysis, store."""
