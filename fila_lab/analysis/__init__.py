"""From a folder of results to numbers, verdicts, plots and a report; importing it is light, pandas and matplotlib load on first use.

`load(FOLDER)` is the door: a study's folder as tidy frames. Examples in docstrings begin after `from fila_lab.analysis import *`, at the
root of the repository, whose published results they read.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
