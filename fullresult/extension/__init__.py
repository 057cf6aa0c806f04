"""`FullResult(app)`: what is put into an app, and the API that people call."""

from fullresult.extension.fullresult import FullResult

__all__ = ["FullResult"]
