"""The command line, `fila-lab`: one thin command per verb. Importing it loads no room but config; commands load theirs when called."""

from fila_lab.cli.app import app, main

__all__ = ["app", "main"]
