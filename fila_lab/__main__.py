"""`python -m fila_lab` is `fila-lab`."""

from fila_lab.cli import main

if __name__ == "__main__":
    main()
