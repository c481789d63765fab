"""The commands that touch this machine: they start what serves and trains, and look into its database and folders.

`ballast --help` reads every module of commands: what brings FastAPI, SQLAlchemy, Celery or pydantic is imported inside
the command that needs it. Whatever needs torch is a process of its own.
"""
