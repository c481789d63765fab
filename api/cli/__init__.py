"""The command line: `show` speaks HTTP only, `run` touches the machine."""
