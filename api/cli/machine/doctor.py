"""`ballast doctor`: what is wrong on this machine, and what to do about it. What it looks at is `checks/`."""

import typer

from api.cli.printing import AsJson, print_json, print_table

app = typer.Typer()


@app.command(epilog="Example: ballast doctor")
def doctor(as_json: AsJson = False) -> None:
    """Look at versions, database, broker, checkpoints, data, devices and clocks: what is wrong, and what to do."""
    from api.cli.machine.checks.examination import examine
    from api.cli.machine.checks.finding import Finding

    findings = list(examine())
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings)
    if any(finding.status == "wrong" for finding in findings):
        raise typer.Exit(1)
