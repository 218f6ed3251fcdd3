"""vonk: trained models as columns of predictions.

The data path is in C (``libvonk.so``, the program ``vonk``); this package so far says which version is installed and
where its parts are.
"""

from vonk._paths import Installation, installation

__version__ = "0.1.0"
__all__ = ["Installation", "__version__", "installation"]
