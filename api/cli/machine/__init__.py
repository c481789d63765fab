"""The commands that touch this machine: they start what serves and trains, and look into its database and folders."""
