"""What an arm costs: in closed form (`cost.closed`, torch-free), and measured on its real classes with random weights. Names load on
first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
