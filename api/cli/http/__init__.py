"""The commands that speak HTTP, and what they share. Neither SQL nor Celery: they start at once, on any machine."""
