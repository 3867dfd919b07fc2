"""How the shipped towers and answer models were made: what `fila-lab pretrain` runs. No cell calls it."""
