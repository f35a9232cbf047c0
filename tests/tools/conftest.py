from tests.support.inline_jobs import inline_jobs

__all__ = ["inline_jobs"]
