"""Models of Hugging Face over Arrow columns of text: sentence encoders, pipelines, generators.

>>> from vonk.huggingface import SentenceEncoder
>>> SentenceEncoder("models/all-MiniLM-L6-v2").predict(pyarrow.array(["The cat sat.", None]))

``vonk.spark`` has them as column functions; ``docs/huggingface.md`` is the guide. transformers, PyTorch and
sentence-transformers are imported when a model is opened.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("pyarrow") is None:
    raise ImportError("vonk.huggingface: pyarrow cannot be imported: pip install pyarrow", name="pyarrow")

from vonk.huggingface._encoder import SentenceEncoder
from vonk.huggingface._generator import Generator
from vonk.huggingface._packages import MissingPackageError
from vonk.huggingface._pipeline import Pipeline
from vonk.huggingface._rows import DeclarationError
from vonk.huggingface._summary import ModelSummary, model_summary

__all__ = [
    "DeclarationError",
    "Generator",
    "MissingPackageError",
    "ModelSummary",
    "Pipeline",
    "SentenceEncoder",
    "model_summary",
]
