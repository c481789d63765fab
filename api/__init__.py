"""HTTP: routes, schemas, problems and access; the Python client and the command line that stand on it."""
