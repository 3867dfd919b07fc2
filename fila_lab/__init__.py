"""A laboratory for one question: how should a vision-language model fuse a ViT that looks at tiles with a ConvNeXt that looks at the whole
image? Importing it is light: the public names, listed in `__init__.pyi`, load on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
