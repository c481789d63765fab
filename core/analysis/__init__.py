"""What curves say: figures now; effect statistics, verdicts and reports later. Knows curves as JSON, and no service."""
