"""Plan, run and watch studies: the plan, the folder of results, engines, tuning, and the MLflow mirror. Names load on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
