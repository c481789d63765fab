"""What trains: a launcher with one Celery process per device, each of which claims experiments and runs them."""
