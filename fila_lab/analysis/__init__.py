"""From a folder of results to numbers, verdicts, plots and a report; importing it is light, pandas and matplotlib load on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
