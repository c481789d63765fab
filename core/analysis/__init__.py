"""What curves say: figures, statistics, verdicts on the claims of the document. Knows curves, and no service.
What needs numpy is imported when it is asked for: the API starts without.
"""
